package deliver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/holub-mail/holub/internal/spool"
	"github.com/holub-mail/holub/mail"
	"github.com/holub-mail/holub/smtp"
	"github.com/holub-mail/holub/smtp/receiver"
	"github.com/holub-mail/holub/smtp/sender"
)

// TestPartialResults has each recipient get its own outcome, and only the one refused for now tried at the next host.
func TestPartialResults(t *testing.T) {
	w := newWorld(t, twoHosts, "2 3", nil)
	w.arrange(func(w *world) {
		w.hosts["2"].rcpt = func(_ *receiver.Session, to string) smtp.Reply {
			return map[string]smtp.Reply{"bad": never, "busy": later, "gone": never}[to]
		}
		w.hosts["3"].rcpt = func(_ *receiver.Session, to string) smtp.Reply {
			return map[string]smtp.Reply{"bad": {}, "busy": {}}[to]
		}
	})
	expect(t, "outcomes", said(w.send("good bad busy gone fine")),
		"250 2.0.0 by 2, 550 5.1.1 by 2, 250 2.0.0 by 3, 550 5.1.1 by 2, 250 2.0.0 by 2")
	expect(t, "first", fmt.Sprint(w.hosts["2"].messages()), fmt.Sprint([]got{{"good fine", letter}}))
	expect(t, "second", fmt.Sprint(w.hosts["3"].messages()), fmt.Sprint([]got{{"busy", letter}}))
}

// TestSomeRecipients makes an attempt for some of a message's recipients, by their own numbers.
func TestSomeRecipients(t *testing.T) {
	w := newWorld(t, twoHosts, "2", nil)
	task := w.task("a b c d")
	task.Recipients = []int{3, 1}
	outcomes := w.remote.ToMX(t.Context(), "s", domain(t, "example.org"), Manner{}, task)
	if len(outcomes) != 2 || outcomes[0].N != 3 || outcomes[1].N != 1 {
		t.Errorf("outcomes %+v", outcomes)
	}
	expect(t, "message", fmt.Sprint(w.hosts["2"].messages()), fmt.Sprint([]got{{"d b", letter}}))
	if task.Recipients[0] != 3 || task.Recipients[1] != 1 {
		t.Errorf("the task's own recipients were changed: %v", task.Recipients)
	}
}

// atATime refuses all but n recipients of a transaction.
func atATime(n int, refusal smtp.Reply) func(*receiver.Session, string) smtp.Reply {
	return func(s *receiver.Session, _ string) smtp.Reply {
		if len(s.Recipients()) >= n {
			return refusal
		}
		return smtp.Reply{}
	}
}

// TestTooManyRecipients takes what a host leaves over to another transaction of the same session (RFC 5321 4.5.3.1.10).
func TestTooManyRecipients(t *testing.T) {
	for _, refusal := range []smtp.Reply{tooMany, full} {
		w := newWorld(t, twoHosts, "2 3", nil)
		w.arrange(func(w *world) { w.hosts["2"].rcpt = atATime(2, refusal) })
		for _, o := range w.send("a b c d e") {
			if !o.Reply.Positive() || !strings.Contains(o.Host, "127.0.0.2") {
				t.Errorf("outcome %+v", o)
			}
		}
		expect(t, "visits", w.visited(), "2")
		want := []got{{"a b", letter}, {"c d", letter}, {"e", letter}}
		expect(t, "messages", fmt.Sprint(w.hosts["2"].messages()), fmt.Sprint(want))
	}
}

// full is what hosts of an older standard say to too many recipients, and any host to a mailbox over its quota.
var full = smtp.NewReply(552, smtp.EnhancedCode{5, 2, 2}, "Too much")

// TestMailboxFull has 552 be final where it is not about the number of recipients.
func TestMailboxFull(t *testing.T) {
	w := newWorld(t, twoHosts, "2 3", nil)
	w.arrange(func(w *world) {
		w.hosts["2"].rcpt = func(_ *receiver.Session, to string) smtp.Reply {
			return map[string]smtp.Reply{"full": full}[to]
		}
	})
	expect(t, "outcomes", said(w.send("full joe full")), "552 5.2.2 by 2, 250 2.0.0 by 2, 552 5.2.2 by 2")
	expect(t, "visits", w.visited(), "2")
}

