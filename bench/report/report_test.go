package report

import (
	"bytes"
	"encoding/xml"
	"errors"
	"flag"
	"io"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the golden files anew")

// sitting is a small report with everything in it: a reference, a failed run, an absent server, a work where less is better.
func sitting() *Report {
	began := time.Date(2026, 3, 1, 12, 30, 0, 0, time.UTC)
	r := &Report{Began: began, Reference: "postfix",
		Machine: Machine{OS: "Debian 12", Kernel: "6.1", CPU: "some CPU", Cores: 2, Memory: 8 << 30, Disk: "ext4"},
		Servers: []Server{{Name: "holub", Version: "1.0"}, {Name: "postfix", Version: "3.7", Durability: "syncs now and then"}, {Name: "exim", Absent: "no\nnetwork & <more>"}},
		Works: []Work{
			{Name: "relay", Title: "4 KiB from 20 sessions to the next hop", Unit: "msg/s", Goal: 10, Generator: "smtp-source"},
			{Name: "idle", Title: "memory", Unit: "MiB", Goal: 100, Less: true, Note: "after EHLO | quiet"}},
		Limits: []Limit{{Title: "source to sink", Unit: "msg/s", Values: []float64{26000, 25000, 27000}}},
		Traces: []Trace{{Work: "relay", Server: "holub", Messages: 500, Syncs: 100}, {Work: "relay", Server: "postfix", Error: "no strace"}},
	}
	for round, rate := range []float64{8000, 7000, 9000} {
		r.Runs = append(r.Runs,
			Run{Work: "relay", Server: "holub", Round: round + 1, Messages: 40000, Recipients: 40000, Seconds: 40000 / rate, Value: rate,
				ServerCPU: 5, SourceCPU: 2, SinkCPU: 1, Peak: 60 << 20, P50: 1500 * time.Microsecond, P99: 8 * time.Millisecond},
			Run{Work: "relay", Server: "postfix", Round: round + 1, Messages: 4000, Recipients: 4000, Seconds: 5, Value: rate / 10,
				ServerCPU: 8, Peak: 90 << 20})
	}
	r.Runs = append(r.Runs, Run{Work: "relay", Server: "postfix", Round: 4, Error: "the sink has 3 messages\ntoo few"},
		Run{Work: "idle", Server: "holub", Round: 1, Value: 40}, Run{Work: "idle", Server: "postfix", Round: 1, Value: 3000})
	return r
}

func growth() *Curve {
	c := &Curve{Name: "sessions", Title: "Cost by sessions", Axis: "sessions", Limit: 0, Note: "a note",
		Servers: []Server{{Name: "holub"}, {Name: "postfix"}}}
	for _, x := range []float64{1, 10, 100, 1000} {
		c.Points = append(c.Points, Point{Server: "holub", X: x, Micros: []float64{100, 110, 90}, Rate: []float64{9000, 8000, 9500}},
			Point{Server: "postfix", X: x, Micros: []float64{1000 * math.Pow(x, 0.5)}, Rate: []float64{500}})
	}
	c.Points[7].Micros, c.Points[7].Error = nil, "too many processes"
	return c
}

func TestSummarize(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   Summary
	}{
		{nil, Summary{}},
		{[]float64{5}, Summary{1, 5, 5, 5}},
		{[]float64{9, 1, 4}, Summary{3, 4, 1, 9}},
		{[]float64{8, 1, 4, 2}, Summary{4, 3, 1, 8}},
	} {
		before := append([]float64(nil), c.values...)
		if got := Summarize(c.values); got != c.want {
			t.Errorf("Summarize(%v) = %+v, want %+v", c.values, got, c.want)
		}
		if !reflect.DeepEqual(before, c.values) {
			t.Errorf("the values were changed to %v", c.values)
		}
	}
	if got := (Summary{N: 3, Median: 4, Min: 3, Max: 5}).Spread(); got != 0.5 {
		t.Errorf("spread %v, want 0.5", got)
	}
}

// TestSlope: a power law is found again, whatever its factor, and points without a logarithm do not matter.
func TestSlope(t *testing.T) {
	for _, p := range []float64{0, 0.3, 1, 2} {
		x, y := []float64{0, 1, 10, 50, 1000}, []float64{7}
		for _, v := range x[1:] {
			y = append(y, 42*math.Pow(v, p))
		}
		if got := Slope(x, y); math.Abs(got-p) > 1e-9 {
			t.Errorf("slope %v, want %v", got, p)
		}
		if got, ok := Steepest(x, y); !ok || math.Abs(got-p) > 1e-9 {
			t.Errorf("steepest %v %v, want %v", got, ok, p)
		}
	}
	if got := Slope([]float64{5, 5}, []float64{1, 9}); got != 0 {
		t.Errorf("slope over one x: %v", got)
	}
	if _, ok := Steepest([]float64{1, 9}, []float64{1, 9}); ok {
		t.Error("two points a factor nine apart have a steepest part over a factor ten")
	}
	// Flat over four decades and quadratic in the last: the fit alone hides it.
	x, y := []float64{1, 10, 100, 1000, 10000}, []float64{100, 100, 100, 100, 10000}
	if got, _ := Steepest(x, y); math.Abs(got-2) > 1e-9 {
		t.Errorf("steepest %v, want 2", got)
	}
}

