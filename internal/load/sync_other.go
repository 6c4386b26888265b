//go:build !linux

package load

import "os"

// dataSync syncs a file.
func dataSync(f *os.File) error { return f.Sync() }