// TestTooManyAndRefused ends: a host that takes none of those left is not asked for ever.
func TestTooManyAndRefused(t *testing.T) {
	w := newWorld(t, twoHosts, "2", nil)
	w.arrange(func(w *world) { w.hosts["2"].rcpt, w.hosts["2"].data = atATime(2, tooMany), never })
	outcomes := w.send("a b c d e")
	expect(t, "outcomes", said(outcomes[:2]), "550 5.1.1 by 2, 550 5.1.1 by 2")
	for _, o := range outcomes[2:] {
		if !o.Reply.Temporary() {
			t.Errorf("a recipient that was never asked about has %+v", o)
		}
	}
}

// TestInDoubt has a host hang up after the end of the message, which left with its envelope in one write: nothing is known
// of any recipient, so all wait, and nobody else is sent the message now.
func TestInDoubt(t *testing.T) {
	w := newWorld(t, twoHosts, "2 3", nil)
	w.arrange(func(w *world) {
		w.hosts["2"].hangUp = true
		w.hosts["2"].rcpt = func(_ *receiver.Session, to string) smtp.Reply {
			return map[string]smtp.Reply{"bad": never, "busy": later}[to]
		}
	})
	expect(t, "outcomes", said(w.send("good bad busy")), "451 4.4.2 in-doubt, 451 4.4.2 in-doubt, 451 4.4.2 in-doubt")
	expect(t, "second", fmt.Sprint(w.hosts["3"].messages()), "[]")
}

// TestReuse counts connections: one for mail that follows, and another for another site.
func TestReuse(t *testing.T) {
	w := newWorld(t, twoHosts, "2", nil)
	for range 5 {
		expect(t, "outcome", said(w.send("joe")), "250 2.0.0 by 2")
	}
	if n := w.hosts["2"].connections(); n != 1 {
		t.Errorf("%d connections for five messages", n)
	}
	if asked := w.dns.Questions("example.org", "MX"); asked != 1 {
		t.Errorf("the MX was asked for %d times", asked)
	}
	w.remote.ToMX(t.Context(), "another", domain(t, "example.org"), Manner{}, w.task("joe"))
	if n := w.hosts["2"].connections(); n != 2 {
		t.Errorf("%d connections, want one more for another site", n)
	}
	if n := len(w.hosts["2"].messages()); n != 6 {
		t.Errorf("%d messages arrived", n)
	}
}

// TestReuseAtOnce has several attempts at once: no more connections than attempts, whatever follows.
func TestReuseAtOnce(t *testing.T) {
	const attempts = 4
	w := newWorld(t, twoHosts, "2", nil)
	for range 5 {
		var all sync.WaitGroup
		for range attempts {
			all.Go(func() {
				if o := w.send("joe"); !o[0].Reply.Positive() {
					t.Errorf("outcome %+v", o)
				}
			})
		}
		all.Wait()
	}
	if n := w.hosts["2"].connections(); n > attempts {
		t.Errorf("%d connections for %d attempts at once", n, attempts)
	}
	if n := len(w.hosts["2"].messages()); n != 5*attempts {
		t.Errorf("%d messages arrived", n)
	}
}

// TestKeptSessionDied has the host hang up on a session that was kept, with and without a word: nobody notices.
func TestKeptSessionDied(t *testing.T) {
	for _, last := range []string{"", "421 4.4.2 Idle for too long\r\n"} {
		w := newWorld(t, twoHosts, "2 3", nil)
		w.send("joe")
		w.hosts["2"].drop(last)
		expect(t, "outcome", said(w.send("ann bob")), "250 2.0.0 by 2, 250 2.0.0 by 2")
		expect(t, "messages", fmt.Sprint(w.hosts["2"].messages()), fmt.Sprint([]got{{"joe", letter}, {"ann bob", letter}}))
		expect(t, "visits", w.visited(), "2 2")
	}
}

// TestKeptSessionRefuses has a host refuse for now in a kept session: it is not asked the same again, the next one is.
func TestKeptSessionRefuses(t *testing.T) {
	w := newWorld(t, twoHosts, "2 3", nil)
	w.send("joe")
	w.arrange(func(w *world) { w.hosts["2"].rcpt = reject(later) })
	expect(t, "outcome", said(w.send("joe")), "250 2.0.0 by 3")
	expect(t, "visits", w.visited(), "2 3")
	w.arrange(func(w *world) { w.hosts["3"].rcpt = reject(later) })
	w.remote.Close()
	expect(t, "outcome", said(w.send("joe")), "450 4.2.1 refused by 3")
}

