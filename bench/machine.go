package main

import (
	"os"
	"runtime"
	"strconv"
	"strings"

	"github.com/holub-mail/holub/bench/report"
)

// machine describes this computer, as far as it tells.
func machine(disk string) report.Machine {
	m := report.Machine{OS: runtime.GOOS, CPU: field("/proc/cpuinfo", "model name", ":"), Cores: runtime.NumCPU(), Disk: disk}
	if name := strings.Trim(field("/etc/os-release", "PRETTY_NAME", "="), `"`); name != "" {
		m.OS = name
	}
	if kernel, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		m.Kernel = strings.TrimSpace(string(kernel))
	}
	kb, err := strconv.ParseInt(strings.TrimSuffix(field("/proc/meminfo", "MemTotal", ":"), " kB"), 10, 64)
	if err == nil {
		m.Memory = kb << 10
	}
	return m
}

// field is the value of the first line of a file that begins with the key; "" where there is none.
func field(path, key, separator string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(text)) {
		k, v, ok := strings.Cut(line, separator)
		if ok && strings.TrimSpace(k) == key {
			return strings.TrimSpace(v)
		}
	}
	return ""
}
