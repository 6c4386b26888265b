package main

import (
	"net"
	"slices"
	"testing"

	"github.com/holub-mail/holub/bench/peer"
)

// TestConfine: only processors that were allowed are taken, and afterwards all of those and no others are allowed again.
func TestConfine(t *testing.T) {
	before, err := peer.Affinity()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := confine(len(before) + 1); err == nil {
		t.Error("more processors than there are")
	}
	last := before[len(before)-1:]
	if err := setAffinity(last); err != nil { // as taskset does
		t.Fatal(err)
	}
	defer func() {
		if err := setAffinity(before); err != nil {
			t.Error(err)
		}
	}()
	for _, n := range []int{0, 1} {
		restore, err := confine(n)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if got, err := peer.Affinity(); err != nil || !slices.Equal(got, last) {
				t.Errorf("confined to %d of %v: %v %v", n, last, got, err)
			}
			if err := restore(); err != nil {
				t.Error(err)
			}
		}
	}
}

// TestOnLoopback: such a listener answers at every address of the loopback network.
func TestOnLoopback(t *testing.T) {
	config := net.ListenConfig{Control: onLoopback}
	l, err := config.Listen(t.Context(), "tcp4", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	c, err := net.Dial("tcp4", net.JoinHostPort(host(9_999), port))
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}