// TestMaxUses ends a session after its hundredth message.
func TestMaxUses(t *testing.T) {
	w := newWorld(t, twoHosts, "2", nil)
	for range maxUses {
		w.send("joe")
	}
	if n := w.hosts["2"].connections(); n != 1 {
		t.Fatalf("%d connections for %d messages", n, maxUses)
	}
	w.send("joe")
	if n := w.hosts["2"].connections(); n != 2 {
		t.Errorf("%d connections for one more", n)
	}
	if n := len(w.hosts["2"].messages()); n != maxUses+1 {
		t.Errorf("%d messages arrived", n)
	}
}

// TestCancelled ends the context before the attempt, or while the host thinks: the mail waits as if it had not been tried.
func TestCancelled(t *testing.T) {
	t.Run("before", func(t *testing.T) {
		for name, dest := range map[string]string{"by MX": "example.org", "literal": "[127.0.0.2]"} {
			w := newWorld(t, twoHosts, "2 3", nil)
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			expect(t, name, said(w.remote.ToMX(ctx, "s", domain(t, dest), Manner{}, w.task("joe ann"))), "451 4.3.2 shutdown, 451 4.3.2 shutdown")
			expect(t, "visits", w.visited(), "")
		}
	})
	t.Run("before, with a kept session", func(t *testing.T) {
		w := newWorld(t, twoHosts, "2 3", nil)
		w.send("joe")
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		task := w.task("joe ann")
		task.Open = func(ctx context.Context) (io.ReadCloser, error) { return nil, ctx.Err() } // as the spool does
		expect(t, "outcomes", said(w.remote.ToMX(ctx, "mx:example.org", domain(t, "example.org"), Manner{}, task)),
			"451 4.3.2 shutdown, 451 4.3.2 shutdown")
		expect(t, "visits", w.visited(), "2")
	})
	t.Run("while the host thinks, with the whole message", func(t *testing.T) {
		w := newWorld(t, twoHosts, "2 3", nil)
		ctx, cancel := context.WithCancel(t.Context())
		w.arrange(func(w *world) {
			w.hosts["2"].rcpt = func(*receiver.Session, string) smtp.Reply { cancel(); <-t.Context().Done(); return later }
		})
		expect(t, "outcomes", said(w.remote.ToMX(ctx, "s", domain(t, "example.org"), Manner{}, w.task("joe ann"))),
			"451 4.4.2 in-doubt, 451 4.4.2 in-doubt")
		expect(t, "visits", w.visited(), "2")
	})
}

// broken is content that fails after some octets.
type broken struct {
	io.Reader
	err error
}

func (b broken) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if err == io.EOF {
		err = b.err
	}
	return n, err
}

// TestUnreadable has content that the spool can't give. What is damaged is held, what may pass waits, and in no case does
// a host take a part for the whole, or another host get to see it.
func TestUnreadable(t *testing.T) {
	damaged := fmt.Errorf("read chunk 7: %w", spool.ErrDamaged)
	passing := errors.New("input/output error")
	for _, test := range []struct {
		name string
		open error  // of Open
		part string // that can be read
		err  error
		want string
	}{
		{"damaged from its start", damaged, "", nil, "451 4.3.0 hold unreadable"},
		{"gone", spool.ErrNotFound, "", nil, "451 4.3.0 hold unreadable"},
		{"the spool is closed", spool.ErrClosed, "", nil, "451 4.3.2 shutdown"},
		{"an error that may pass", passing, "", nil, "451 4.3.0 unreadable"},
		{"damaged at the first octet", nil, "", damaged, "451 4.3.0 hold unreadable"},
		{"damaged in the middle", nil, "Subject: x\r\n\r\nbody\r\n", damaged, "451 4.3.0 hold unreadable"},
		{"damaged behind much", nil, strings.Repeat("body\r\n", 50_000), damaged, "451 4.3.0 hold unreadable"},
		{"broken in the middle", nil, "Subject: x\r\n\r\nbody\r\n", passing, "451 4.3.0 unreadable"},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t, twoHosts, "2 3", nil)
			w.arrange(func(w *world) {
				w.hosts["2"].rcpt = func(_ *receiver.Session, to string) smtp.Reply {
					return map[string]smtp.Reply{"bad": never}[to]
				}
			})
			task := w.task("joe bad")
			task.Open = func(context.Context) (io.ReadCloser, error) {
				return io.NopCloser(broken{strings.NewReader(test.part), test.err}), test.open
			}
			outcomes := w.remote.ToMX(t.Context(), "mx:example.org", domain(t, "example.org"), Manner{}, task)
			expect(t, "outcome", said(outcomes[:1]), test.want)
			expect(t, "visits", w.visited(), "2")
			expect(t, "the next message", said(w.send("ann")), "250 2.0.0 by 2")
			expect(t, "messages", fmt.Sprint(w.hosts["2"].messages()), fmt.Sprint([]got{{"ann", letter}}))
		})
	}
}

