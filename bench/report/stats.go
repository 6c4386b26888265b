package report

import (
	"math"
	"slices"
)

// Summary describes some measured values of one kind. The zero Summary is that of no values.
type Summary struct {
	N        int // how many values there were
	Median   float64
	Min, Max float64
}

// Summarize describes values. The median of an even number of them is the mean of the middle two. The values are left as
// they are.
func Summarize(values []float64) Summary {
	n := len(values)
	if n == 0 {
		return Summary{}
	}
	s := slices.Sorted(slices.Values(values))
	median := s[n/2]
	if n%2 == 0 {
		median = (s[n/2-1] + s[n/2]) / 2
	}
	return Summary{N: n, Median: median, Min: s[0], Max: s[n-1]}
}

// Spread is the distance from the smallest to the largest value as a share of the median: 0.1 is ten percent. It is 0
// where the median is 0.
func (s Summary) Spread() float64 {
	if s.Median == 0 {
		return 0
	}
	return (s.Max - s.Min) / s.Median
}

// Slope is the exponent p of the power law y = c * x^p that fits the points best, by least squares of the logarithms: 0 for
// a y that does not grow, 1 for one that grows in proportion. Points with an x or y that is not above 0 are left out; with
// fewer than two different x it is 0.
func Slope(x, y []float64) float64 {
	var n, sx, sy, sxx, sxy float64
	for i := range min(len(x), len(y)) {
		if x[i] <= 0 || y[i] <= 0 {
			continue
		}
		lx, ly := math.Log(x[i]), math.Log(y[i])
		n++
		sx, sy, sxx, sxy = sx+lx, sy+ly, sxx+lx*lx, sxy+lx*ly
	}
	d := n*sxx - sx*sx
	if n < 2 || d < 1e-9 {
		return 0
	}
	return (n*sxy - sx*sy) / d
}

// Steepest is the largest exponent between two points whose x are at least a factor ten apart, so that a cost which is flat
// at first and explodes at the end is not hidden by the fit over all. ok is false where no two points are so far apart.
func Steepest(x, y []float64) (slope float64, ok bool) {
	slope = math.Inf(-1)
	for i := range min(len(x), len(y)) {
		for j := range i {
			a, b := i, j
			if x[a] > x[b] {
				a, b = b, a
			}
			if x[a] <= 0 || y[a] <= 0 || y[b] <= 0 || x[b] < 10*x[a] {
				continue
			}
			slope, ok = max(slope, math.Log(y[b]/y[a])/math.Log(x[b]/x[a])), true
		}
	}
	if !ok {
		return 0, false
	}
	return slope, true
}
