package main

import (
	"context"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// Bounds of giveBack: how often it looks, and how many octets allocated since then still count as quiet, or are worth a
// look.
const (
	quietFor   = 2 * time.Second
	quietUnder = 1 << 20
	worthWhile = 4 << 20
)

// giveBack gives the system back what a busy time took, as soon as the server is quiet: the runtime alone would keep it for
// minutes, and idle sessions their large stacks.
func giveBack(ctx context.Context) {
	tick := time.NewTicker(quietFor)
	defer tick.Stop()
	var q quiet
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if q.after(allocated()) {
			runtime.GC() // which empties the pools in two rounds
			debug.FreeOSMemory()
		}
	}
}

// quiet tells the end of a busy time by what was allocated.
type quiet struct {
	last, tidied uint64 // octets: at the last look, and when memory was given back
}

func (q *quiet) after(allocated uint64) bool {
	still := allocated-q.last < quietUnder
	q.last = allocated
	if !still || allocated-q.tidied < worthWhile {
		return false
	}
	q.tidied = allocated
	return true
}

// allocated is how many octets this process has ever allocated.
func allocated() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}