// sevenBitHost is a host that offers no 8BITMIME and keeps its messages with those of the host 2.
func sevenBitHost(t *testing.T, w *world) Hop {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &receiver.Server{Hostname: "old.example", Handler: w.hosts["2"], SevenBit: true}
	go srv.Serve(l)
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		srv.Shutdown(ctx)
	})
	return Hop{Host: "127.0.0.1", Port: l.Addr().(*net.TCPAddr).Port}
}

// TestEightBit sends 8-bit content to a host that offers 8BITMIME, and to one that does not: there it arrives converted.
func TestEightBit(t *testing.T) {
	w := newWorld(t, twoHosts, "2", nil)
	w.content = "Subject: pigeons\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nkůň\r\n"
	expect(t, "with 8BITMIME", said(w.send("joe")), "250 2.0.0 by 2")
	expect(t, "messages", fmt.Sprint(w.hosts["2"].messages()), fmt.Sprint([]got{{"joe", w.content}}))
	outcomes := w.remote.ToHop(t.Context(), "old", sevenBitHost(t, w), Manner{}, w.task("joe ann"))
	expect(t, "without", said(outcomes), "250 2.0.0 by 1, 250 2.0.0 by 1")
	arrived := w.hosts["2"].messages()
	text := arrived[len(arrived)-1].content
	for _, want := range []string{"Subject: pigeons\r\n", "charset=utf-8\r\n", "MIME-Version: 1.0\r\n", "Content-Transfer-Encoding: base64\r\n",
		"\r\na8WvxYgNCg==\r\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("the converted mail lacks %q:\n%s", want, text)
		}
	}
}

// TestEightBitReturned: what can't be converted, and what is signed where that is to stay whole, is refused for good; so is
// what needs SMTPUTF8.
func TestEightBitReturned(t *testing.T) {
	const signed = "DKIM-Signature: v=1; d=example.org; b=x\r\nSubject: x\r\n\r\nkůň\r\n"
	for _, test := range []struct {
		name, content, want string
		keep                mail.Signature
		utf8                bool
	}{
		{"an address in the header", "From: kůň@example.org\r\n\r\nx\r\n", "554 5.6.3", 0, false},
		{"signed, and converted", signed, "250 2.0.0 by 1", 0, false},
		{"signed, and kept whole", signed, "554 5.6.3", mail.DKIM, false},
		{"SMTPUTF8 with UTF-8 in the header", "Subject: kůň\r\n\r\nx\r\n", "553 5.6.7", 0, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t, twoHosts, "2", func(o *Options) { o.KeepWhole = test.keep })
			w.content = test.content
			task := w.task("joe")
			task.Message.Asked.UTF8, task.Message.HighHeader = test.utf8, test.utf8
			expect(t, "outcome", said(w.remote.ToHop(t.Context(), "old", sevenBitHost(t, w), Manner{}, task)), test.want)
		})
	}
}

// TestBinary sends BINARYMIME to a host that does not offer it: it arrives encoded.
func TestBinary(t *testing.T) {
	w := newWorld(t, twoHosts, "2", nil)
	w.content = "MIME-Version: 1.0\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: binary\r\n\r\n\x00\xff\r\x00\n"
	task := w.task("joe")
	task.Message.Asked.Binary = true
	expect(t, "outcome", said(w.remote.ToMX(t.Context(), "mx:example.org", domain(t, "example.org"), Manner{}, task)), "250 2.0.0 by 2")
	if text := fmt.Sprint(w.hosts["2"].messages()); !strings.Contains(text, "Content-Transfer-Encoding: base64\r\n\r\nAP8NAAo=\r\n") {
		t.Errorf("arrived: %q", text)
	}
}