func TestRows(t *testing.T) {
	rows := sitting().Rows()
	if len(rows) != 4 {
		t.Fatalf("%d rows, want 4: %+v", len(rows), rows)
	}
	holub, postfix, idle := rows[0], rows[1], rows[2]
	if holub.Ratio != 10 || holub.PerCPU != 8000 || holub.Syncs != 0.2 || holub.Peak != 60<<20 || holub.P99 != 8*time.Millisecond {
		t.Errorf("holub: %+v", holub)
	}
	if holub.ServerCPU != 1 || math.Abs(holub.LoadCPU-0.6) > 1e-9 {
		t.Errorf("processors kept busy: %v and %v, want 1 and 0.6", holub.ServerCPU, holub.LoadCPU)
	}
	if postfix.Ratio != 1 || postfix.Failed != 1 || postfix.Syncs >= 0 || postfix.Value.N != 3 {
		t.Errorf("postfix: %+v", postfix)
	}
	if idle.Ratio != 75 {
		t.Errorf("40 MiB against 3000 is %v times better, want 75", idle.Ratio)
	}
}

// TestRatioNeedsReference: without a result of the reference there is no ratio, and no division by zero.
func TestRatioNeedsReference(t *testing.T) {
	r := sitting()
	for i := range r.Runs {
		if r.Runs[i].Server == "postfix" {
			r.Runs[i].Error = "did not start"
		}
	}
	for _, row := range r.Rows() {
		if row.Ratio != 0 || math.IsNaN(row.Ratio) {
			t.Errorf("%s by %s: ratio %v", row.Work.Name, row.Server, row.Ratio)
		}
	}
	for _, show := range []func(io.Writer) error{r.Text, r.SVG, r.Markdown} {
		if err := show(io.Discard); err != nil {
			t.Error(err)
		}
	}
}

func TestVerdicts(t *testing.T) {
	c := growth()
	v := c.Verdicts()
	if len(v) != 2 || !v[0].OK || v[1].OK || math.Abs(v[1].Slope-0.5) > 1e-9 {
		t.Errorf("%+v", v)
	}
	c.Limit = 1
	if v := c.Verdicts(); !v[1].OK {
		t.Errorf("x^0.5 where x^1 is allowed: %v", v[1])
	}
	c.Limit = -1
	if v := c.Verdicts(); v[0].Judged || !strings.Contains(v[0].String(), "not judged") {
		t.Errorf("%+v", v[0])
	}
}

func TestGolden(t *testing.T) {
	for name, show := range map[string]func(io.Writer) error{
		"report.txt": sitting().Text, "report.md": sitting().Markdown, "report.svg": sitting().SVG,
		"curve.txt": growth().Text, "curve.md": growth().Markdown, "curve.svg": growth().SVG,
	} {
		var got bytes.Buffer
		if err := show(&got); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		path := filepath.Join("testdata", name)
		if *update {
			if err := os.WriteFile(path, got.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got.Bytes(), want) {
			t.Errorf("%s is not as in testdata (run with -update and look at the difference):\n%s", name, got.String())
		}
		if strings.HasSuffix(name, ".svg") {
			wellFormed(t, name, got.Bytes())
		}
	}
}

// wellFormed parses a chart and looks for what must not be in it.
func wellFormed(t *testing.T, name string, text []byte) {
	t.Helper()
	d := xml.NewDecoder(bytes.NewReader(text))
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if e, ok := token.(xml.StartElement); ok && (e.Name.Local == "script" || e.Name.Local == "image") {
			t.Errorf("%s has a %s", name, e.Name.Local)
		}
	}
	if bytes.Contains(text, []byte("NaN")) || bytes.Contains(text, []byte("Inf")) {
		t.Errorf("%s has places that are no numbers", name)
	}
}

// TestCurveWithoutPoints: a chart of nothing says so.
func TestCurveWithoutPoints(t *testing.T) {
	c := &Curve{Title: "nothing", Servers: []Server{{Name: "holub"}}, Points: []Point{{Server: "holub", X: 1, Error: "x"}}}
	var b bytes.Buffer
	if err := c.SVG(&b); err != nil || !strings.Contains(b.String(), "no run succeeded") {
		t.Errorf("%v\n%s", err, b.String())
	}
	wellFormed(t, "empty", b.Bytes())
}

func TestJSON(t *testing.T) {
	var b bytes.Buffer
	r := sitting()
	if err := r.JSON(&b); err != nil {
		t.Fatal(err)
	}
	got, err := Read(&b)
	if err != nil || !reflect.DeepEqual(got, r) {
		t.Errorf("%v\n%+v\nwant\n%+v", err, got, r)
	}
	c := growth()
	if err := c.JSON(&b); err != nil {
		t.Fatal(err)
	}
	again, err := ReadCurve(&b)
	if err != nil || !reflect.DeepEqual(again, c) {
		t.Errorf("%v\n%+v\nwant\n%+v", err, again, c)
	}
	for _, text := range []string{"", "[]", `{"Unheard": 1}`} {
		if _, err := Read(strings.NewReader(text)); err == nil {
			t.Errorf("%q was read as a report", text)
		}
		if _, err := ReadCurve(strings.NewReader(text)); err == nil {
			t.Errorf("%q was read as a curve", text)
		}
	}
}

func TestNumber(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 0.204: "0.20", 1: "1", 9.84: "9.8", 99.7: "100", 123.4: "123", 12345.6: "12,346",
		1234567: "1,234,567", -1234: "-1,234", -123: "-123"} {
		if got := number(v); got != want {
			t.Errorf("number(%v) = %q, want %q", v, got, want)
		}
	}
}
