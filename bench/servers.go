package main

import (
	"context"
	"time"

	"github.com/holub-mail/holub/bench/peer"
)

// peerServer is a peer as the harness needs it.
type peerServer struct{ peer.Server }

func (p peerServer) start(ctx context.Context, s peer.Setup) (running, error) {
	r, err := p.Start(ctx, s)
	if err != nil {
		return nil, err
	}
	return peerRunning{r}, nil
}

type peerRunning struct{ r *peer.Running }

func (p peerRunning) usage() (cpu time.Duration, memory int64, err error) {
	u, err := p.r.Usage()
	return u.CPU(), u.Memory, err
}

func (p peerRunning) syncs() (int, error) {
	calls, err := p.r.Syncs()
	all := 0
	for _, n := range calls {
		all += n
	}
	return all, err
}

func (p peerRunning) log() string { return p.r.Log() }
func (p peerRunning) stop() error { return p.r.Stop() }
