//go:build !linux

package load

import (
	"context"
	"errors"
	"net"
	"sync"
)

// canLoop tells that plain sessions can run in one loop.
const canLoop = false

func runLoop(context.Context, *campaign, *net.TCPAddr) (*tally, error) {
	return nil, errors.ErrUnsupported
}

func serveLoop(context.Context, *Sink, []*net.TCPListener, *sync.WaitGroup) error {
	return errors.ErrUnsupported
}