// TestBinaryLines: text that came as binary is made of lines again for a host without BINARYMIME, over BDAT too: a bare LF in it
// would be refused there.
func TestBinaryLines(t *testing.T) {
	w := newWorld(t, twoHosts, "2", nil)
	w.content = "Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nůňa\nb\n"
	task := w.task("joe")
	task.Message.Asked.Binary = true
	expect(t, "outcome", said(w.remote.ToMX(t.Context(), "mx:example.org", domain(t, "example.org"), Manner{}, task)), "250 2.0.0 by 2")
	if all := w.hosts["2"].messages(); len(all) != 1 || !strings.HasSuffix(all[0].content, "\r\n\r\nůňa\r\nb\r\n") {
		t.Errorf("arrived: %q", all)
	}
}

// TestFit is the table of which form of a message a host takes.
func TestFit(t *testing.T) {
	all := smtp.Extensions{EightBitMIME: true, BinaryMIME: true, Chunking: true, UTF8: true}
	eight := smtp.Extensions{EightBitMIME: true, Chunking: true}
	for _, test := range []struct {
		name     string
		env      sender.Envelope
		ext      smtp.Extensions
		sevenBit bool
		to       mail.Target
		needed   bool
	}{
		{"7-bit to anyone", sender.Envelope{}, smtp.Extensions{}, true, 0, false},
		{"8-bit to 8BITMIME", sender.Envelope{EightBit: true}, eight, false, 0, false},
		{"8-bit to an old host", sender.Envelope{EightBit: true}, smtp.Extensions{}, false, mail.SevenBit, true},
		{"8-bit over a 7-bit channel", sender.Envelope{EightBit: true}, all, true, mail.SevenBit, true},
		{"binary to BINARYMIME", sender.Envelope{Binary: true, EightBit: true}, all, false, 0, false},
		{"binary to 8BITMIME", sender.Envelope{Binary: true, EightBit: true}, eight, false, mail.EightBit, true},
		{"binary without CHUNKING", sender.Envelope{Binary: true}, smtp.Extensions{EightBitMIME: true, BinaryMIME: true}, false, mail.EightBit, true},
		{"binary to an old host", sender.Envelope{Binary: true}, smtp.Extensions{}, false, mail.SevenBit, true},
		{"binary over a 7-bit channel", sender.Envelope{Binary: true}, all, true, mail.SevenBit, true},
		{"what needs SMTPUTF8 goes nowhere else", sender.Envelope{EightBit: true, UTF8: true}, eight, false, 0, false},
	} {
		if to, needed := fit(&test.env, test.ext, test.sevenBit); to != test.to || needed != test.needed {
			t.Errorf("%s: %v %v, want %v %v", test.name, to, needed, test.to, test.needed)
		}
	}
}

// TestClose ends kept sessions, and those given back later.
func TestClose(t *testing.T) {
	w := newWorld(t, twoHosts, "2", nil)
	w.send("joe")
	w.remote.Close()
	expect(t, "outcome", said(w.send("joe")), "250 2.0.0 by 2")
	if n := w.hosts["2"].connections(); n != 2 {
		t.Errorf("%d connections: a session was kept over the end", n)
	}
	if len(w.remote.idle.idle) != 0 {
		t.Error("a session was kept after the end")
	}
}

func TestDiscardAndReject(t *testing.T) {
	w := newWorld(t, "", "", nil)
	task := w.task("a b c")
	task.Recipients = []int{2, 0}
	for i, o := range append(Discard(task), Reject(task, "Not here")...) {
		want := []string{"250 2.0.0 Discarded, as the route says", "550 5.7.1 Not here"}[i/2]
		if o.N != task.Recipients[i%2] || o.Reply.Text() != want {
			t.Errorf("outcome %d is %+v", i, o)
		}
	}
}

// TestLimits: a host that takes one recipient a transaction, and says so, has them all in one session (RFC 9422).
func TestLimits(t *testing.T) {
	w := newWorld(t, twoHosts, "2 3", nil)
	w.arrange(func(w *world) { w.hosts["2"].srv.MaxRecipients = 1; w.hosts["2"].srv.Offer.Limits = &smtp.Limits{} })
	expect(t, "outcomes", said(w.send("joe ann eve")), "250 2.0.0 by 2, 250 2.0.0 by 2, 250 2.0.0 by 2")
	if n := w.hosts["2"].connections(); n != 1 {
		t.Errorf("%d connections", n)
	}
}
