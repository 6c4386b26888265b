package config

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/holub-mail/holub/transport"
)

// maxPEM is the largest file of a certificate or key that is read, in octets.
const maxPEM = 1 << 20

// Endpoint is the address as transport.Listen takes it. An address that stands for all of the machine has no host.
func (l Listen) Endpoint() (transport.Endpoint, error) {
	return parseListenAddress(l.Address)
}

// LoadCertificate reads the certificate with its chain, and the key. It may be called again when the files have changed.
func (l Listen) LoadCertificate() (tls.Certificate, error) {
	for _, path := range []string{l.Certificate, l.Key} {
		if err := checkPEM(path); err != nil {
			return tls.Certificate{}, err
		}
	}
	return l.loadPair()
}

func (l Listen) loadPair() (tls.Certificate, error) {
	pair, err := tls.LoadX509KeyPair(l.Certificate, l.Key)
	if err != nil {
		return pair, fmt.Errorf("cannot use the certificate %s with the key %s: %w",
			quoteShort(l.Certificate), quoteShort(l.Key), err)
	}
	return pair, nil
}

// checkPEM refuses what is no plain file of a sane size: reading a pipe or a device might never end.
func checkPEM(path string) error {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("there is no file %s; write the path of a PEM file: %w", quoteShort(path), fs.ErrNotExist)
	case err != nil:
		return fmt.Errorf("cannot read %s: %w", quoteShort(path), err)
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s is not a plain file; write the path of a PEM file", quoteShort(path))
	case info.Size() > maxPEM:
		return fmt.Errorf("%s is larger than %s; check that it is a PEM file", quoteShort(path), formatSize(maxPEM))
	}
	return nil
}

// checkListenAddress refuses what can't be listened on.
func checkListenAddress(s string) error {
	_, err := parseListenAddress(s)
	return err
}

// parseListenAddress reads the address of a listener. An address that stands for all of the machine comes back without
// a host: ":25", "0.0.0.0:25" and "[::]:25" are one to Go and to most systems.
func parseListenAddress(s string) (transport.Endpoint, error) {
	switch word, _, _ := strings.Cut(s, ":"); transport.Kind(word) {
	case transport.Unix, transport.Systemd:
		e, err := transport.ParseEndpoint(s)
		if err != nil {
			return e, fmt.Errorf("%s: %w", quoteShort(s), reason(err))
		}
		return e, nil
	case transport.StdioKind, transport.Exec:
		return transport.Endpoint{}, fmt.Errorf("%s can't be listened on; to serve one session on standard input and "+
			"output run \"holub session\"", quoteShort(s))
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return transport.Endpoint{}, fmt.Errorf("%s is not an address with a port; "+
			"write one such as \"127.0.0.1:2525\", \"[::1]:2525\", \":25\" or \"unix:/run/holub/smtp.sock\"", quoteShort(s))
	}
	p, err := parsePort(port, 0)
	if err != nil {
		return transport.Endpoint{}, fmt.Errorf("%s: %w", quoteShort(s), err)
	}
	e := transport.Endpoint{Kind: transport.TCP, Port: p}
	if host == "" {
		return e, nil
	}
	a, err := netip.ParseAddr(host)
	if err != nil {
		return e, fmt.Errorf("%s: %s is not an IP address; write one such as 127.0.0.1 or [::1], "+
			"or only \":%d\" for all of the machine", quoteShort(s), quoteShort(host), p)
	}
	if a = a.Unmap(); !a.IsUnspecified() {
		e.Host = a.String()
	}
	if err := e.CanListen(); err != nil {
		return e, fmt.Errorf("%s: %w", quoteShort(s), reason(err))
	}
	return e, nil
}

// checkListeners looks at each listener whole, and at the addresses of all.
func (r *reader) checkListeners(all []Listen) {
	first := map[string]string{}
	for i, l := range all {
		key := fmt.Sprintf("listen[%d]", i)
		r.checkTLS(key, l)
		address := key + ".address"
		if !r.given(address) {
			continue
		}
		e, err := parseListenAddress(l.Address)
		if err != nil {
			continue
		}
		if l.Role == RoleLMTP && r.given(key+".role") {
			r.checkLMTP(key, e, l)
		}
		taken, clash := places(e)
		for _, where := range clash {
			if old, there := first[where]; there {
				r.fail(address, r.at[address], "%s: %s is the same address as %s at line %d; each listener needs its own",
					address, quoteShort(l.Address), old, r.at[old].line)
				break
			}
		}
		for _, where := range taken {
			if first[where] == "" {
				first[where] = address
			}
		}
	}
}

// places gives the names that a listener takes, and those that no listener before it may have taken.
func places(e transport.Endpoint) (taken, clash []string) {
	switch {
	case e.Kind == transport.TCP && e.Port == 0: // any free one
		return nil, nil
	case e.Kind == transport.TCP:
		taken = []string{net.JoinHostPort(e.Host, strconv.Itoa(int(e.Port)))}
	case e.Kind == transport.Systemd && e.Name == "": // all of its sockets
		return []string{"systemd:"}, []string{"systemd:", "some of systemd"}
	case e.Kind == transport.Systemd:
		return []string{"systemd:" + e.Name, "some of systemd"}, []string{"systemd:" + e.Name, "systemd:"}
	case strings.HasPrefix(e.Path, "@"):
		taken = []string{"unix:" + e.Path}
	default:
		taken = []string{"unix:" + filepath.Clean(e.Path)}
	}
	return taken, taken
}

// checkLMTP keeps LMTP away from the world.
func (r *reader) checkLMTP(key string, e transport.Endpoint, l Listen) {
	if e.Kind != transport.TCP {
		return
	}
	address := key + ".address"
	if e.Port == portSMTP { // RFC 2033 5
		r.fail(address, r.at[address], "%s: LMTP must not be spoken at port 25 (RFC 2033 5); "+
			"write another one, such as 24, or a Unix socket", address)
	}
	a, err := netip.ParseAddr(e.Host)
	if (err != nil || !a.IsLoopback()) && len(l.Networks) == 0 && !r.bad[key+".networks"] {
		r.fail(address, r.at[address], "%s: LMTP at %s would be open to everyone; write networks with those who may speak "+
			"it, or listen on 127.0.0.1 or a Unix socket", address, quoteShort(l.Address))
	}
}

// checkTLS wants a certificate and a key that load where there is TLS, and none where there is not.
func (r *reader) checkTLS(key string, l Listen) {
	mode, names := key+".tls", []string{key + ".certificate", key + ".key"}
	if r.bad[mode] || r.bad[names[0]] || r.bad[names[1]] {
		return
	}
	if l.TLS == ListenPlain {
		for _, name := range names {
			if r.given(name) {
				r.fail(name, r.at[name], "%s is of no use with tls = \"none\"; write tls = \"starttls\" or \"implicit\" "+
					"beside it", name)
			}
		}
		return
	}
	good := true
	for i, path := range []string{l.Certificate, l.Key} {
		if path == "" {
			r.fail(names[i], r.at[mode], "%s: tls = %s needs a certificate and a key; there is no %q", key, quote(string(l.TLS)),
				strings.TrimPrefix(names[i], key+"."))
			good = false
		} else if err := checkPEM(path); err != nil {
			r.fail(names[i], r.at[names[i]], "%s: %v", names[i], err)
			good = false
		}
	}
	if !good {
		return
	}
	if _, err := l.loadPair(); err != nil {
		name := names[0]
		if path := (*fs.PathError)(nil); errors.As(err, &path) && path.Path == l.Key {
			name = names[1]
		}
		r.fail(name, r.at[name], "%s: %v", name, err)
	}
}
