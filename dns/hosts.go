package dns

import (
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"
)

// hosts is the hosts file of the machine, read again when it changes.
type hosts struct {
	path  string
	mu    sync.Mutex
	mtime time.Time
	size  int64
	names map[string][]netip.Addr
}

// lookup gives the addresses of a name, or nothing.
func (h *hosts) lookup(name string) []netip.Addr {
	h.mu.Lock()
	defer h.mu.Unlock()
	st, err := os.Stat(h.path)
	if err != nil {
		return nil
	}
	if h.names == nil || !st.ModTime().Equal(h.mtime) || st.Size() != h.size {
		text, err := os.ReadFile(h.path)
		if err != nil {
			return nil
		}
		h.names, h.mtime, h.size = parseHosts(string(text)), st.ModTime(), st.Size()
	}
	addrs := h.names[strings.ToLower(strings.TrimSuffix(name, "."))]
	return append([]netip.Addr(nil), addrs...)
}

// parseHosts reads lines of an address and its names; "#" starts a comment, and what is no address is passed over.
func parseHosts(text string) map[string][]netip.Addr {
	names := map[string][]netip.Addr{}
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		addr, err := netip.ParseAddr(fields[0])
		if err != nil {
			continue
		}
		for _, name := range fields[1:] {
			name = strings.ToLower(strings.TrimSuffix(name, "."))
			names[name] = append(names[name], addr.Unmap())
		}
	}
	return names
}
