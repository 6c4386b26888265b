package config

import (
	"fmt"
	"slices"
	"strings"
)

// Error is one thing that is wrong in a configuration file.
type Error struct {
	File   string // as given to Load or Parse
	Line   int    // from 1
	Column int    // from 1, in characters
	Text   string // what is wrong and what to write instead, one line
}

// Error gives FILE:LINE:COLUMN: TEXT.
func (e *Error) Error() string {
	return fmt.Sprintf("%s:%d:%d: %s", e.File, e.Line, e.Column, e.Text)
}

// Errors is all that is wrong in one configuration file, in the order of its lines. It is never empty.
type Errors []*Error

// Error gives one line per error.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, one := range e {
		lines[i] = one.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap gives the errors to errors.As.
func (e Errors) Unwrap() []error {
	all := make([]error, len(e))
	for i, one := range e {
		all[i] = one
	}
	return all
}

// sorted puts the errors in the order of the file.
func (e Errors) sorted() Errors {
	slices.SortStableFunc(e, func(a, b *Error) int {
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return a.Column - b.Column
	})
	return e
}

// instead ends an error about an unknown word: with the nearest known word, or with all of them when none is near.
func instead(word string, known []string) string {
	if near := nearest(word, known); near != "" {
		return fmt.Sprintf("did you mean %q?", near)
	}
	return "known are " + strings.Join(known, ", ")
}

// nearest gives the known word that was most likely meant by word, or "" when none is near.
func nearest(word string, known []string) string {
	word = strings.ToLower(word)
	best, least := "", 1+len(word)/4 // one slip in a short word, two from 4 letters on, three from 8
	if len(word) > 40 {
		return ""
	}
	for _, k := range known {
		d := distance(word, k)
		if len(word) >= 3 && (strings.HasPrefix(k, word) || strings.HasPrefix(word, k)) {
			d = min(d, 1)
		}
		if d <= least && d < len(k) && (best == "" || d < distance(word, best)) {
			best, least = k, d
		}
	}
	return best
}

// distance counts the slips between two words: a letter too many, one missing, one wrong, or two neighbours swapped.
func distance(a, b string) int {
	s, t := []rune(a), []rune(b)
	rows := make([][]int, len(s)+1)
	for i := range rows {
		rows[i] = make([]int, len(t)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(s); i++ {
		for j := 1; j <= len(t); j++ {
			cost := 1
			if s[i-1] == t[j-1] {
				cost = 0
			}
			rows[i][j] = min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+cost)
			if i > 1 && j > 1 && s[i-1] == t[j-2] && s[i-2] == t[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(s)][len(t)]
}
