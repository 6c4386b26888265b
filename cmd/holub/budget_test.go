package main

import (
	"bufio"
	"bytes"
	"context"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/holub-mail/holub/internal/peers"
	"github.com/holub-mail/holub/smtp"
	"github.com/holub-mail/holub/smtp/receiver"
	"github.com/holub-mail/holub/smtp/sender"
)

// budgeted are the works whose system calls are counted: messages of 4 KiB one after the other, over one session that is
// kept on each side. In a relay the next message comes when the sink has taken the one before it.
var budgeted = [...]struct {
	name   string
	relay  bool
	hidden []string // extensions that neither the client nor the sink sees offered
}{
	{"accept, lock step", false, []string{"PIPELINING", "CHUNKING"}},
	{"accept, pipelined", false, []string{"CHUNKING"}},
	{"relay, DATA", true, []string{"CHUNKING"}}, // both sides pipelined, as to Postfix's smtp-sink
	{"relay, BDAT", true, nil},
}

// each is a number for each of the budgeted works.
type each [len(budgeted)]float64

// budgets are the most system calls a message may cost, on average, by work: accept in lock step, accept pipelined, relay
// with DATA, relay with BDAT. They only go down: who makes one smaller writes the new number here, with a little room
// (TestBudgets prints what it counts under -v).
//
// Reads and writes of the sockets depend on the code and on the pieces in which 4 KiB arrive, and on nothing else; no side
// may have more than 6 and 6. Files and syncs have room for what is done by the second and not by the message. What depends
// on the scheduler has twice what was counted.
var budgets = []struct {
	count string
	most  each
	why   string
}{
	{"client reads", each{4.1, 2.1, 2.1, 2.1}, "one for each thing it waits for: 4 KiB arrive in one"},
	{"client reads of nothing", each{4.1, 2.1, 2.1, 2.1}, "at most a look before each wait; fewer if it is quick"},
	{"client writes", each{4.1, 2.1, 2.1, 2.1}, "one for each thing that it waits for"},
	{"host reads", each{0, 0, 2.2, 1.5}, "replies to a group come together; those before a long BDAT may come alone"},
	{"host reads of nothing", each{0, 0, 3.2, 6.5}, "up to four looks whether a kept session lives, and at most one a wait"},
	{"host writes", each{0, 0, 2.1, 1.1}, "the envelope, then the content; with BDAT both in one"},
	{"sockets, other", each{0.1, 0.1, 0.5, 0.5}, "sessions are kept: no message opens one, or shows one to the poller"},
	{"syncs", each{1.3, 1.3, 2.3, 2.3}, "to accept; to settle, where none comes within 2 ms; TestSyncsPerMessage has how sessions share them"},
	{"file writes", each{1.5, 1.5, 2.5, 2.5}, "a commit is one write to a log; the history writes by the second"},
	{"file reads", each{0.1, 0.1, 0.1, 0.1}, "what was just accepted is read from memory"},
	{"files, other", each{0.5, 0.5, 0.5, 0.5}, "no small message has a file opened, closed, renamed or removed"},
	{"log lines", each{0.6, 0.6, 1.1, 1.1}, "lines of 20 ms share a write; one message makes two"},
	{"wake-ups", each{28, 24, 50, 50}, "futex, epoll_pwait, eventfd: how work goes from thread to thread"},
	{"other", each{0.2, 0.2, 0.2, 0.2}, "what belongs to none of the rows above"},
}

// tracedCalls are all system calls that work on files, sockets and threads. Those of the Go runtime for memory and clocks are
// left out, for they depend on time.
const tracedCalls = "read,readv,pread64,preadv,recvfrom,recvmsg,write,writev,pwrite64,pwritev,sendto,sendmsg,sendfile," +
	"splice,copy_file_range,fsync,fdatasync,sync_file_range,syncfs,open,openat,creat,close,rename,renameat,renameat2,unlink," +
	"unlinkat,link,linkat,mkdirat,ftruncate,fallocate,fstat,newfstatat,statx,lseek,flock,fcntl,getdents64,socket,connect," +
	"accept4,shutdown,setsockopt,getsockopt,getsockname,getpeername,bind,listen,epoll_ctl,epoll_pwait,epoll_pwait2," +
	"epoll_create1,eventfd2,futex,pipe2,clone,clone3,execve,io_uring_enter"

