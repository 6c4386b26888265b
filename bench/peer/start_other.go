//go:build !linux

package peer

import (
	"context"
	"errors"
)

// start is for Linux alone: what a server uses is read from its /proc.
func (r *Running) start(context.Context, Setup, plan) error {
	return errors.New("servers are run and counted on Linux only")
}
