package load

import (
	"bufio"
	"errors"
	"net"
	"reflect"
	"strings"
	"testing"
)

// scripted is a server that says prepared replies, one for each command, one list for each connection. The reply to
// content is the one after that to DATA; "" closes the connection.
func scripted(t *testing.T, connections ...[]string) (addr string, heard func() []string) {
	t.Helper()
	l := listen(t)
	done := make(chan []string, 1)
	go func() {
		var all []string
		for _, replies := range connections {
			conn, err := l.Accept()
			if err != nil {
				break
			}
			all = append(all, play(conn, replies)...)
			conn.Close()
		}
		l.Close()
		done <- all
	}()
	t.Cleanup(func() { l.Close() })
	return l.Addr().String(), func() []string { return <-done }
}

func play(conn net.Conn, replies []string) (heard []string) {
	r := bufio.NewReader(conn)
	content := false
	for i, reply := range replies {
		for i > 0 {
			line, err := r.ReadString('\n')
			if err != nil {
				return heard
			}
			if !content || line == ".\r\n" {
				heard = append(heard, strings.TrimSpace(line))
				break
			}
		}
		if reply == "" {
			return heard
		}
		content = strings.HasPrefix(reply, "354")
		if _, err := conn.Write([]byte(reply + "\r\n")); err != nil {
			return heard
		}
	}
	return heard
}

