package report

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
)

// slack is how far a measured exponent may lie above the allowed one: noise, and the logarithm in any sorted store.
const slack = 0.15

// A Curve is how the cost of a message grows with one thing.
type Curve struct {
	Began   time.Time
	Machine Machine
	Name    string // short, for flags and file names: "sessions"
	Title   string // for people: "Cost of a message by the number of sessions"
	Axis    string // what X counts: "sessions"
	Note    string `json:",omitempty"`
	// Limit is the exponent that the cost of one message may grow with: 1 where a message gets larger with X (its size, its
	// recipients), 0 where only what is around it does (sessions, queue, sites). Below 0, the growth is not judged.
	Limit   float64
	Servers []Server
	Points  []Point
}

// A Point is one server at one X. Each run has one value in Micros and Rate.
type Point struct {
	Server string
	X      float64
	Micros []float64 // microseconds of the server's processor time for a message
	Rate   []float64 // messages a second
	Error  string    `json:",omitempty"`
}

// A Verdict says how the cost grew for one server.
type Verdict struct {
	Server   string
	Judged   bool    // false for a curve without a limit, or with fewer than two points
	Slope    float64 // the exponent over all points
	Steepest float64 // the largest over a factor of ten; Slope where the points do not reach that far
	OK       bool    // neither the fit is above the limit nor the steepest part above linear (in X, for a limit of 0 too)
}

// String is the verdict in words.
func (v Verdict) String() string {
	if !v.Judged {
		return fmt.Sprintf("%s: the growth is not judged", v.Server)
	}
	word := "as wanted"
	if !v.OK {
		word = "GROWS TOO FAST"
	}
	return fmt.Sprintf("%s: the cost of a message grows with x^%.2f, at its steepest over a factor of ten with x^%.2f: %s",
		v.Server, v.Slope, v.Steepest, word)
}

// Verdicts judges each server of the curve that has points.
func (c *Curve) Verdicts() []Verdict {
	var all []Verdict
	for _, s := range c.Servers {
		x, y := c.series(s.Name)
		if len(x) == 0 {
			continue
		}
		v := Verdict{Server: s.Name, Judged: c.Limit >= 0 && len(x) > 1, Slope: Slope(x, y)}
		var far bool
		if v.Steepest, far = Steepest(x, y); !far {
			v.Steepest = v.Slope
		}
		v.OK = v.Slope <= c.Limit+slack && v.Steepest <= 1+slack
		all = append(all, v)
	}
	return all
}

// series gives the points of one server with a cost, in their order.
func (c *Curve) series(server string) (x, y []float64) {
	for _, p := range c.Points {
		if m := Summarize(p.Micros); p.Server == server && m.Median > 0 {
			x, y = append(x, p.X), append(y, m.Median)
		}
	}
	return x, y
}

// JSON writes the curve for programs, and for ReadCurve.
func (c *Curve) JSON(w io.Writer) error { return writeJSON(w, c) }

// ReadCurve reads what JSON wrote. Unknown fields are an error.
func ReadCurve(r io.Reader) (*Curve, error) {
	var c Curve
	d := json.NewDecoder(r)
	d.DisallowUnknownFields()
	if err := d.Decode(&c); err != nil {
		return nil, fmt.Errorf("read the curve (is it the JSON that bench curves wrote?): %w", err)
	}
	return &c, nil
}

var curveHeadings = []string{"server", "x", "µs/msg", "min..max", "msg/s", "min..max"}

func (c *Curve) cells() [][]string {
	var lines [][]string
	for _, p := range c.Points {
		m, r := Summarize(p.Micros), Summarize(p.Rate)
		line := []string{p.Server, number(p.X), number(m.Median), number(m.Min) + ".." + number(m.Max), number(r.Median),
			number(r.Min) + ".." + number(r.Max)}
		if m.N == 0 {
			line[2], line[3], line[4], line[5] = "failed", "", "", ""
		}
		lines = append(lines, line)
	}
	return lines
}

func (c *Curve) heads() []string {
	heads := append([]string(nil), curveHeadings...)
	heads[1] = c.Axis
	return heads
}

// remarks are the verdicts, the note, and what failed.
func (c *Curve) remarks() []string {
	var lines []string
	for _, v := range c.Verdicts() {
		lines = append(lines, v.String())
	}
	if c.Note != "" {
		lines = append(lines, c.Note)
	}
	for _, s := range c.Servers {
		if s.Absent != "" {
			lines = append(lines, s.Name+" took no part: "+oneLine(s.Absent))
		}
	}
	for _, p := range c.Points {
		if p.Error != "" {
			lines = append(lines, fmt.Sprintf("%s at %s failed: %s", p.Server, number(p.X), oneLine(p.Error)))
		}
	}
	return lines
}

// Text writes the curve as a table for a terminal, with the verdicts below.
func (c *Curve) Text(w io.Writer) error {
	var b strings.Builder
	b.WriteString(c.Title + "\n\n")
	grid(&b, c.heads(), c.cells(), 1)
	b.WriteString("\n" + strings.Join(c.remarks(), "\n") + "\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// Markdown writes the same for a document.
func (c *Curve) Markdown(w io.Writer) error {
	var b strings.Builder
	b.WriteString("### " + c.Title + "\n\n")
	pipes(&b, c.heads(), c.cells(), 1)
	b.WriteString("\n- " + strings.Join(c.remarks(), "\n- ") + "\n")
	_, err := io.WriteString(w, b.String())
	return err
}
