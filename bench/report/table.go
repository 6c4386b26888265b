package report

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// headings are the columns of the table of results. The first two are words, all others numbers.
var headings = []string{"work", "server", "median", "min..max", "unit", "ratio", "goal", "msg/CPU-s", "CPUs", "load CPUs",
	"peak MiB", "syncs/msg", "p50", "p99"}

// cells gives the table of results, a line for each row of the report.
func (r *Report) cells() [][]string {
	var lines [][]string
	for _, row := range r.Rows() {
		v := row.Value
		line := []string{row.Work.Name, row.Server, number(v.Median), number(v.Min) + ".." + number(v.Max), row.Work.Unit,
			ratio(row), "", known(row.PerCPU), known(row.ServerCPU), known(row.LoadCPU),
			known(float64(row.Peak) / (1 << 20)), "", lasting(row.P50), lasting(row.P99)}
		if v.N == 0 {
			line[2], line[3] = "failed", ""
		}
		if row.Work.Goal > 0 {
			line[6] = goal(row.Work)
		}
		if row.Syncs >= 0 {
			line[11] = strconv.FormatFloat(row.Syncs, 'f', 2, 64)
		}
		lines = append(lines, line)
	}
	return lines
}

// Text writes the report for a terminal: the machine, the servers, the table, the machine's limits and what failed.
func (r *Report) Text(w io.Writer) error {
	var b strings.Builder
	for _, line := range r.head() {
		b.WriteString(line + "\n")
	}
	b.WriteString("\n")
	grid(&b, headings, r.cells(), 2)
	if len(r.Limits) > 0 {
		b.WriteString("\nThe machine without a server:\n")
		grid(&b, []string{"limit", "median", "min..max", "unit"}, r.limitCells(), 1)
	}
	if notes := r.notes(); len(notes) > 0 {
		b.WriteString("\n" + strings.Join(notes, "\n") + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// Markdown writes the same as Text as tables for a document.
func (r *Report) Markdown(w io.Writer) error {
	var b strings.Builder
	for _, line := range r.head() {
		b.WriteString("- " + line + "\n")
	}
	b.WriteString("\n")
	pipes(&b, headings, r.cells(), 2)
	if len(r.Limits) > 0 {
		b.WriteString("\nThe machine without a server:\n\n")
		pipes(&b, []string{"limit", "median", "min..max", "unit"}, r.limitCells(), 1)
	}
	if notes := r.notes(); len(notes) > 0 {
		b.WriteString("\n- " + strings.Join(notes, "\n- ") + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// head says where and with what the report was made.
func (r *Report) head() []string {
	m := r.Machine
	machine := []string{m.OS, m.Kernel, fmt.Sprintf("%d cores", m.Cores), m.CPU}
	if m.Memory > 0 {
		machine = append(machine, number(float64(m.Memory)/(1<<30))+" GiB of memory")
	}
	if m.Disk != "" {
		machine = append(machine, "queues on "+m.Disk)
	}
	lines := []string{"Measured " + r.Began.UTC().Format("2006-01-02 15:04 MST") + " on " + joined(machine)}
	var servers []string
	for _, s := range r.Servers {
		if s.Absent == "" {
			servers = append(servers, strings.TrimSpace(s.Name+" "+s.Version))
		}
	}
	return append(lines, "Servers: "+joined(servers)+". Ratios are to the median of "+r.Reference+
		"; msg/CPU-s is for the server's own processor time; CPUs and load CPUs are how many the server, and source and sink, kept busy.")
}

// notes says what the works mean, who was left out or is less durable, and what failed.
func (r *Report) notes() []string {
	var notes []string
	for _, w := range r.Works {
		note := w.Name + ": " + w.Title
		if w.Generator != "" {
			note += ", by " + w.Generator
		}
		if w.Note != "" {
			note += "; " + w.Note
		}
		notes = append(notes, note+".")
	}
	for _, s := range r.Servers {
		switch {
		case s.Absent != "":
			notes = append(notes, s.Name+" took no part: "+oneLine(s.Absent))
		case s.Durability != "":
			notes = append(notes, s.Name+" "+s.Durability+".")
		}
	}
	for _, row := range r.Rows() {
		if row.Failed > 0 {
			notes = append(notes, fmt.Sprintf("%s by %s failed, runs: %d; the first: %s", row.Work.Name, row.Server, row.Failed, oneLine(row.Error)))
		}
	}
	for _, t := range r.Traces {
		if t.Error != "" {
			notes = append(notes, fmt.Sprintf("the syncs of %s by %s were not counted: %s", t.Work, t.Server, oneLine(t.Error)))
		}
	}
	return notes
}

func (r *Report) limitCells() [][]string {
	var lines [][]string
	for _, l := range r.Limits {
		s := Summarize(l.Values)
		lines = append(lines, []string{l.Title, number(s.Median), number(s.Min) + ".." + number(s.Max), l.Unit})
	}
	return lines
}

// ratio is a row's ratio as it is read: "9.8", and "1/97" where less is better.
func ratio(row Row) string {
	switch {
	case row.Ratio == 0:
		return ""
	case row.Work.Less && row.Ratio >= 1:
		return "1/" + number(row.Ratio)
	case row.Work.Less:
		return number(1 / row.Ratio)
	}
	return number(row.Ratio)
}

func goal(w Work) string {
	if w.Less {
		return "1/" + number(w.Goal)
	}
	return number(w.Goal)
}

// number is a value with three digits that count, and all digits before the point in groups of three: 12,345.
func number(v float64) string {
	a := math.Abs(v)
	switch {
	case v == 0:
		return "0"
	case a < 0.995:
		return strconv.FormatFloat(v, 'f', 2, 64)
	case a < 99.5:
		return strings.TrimSuffix(strconv.FormatFloat(v, 'f', 1, 64), ".0")
	}
	digits := strconv.FormatFloat(v, 'f', 0, 64)
	for at := len(digits) - 3; at > 0 && digits[at-1] != '-'; at -= 3 {
		digits = digits[:at] + "," + digits[at:]
	}
	return digits
}

// known is a number, and "" for 0, which stands for a value that was not measured.
func known(v float64) string {
	if v == 0 {
		return ""
	}
	return number(v)
}

// lasting is a time in milliseconds; "" for none.
func lasting(d time.Duration) string {
	if d == 0 {
		return ""
	}
	return strconv.FormatFloat(float64(d)/1e6, 'f', 2, 64) + " ms"
}

func joined(words []string) string {
	var kept []string
	for _, w := range words {
		if w != "" {
			kept = append(kept, w)
		}
	}
	return strings.Join(kept, ", ")
}

// oneLine is an error as one line of at most 300 octets, cut between characters.
func oneLine(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	if len(text) <= 300 {
		return text
	}
	return strings.ToValidUTF8(text[:300], "") + "..."
}

// grid writes lines in columns; the first `words` of them are aligned left, the others right.
func grid(b *strings.Builder, heads []string, lines [][]string, words int) {
	widths := make([]int, len(heads))
	all := append([][]string{heads}, lines...)
	for _, line := range all {
		for i, cell := range line {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	for _, line := range all {
		var text strings.Builder
		for i, cell := range line {
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if i > 0 {
				text.WriteString("  ")
			}
			if i < words {
				text.WriteString(cell + pad)
			} else {
				text.WriteString(pad + cell)
			}
		}
		b.WriteString(strings.TrimRight(text.String(), " ") + "\n")
	}
}

// pipes writes lines as a table of Markdown.
func pipes(b *strings.Builder, heads []string, lines [][]string, words int) {
	rule := make([]string, len(heads))
	for i := range rule {
		rule[i] = "---:"
		if i < words {
			rule[i] = "---"
		}
	}
	for _, line := range append([][]string{heads, rule}, lines...) {
		var escaped []string
		for _, cell := range line {
			escaped = append(escaped, strings.ReplaceAll(cell, "|", `\|`))
		}
		b.WriteString("| " + strings.Join(escaped, " | ") + " |\n")
	}
}