// TestSourceDialogues: a source does the right thing after each reply.
func TestSourceDialogues(t *testing.T) {
	hello := []string{"220-a\r\n220 b", "250-a\r\n250-SIZE 1\r\n250-pipelining\r\n250 HELP"}
	after := func(replies ...string) []string { return append(hello[:2:2], replies...) }
	for _, tt := range []struct {
		name        string
		source      Source
		connections [][]string
		heard       string // verbs
		sent        Sent   // Messages, Recipients, Failed, Refused, Sessions, Reconnects, Doubtful
		err         string // of the run, or its first failure
	}{
		{"taken", Source{}, [][]string{after("250 a", "250 b", "354 c", "250 d", "221 e")}, "EHLO MAIL RCPT DATA . QUIT",
			Sent{Messages: 1, Recipients: 1, Sessions: 1}, ""},
		{"old server", Source{}, [][]string{{"220 a", "500 b", "250 c", "250 a", "250 b", "354 c", "250 d", "221 e"}}, "EHLO HELO MAIL RCPT DATA . QUIT",
			Sent{Messages: 1, Recipients: 1, Sessions: 1}, ""},
		{"pipelined, one refused", Source{Recipients: 2, Pipelining: true}, [][]string{after("250 a", "550-b\r\n550 c", "250 d", "354 c", "250 d", "")},
			"EHLO MAIL RCPT RCPT DATA . QUIT", Sent{Messages: 1, Recipients: 1, Sessions: 1, Refused: map[string]int{"550 b c": 1}}, ""},
		{"pipelined, all refused, 354", Source{Pipelining: true}, [][]string{after("250 a", "450 b", "354 c", "554 d", "250 r", "221 e")},
			"EHLO MAIL RCPT DATA . QUIT", Sent{Failed: 1, Sessions: 1, Refused: map[string]int{"450 b": 1}}, ""},
		{"pipelined, all refused, 503", Source{Pipelining: true}, [][]string{after("250 a", "450 b", "503 c", "250 r", "221 e")},
			"EHLO MAIL RCPT DATA RSET QUIT", Sent{Failed: 1, Sessions: 1, Refused: map[string]int{"450 b": 1}}, ""},
		{"pipelined, MAIL refused", Source{Pipelining: true}, [][]string{after("451 a", "503 b", "503 c", "221 e")},
			"EHLO MAIL RCPT DATA QUIT", Sent{Failed: 1, Sessions: 1, Refused: map[string]int{"451 a": 1}}, ""},
		{"MAIL refused", Source{}, [][]string{after("451 a", "221 e")}, "EHLO MAIL QUIT",
			Sent{Failed: 1, Sessions: 1, Refused: map[string]int{"451 a": 1}}, ""},
		{"RCPT refused", Source{}, [][]string{after("250 a", "451 a", "250 r", "221 e")}, "EHLO MAIL RCPT RSET QUIT",
			Sent{Failed: 1, Sessions: 1, Refused: map[string]int{"451 a": 1}}, ""},
		{"DATA refused", Source{}, [][]string{after("250 a", "250 b", "451 a", "250 r", "221 e")}, "EHLO MAIL RCPT DATA RSET QUIT",
			Sent{Failed: 1, Sessions: 1, Refused: map[string]int{"451 a": 1}}, ""},
		{"broken after the dot", Source{}, [][]string{after("250 a", "250 b", "354 a", ""), after("250 a", "250 b", "354 c", "250 d", "221 e")},
			"EHLO MAIL RCPT DATA . EHLO MAIL RCPT DATA . QUIT", Sent{Messages: 1, Recipients: 1, Sessions: 2, Reconnects: 1, Doubtful: 1},
			"final dot: the server closed the connection"},
		{"421 at MAIL", Source{}, [][]string{after("421 away"), after("250 a", "250 b", "354 c", "250 d", "221 e")},
			"EHLO MAIL EHLO MAIL RCPT DATA . QUIT", Sent{Messages: 1, Recipients: 1, Sessions: 2, Reconnects: 1}, "MAIL: 421 away"},
		{"never welcome", Source{Retries: 1}, [][]string{{"554-go\r\n554 away"}, {"554 no"}}, "", Sent{Reconnects: 1}, "connect: 554 go away"},
		{"no SMTP", Source{Retries: -1}, [][]string{{"HTTP/1.1 400 Bad Request"}}, "", Sent{}, `is not SMTP: "HTTP/1.1`},
		{"a long line", Source{Retries: -1}, [][]string{{"220 " + strings.Repeat("x", 3*maxCarry)}}, "", Sent{}, "longer than"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			addr, heard := scripted(t, tt.connections...)
			tt.source.Addr = addr
			sent, err := tt.source.Run(within(t))
			if complete := sent.Messages+sent.Failed == 1; complete != (err == nil) || err != nil && !errors.Is(err, ErrUnsent) {
				t.Errorf("error %v", err)
			}
			got := Sent{Messages: sent.Messages, Recipients: sent.Recipients, Failed: sent.Failed, Refused: sent.Refused,
				Sessions: sent.Sessions, Reconnects: sent.Reconnects, Doubtful: sent.Doubtful}
			if !reflect.DeepEqual(got, tt.sent) {
				t.Errorf("sent %+v, want %+v", got, tt.sent)
			}
			if (sent.FirstError != nil) != (tt.err != "") || sent.FirstError != nil && !strings.Contains(sent.FirstError.Error(), tt.err) {
				t.Errorf("first error %v, want %q", sent.FirstError, tt.err)
			}
			var verbs []string
			for _, line := range heard() {
				verb, _, _ := strings.Cut(line, " ")
				verbs = append(verbs, verb)
			}
			if got := strings.Join(verbs, " "); got != tt.heard {
				t.Errorf("heard %q, want %q", got, tt.heard)
			}
		})
	}
}

// TestNoSTARTTLS: a source that wants TLS sends nothing without it.
func TestNoSTARTTLS(t *testing.T) {
	addr, heard := scripted(t, []string{"220 a", "250-b\r\n250 PIPELINING", ""})
	source := &Source{Addr: addr, TLS: insecure(), Retries: -1}
	_, err := source.Run(within(t))
	if !errors.Is(err, ErrUnsent) || !strings.Contains(err.Error(), "does not offer STARTTLS") {
		t.Errorf("%v", err)
	}
	if got := heard(); len(got) != 1 {
		t.Errorf("heard %q", got)
	}
}
