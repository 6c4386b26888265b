package transport

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// addressed is a listener in memory whose connections come from an address.
type addressed struct {
	*MemoryListener
	from net.Addr
}

type addressedConn struct {
	net.Conn
	from net.Addr
}

func (l addressed) Accept() (net.Conn, error) {
	conn, err := l.MemoryListener.Accept()
	return addressedConn{conn, l.from}, err
}

func (c addressedConn) RemoteAddr() net.Addr { return c.from }

// proxied gives both ends of a connection through a listener with the PROXY protocol; from is where it comes from.
func proxied(t *testing.T, from net.Addr, opts ProxyOptions) (client, server net.Conn) {
	t.Helper()
	l := NewMemoryListener("memory")
	client, err := l.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	server, err = ProxyListener(addressed{l, from}, opts).Accept()
	if err != nil {
		t.Fatal(err)
	}
	return client, server
}

func tcpAddr(s string) net.Addr { return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(s)) }

var (
	theProxy = tcpAddr("10.0.0.9:40000")
	fromTen  = ProxyOptions{Trusted: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, HeaderTimeout: 3 * time.Second}
)

func TestProxyAddresses(t *testing.T) {
	for name, tt := range map[string]struct {
		header        ProxyHeader
		remote, local string
	}{
		"version 1": {ProxyHeader{1, somebody.Source, somebody.Destination}, "192.0.2.7:4711", "198.51.100.1:25"},
		"version 2": {ProxyHeader{2, somebody.Source, somebody.Destination}, "192.0.2.7:4711", "198.51.100.1:25"},
		"default":   {somebody, "192.0.2.7:4711", "198.51.100.1:25"},
		"UNKNOWN":   {ProxyHeader{Version: 1}, "10.0.0.9:40000", "memory"},
		"LOCAL":     {ProxyHeader{Version: 2}, "10.0.0.9:40000", "memory"},
	} {
		t.Run(name, func(t *testing.T) {
			client, server := proxied(t, theProxy, fromTen)
			defer client.Close()
			defer server.Close()
			header, err := tt.header.Append(nil)
			if err != nil {
				t.Fatal(err)
			}
			// One octet after the other, and what follows at once with the last.
			for i := range header[:len(header)-1] {
				if _, err := client.Write(header[i : i+1]); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := client.Write(append(header[len(header)-1:], "EHLO a\r\n"...)); err != nil {
				t.Fatal(err)
			}
			if got := server.RemoteAddr().String(); got != tt.remote {
				t.Errorf("the remote address is %s, want %s", got, tt.remote)
			}
			if got := server.LocalAddr().String(); got != tt.local {
				t.Errorf("the local address is %s, want %s", got, tt.local)
			}
			if err := closeWrite(client); err != nil {
				t.Error(err)
			}
			if got, err := io.ReadAll(server); err != nil || string(got) != "EHLO a\r\n" {
				t.Errorf("read %q, %v", got, err)
			}
		})
	}
}

// TestProxyTrust: who is believed, who is served as he is, who is refused.
func TestProxyTrust(t *testing.T) {
	mapped := tcpAddr("[::ffff:10.1.2.3]:1")
	unix := &net.UnixAddr{Net: "unix"}
	for name, tt := range map[string]struct {
		from    net.Addr
		opts    ProxyOptions
		trusted bool
	}{
		"inside":                 {theProxy, fromTen, true},
		"inside, mapped":         {mapped, fromTen, true},
		"outside":                {tcpAddr("11.0.0.1:1"), fromTen, false},
		"outside, IPv6":          {tcpAddr("[2001:db8::1]:1"), fromTen, false},
		"nobody is trusted":      {theProxy, ProxyOptions{}, false},
		"Unix socket":            {unix, fromTen, false},
		"Unix socket, trusted":   {unix, ProxyOptions{TrustUnnamed: true}, true},
		"TCP is not Unix socket": {theProxy, ProxyOptions{TrustUnnamed: true}, false},
	} {
		client, server := proxied(t, tt.from, tt.opts)
		if err := writeHeader(t.Context(), client, ProxyHeader{1, somebody.Source, somebody.Destination}); err != nil {
			t.Fatal(err)
		}
		client.Close()
		got, err := io.ReadAll(server)
		want, wantAddr := "PROXY TCP4 192.0.2.7 198.51.100.1 4711 25\r\n", tt.from.String()
		if tt.trusted {
			want, wantAddr = "", "192.0.2.7:4711"
		}
		if err != nil || string(got) != want || server.RemoteAddr().String() != wantAddr {
			t.Errorf("%s: read %q, %v from %s; want %q from %s", name, got, err, server.RemoteAddr(), want, wantAddr)
		}
		server.Close()
	}
}

func TestProxyRefusesOthers(t *testing.T) {
	opts := fromTen
	opts.RefuseOthers = true
	l := NewMemoryListener("memory")
	stranger, err := l.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	accepted := make(chan error, 1)
	go func() {
		_, err := ProxyListener(addressed{l, tcpAddr("192.0.2.1:1")}, opts).Accept()
		accepted <- err
	}()
	if got, err := io.ReadAll(stranger); err != nil || len(got) != 0 {
		t.Errorf("the stranger reads %q, %v", got, err)
	}
	l.Close()
	if err := <-accepted; !errors.Is(err, net.ErrClosed) {
		t.Errorf("accept gives %v", err)
	}
}

// TestProxyWithoutHeader: who must send a header and does not gets no word, whether the server reads or writes first.
func TestProxyWithoutHeader(t *testing.T) {
	for name, sent := range map[string]string{
		"none": "EHLO a\r\n", "half, then the end": "PROXY TCP4 192.0", "nothing": "", "LF": "PROXY UNKNOWN\n",
		"empty lines": "\r\n\r\nX",
	} {
		for _, first := range []string{"read", "write", "address", "handshake"} {
			client, server := proxied(t, theProxy, fromTen)
			if _, err := io.WriteString(client, sent); err != nil {
				t.Fatal(err)
			}
			if err := closeWrite(client); err != nil {
				t.Fatal(err)
			}
			var err error
			switch first {
			case "read":
				_, err = server.Read(make([]byte, 1))
			case "write":
				_, err = io.WriteString(server, "220 hello\r\n")
			case "address":
				if got := server.RemoteAddr(); got != theProxy {
					t.Errorf("%s: the address is %v", name, got)
				}
				_, err = server.Read(make([]byte, 1))
			case "handshake":
				err = server.(*proxyConn).HandshakeContext(t.Context())
			}
			if !errors.Is(err, ErrProxyHeader) || !strings.Contains(err.Error(), "10.0.0.9:40000") {
				t.Errorf("%s, %s first: got %v", name, first, err)
			}
			if _, again := io.WriteString(server, "220 hello\r\n"); !errors.Is(again, ErrProxyHeader) {
				t.Errorf("%s, %s first: a later write gives %v", name, first, again)
			}
			if got, err := io.ReadAll(client); err != nil || len(got) != 0 {
				t.Errorf("%s, %s first: the client reads %q, %v", name, first, got, err)
			}
		}
	}
}

// TestProxyTimeout: the header has its own time, which neither a slow drip nor a longer deadline outlasts.
func TestProxyTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := proxied(t, theProxy, fromTen)
		begun := time.Now()
		dripped := make(chan struct{})
		go func() {
			defer close(dripped)
			for _, c := range "PROXY TCP4 192.0.2.7 198.51.100.1 4711 25\r\n" {
				if _, err := io.WriteString(client, string(c)); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		}()
		if err := server.SetDeadline(begun.Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		_, err := server.Read(make([]byte, 1))
		if !errors.Is(err, ErrProxyHeader) || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		if took := time.Since(begun); took != fromTen.HeaderTimeout {
			t.Errorf("it took %v", took)
		}
		client.Close()
		<-dripped
	})
}

