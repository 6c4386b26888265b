//go:build !unix

package mta

// openFiles is how many files and connections this process may have open, where nobody says.
func openFiles() int { return 1 << 14 }
