package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holub-mail/holub/bench/report"
)

// TestMain lets this test binary be the program that ourtools start.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && (os.Args[1] == "source" || os.Args[1] == "sink") {
		if err := command(context.Background(), os.Args[1:], os.Stdout, os.Stderr); err != nil {
			io.WriteString(os.Stderr, err.Error()+"\n")
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// TestPairs sends some mail from each source straight into its own sink.
func TestPairs(t *testing.T) {
	ours, err := newOurtools()
	if err != nil {
		t.Fatal(err)
	}
	certs, err := makeCertificates(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	one, two := []string{"d1.example"}, []string{"d1.example", "d2.example"}
	for name, c := range map[string]struct {
		pair  func(t *testing.T) generator
		batch batch
		tls   bool
	}{
		"ours":                {batch: batch{Sessions: 3, Messages: 40, Recipients: 1, Domains: one}},
		"ours, fanout":        {batch: batch{Sessions: 2, Messages: 10, Recipients: 4, Domains: two, Pipelining: true}},
		"ours, TLS":           {batch: batch{Sessions: 2, Messages: 10, Recipients: 1, Domains: one, TLS: true, PerConnection: true}, tls: true},
		"theirs":              {batch: batch{Sessions: 3, Messages: 40, Recipients: 1, Domains: one}, pair: theirs},
		"theirs, connections": {batch: batch{Sessions: 3, Messages: 40, Recipients: 1, Domains: one, PerConnection: true}, pair: theirs},
	} {
		t.Run(name, func(t *testing.T) {
			var pair generator = ours
			if c.pair != nil {
				pair = c.pair(t)
			}
			port, err := freePort("127.0.0.1")
			if err != nil {
				t.Fatal(err)
			}
			o := sinkOptions{Addr: "127.0.0.1:" + port}
			if c.tls {
				o.TLS = certs
			}
			s, err := pair.sink(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			c.batch.Addr, c.batch.Size = o.Addr, 2000
			for round := 1; round <= 2; round++ {
				got, err := pair.send(t.Context(), c.batch)
				if err != nil || got.Elapsed <= 0 {
					t.Errorf("%+v %v", got, err)
				}
				if err := await(t.Context(), s, round*c.batch.Messages*c.batch.Recipients, polling, 10*time.Second); err != nil {
					t.Error(err)
				}
			}
			if _, err := s.cpu(); err != nil && runtime.GOOS == "linux" {
				t.Error(err)
			}
			if err := s.stop(); err != nil {
				t.Error(err)
			}
			if greets(t.Context(), o.Addr) == nil {
				t.Error("the sink still answers")
			}
		})
	}
}

// theirs are Postfix's tools. What is not in the cache of the user is not fetched by a test.
func theirs(t *testing.T) generator {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Skipf("left out, for there is no cache folder: %v", err)
	}
	installed := filepath.Join(cache, "holub-bench", runtime.GOARCH+"-postfix", "complete")
	if _, err := os.Stat(installed); err != nil || os.Geteuid() != 0 {
		t.Skip("left out, for Postfix is not installed for bench: run go run ./bench --servers postfix --works idle as root first")
	}
	p, err := newPosttools(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestRefused: a source fails where the server takes nothing.
func TestRefused(t *testing.T) {
	ours, err := newOurtools()
	if err != nil {
		t.Fatal(err)
	}
	b := batch{Addr: greeter(t, "220 x\r\n", "451 4.3.0 not now\r\n"), Sessions: 1, Messages: 3, Size: 1000, Recipients: 1,
		Domains: []string{"d1.example"}}
	if _, err := ours.send(t.Context(), b); err == nil || !strings.Contains(err.Error(), "451") {
		t.Errorf("ours: %v", err)
	}
	t.Run("theirs", func(t *testing.T) {
		if _, err := theirs(t).send(t.Context(), b); err == nil {
			t.Error("smtp-source says nothing of refusals")
		}
	})
}

func TestSinkThatCantListen(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	words, _ := json.Marshal(sinkOptions{Addr: l.Addr().String()})
	if err := runSink(t.Context(), string(words), strings.NewReader(""), io.Discard); err == nil || !strings.Contains(err.Error(), "listen") {
		t.Errorf("two listen at one address: %v", err)
	}
	for _, word := range []string{"source", "sink"} {
		if err := command(t.Context(), []string{word, "{"}, io.Discard, io.Discard); err == nil {
			t.Errorf("%s takes half a description", word)
		}
	}
}

func TestCountedMessages(t *testing.T) {
	for text, want := range map[string]int{
		"":                                      0,
		"sess=0 quit=0 mesg":                    0,
		"sess=1 quit=0 mesg=1\r":                1,
		"sess=1 quit=0 mesg=1\rsess=1 quit=0 m": 1,
		"=7\rsess=3 quit=3 mesg=4096\r":         4096,
	} {
		if got, err := countedMessages(text); err != nil || got != want {
			t.Errorf("%q: %d %v, want %d", text, got, err, want)
		}
	}
	if n, err := countedMessages("something else\r"); err == nil {
		t.Errorf("counted %d in something else", n)
	}
}

func TestIdle(t *testing.T) {
	c, err := openIdle(t.Context(), greeter(t, "220-x\r\n220 x\r\n", "250-x\r\n250 SIZE\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	for greeting, reply := range map[string]string{"554 no\r\n": "", "220 x\r\n": "421 4.3.2 too many\r\n"} {
		if _, err := openIdle(t.Context(), greeter(t, greeting, reply)); err == nil {
			t.Errorf("a session after %q and %q", greeting, reply)
		}
	}
}

func TestSettled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		values := []int64{100, 500, 900, 901, 7}
		got, err := settled(t.Context(), time.Second, func() (int64, error) {
			v := values[0]
			values = values[1:]
			return v, nil
		})
		if err != nil || got != 901 {
			t.Errorf("settled at %d %v, want 901", got, err)
		}
		asked := int64(0)
		if got, err := settled(t.Context(), time.Second, func() (int64, error) { asked += 100; return asked, nil }); err != nil || got != 1000 {
			t.Errorf("what never settles: %d %v", got, err)
		}
	})
}

// TestSampler: the most is kept, and looking costs at most a hundredth of the time.
func TestSampler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		values := []int64{3, 9, 4}
		s := sample(100*time.Millisecond, func() (int64, error) {
			<-time.After(10 * time.Millisecond) // so the next look comes after a second
			v := values[0]
			if len(values) > 1 {
				values = values[1:]
			}
			return v, nil
		})
		<-time.After(2500 * time.Millisecond)
		if got, err := s.most(); err != nil || got != 9 || len(values) != 1 {
			t.Errorf("%d %v, values left: %v", got, err, values)
		}
		s = sample(time.Second, func() (int64, error) { return 0, errors.New("not allowed") })
		if _, err := s.most(); err == nil {
			t.Error("the failure is lost")
		}
	})
}

