package transport

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"strings"
	"time"
)

// DialOptions say how Dial connects. The zero value works.
type DialOptions struct {
	Dialer *net.Dialer  // for TCP and Unix sockets: local address, time-outs; default: a zero net.Dialer
	Proxy  *ProxyHeader // is written first; nil: none
	TLS    *tls.Config  // implicit TLS (RFC 8314); nil: none. Its ServerName defaults to the endpoint's host

	// For programs.
	Dir         string        // folder to start in; default: this process's
	Env         []string      // environment, "NAME=value"; nil: this process's, secrets in it included
	Grace       time.Duration // between Close and the killing of the program; default 2 s
	StderrLimit int           // octets of standard error kept, the last ones; default 4096
}

// Dial connects to e. The context ends the connecting and the TLS handshake, and counts no more once Dial has returned.
//
// A program ("exec:") is started without a shell, in a process group of its own where the system has them. Its
// connection's Close closes its input and output, waits for it, kills its group after the grace, and reaps it. Where it
// fails earlier, reads and writes give a *ProgramError with what it wrote to standard error.
func Dial(ctx context.Context, e Endpoint, opts DialOptions) (net.Conn, error) {
	if err := e.CanDial(); err != nil {
		return nil, err
	}
	conn, err := dial(ctx, e, opts)
	if err != nil {
		return nil, fmt.Errorf("transport: dial %q: %w", e.String(), err)
	}
	if opts.Proxy != nil {
		if err := writeHeader(ctx, conn, *opts.Proxy); err != nil {
			conn.Close()
			return nil, fmt.Errorf("transport: dial %q: write the PROXY header: %w", e.String(), err)
		}
	}
	if opts.TLS == nil {
		return conn, nil
	}
	config := opts.TLS
	if config.ServerName == "" && e.Kind == TCP {
		config = config.Clone()
		config.ServerName = strings.TrimSuffix(e.Host, ".")
	}
	return TLSClient(ctx, conn, config)
}

func dial(ctx context.Context, e Endpoint, opts DialOptions) (net.Conn, error) {
	d := opts.Dialer
	if d == nil {
		d = new(net.Dialer)
	}
	switch e.Kind {
	case Exec:
		return dialProgram(ctx, e, opts)
	case Unix:
		return d.DialContext(ctx, "unix", e.Path)
	}
	return d.DialContext(ctx, "tcp", e.String())
}

// writeHeader writes h, at most as long as the context lasts.
func writeHeader(ctx context.Context, conn net.Conn, h ProxyHeader) error {
	header, err := h.Append(nil)
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { conn.SetWriteDeadline(time.Unix(1, 0)) })
	_, err = conn.Write(header)
	if !stop() && ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}
