package peer

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A group is the processes of one server: those in a control group of its own, where the machine lets us make one, else the
// children and children's children of the first and its process group. Only the control group knows what a process used that
// nobody waited for, as Exim's deliveries are.
type group struct {
	proc  string // where the process file system is; "/proc"
	first int    // the process that was started
	aside string // name of a process that does not count, the one of strace; empty for none
	dir   string // of the control group; empty without
}

// ticks is the number of clock ticks per second in /proc/PID/stat, the same on all platforms of Linux that Go has.
const ticks = 100

// A stat is what matters of /proc/PID/stat.
type stat struct {
	pid, parent  int
	group        int // of processes
	name         string
	user, system time.Duration // with those of ended children that were waited for
}

// parseStat reads one line of /proc/PID/stat. The name stands in parentheses and may have any octets in it.
func parseStat(text string) (stat, error) {
	open, end := strings.IndexByte(text, '('), strings.LastIndexByte(text, ')')
	if open < 0 || end < open {
		return stat{}, fmt.Errorf("no name in %q", text)
	}
	rest := strings.Fields(text[end+1:])
	if len(rest) < 15 {
		return stat{}, fmt.Errorf("only %d fields in %q", len(rest)+2, text)
	}
	number := func(s string, sum error) (int, error) {
		n, err := strconv.Atoi(s)
		return n, errors.Join(sum, err)
	}
	s := stat{name: text[open+1 : end]}
	var err error
	s.pid, err = number(strings.TrimSpace(text[:open]), nil)
	s.parent, err = number(rest[1], err)
	s.group, err = number(rest[2], err)
	var times [4]int // utime, stime, cutime, cstime
	for i := range times {
		times[i], err = number(rest[11+i], err)
	}
	if err != nil {
		return stat{}, fmt.Errorf("read %q: %w", text, err)
	}
	s.user = time.Duration(times[0]+times[2]) * time.Second / ticks
	s.system = time.Duration(times[1]+times[3]) * time.Second / ticks
	return s, nil
}

// gone tells that an error means that a process has ended meanwhile.
func gone(err error) bool { return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) }

// stats reads all processes of the machine.
func (g *group) stats() (map[int]stat, error) {
	names, err := filepath.Glob(filepath.Join(g.proc, "[0-9]*", "stat"))
	if err != nil {
		return nil, err
	}
	all := make(map[int]stat, len(names))
	for _, name := range names {
		text, err := os.ReadFile(name)
		if gone(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		s, err := parseStat(string(text))
		if err != nil {
			return nil, err
		}
		all[s.pid] = s
	}
	return all, nil
}

// tree gives the first process and all below it, the nearest first, then those whose parents have ended: they are still in its
// process group.
func (g *group) tree() ([]stat, error) {
	all, err := g.stats()
	if err != nil {
		return nil, err
	}
	children := map[int][]int{}
	for _, s := range all {
		children[s.parent] = append(children[s.parent], s.pid)
	}
	var members []stat
	for todo := []int{g.first}; len(todo) > 0; todo = todo[1:] {
		if s, ok := all[todo[0]]; ok {
			members = append(members, s)
			todo = append(todo, children[todo[0]]...)
			delete(all, todo[0])
		}
	}
	for _, s := range all {
		if s.group == g.first {
			members = append(members, s)
		}
	}
	return members, nil
}

// pids gives the processes, in order of their numbers.
func (g *group) pids() ([]int, error) {
	var pids []int
	if g.dir == "" {
		members, err := g.tree()
		for _, s := range members {
			pids = append(pids, s.pid)
		}
		slices.Sort(pids)
		return pids, err
	}
	text, err := os.ReadFile(filepath.Join(g.dir, "cgroup.procs"))
	if err != nil && !gone(err) {
		return nil, err
	}
	for field := range strings.FieldsSeq(string(text)) {
		pid, err := strconv.Atoi(field)
		if err != nil {
			return nil, fmt.Errorf("a process of the group: %w", err)
		}
		pids = append(pids, pid)
	}
	slices.Sort(pids)
	return slices.Compact(pids), nil
}

// usage adds up what the processes use.
func (g *group) usage() (Usage, error) {
	pids, err := g.pids()
	if err != nil {
		return Usage{}, err
	}
	var u Usage
	for _, pid := range pids {
		if g.aside != "" && g.name(pid) == g.aside {
			continue
		}
		octets, err := g.share(pid)
		if gone(err) {
			continue
		}
		if err != nil {
			return Usage{}, err
		}
		u.Memory += octets
		u.Processes++
	}
	if u.Processes == 0 {
		return Usage{}, errors.New("it has ended")
	}
	u.User, u.System, err = g.times()
	return u, err
}

// times gives the CPU time, from the control group or else from the living and whom they waited for.
func (g *group) times() (user, system time.Duration, err error) {
	if g.dir != "" {
		text, err := os.ReadFile(filepath.Join(g.dir, "cpu.stat"))
		if err != nil {
			return 0, 0, err
		}
		return parseCPU(string(text))
	}
	members, err := g.tree()
	for _, s := range members {
		if s.name != g.aside {
			user += s.user
			system += s.system
		}
	}
	return user, system, err
}

// parseCPU reads the cpu.stat of a control group, whose times are in microseconds.
func parseCPU(text string) (user, system time.Duration, err error) {
	found := 0
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if name != "user_usec" && name != "system_usec" {
			continue
		}
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil {
			return 0, 0, fmt.Errorf("read %q: %w", line, err)
		}
		found++
		if name == "user_usec" {
			user = time.Duration(n) * time.Microsecond
		} else {
			system = time.Duration(n) * time.Microsecond
		}
	}
	if found != 2 {
		return 0, 0, fmt.Errorf("no times in %q", text)
	}
	return user, system, nil
}