// TestProxyDeadlines: a deadline of the caller breaks the wait for the header off, and the header may still come.
func TestProxyDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := proxied(t, theProxy, fromTen)
		defer client.Close()
		defer server.Close()
		io.WriteString(client, "PROXY TCP4 192.0.2.7 ")
		begun := time.Now()
		server.SetReadDeadline(begun.Add(time.Second))
		_, err := server.Read(make([]byte, 1))
		if !errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, ErrProxyHeader) {
			t.Errorf("the read gives %v", err)
		}
		server.SetReadDeadline(time.Time{})
		server.SetWriteDeadline(begun.Add(2 * time.Second))
		if _, err := server.Write([]byte("x")); !errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, ErrProxyHeader) {
			t.Errorf("the write gives %v", err)
		}
		if took := time.Since(begun); took != 2*time.Second {
			t.Errorf("it took %v", took)
		}
		server.SetWriteDeadline(time.Time{})
		io.WriteString(client, "198.51.100.1 4711 25\r\nhello")
		if got := server.RemoteAddr().String(); got != "192.0.2.7:4711" {
			t.Errorf("the address is %s", got)
		}
		// After the header its time-out is over, and a deadline that passed holds for octets that came with it too.
		time.Sleep(time.Hour)
		server.SetReadDeadline(time.Now().Add(-time.Second))
		if _, err := server.Read(make([]byte, 9)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("the read gives %v", err)
		}
		server.SetReadDeadline(time.Time{})
		got := make([]byte, 5)
		if _, err := io.ReadFull(server, got); err != nil || string(got) != "hello" {
			t.Errorf("read %q, %v", got, err)
		}
		// A read that waits is broken off by a deadline set meanwhile.
		go func() {
			time.Sleep(time.Second)
			server.SetReadDeadline(time.Now())
		}()
		if _, err := server.Read(got); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("the read gives %v", err)
		}
	})
}

// TestProxyBrokenOff: Close, and the context of the handshake, end the wait for a header.
func TestProxyBrokenOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := proxied(t, theProxy, fromTen)
		defer client.Close()
		go func() {
			time.Sleep(time.Second)
			server.Close()
		}()
		if _, err := server.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
			t.Errorf("the read gives %v", err)
		}
		client, server = proxied(t, theProxy, fromTen)
		defer client.Close()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := server.(*proxyConn).HandshakeContext(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the handshake gives %v", err)
		}
	})
}

// TestWriteHeaderEnds: a peer that takes nothing holds nobody longer than the context lasts.
func TestWriteHeaderEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe()
		defer a.Close()
		defer b.Close()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := writeHeader(ctx, a, somebody); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	})
}
