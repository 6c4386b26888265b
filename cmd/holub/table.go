package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/term"
)

// column is one column of a table.
type column struct {
	name  string
	right bool // numbers
	flex  bool // may be cut where the terminal is too narrow
	drop  int  // left out where it is still too narrow, the highest number first; 0: never
}

// Bounds of a table.
const (
	pageRows = 500 // rows by which the widths are chosen; those of later pages stay in line as far as they fit
	minFlex  = 10  // to how many characters a column may be cut
)

// table prints rows in columns. On a terminal it keeps to its width; elsewhere nothing is cut.
type table struct {
	w       io.Writer
	columns []column
	width   int // of the terminal; 0: no limit
	shown   []int
	widths  []int
	rows    [][]string
}

func newTable(w io.Writer, columns ...column) *table {
	return &table{w: w, columns: columns, width: terminalWidth(w)}
}

// terminalWidth is that of the terminal behind w; 0 where there is none.
func terminalWidth(w io.Writer) int {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return 0
	}
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0
	}
	return width
}

// add takes a row, with a cell for each column.
func (t *table) add(cells ...string) error {
	for i := range cells {
		if cells[i] = printable([]byte(cells[i])); cells[i] == "" {
			cells[i] = "-"
		}
	}
	if t.rows = append(t.rows, cells); len(t.rows) < pageRows {
		return nil
	}
	return t.flush()
}

// flush prints the rows that were added.
func (t *table) flush() error {
	if len(t.rows) == 0 {
		return nil
	}
	if t.widths == nil {
		t.fit()
		header := make([]string, len(t.columns))
		for i, c := range t.columns {
			header[i] = c.name
		}
		if err := t.print(header); err != nil {
			return err
		}
	}
	for _, row := range t.rows {
		if err := t.print(row); err != nil {
			return err
		}
	}
	t.rows = t.rows[:0]
	return nil
}

// fit chooses which columns are shown, and how wide they are.
func (t *table) fit() {
	t.widths = make([]int, len(t.columns))
	for i, c := range t.columns {
		t.shown = append(t.shown, i)
		t.widths[i] = utf8.RuneCountInString(c.name)
		for _, row := range t.rows {
			t.widths[i] = max(t.widths[i], utf8.RuneCountInString(row[i]))
		}
	}
	if t.width == 0 {
		return
	}
	for t.least() > t.width && t.leaveOut() {
	}
	for t.total() > t.width && t.narrow() {
	}
}

func (t *table) total() int {
	sum := 2 * (len(t.shown) - 1)
	for _, i := range t.shown {
		sum += t.widths[i]
	}
	return sum
}

// least is how narrow the table can be made without leaving a column out.
func (t *table) least() int {
	sum := 2 * (len(t.shown) - 1)
	for _, i := range t.shown {
		if t.columns[i].flex {
			sum += min(t.widths[i], minFlex)
		} else {
			sum += t.widths[i]
		}
	}
	return sum
}

// leaveOut drops the column that is needed least; false: all others are needed.
func (t *table) leaveOut() bool {
	worst := -1
	for k, i := range t.shown {
		if t.columns[i].drop > 0 && (worst < 0 || t.columns[i].drop > t.columns[t.shown[worst]].drop) {
			worst = k
		}
	}
	if worst < 0 {
		return false
	}
	t.shown = append(t.shown[:worst], t.shown[worst+1:]...)
	return true
}

// narrow makes the widest of the columns that may be cut a bit narrower; false: there is none.
func (t *table) narrow() bool {
	widest := -1
	for _, i := range t.shown {
		if t.columns[i].flex && t.widths[i] > minFlex && (widest < 0 || t.widths[i] > t.widths[widest]) {
			widest = i
		}
	}
	if widest < 0 {
		return false
	}
	t.widths[widest]--
	return true
}

func (t *table) print(row []string) error {
	var b strings.Builder
	for k, i := range t.shown {
		cell, c := row[i], t.columns[i]
		if t.width > 0 && c.flex {
			cell = cut(cell, t.widths[i])
		}
		pad := strings.Repeat(" ", max(t.widths[i]-utf8.RuneCountInString(cell), 0))
		if k > 0 {
			b.WriteString("  ")
		}
		switch {
		case c.right:
			b.WriteString(pad + cell)
		case k == len(t.shown)-1:
			b.WriteString(cell)
		default:
			b.WriteString(cell + pad)
		}
	}
	_, err := fmt.Fprintln(t.w, b.String())
	return err
}

// cut shortens s to n characters.
func cut(s string, n int) string {
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	return string([]rune(s)[:n-1]) + "…"
}

// shortDuration writes a duration for people in at most two units: "42s", "3h12m", "5d3h".
func shortDuration(d time.Duration) string {
	d = max(d, 0).Truncate(time.Second)
	const day = 24 * time.Hour
	for _, u := range []struct {
		unit, part time.Duration
		name, sub  string
	}{{day, time.Hour, "d", "h"}, {time.Hour, time.Minute, "h", "m"}, {time.Minute, time.Second, "m", "s"}} {
		if d < u.unit {
			continue
		}
		s := fmt.Sprintf("%d%s", d/u.unit, u.name)
		if rest := d % u.unit / u.part; rest > 0 && d < 100*u.unit {
			s += fmt.Sprintf("%d%s", rest, u.sub)
		}
		return s
	}
	return fmt.Sprintf("%ds", d/time.Second)
}

// until says when a time comes: "in 3h12m", "now".
func until(t, now time.Time) string {
	switch {
	case t.IsZero():
		return ""
	case !t.After(now):
		return "now"
	}
	return "in " + shortDuration(t.Sub(now))
}

// shortSize writes a number of octets for people: "812", "1.2K", "35M".
func shortSize(n int64) string {
	if n < 1000 {
		return fmt.Sprint(n)
	}
	f, unit := float64(n), 0
	for ; f >= 999.5 && unit < 4; unit++ {
		f /= 1024
	}
	if f < 9.95 {
		return fmt.Sprintf("%.1f%c", f, " KMGT"[unit])
	}
	return fmt.Sprintf("%.0f%c", f, " KMGT"[unit])
}

// counted is a number with its noun.
func counted(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// moment writes a time for people.
func moment(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05Z") }