// share gives the memory of a process in octets, a page that n processes share counted as an nth.
func (g *group) share(pid int) (int64, error) {
	f, err := os.Open(filepath.Join(g.proc, strconv.Itoa(pid), "smaps_rollup"))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		value, ok := strings.CutPrefix(lines.Text(), "Pss:")
		if !ok {
			continue
		}
		kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
		if err != nil {
			return 0, fmt.Errorf("read %q: %w", lines.Text(), err)
		}
		return kib << 10, nil
	}
	return 0, lines.Err() // a process that is ending has no memory any more
}

// name is that of a process; empty when it is gone.
func (g *group) name(pid int) string {
	text, err := os.ReadFile(filepath.Join(g.proc, strconv.Itoa(pid), "comm"))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}

// holders are the programs that stand between the first process and the server.
var holders = []string{"strace", "unshare", "sh", "dash", "bash", "env", "chroot"}

// server gives the process of the server: the first one below the holders.
func (g *group) server() (int, error) {
	members, err := g.tree()
	if err != nil {
		return 0, err
	}
	for _, s := range members { // the nearest come first
		if !slices.Contains(holders, s.name) {
			return s.pid, nil
		}
	}
	return 0, errors.New("there is no server any more")
}

// terminate asks the server to end.
func (g *group) terminate() error {
	pid, err := g.server()
	if err != nil {
		return nil // it has ended, which who waits for it sees
	}
	return signal(pid, syscall.SIGTERM)
}

// signal sends a signal to a process, if it is still there.
func signal(pid int, s os.Signal) error {
	p, err := os.FindProcess(pid)
	if err != nil {
		return err
	}
	if err := p.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) && !gone(err) {
		return err
	}
	return nil
}

// finish kills what is left, waits until it is gone, and takes the control group away.
func (g *group) finish(limit time.Duration) error {
	until := time.NewTimer(limit)
	defer until.Stop()
	tick := time.NewTicker(pollTime)
	defer tick.Stop()
	for {
		pids, err := g.pids()
		if err != nil {
			return err
		}
		for _, pid := range pids {
			if err := signal(pid, os.Kill); err != nil {
				return err
			}
		}
		if len(pids) == 0 {
			if g.dir == "" {
				return nil
			}
			if err := os.Remove(g.dir); err == nil || gone(err) {
				return nil
			}
		}
		select {
		case <-tick.C:
		case <-until.C:
			return fmt.Errorf("processes %v are still there after %v", pids, limit)
		}
	}
}
