package lsm

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/holub-mail/holub/internal/spool"
)

// TestSpoiltFile ruins every file of a store beyond what one bit explains: 64 octets of noise, or none of it left. The store
// opens all the same and serves what it can read; a message that is not served is reported, in this run or as damaged; none is
// there in part. The next start has built the store anew and finds it sound.
func TestSpoiltFile(t *testing.T) {
	for _, crashed := range []bool{false, true} {
		if underRace && !crashed {
			continue
		}
		t.Run(fmt.Sprintf("crashed=%v", crashed), func(t *testing.T) {
			s := newSound(t, crashed)
			names, err := s.disk.List(testFolder)
			if err != nil {
				t.Fatal(err)
			}
			rng := rand.New(rand.NewPCG(3, 4))
			tried := 12
			if testing.Short() || underRace {
				tried = 2
			}
			for _, name := range names {
				path := s.disk.PathJoin(testFolder, name)
				if strings.HasPrefix(name, "marker.") || kindOf(name) != "" {
					disk := copyDisk(t, s.disk, testFolder)
					if err := disk.Remove(path); err != nil {
						t.Fatal(err)
					}
					s.ruined(t, disk, name+" missing", name)
				}
				if kindOf(name) == "" {
					continue
				}
				data := read(t, s.disk, path)
				for range tried {
					if len(data) < 64 {
						break
					}
					disk := copyDisk(t, s.disk, testFolder)
					bad, at := bytes.Clone(data), rng.IntN(len(data)-63)
					for i := range 64 {
						bad[at+i] = byte(rng.Uint32())
					}
					write(t, disk, path, bad)
					s.ruined(t, disk, fmt.Sprintf("%s spoilt at %d of %d", name, at, len(data)), name)
				}
			}
		})
	}
}

// ruined opens a ruined store twice and looks at it.
func (s *sound) ruined(t *testing.T, disk *vfs.MemFS, what, name string) {
	t.Helper()
	said := &reports{}
	e := reopened(t, disk, said)
	v := s.look(t, e)
	// That a log is not there any more can't be seen.
	// Nor is noise in the very last commit before a crash told from one the crash cut short.
	last := strings.HasSuffix(name, ".log") && v.lost+v.stale+v.back == 1
	if missing := strings.HasSuffix(name, ".log") && strings.HasSuffix(what, "missing"); !missing &&
		(v.pending != 0 || v != (served{}) && !last && len(said.all()) == 0) {
		t.Errorf("%s: %+v\n%s", what, v, strings.Join(said.all(), "\n"))
	}
	if err := e.Close(); err != nil {
		t.Errorf("%s: close: %v", what, err)
	}
	first := v
	e = reopened(t, disk, said)
	v = s.look(t, e)
	pending, errs := listTest(t, e)
	if len(errs) > 0 || v.pending != 0 || v.lost+v.damaged > first.lost+first.damaged {
		t.Errorf("%s, second start: %+v after %+v, %d listed, %v\n%s", what, v, first, len(pending), errs, strings.Join(said.all(), "\n"))
	}
	if _, err := spool.Check(t.Context(), e, func(f spool.Finding) {
		if f.What != "content" && f.What != "set aside" { // content may be what was lost
			t.Errorf("%s, checked: %v", what, f)
		}
	}); err != nil {
		t.Errorf("%s: check: %v", what, err)
	}
	if err := e.Close(); err != nil {
		t.Errorf("%s: close again: %v", what, err)
	}
	clean := &reports{}
	e = reopened(t, disk, clean)
	// Mail that had left and is back is without its file of content, which each start says.
	if again := s.look(t, e); again.lost != v.lost+v.damaged && again != v || len(clean.all()) != 0 && v.back == 0 {
		t.Errorf("%s, third start: %+v after %+v\n%s", what, again, v, strings.Join(clean.all(), "\n"))
	}
	t.Logf("%s: %+v, then %+v", what, first, v)
}