func TestCPUTime(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("processor times are read from /proc, which is Linux's")
	}
	before, err := cpuTime(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(20 * time.Second); ; {
		now, err := cpuTime(os.Getpid())
		if err != nil {
			t.Fatal(err)
		}
		if now > before {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("reading files takes no time")
		}
	}
	if _, err := cpuTime(1 << 30); err == nil {
		t.Error("a process that is not there has used time")
	}
}

func TestCertificates(t *testing.T) {
	certs, err := makeCertificates(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tls.LoadX509KeyPair(certs.Cert, certs.Key); err != nil {
		t.Error(err)
	}
	if _, err := makeCertificates(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("certificates went to a folder that is not there")
	}
}

// TestSites: ten thousand sites have ten thousand addresses of this machine.
func TestSites(t *testing.T) {
	seen := map[string]bool{}
	for i := range 10_000 {
		ip := net.ParseIP(host(i))
		if ip == nil || !ip.IsLoopback() || seen[ip.String()] {
			t.Fatalf("site %d is at %s", i, host(i))
		}
		seen[ip.String()] = true
	}
	if host(0) != "127.0.0.1" || host(99) != "127.0.0.100" {
		t.Errorf("the first is %s and the hundredth %s", host(0), host(99))
	}
}

func TestPick(t *testing.T) {
	all, err := pick("work", works, nil)
	if err != nil || len(all) != len(works) {
		t.Errorf("%d works, %v", len(all), err)
	}
	some, err := pick("work", works, []string{"tls", "accept"})
	if err != nil || len(some) != 2 || some[0].name != "accept" {
		t.Errorf("%+v %v", some, err)
	}
	if _, err := pick("work", works, []string{"relais"}); err == nil || !strings.Contains(err.Error(), "relay-conn") {
		t.Errorf("an unknown work: %v", err)
	}
	if _, err := pick("curve", curves, []string{"speed"}); err == nil || !strings.Contains(err.Error(), "sessions") {
		t.Errorf("an unknown curve: %v", err)
	}
}

// TestCommandLine: wrong words are refused with what to do, before anything is installed or measured.
func TestCommandLine(t *testing.T) {
	for line, want := range map[string]string{
		"nonsense":                     "no command",
		"--works nonsense":             "no work",
		"--servers nonsense":           "no server",
		"--servers ,":                  "at least one",
		"--rounds 0":                   "above 0",
		"--generator nonsense":         "no generator",
		"curves --curves nonsense":     "no curve",
		"curves --quick --seconds -1":  "above 0",
		"show":                         "name the file",
		"show none.json":               "no such file",
		"config --works nonsense":      "no work",
		"--works relay and more words": "no argument",
		"source":                       "one argument",
	} {
		dir := filepath.Join(t.TempDir(), "queues")
		if strings.HasPrefix(line, "--generator") {
			line += " --dir " + dir
		}
		err := command(t.Context(), strings.Fields(line), io.Discard, io.Discard)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("bench %s: %v, want %q", line, err, want)
		}
		if _, err := os.Stat(dir); err == nil {
			t.Errorf("bench %s: a folder was made before the flags were checked", line)
		}
	}
	for _, line := range []string{"--help", "show --help", "curves -h", "config --help"} {
		var log bytes.Buffer
		err := command(t.Context(), strings.Fields(line), io.Discard, &log)
		if !errors.Is(err, flag.ErrHelp) {
			t.Errorf("bench %s: %v", line, err)
		}
		for _, word := range []string{"show FILE", "curves", "config", "relay-64k", "as root"} {
			if !strings.Contains(log.String(), word) {
				t.Errorf("bench %s does not tell of %s", line, word)
			}
		}
	}
	var help bytes.Buffer
	if err := command(t.Context(), []string{"help"}, &help, io.Discard); err != nil {
		t.Error(err)
	}
	for _, word := range []string{"-rounds", "-quick", "-markdown", "relay-64k", "sites"} {
		if !strings.Contains(help.String(), word) {
			t.Errorf("the help does not tell of %s", word)
		}
	}
}