// TestBudgets counts the system calls of the real server for each message and holds them against budgets. It does not
// depend on the speed of the machine.
func TestBudgets(t *testing.T) {
	for i, work := range budgeted {
		t.Run(work.name, func(t *testing.T) {
			const messages = 150
			counts := callsPerMessage(t, work.relay, work.hidden, messages)
			known := map[string]bool{}
			for _, b := range budgets {
				known[b.count] = true
				got, most := counts[b.count], b.most[i]
				t.Logf("%-24s %6.2f of %6.2f", b.count, got, most)
				if got > most {
					t.Errorf("%s: %.2f %s a message, the budget is %.2f (%s). Look at what calls them (strace -k), or change the "+
						"table budgets in cmd/holub/budget_test.go and say why", work.name, got, b.count, most, b.why)
				}
			}
			for count, got := range counts {
				if !known[count] {
					t.Errorf("%.2f %s a message have no budget: give them a row in the table budgets", got, count)
				}
			}
			// Had the trace not been understood, nothing would be above its budget.
			least := map[string]float64{"client reads": 1, "client writes": 1, "syncs": 0.99, "file writes": 0.99}
			if work.relay {
				least["host reads"], least["host writes"] = 1, 1
			}
			for count, least := range least {
				if counts[count] < least {
					t.Errorf("%.2f %s a message were seen, fewer than the %.2f without which nothing works", counts[count], count, least)
				}
			}
		})
	}
}

// callsPerMessage sends messages through a server under strace and counts its calls between two of them, by the rows of
// budgets.
func callsPerMessage(t *testing.T, relay bool, hidden []string, messages int) map[string]float64 {
	t.Helper()
	next, arrived := "127.0.0.1:1", make(chan struct{}, 1) // a dead host: its site is left alone, and accepting is all there is
	if relay {
		next = startMaskedSink(t, hidden, func(taken) { arrived <- struct{}{} })
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "trace")
	strace := peers.Command(t, "strace", "-D", "-f", "--seccomp-bpf", "-yy", "-s", "64", "-o", file, "-e", "trace="+tracedCalls)
	s := startServer(t, dir, relayTo(next), strace.Args...)

	var dialer net.Dialer
	client, err := sender.Dial(t.Context(), s.addr, sender.Options{
		Dialer: func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := dialer.DialContext(ctx, network, addr)
			return &masked{conn, hidden}, err
		}})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	text := "Subject: budget\r\n\r\n" + strings.Repeat(strings.Repeat("x", 62)+"\r\n", 64)
	send := func(from string) {
		t.Helper()
		e := sender.Envelope{From: mustPath(t, "<"+from+"@example.org>"), To: []smtp.Path{mustPath(t, "<b@example.net>")}}
		r, err := client.Send(t.Context(), e, strings.NewReader(text[:4096-2]+"\r\n"))
		if err != nil || !r.Outcomes[0].Reply.Positive() {
			t.Fatalf("send: %v %+v", err, r)
		}
		if relay {
			select {
			case <-arrived:
			case <-time.After(20 * time.Second):
				t.Fatalf("the sink did not get the message within 20 s\n%s", s.log)
			}
		}
	}
	for range 20 { // until sessions and buffers are there
		send("early")
	}
	send("begin")
	for range messages - 1 {
		send("a")
	}
	send("end")
	s.end()
	_, port, _ := net.SplitHostPort(s.addr)
	_, nextPort, _ := net.SplitHostPort(next)
	counts := map[string]float64{}
	for count, n := range countCalls(t, file, port, nextPort) {
		counts[count] = float64(n) / float64(messages)
	}
	return counts
}

var (
	callLine    = regexp.MustCompile(`^(\d+) +([a-z0-9_]+)\((.*)$`)
	resumedLine = regexp.MustCompile(`^(\d+) +<\.\.\. [a-z0-9_]+ resumed>(.*)$`)
	socketPorts = regexp.MustCompile(`^\d+<TCP(?:v6)?:\[.*:(\d+)->.*:(\d+)\]>`)
)

