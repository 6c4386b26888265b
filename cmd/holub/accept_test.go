package main

import (
	"bytes"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	mailload "github.com/holub-mail/holub/internal/load"
	"github.com/holub-mail/holub/internal/peers"
	"github.com/holub-mail/holub/internal/spool"
	"github.com/holub-mail/holub/internal/spool/lsm"
)

// TestAcceptRate holds the server beside the disk: how many messages of 4 KiB a second it accepts from 64 sessions of Postfix's
// smtp-source, against how many records of that size a bare loop appends and syncs for 64 writers, in turns on the same disk.
// The spool alone is measured too: what is between the two is SMTP, and smtp-source on the same cores.
//
// What was accepted waits for a host that says nothing, so that accepting is all that is measured.
//
// HOLUB_ACCEPT sets the number of messages in a turn.
func TestAcceptRate(t *testing.T) {
	each := number(t, "HOLUB_ACCEPT", 2000)
	turns := 3
	if each >= 10_000 {
		turns = 7
	}
	lasting := time.Duration(each) * 100 * time.Microsecond // of a turn of the bare loop, which goes by time
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	dir := t.TempDir()
	s := startServer(t, dir, relayTo(silent.Addr().String()))
	var server, engine, disk []float64
	for range turns {
		server = append(server, sourceRate(t, s.addr, 64, each))
		engine = append(engine, engineRate(t, 64, each))
		rate, err := mailload.AppendRate(t.Context(), dir, 64, 4096, lasting)
		if err != nil {
			t.Fatal(err)
		}
		disk = append(disk, rate)
	}
	for _, rates := range [][]float64{server, engine, disk} {
		slices.Sort(rates)
	}
	mine, store, bare := server[turns/2], engine[turns/2], disk[turns/2]
	t.Logf("medians of %d turns, 4 KiB, 64 at once: %.0f messages a second accepted by SMTP, %.0f put into the spool alone, "+
		"%.0f records appended and synced by a bare loop: %.2f and %.2f of it", turns, mine, store, bare, mine/bare, store/bare)
	switch {
	case each >= 10_000 && store < bare/2:
		t.Errorf("the spool takes %.2f of what the disk does, want half", store/bare)
	case mine < bare/50: // few messages, on a machine that may be busy
		t.Errorf("%.0f msg/s beside a disk that syncs %.0f records/s", mine, bare)
	}
	s.kill() // its attempts would wait for minutes
}

// sourceRate gives the messages of 4 KiB a second that smtp-source gets rid of.
func sourceRate(t *testing.T, addr string, sessions, n int) float64 {
	t.Helper()
	source := peers.Command(t, "smtp-source", "-s", strconv.Itoa(sessions), "-m", strconv.Itoa(n), "-d", "-l", "4096",
		"-f", "from@example.org", "-t", "to@example.net", addr)
	began := time.Now()
	if out, err := source.CombinedOutput(); err != nil {
		t.Fatalf("smtp-source: %v\n%s", err, out)
	}
	return float64(n) / time.Since(began).Seconds()
}

// engineRate gives the messages of 4 KiB a second that writers put into a spool of their own.
func engineRate(t *testing.T, writers, n int) float64 {
	t.Helper()
	engine, err := lsm.Open(filepath.Join(t.TempDir(), "spool"), lsm.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer engine.Close()
	ids, content := spool.NewIDs(1), bytes.Repeat([]byte("x"), 4096)
	from, to := mustPath(t, "<a@example.org>"), mustPath(t, "<b@example.net>")
	put := func() error {
		now := time.Now()
		m := &spool.Message{ID: ids.New(now), From: from, Arrived: now, Size: int64(len(content)), Client: "test",
			Recipients: []spool.Recipient{{To: to, Next: now}}}
		c, err := engine.Create(t.Context(), m.ID)
		if err == nil {
			if _, err = c.Write(content); err == nil {
				err = engine.Apply(t.Context(), spool.Put{Message: m, Content: c})
			}
		}
		return err
	}
	var all sync.WaitGroup
	began := time.Now()
	for w := range writers {
		all.Go(func() {
			for i := w; i < n; i += writers {
				if err := put(); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	return float64(n) / time.Since(began).Seconds()
}
