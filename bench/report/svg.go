package report

import (
	"encoding/xml"
	"fmt"
	"io"
	"math"
	"strings"
)

// colours of the servers, in their order: they can be told apart by those who see few colours, too.
var colours = []string{"#0b6ea8", "#d9822b", "#5b8c5a", "#8a6fae", "#7a7a7a", "#b5504c"}

const (
	fonts = `system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif`
	ink   = "#222222"
	faint = "#6b6b6b"
	rule  = "#dddddd"
)

// canvas collects the elements of one chart.
type canvas struct {
	b             strings.Builder
	width, height float64
}

func (c *canvas) add(format string, args ...any) { fmt.Fprintf(&c.b, format+"\n", args...) }

func (c *canvas) line(x1, y1, x2, y2 float64, colour, more string) {
	c.add(`<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="%s"%s/>`, x1, y1, x2, y2, colour, more)
}

// text writes words at a point; anchor is start, middle or end.
func (c *canvas) text(x, y, size float64, anchor, colour, more, words string) {
	c.add(`<text x="%.1f" y="%.1f" font-size="%.0f" text-anchor="%s" fill="%s"%s>%s</text>`, x, y, size, anchor, colour, more,
		escaped(words))
}

func escaped(words string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(words)) // a Builder takes everything
	return b.String()
}

// write gives the whole file. title is read out to those who can't see the chart.
func (c *canvas) write(w io.Writer, title string) error {
	_, err := fmt.Fprintf(w, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.0f %.0f" width="%.0f" height="%.0f" role="img" font-family="%s">
<title>%s</title>
<rect width="100%%" height="100%%" fill="#ffffff"/>
%s</svg>
`, c.width, c.height, c.width, c.height, fonts, escaped(title), c.b.String())
	return err
}

// legend names the servers by their colours from x on.
func (c *canvas) legend(x, y float64, servers []string, colour map[string]string) {
	for _, s := range servers {
		c.add(`<rect x="%.1f" y="%.1f" width="11" height="11" rx="2" fill="%s"/>`, x, y-10, colour[s])
		c.text(x+16, y, 12, "start", ink, "", s)
		x += 34 + 7*float64(len(s))
	}
}

// An axis maps values to places, by their logarithms.
type axis struct{ low, high, from, to float64 }

func (a axis) at(v float64) float64 {
	v = min(max(v, a.low), a.high)
	return a.from + (a.to-a.from)*math.Log(v/a.low)/math.Log(a.high/a.low)
}

// ticks are the round values from low to high: 1, 2, 5, 10, or powers of ten only where those would be too many.
func (a axis) ticks() []float64 {
	steps := []float64{1, 2, 5}
	if a.high/a.low > 2000 {
		steps = steps[:1]
	}
	var all []float64
	for p := math.Floor(math.Log10(a.low)); p <= math.Ceil(math.Log10(a.high)); p++ {
		for _, s := range steps {
			if v := s * math.Pow(10, p); v >= a.low*0.999 && v <= a.high*1.001 {
				all = append(all, v)
			}
		}
	}
	return all
}

// around is an axis that all values lie on, from one round value to another.
func around(values []float64, from, to float64) axis {
	low, high := math.Inf(1), math.Inf(-1)
	for _, v := range values {
		low, high = min(low, v), max(high, v)
	}
	return axis{roundDown(low), roundUp(high), from, to}
}

func roundDown(v float64) float64 {
	p := math.Pow(10, math.Floor(math.Log10(v)))
	for _, s := range []float64{5, 2} {
		if v >= s*p {
			return s * p
		}
	}
	return p
}

func roundUp(v float64) float64 {
	p := math.Pow(10, math.Floor(math.Log10(v)))
	for _, s := range []float64{1, 2, 5} {
		if v < s*p*0.999 {
			return s * p
		}
	}
	return 10 * p
}

// palette gives each server its colour.
func palette(servers []Server) (names []string, colour map[string]string) {
	colour = map[string]string{}
	for _, s := range servers {
		if s.Absent == "" {
			colour[s.Name] = colours[len(names)%len(colours)]
			names = append(names, s.Name)
		}
	}
	return names, colour
}

// SVG draws the report as bars: for each work how many times better or worse each server is than the reference, with the
// goal as a mark. Runs that failed have no bar.
func (r *Report) SVG(w io.Writer) error {
	const left, right, top, bar, gap, width = 250.0, 150.0, 92.0, 17.0, 18.0, 900.0
	rows := r.Rows()
	names, colour := palette(r.Servers)
	values := []float64{0.5, 2}
	for _, row := range rows {
		if row.Ratio > 0 {
			values = append(values, row.Ratio)
		}
		if row.Work.Goal > 0 {
			values = append(values, row.Work.Goal)
		}
	}
	x := around(values, left, width-right)
	bottom := top + float64(len(rows))*bar + float64(len(r.Works))*gap
	c := &canvas{width: width, height: bottom + 46}
	title := "Mail servers against " + r.Reference
	c.text(20, 30, 18, "start", ink, ` font-weight="600"`, title)
	c.text(20, 50, 12, "start", faint, "", strings.Join(r.head()[:1], ""))
	c.legend(20, 74, names, colour)
	for _, t := range x.ticks() {
		more, colour := "", rule
		if t == 1 {
			more, colour = ` stroke-width="1.5"`, faint
		}
		c.line(x.at(t), top, x.at(t), bottom, colour, more)
		c.text(x.at(t), bottom+16, 11, "middle", faint, "", factor(t))
	}
	c.text((x.from+x.to)/2, bottom+36, 12, "middle", ink, "", "times as good as "+r.Reference+" (median of runs, logarithmic); dashed: goal")
	y := top + gap/2
	for _, work := range r.Works {
		y = c.group(work, rows, x, y, bar, colour) + gap
	}
	return c.write(w, title)
}

// group draws the bars of one work from y on and gives where they end.
func (c *canvas) group(work Work, rows []Row, x axis, y, bar float64, colour map[string]string) float64 {
	begin := y
	for _, row := range rows {
		if row.Work.Name != work.Name {
			continue
		}
		label, end := "failed", x.at(1)
		if row.Value.N > 0 {
			label = number(row.Value.Median) + " " + work.Unit
		}
		if row.Ratio > 0 {
			from := min(x.at(1), x.at(row.Ratio))
			end = max(x.at(1), x.at(row.Ratio))
			c.add(`<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" rx="2" fill="%s"/>`, from, y+1, max(end-from, 2), bar-3,
				colour[row.Server])
			label = factor(row.Ratio) + ", " + label
		}
		c.text(end+6, y+bar-5, 11, "start", ink, "", label)
		y += bar
	}
	if work.Goal > 0 {
		c.line(x.at(work.Goal), begin-3, x.at(work.Goal), y+2, ink, ` stroke-width="1.5" stroke-dasharray="4 3"`)
	}
	c.text(x.from-12, (begin+y)/2+4, 12, "end", ink, "", work.Name)
	return y
}

func factor(v float64) string { return number(v) + "×" }
