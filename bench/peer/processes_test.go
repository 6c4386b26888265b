package peer

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// statLine is a line of /proc/PID/stat: ten fields before the times, three times ten after.
func statLine(pid int, name string, parent, group, user, system, childUser, childSystem int) string {
	return fmt.Sprintf("%d (%s) S %d %d 7 0 -1 4194560 1 2 3 4 %d %d %d %d 20 0 1 0 5 6 7 8 9\n", pid, name, parent, group, user, system,
		childUser, childSystem)
}

func TestParseStat(t *testing.T) {
	for _, name := range []string{"smtpd", "a b", ") S 1 (", "((", "9 9 9"} {
		s, err := parseStat(statLine(42, name, 7, 10, 100, 50, 20, 10))
		want := stat{pid: 42, parent: 7, group: 10, name: name, user: 1200 * time.Millisecond, system: 600 * time.Millisecond}
		if err != nil || s != want {
			t.Errorf("%q: %+v, %v; want %+v", name, s, err, want)
		}
	}
	for _, bad := range []string{"", "42", "42 (a", "42 (a) S 1", "x (a) S 1 7 7 0 -1 4 1 2 3 4 1 1 1 1", "4 (a) S 1 7 7 0 -1 4 1 2 3 4 1 x 1 1"} {
		if s, err := parseStat(bad); err == nil {
			t.Errorf("%q is read as %+v", bad, s)
		}
	}
}

func TestParseCPU(t *testing.T) {
	user, system, err := parseCPU("usage_usec 3500\nuser_usec 2500\nsystem_usec 1000\nnice_usec 0\n")
	if err != nil || user != 2500*time.Microsecond || system != time.Millisecond {
		t.Errorf("%v, %v, %v", user, system, err)
	}
	for _, bad := range []string{"", "user_usec 1\n", "user_usec 1\nsystem_usec x\n"} {
		if _, _, err := parseCPU(bad); err == nil {
			t.Errorf("%q is read", bad)
		}
	}
}

// fakeProc writes a /proc with two servers: process 10 with 11, 12, 13 and 14 below it, under strace, and 15 that was; and 20.
func fakeProc(t *testing.T) string {
	t.Helper()
	proc := t.TempDir()
	for _, p := range []struct {
		pid, parent, group int
		name               string
		kib                int // 0: an ending process, without memory
	}{{1, 0, 1, "init", 1}, {10, 1, 10, "strace", 5000}, {11, 10, 10, "sh", 100}, {12, 11, 12, "master", 200}, {13, 12, 12, "smtpd", 300},
		{14, 12, 12, "gone", 0}, {15, 1, 10, "orphan", 400}, {20, 1, 20, "other", 9000}} {
		dir := filepath.Join(proc, fmt.Sprint(p.pid))
		memory := fmt.Sprintf("5581-7ffe ---p 0 00:00 0 [rollup]\nRss:  99999 kB\nPss:  %8d kB\nPss_Dirty: 1 kB\n", p.kib)
		if p.kib == 0 {
			memory = ""
		}
		for name, text := range map[string]string{"stat": statLine(p.pid, p.name, p.parent, p.group, 10, 20, 30, 40), "comm": p.name + "\n",
			"smaps_rollup": memory} {
			if err := os.MkdirAll(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	return proc
}

func TestGroupByTree(t *testing.T) {
	g := &group{proc: fakeProc(t), first: 10, aside: "strace"}
	pids, err := g.pids()
	if want := []int{10, 11, 12, 13, 14, 15}; err != nil || !reflect.DeepEqual(pids, want) {
		t.Errorf("processes %v, %v; want %v", pids, err, want)
	}
	u, err := g.usage()
	want := Usage{User: 5 * 400 * time.Millisecond, System: 5 * 600 * time.Millisecond, Memory: 1000 << 10, Processes: 5}
	if err != nil || u != want {
		t.Errorf("%+v, %v; want %+v", u, err, want)
	}
	if pid, err := g.server(); err != nil || pid != 12 {
		t.Errorf("the server is %d, %v; want 12", pid, err)
	}
	if _, err := (&group{proc: g.proc, first: 99}).usage(); err == nil {
		t.Error("a server that has ended uses something")
	}
}

func TestGroupByControlGroup(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"cgroup.procs": "13\n10\n20\n13\n77\n", "cpu.stat": "user_usec 7\nsystem_usec 8\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	g := &group{proc: fakeProc(t), first: 10, aside: "strace", dir: dir}
	u, err := g.usage() // 77 has ended since, 20 has left its parents
	if want := (Usage{User: 7000, System: 8000, Memory: 9300 << 10, Processes: 2}); err != nil || u != want {
		t.Errorf("%+v, %v; want %+v", u, err, want)
	}
}

func TestReadTrace(t *testing.T) {
	notes := `101   fsync(3)                          = 0
102   fdatasync(4 <unfinished ...>
101   fsync(12)                         = 0
102   <... fdatasync resumed>)          = 0
102   sync_file_range(5, 0, 4096, SYNC_FILE_RANGE_WRITE) = 0
103   sync()                            = 0
103   +++ exited with 0 +++
104   fsync(`
	got, err := readTrace(strings.NewReader(notes))
	if want := map[string]int{"fsync": 3, "fdatasync": 1, "sync_file_range": 1, "sync": 1}; err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v, %v; want %v", got, err, want)
	}
}

func TestSumSites(t *testing.T) {
	n, err := sumSites(`{"site":"a.example","waiting":3,"in_flight":2}` + "\n" + `{"site":"","waiting":1,"in_flight":0}` + "\n")
	if err != nil || n != 6 {
		t.Errorf("%d, %v; want 6", n, err)
	}
	if n, err := sumSites(""); err != nil || n != 0 {
		t.Errorf("an empty queue: %d, %v", n, err)
	}
	if _, err := sumSites("SITE WAITING\n"); err == nil {
		t.Error("a table is read as JSON")
	}
}
