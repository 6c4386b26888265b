package report

import (
	"io"
	"math"
)

// SVG draws the curve with logarithms on both axes, so that a cost in proportion is a straight line with the slope of the
// dashed guide. A first X of 0 stands at the left end.
func (c *Curve) SVG(w io.Writer) error {
	const left, right, top, width, height = 80.0, 130.0, 92.0, 820.0, 480.0
	names, colour := palette(c.Servers)
	var xs, ys []float64
	for _, p := range c.Points {
		if m := Summarize(p.Micros); m.N > 0 && m.Min > 0 {
			ys = append(ys, m.Min, m.Max)
			if p.X > 0 {
				xs = append(xs, p.X)
			}
		}
	}
	canvas := &canvas{width: width, height: height}
	canvas.text(20, 30, 18, "start", ink, ` font-weight="600"`, c.Title)
	canvas.text(20, 50, 12, "start", faint, "", "Processor time of the server for a message; bars from the smallest to the largest run")
	canvas.legend(20, 74, names, colour)
	if len(xs) == 0 {
		canvas.text(width/2, height/2, 14, "middle", faint, "", "no run succeeded")
		return canvas.write(w, c.Title)
	}
	x, y := around(xs, left, width-right), around(ys, height-56, top)
	canvas.frame(x, y, c.Axis)
	if c.Limit >= 0 {
		canvas.guide(x, y)
	}
	for _, name := range names {
		canvas.series(c, name, x, y, colour[name])
	}
	return canvas.write(w, c.Title)
}

// frame draws the grid and both axes.
func (c *canvas) frame(x, y axis, label string) {
	for _, t := range x.ticks() {
		c.line(x.at(t), y.from, x.at(t), y.to, rule, "")
		c.text(x.at(t), y.from+16, 11, "middle", faint, "", number(t))
	}
	for _, t := range y.ticks() {
		c.line(x.from, y.at(t), x.to, y.at(t), rule, "")
		c.text(x.from-8, y.at(t)+4, 11, "end", faint, "", number(t))
	}
	c.line(x.from, y.from, x.to, y.from, faint, "")
	c.line(x.from, y.from, x.from, y.to, faint, "")
	c.text((x.from+x.to)/2, y.from+40, 12, "middle", ink, "", label)
	c.add(`<text transform="translate(22 %.1f) rotate(-90)" font-size="12" text-anchor="middle" fill="%s">µs of CPU for a message</text>`,
		(y.from+y.to)/2, ink)
}

// guide is a dashed line in proportion to x, from the lower left corner as far as the frame goes.
func (c *canvas) guide(x, y axis) {
	reach := math.Min(x.high/x.low, y.high/y.low)
	ex, ey := x.at(x.low*reach), y.at(y.low*reach)
	c.line(x.from, y.from, ex, ey, faint, ` stroke-dasharray="5 4"`)
	c.text(ex+6, ey+12, 11, "start", faint, "", "in proportion")
}

// series draws the points of one server, joined, with the spread of each.
func (c *canvas) series(curve *Curve, server string, x, y axis, colour string) {
	lastX, lastY := math.NaN(), math.NaN()
	for _, p := range curve.Points {
		m := Summarize(p.Micros)
		if p.Server != server || m.N == 0 || m.Min <= 0 {
			continue
		}
		px, py := x.at(math.Max(p.X, x.low)), y.at(m.Median)
		if !math.IsNaN(lastX) {
			c.line(lastX, lastY, px, py, colour, ` stroke-width="2"`)
		}
		c.line(px, y.at(m.Min), px, y.at(m.Max), colour, ` stroke-width="1"`)
		c.add(`<circle cx="%.1f" cy="%.1f" r="3.5" fill="%s"/>`, px, py, colour)
		lastX, lastY = px, py
	}
	if !math.IsNaN(lastX) {
		c.text(lastX+9, lastY+4, 12, "start", colour, ` font-weight="600"`, server)
	}
}
