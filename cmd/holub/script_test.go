package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestScripts runs the command lines of testdata/script as a user would type them. Besides testscript's own words there are
// "serve [flags]", which starts a server and sets $ADDR, "stop", which ends it gently, and "waitfor GLOB FILE", which
// waits for one file to match and copies it, "status N COMMAND", which expects an exit code, and "large FILE", which
// writes 100 KB of text.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			env.Values[serverKey{}] = new(*scriptServer)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"serve":   scriptServe,
			"stop":    scriptStop,
			"waitfor": scriptWaitFor,
			"status":  scriptStatus,
			"large":   scriptLarge,
		},
	})
}

// scriptServer is the server of one script.
type scriptServer struct {
	cmd *exec.Cmd
	out *lockedBuffer
}

// serverKey is where a script keeps its server.
type serverKey struct{}

func scriptServe(ts *testscript.TestScript, neg bool, args []string) {
	s := &scriptServer{cmd: exec.Command("holub", append([]string{"serve"}, args...)...), out: &lockedBuffer{}}
	path, err := exec.LookPath("holub")
	ts.Check(err)
	s.cmd.Path = path
	s.cmd.Dir = ts.MkAbs(".")
	s.cmd.Stdout, s.cmd.Stderr = s.out, s.out
	s.cmd.Env = append(s.cmd.Environ(), "HOME="+ts.Getenv("HOME"))
	ts.Check(s.cmd.Start())
	ts.Defer(func() { s.cmd.Process.Kill(); s.cmd.Wait() })
	*ts.Value(serverKey{}).(**scriptServer) = s
	scriptWait(ts, "the server listens", func() bool { return strings.Contains(s.out.String(), "Try:") })
	_, rest, _ := strings.Cut(s.out.String(), "holub listens on ")
	addr, _, _ := strings.Cut(rest, " ")
	ts.Setenv("ADDR", strings.TrimSuffix(addr, ","))
	writeScriptFile(ts, "welcome", s.out.String())
}

func scriptStop(ts *testscript.TestScript, neg bool, args []string) {
	s := *ts.Value(serverKey{}).(**scriptServer)
	ts.Check(s.cmd.Process.Signal(syscall.SIGTERM))
	ts.Check(s.cmd.Wait())
	writeScriptFile(ts, "log", s.out.String())
}

func scriptWaitFor(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: waitfor GLOB FILE")
	}
	var found string
	scriptWait(ts, args[0]+" exists", func() bool {
		files, _ := filepath.Glob(ts.MkAbs(args[0]))
		if len(files) == 1 {
			found = files[0]
		}
		return found != ""
	})
	writeScriptFile(ts, args[1], ts.ReadFile(found))
}

func scriptWait(ts *testscript.TestScript, what string, holds func() bool) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(20 * time.Second); !holds(); {
		if now := <-tick.C; now.After(end) {
			ts.Fatalf("after 20 s still not: %s", what)
		}
	}
}

func scriptStatus(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: status CODE COMMAND ...")
	}
	err := ts.Exec(args[1], args[2:]...)
	var exited *exec.ExitError
	if !errors.As(err, &exited) || strconv.Itoa(exited.ExitCode()) != args[0] {
		ts.Fatalf("%s: %v, want exit code %s", strings.Join(args[1:], " "), err, args[0])
	}
}

func scriptLarge(ts *testscript.TestScript, neg bool, args []string) {
	writeScriptFile(ts, args[0], "Subject: large\n\n"+strings.Repeat("0123456789 0123456789 0123456789\n", 3000))
}

func writeScriptFile(ts *testscript.TestScript, name, text string) {
	ts.Check(os.WriteFile(ts.MkAbs(name), []byte(text), 0o600))
}