// countCalls counts the calls of a trace from the one that read MAIL of begin@ to the one that read that of end@. A call
// that others interrupt in the trace counts where it ends.
func countCalls(t *testing.T, file, port, nextPort string) map[string]int {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	counts, begun, ended := map[string]int{}, false, false
	type half struct{ name, args string }
	unfinished := map[string]half{} // by thread
	lines := bufio.NewScanner(f)
	for lines.Scan() && !ended {
		line := lines.Text()
		var name, args string
		if m := callLine.FindStringSubmatch(line); m != nil {
			name, args = m[2], m[3]
			if start, cut := strings.CutSuffix(args, "<unfinished ...>"); cut {
				unfinished[m[1]] = half{name, start}
				continue
			}
		} else if m := resumedLine.FindStringSubmatch(line); m != nil {
			start := unfinished[m[1]]
			name, args = start.name, start.args+m[2]
		} else {
			continue // a signal, or the end of a thread
		}
		begun = begun || strings.Contains(args, `"MAIL FROM:<begin@`)
		ended = strings.Contains(args, `"MAIL FROM:<end@`)
		if begun && name != "" {
			counts[countOf(name, args, port, nextPort)]++
		}
	}
	if err := lines.Err(); err != nil || !ended {
		t.Fatalf("the trace has no message of begin@ and end@: %v", err)
	}
	return counts
}

// countOf gives the row of budgets that a call belongs to.
func countOf(name, args, port, nextPort string) string {
	way := ""
	switch name {
	case "read", "readv", "pread64", "preadv", "recvfrom", "recvmsg":
		way = "reads"
	case "write", "writev", "pwrite64", "pwritev", "sendto", "sendmsg", "sendfile", "splice", "copy_file_range":
		way = "writes"
	case "fsync", "fdatasync", "syncfs":
		return "syncs"
	case "futex", "epoll_pwait", "epoll_pwait2":
		return "wake-ups"
	case "accept4", "connect", "shutdown", "setsockopt", "getsockopt", "getsockname", "getpeername", "epoll_ctl", "socket":
		return "sockets, other"
	}
	if ports := socketPorts.FindStringSubmatch(args); ports != nil {
		side := ""
		switch {
		case ports[1] == port:
			side = "client "
		case ports[2] == nextPort:
			side = "host "
		}
		switch {
		case way == "" || side == "":
			return "sockets, other"
		case strings.Contains(args, " = -1 EAGAIN"):
			return side + way + " of nothing"
		}
		return side + way
	}
	_, target, _ := strings.Cut(args, "<")
	switch {
	case strings.HasPrefix(target, "anon_inode"):
		return "wake-ups"
	case strings.HasPrefix(args, "2<"):
		return "log lines"
	case way != "" && strings.HasPrefix(target, "/"):
		return "file " + way
	case strings.HasPrefix(target, "/"), strings.HasPrefix(args, "AT_FDCWD"), strings.HasPrefix(args, `"/`):
		return "files, other"
	}
	return "other"
}

// masked is a connection that hides extensions: their names come out changed, in what is read and in what is written.
type masked struct {
	net.Conn
	hidden []string
}

func (m *masked) mask(b []byte) {
	for _, word := range m.hidden {
		for _, sep := range []string{"-", " "} {
			if at := bytes.Index(b, []byte("250"+sep+word+"\r\n")); at >= 0 {
				b[at+len("250-")] = 'X'
			}
		}
	}
}

func (m *masked) Read(b []byte) (int, error) {
	n, err := m.Conn.Read(b)
	m.mask(b[:n])
	return n, err
}

func (m *masked) Write(b []byte) (int, error) {
	b = bytes.Clone(b)
	m.mask(b)
	return m.Conn.Write(b)
}

// maskedListener makes every connection a masked one.
type maskedListener struct {
	net.Listener
	hidden []string
}

func (l *maskedListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &masked{conn, l.hidden}, nil
}

// startMaskedSink runs a sink that offers all but the hidden extensions, and gives its address.
func startMaskedSink(t *testing.T, hidden []string, take func(taken)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &receiver.Server{Hostname: "sink.example", Handler: &sink{take: take}}
	go srv.Serve(&maskedListener{l, hidden})
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		srv.Shutdown(ctx)
	})
	return l.Addr().String()
}
