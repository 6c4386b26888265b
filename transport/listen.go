package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// probeTime is how long a Unix socket found in the way may take to show that somebody listens on it.
const probeTime = 2 * time.Second

// ErrInUse is wrapped by the error of Listen where another process listens on the Unix socket, or where the path is
// that of something other than a socket.
var ErrInUse = errors.New("the path is in use")

// ListenOptions are the layers of a listener. The zero value has none.
type ListenOptions struct {
	TLS              *tls.Config   // implicit TLS (RFC 8314) on every connection; nil: none
	HandshakeTimeout time.Duration // for TLS, counted from Accept; default 30 s
	Proxy            *ProxyOptions // the PROXY protocol, below TLS; nil: none
}

// Listen listens on e. A Unix socket is made with e's mode and removed by Close; one that a dead process left is
// replaced, one that answers and a file of another kind never. A TCP host that is an IP address is listened on in its
// own family alone; no host means both. The context counts until Listen returns.
func Listen(ctx context.Context, e Endpoint, opts ListenOptions) (net.Listener, error) {
	if err := e.CanListen(); err != nil {
		return nil, err
	}
	l, err := listen(ctx, e)
	if err != nil {
		return nil, fmt.Errorf("transport: listen on %q: %w", e.String(), explain(err, e))
	}
	if opts.Proxy != nil {
		l = ProxyListener(l, *opts.Proxy)
	}
	if opts.TLS != nil {
		l = TLSListener(l, opts.TLS, opts.HandshakeTimeout)
	}
	return l, nil
}

func listen(ctx context.Context, e Endpoint) (net.Listener, error) {
	switch e.Kind {
	case Unix:
		return listenUnix(ctx, e)
	case Systemd:
		return listenSystemd(e.Name, os.Getenv, os.Getpid())
	case StdioKind:
		conn, err := Stdio()
		if err != nil {
			return nil, err
		}
		return newOnce(conn), nil
	}
	network := "tcp"
	if addr, err := netip.ParseAddr(e.Host); err == nil {
		network = "tcp6"
		if addr.Unmap().Is4() {
			network = "tcp4"
		}
	}
	var lc net.ListenConfig
	return lc.Listen(ctx, network, e.String())
}

// explain adds what to do next to the usual failures.
func explain(err error, e Endpoint) error {
	var advice string
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		advice = "another program listens there; stop it or choose another port"
	case errors.Is(err, fs.ErrPermission) && e.Kind == TCP && e.Port < 1024:
		advice = `a port below 1024 needs the capability CAP_NET_BIND_SERVICE, or a socket from systemd ("systemd:")`
	case errors.Is(err, fs.ErrPermission) && e.Kind == Unix:
		advice = "the folder must be writable for this process"
	case errors.Is(err, fs.ErrNotExist) && e.Kind == Unix:
		advice = "make the folder first"
	case errors.Is(err, syscall.EINVAL) && e.Kind == Unix:
		advice = "the path of a Unix socket may have about 100 octets, no more"
	default:
		return err
	}
	return fmt.Errorf("%w; %s", err, advice)
}

// unixListener removes its socket's file at Close, if it is still its own.
type unixListener struct {
	*net.UnixListener
	path string
	file fs.FileInfo
	once sync.Once
}

func listenUnix(ctx context.Context, e Endpoint) (net.Listener, error) {
	var lc net.ListenConfig
	if e.abstract() {
		return lc.Listen(ctx, "unix", e.Path)
	}
	unlock, err := lockFolder(ctx, filepath.Dir(e.Path))
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := removeStale(ctx, e.Path); err != nil {
		return nil, err
	}
	if e.Mode != 0 {
		lc.Control = closeToOthers
	}
	l, err := lc.Listen(ctx, "unix", e.Path)
	if err != nil {
		return nil, err
	}
	u := &unixListener{UnixListener: l.(*net.UnixListener), path: e.Path}
	u.SetUnlinkOnClose(false)
	if e.Mode != 0 {
		err = os.Chmod(e.Path, e.Mode)
	}
	if err == nil {
		u.file, err = os.Lstat(e.Path)
	}
	if err != nil {
		l.Close()
		os.Remove(e.Path)
		return nil, err
	}
	return u, nil
}

// removeStale removes a socket on which nobody listens.
func removeStale(ctx context.Context, path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("%w: %s is there and is not a socket; remove it or choose another path", ErrInUse, path)
	}
	d := net.Dialer{Timeout: probeTime}
	conn, err := d.DialContext(ctx, "unix", path)
	switch {
	case err == nil:
		conn.Close()
		return fmt.Errorf("%w: another process listens on %s; stop it or choose another path", ErrInUse, path)
	case refused(err):
		return os.Remove(path)
	}
	return fmt.Errorf("%w: %s cannot be told to be stale: %w", ErrInUse, path, err)
}

// Close removes the file first: as long as the socket listens, nobody takes it for stale and puts another in its place.
func (l *unixListener) Close() error {
	l.once.Do(func() {
		if now, err := os.Lstat(l.path); err == nil && os.SameFile(now, l.file) {
			os.Remove(l.path)
		}
	})
	return l.UnixListener.Close()
}
