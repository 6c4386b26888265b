package load

import (
	"math/bits"
	"time"
)

// latencies is a histogram of durations. A bucket is at most 1/32 as wide as its durations are long, so a quantile is
// right to 3 %; the longest is exact.
type latencies struct {
	buckets [60 * fine]uint32
	count   int
	longest time.Duration
}

const (
	fineBits = 5
	fine     = 1 << fineBits // buckets for each doubling
)

func (l *latencies) add(d time.Duration) {
	l.buckets[bucketOf(d)]++
	l.count++
	l.longest = max(l.longest, d)
}

// bucketOf gives durations below 32 ns a bucket each, and each doubling after them 32.
func bucketOf(d time.Duration) int {
	n := uint64(max(d, 0))
	if n < fine {
		return int(n)
	}
	shift := bits.Len64(n) - fineBits - 1
	return shift*fine + int(n>>shift)
}

// upperOf is the longest duration of a bucket.
func upperOf(bucket int) time.Duration {
	if bucket < fine {
		return time.Duration(bucket)
	}
	shift := bucket/fine - 1
	return time.Duration((uint64(bucket-shift*fine)+1)<<shift - 1)
}

// merge adds all of another histogram.
func (l *latencies) merge(other *latencies) {
	for i, n := range other.buckets {
		l.buckets[i] += n
	}
	l.count += other.count
	l.longest = max(l.longest, other.longest)
}

// quantile is a duration that the share q of all, from 0 to 1, did not exceed; 0 where there are none.
func (l *latencies) quantile(q float64) time.Duration {
	left := max(int(q*float64(l.count)+0.999999), 1)
	for i, n := range l.buckets {
		if left -= int(n); left <= 0 {
			return min(upperOf(i), l.longest)
		}
	}
	return l.longest
}
