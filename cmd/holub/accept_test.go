package main

import (
	"bytes"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/holub-mail/holub/internal/peers"
)

// TestAcceptRate holds the server beside the disk: how many messages of 4 KiB a second it accepts from 64 sessions of Postfix's
// smtp-source, against how many records of that size a bare loop appends and syncs for 64 writers, in turns on the same disk.
// What was accepted waits for a host that says nothing, so that accepting is all that is measured.
//
// HOLUB_ACCEPT sets the number of messages in a turn.
func TestAcceptRate(t *testing.T) {
	each := number(t, "HOLUB_ACCEPT", 2000)
	turns := 3
	if each >= 10_000 {
		turns = 7
	}
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	dir := t.TempDir()
	s := startServer(t, dir, relayTo(silent.Addr().String()))
	var server, disk []float64
	for range turns {
		server = append(server, sourceRate(t, s.addr, 64, each))
		disk = append(disk, appendRate(t, dir, 64, each))
	}
	slices.Sort(server)
	slices.Sort(disk)
	mine, bare := server[turns/2], disk[turns/2]
	t.Logf("medians of %d turns: %.0f messages of 4 KiB accepted a second over 64 sessions, %.0f records appended and synced by a bare loop: %.2f",
		turns, mine, bare, mine/bare)
	if mine < bare/50 {
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

// appendRate gives the records of 4 KiB a second that writers append to a file, each waiting for a sync that covers its
// record: those that come while one sync runs share the next.
func appendRate(t *testing.T, dir string, writers, n int) float64 {
	t.Helper()
	f, err := os.Create(filepath.Join(dir, "bare"))
	if err != nil {
		t.Fatal(err)
	}
	defer os.Remove(f.Name())
	defer f.Close()
	record := bytes.Repeat([]byte("x"), 4096)
	records := make(chan chan error)
	go func() {
		var batch []byte
		var waiting []chan error
		for done := range records {
			batch, waiting = append(batch[:0], record...), append(waiting[:0], done)
			for more := true; more; {
				select {
				case done, ok := <-records:
					if more = ok; ok {
						batch, waiting = append(batch, record...), append(waiting, done)
					}
				default:
					more = false
				}
			}
			_, err := f.Write(batch)
			if err == nil {
				err = dataSync(f)
			}
			for _, done := range waiting {
				done <- err
			}
		}
	}()
	var all sync.WaitGroup
	began := time.Now()
	for w := range writers {
		all.Go(func() {
			done := make(chan error, 1)
			for i := w; i < n; i += writers {
				records <- done
				if err := <-done; err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	close(records)
	return float64(n) / time.Since(began).Seconds()
}
