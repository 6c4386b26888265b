//go:build !linux

package main

// calmMonitor does nothing: only Linux lets a thread's sleep be stretched.
func calmMonitor() error { return nil }