// TestWriteCurve: files are written where a folder is named, and only there.
func TestWriteCurve(t *testing.T) {
	t.Chdir(t.TempDir())
	c := &report.Curve{Name: "size", Title: "by size", Axis: "octets"}
	for _, dir := range []string{"", "."} { // "." comes last: what is there after "" is what "" wrote
		var out bytes.Buffer
		if err := writeCurve(c, dir, &out); err != nil || out.Len() == 0 {
			t.Errorf("%v %q", err, out.String())
		}
		if files, err := filepath.Glob("size.*"); err != nil || len(files) != 3*len(dir) {
			t.Errorf("in %q: %v %v", dir, files, err)
		}
	}
}

// TestConfigAndShow: both work without measuring.
func TestConfigAndShow(t *testing.T) {
	var out bytes.Buffer
	if err := command(t.Context(), strings.Fields("config --servers holub,postfix --works fanout"), &out, io.Discard); err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{"# holub, fanout", "# postfix, fanout", "127.0.0.2", "d2.example"} {
		if !strings.Contains(out.String(), word) {
			t.Errorf("the configurations do not show %q", word)
		}
	}
	dir := t.TempDir()
	r := &report.Report{Reference: "postfix", Servers: []report.Server{{Name: "postfix"}}, Works: []report.Work{works[0].described("x")},
		Runs: []report.Run{{Work: works[0].name, Server: "postfix", Value: 1234, Messages: 5, Seconds: 1}}}
	saved, files := filepath.Join(dir, "r.json"), []string{filepath.Join(dir, "r.svg"), filepath.Join(dir, "r.md")}
	if err := writeFile(saved, r.JSON); err != nil {
		t.Fatal(err)
	}
	out.Reset()
	err := command(t.Context(), []string{"show", saved, "--svg", files[0], "--markdown", files[1]}, &out, io.Discard)
	if err != nil || !strings.Contains(out.String(), "1,234") {
		t.Errorf("%v\n%s", err, out.String())
	}
	if slices.ContainsFunc(files, func(path string) bool {
		text, err := os.ReadFile(path)
		return err != nil || !bytes.Contains(text, []byte("1,234"))
	}) {
		t.Error("the files were not written")
	}
	if err := (outputs{json: filepath.Join(dir, "none", "x")}).write(r, io.Discard); err == nil {
		t.Error("a file that can't be written is no error")
	}
}
