package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

// TestTLSSilentClient: who says nothing neither keeps others out nor stays.
func TestTLSSilentClient(t *testing.T) {
	server, client := tlsConfigs(t)
	l := mustListen(t, endpoint(t, "127.0.0.1:0"), ListenOptions{TLS: server, HandshakeTimeout: 200 * time.Millisecond})
	silent, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	first, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	if _, ok := first.(*tls.Conn); !ok {
		t.Errorf("the connection is a %T", first)
	}
	talker, second := connected(t, l, endpoint(t, l.Addr().String()), DialOptions{TLS: client})
	defer talker.Close()
	defer second.Close()

	if got, err := io.ReadAll(silent); len(got) != 0 || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the silent client reads %q, %v", got, err)
	}
	_, err = first.Read(make([]byte, 1))
	if !errors.Is(err, os.ErrDeadlineExceeded) || !strings.Contains(err.Error(), "handshake took too long") {
		t.Errorf("the server reads %v", err)
	}
	// The time for the handshake is over for the other as well, and does it no harm.
	if _, err := io.WriteString(talker, "x"); err != nil {
		t.Error(err)
	}
	if _, err := io.ReadFull(second, make([]byte, 1)); err != nil {
		t.Error(err)
	}
}

// TestTLSNames: the client proves the name that the endpoint has, or the one it was told.
func TestTLSNames(t *testing.T) {
	server, client := tlsConfigs(t)
	l := mustListen(t, endpoint(t, "127.0.0.1:0"), ListenOptions{TLS: server})
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				io.Copy(io.Discard, conn)
				conn.Close()
			}()
		}
	}()
	for name, works := range map[string]bool{"": true, "mx.example.org": true, "other.example.org": false} {
		config := client.Clone()
		config.ServerName = name
		conn, err := Dial(t.Context(), endpoint(t, l.Addr().String()), DialOptions{TLS: config})
		if (err == nil) != works {
			t.Errorf("name %q: %v", name, err)
		}
		if err == nil {
			conn.Close()
		}
		if config.ServerName != name {
			t.Errorf("the caller's configuration now has the name %q", config.ServerName)
		}
	}
}

// TestTLSNotSpoken: who speaks something else gets TLS's own error, on both sides.
func TestTLSNotSpoken(t *testing.T) {
	server, client := tlsConfigs(t)
	l := NewMemoryListener("memory")
	a, err := l.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(a, "EHLO mx.example.org\r\n"); err != nil {
		t.Fatal(err)
	}
	b, err := TLSListener(l, server, 0).Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	var record tls.RecordHeaderError
	if _, err := b.Read(make([]byte, 1)); !errors.As(err, &record) {
		t.Errorf("the server reads %v", err)
	}

	c, d := Pipe()
	defer d.Close()
	if _, err := io.WriteString(d, "220 mx.example.org ESMTP\r\n"); err != nil {
		t.Fatal(err)
	}
	client.ServerName = "mx.example.org"
	if _, err := TLSClient(t.Context(), c, client); !errors.As(err, &record) {
		t.Errorf("the client gets %v", err)
	}
	if _, err := c.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the connection stayed open: %v", err)
	}

	e, f := Pipe()
	defer f.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := TLSClient(ctx, e, client); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a silent server gives %v", err)
	}
}
