package deliver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/holub-mail/holub/smtp"
	"github.com/holub-mail/holub/smtp/receiver"
)

var (
	later   = smtp.NewReply(450, smtp.EnhancedCode{4, 2, 1}, "Greylisted")
	never   = smtp.NewReply(550, smtp.EnhancedCode{5, 1, 1}, "No such user")
	closed  = smtp.NewReply(554, smtp.EnhancedCode{}, "No SMTP service here")
	tooMany = smtp.NewReply(452, smtp.EnhancedCode{4, 5, 3}, "Too many recipients")
)

func reject(r smtp.Reply) func(*receiver.Session, string) smtp.Reply {
	return func(*receiver.Session, string) smtp.Reply { return r }
}

const (
	// Two hosts of different preference, given in the wrong order.
	twoHosts = `
		example.org. MX 20 second.example.
		example.org. MX 10 first.example.
		first.example. A 127.0.0.2
		second.example. A 127.0.0.3`
)

// TestHosts is the table of which hosts an attempt visits and what comes of it.
func TestHosts(t *testing.T) {
	for _, test := range []struct {
		name   string
		zone   string
		hosts  string // that listen
		set    func(w *world)
		want   string // the outcome
		visits string
	}{
		{"the preferred host", twoHosts, "2 3", nil, "250 2.0.0 by 2", "2"},
		{"no connection", twoHosts, "3", nil, "250 2.0.0 by 3", "3"},
		{"no connection to any", twoHosts, "", nil, "451 4.4.1 connect", ""},
		{"greeting 421", twoHosts, "2 3", func(w *world) { w.hosts["2"].greeting = smtp.NewReply(421, smtp.EnhancedCode{}, "Busy") },
			"250 2.0.0 by 3", "2 3"},
		{"greeting 450", twoHosts, "2 3", func(w *world) { w.hosts["2"].greeting = later }, "250 2.0.0 by 3", "2 3"},
		{"greeting 554", twoHosts, "2 3", func(w *world) { w.hosts["2"].greeting = closed }, "250 2.0.0 by 3", "2 3"},
		{"greeting 554 of all", twoHosts, "2 3", func(w *world) { w.hosts["2"].greeting, w.hosts["3"].greeting = closed, closed },
			"554 by 3", "2 3"},
		{"first down, second 554: the first may come back", twoHosts, "3", func(w *world) { w.hosts["3"].greeting = closed },
			"451 4.4.1 connect", "3"},
		{"MAIL 4yz", twoHosts, "2 3", func(w *world) { w.hosts["2"].mail = later }, "250 2.0.0 by 3", "2 3"},
		{"MAIL 5yz", twoHosts, "2 3", func(w *world) { w.hosts["2"].mail = never }, "550 5.1.1 by 2", "2"},
		{"RCPT 4yz", twoHosts, "2 3", func(w *world) { w.hosts["2"].rcpt = reject(later) }, "250 2.0.0 by 3", "2 3"},
		{"RCPT 5yz", twoHosts, "2 3", func(w *world) { w.hosts["2"].rcpt = reject(never) }, "550 5.1.1 by 2", "2"},
		{"RCPT 4yz, then 5yz", twoHosts, "2 3", func(w *world) {
			w.hosts["2"].rcpt, w.hosts["3"].rcpt = reject(later), reject(never)
		}, "550 5.1.1 by 3", "2 3"},
		{"RCPT 452 of all", twoHosts, "2 3", func(w *world) {
			w.hosts["2"].rcpt, w.hosts["3"].rcpt = reject(tooMany), reject(tooMany)
		}, "452 4.5.3 refused by 3", "2 3"},
		{"RCPT 4yz, then no connection", twoHosts, "2", func(w *world) { w.hosts["2"].rcpt = reject(later) }, "451 4.4.1 connect", "2"},
		{"final dot 4yz", twoHosts, "2 3", func(w *world) { w.hosts["2"].data = later }, "250 2.0.0 by 3", "2 3"},
		{"final dot 5yz", twoHosts, "2 3", func(w *world) { w.hosts["2"].data = never }, "550 5.1.1 by 2", "2"},
		{"in doubt: no other host", twoHosts, "2 3", func(w *world) { w.hosts["2"].hangUp = true }, "451 4.4.2 in-doubt", "2"},

		{"no MX: the domain's own address", "example.org. A 127.0.0.2", "2", nil, "250 2.0.0 by 2", "2"},
		{"no MX and no address", `example.org. TXT "no mail"`, "", nil, "550 5.4.4", ""},
		{"no such domain", "example.com. A 127.0.0.2", "", nil, "550 5.1.2", ""},
		{"null MX", "example.org. MX 0 .\nexample.org. A 127.0.0.2", "2", nil, "556 5.1.10", ""},
		{"MX fails", twoHosts, "2 3", func(w *world) { w.dns.ServFail("example.org") }, "451 4.4.3 dns", ""},
		{"one host is not found", "example.org. MX 10 gone.example.\nexample.org. MX 20 b.example.\nb.example. A 127.0.0.3",
			"3", nil, "250 2.0.0 by 3", "3"},
		{"no host is found", "example.org. MX 10 gone.example.\nexample.org. MX 20 left.example.", "", nil, "550 5.4.4", ""},
		{"a host has no address", "example.org. MX 10 b.example.\nb.example. TXT x", "", nil, "550 5.4.4", ""},
		{"a host's address fails", twoHosts, "3", func(w *world) { w.dns.ServFail("first.example") }, "250 2.0.0 by 3", "3"},
		{"one fails, one is not there: the first may come back",
			"example.org. MX 10 first.example.\nexample.org. MX 20 gone.example.\nfirst.example. A 127.0.0.2",
			"2", func(w *world) { w.dns.ServFail("first.example") }, "451 4.4.3 dns", ""},
		{"the MX is an alias", "example.org. MX 10 alias.example.\nalias.example. CNAME real.example.\nreal.example. A 127.0.0.2",
			"2", nil, "250 2.0.0 by 2", "2"},
		{"two addresses of a host", "example.org. MX 10 b.example.\nb.example. A 127.0.0.2\nb.example. A 127.0.0.3", "3", nil, "250 2.0.0 by 3", "3"},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t, test.zone, test.hosts, nil)
			if test.set != nil {
				w.arrange(test.set)
			}
			expect(t, "outcome", said(w.send("joe")), test.want)
			expect(t, "visits", w.visited(), test.visits)
			for n, h := range w.hosts {
				taken := strings.HasPrefix(test.want, "250") && strings.HasSuffix(test.want, " by "+n)
				if messages := h.messages(); (len(messages) == 1) != taken || taken && messages[0] != (got{"joe", letter}) {
					t.Errorf("host %s has %q", n, messages)
				}
			}
		})
	}
}

// TestLoop has this server, mx.example.net at 127.0.0.9, among the hosts: it and those not preferred to it are never tried
// (RFC 5321 5.1).
func TestLoop(t *testing.T) {
	const others = "\nfirst.example. A 127.0.0.2\nsecond.example. A 127.0.0.3\nmx.example.net. A 127.0.0.8\nalias.example. A 127.0.0.9\n"
	for _, test := range []struct{ name, zone, hosts, want, visits string }{
		{"by name, alone", "example.org. MX 10 mx.example.net.", "8 9", "554 5.4.6", ""},
		{"by name in capitals", "example.org. MX 10 MX.Example.NET.", "8 9", "554 5.4.6", ""},
		{"by address, alone", "example.org. MX 10 alias.example.", "8 9", "554 5.4.6", ""},
		{"by name, best", "example.org. MX 10 mx.example.net.\nexample.org. MX 20 first.example.", "2 8", "554 5.4.6", ""},
		{"by address, best", "example.org. MX 10 alias.example.\nexample.org. MX 20 first.example.", "2 9", "554 5.4.6", ""},
		{"by name among equals", "example.org. MX 10 first.example.\nexample.org. MX 10 mx.example.net.", "2 8", "554 5.4.6", ""},
		{"by address among equals", "example.org. MX 10 first.example.\nexample.org. MX 10 alias.example.", "2 9", "554 5.4.6", ""},
		{"by name, a better one works", "example.org. MX 5 first.example.\nexample.org. MX 10 mx.example.net.", "2 8", "250 2.0.0 by 2", "2"},
		{"by name, a better one is down",
			"example.org. MX 5 first.example.\nexample.org. MX 10 mx.example.net.\nexample.org. MX 20 second.example.", "3 8", "451 4.4.1 connect", ""},
		{"by address, a better one is down",
			"example.org. MX 5 first.example.\nexample.org. MX 10 alias.example.\nexample.org. MX 20 second.example.", "3 9", "451 4.4.1 connect", ""},
		{"by address, the address of a better one is not told",
			"example.org. MX 5 fails.example.\nexample.org. MX 10 alias.example.\nfails.example. A 127.0.0.2", "2 9", "451 4.4.3 dns", ""},
		{"without MX, by address", "example.org. A 127.0.0.9", "9", "554 5.4.6", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t, test.zone+others, test.hosts, func(o *Options) {
				o.Self = func(a netip.AddrPort) bool {
					return a.Addr() == netip.MustParseAddr("127.0.0.9") && a.Port() == uint16(o.Port)
				}
			})
			w.dns.ServFail("fails.example")
			outcomes := w.send("joe ann")
			expect(t, "outcomes", said(outcomes), test.want+", "+test.want)
			expect(t, "visits", w.visited(), test.visits)
			for _, o := range outcomes {
				if o.Reason.String() == "unknown" { // it could not be read back from the spool
					t.Errorf("the reason of %+v is no reason", o)
				}
			}
		})
	}
}

// TestLoopByItsOwnName is mail for this very host, whose address, as behind a translator, it does not know.
func TestLoopByItsOwnName(t *testing.T) {
	w := newWorld(t, "mx.example.net. A 127.0.0.2", "2", nil)
	outcomes := w.remote.ToMX(t.Context(), "s", domain(t, "Mx.example.net"), Manner{}, w.task("joe"))
	expect(t, "outcome", said(outcomes), "554 5.4.6")
	expect(t, "visits", w.visited(), "")
}

func TestLiterals(t *testing.T) {
	for literal, want := range map[string]string{
		"[127.0.0.2]": "250 2.0.0 by 2",
		"[127.0.0.3]": "451 4.4.1 connect",
		"[127.0.0.9]": "554 5.4.6",
	} {
		w := newWorld(t, "", "2", func(o *Options) {
			o.Self = func(a netip.AddrPort) bool { return a.Addr() == netip.MustParseAddr("127.0.0.9") }
		})
		expect(t, literal, said(w.remote.ToMX(t.Context(), "s", domain(t, literal), Manner{}, w.task("joe"))), want)
	}
}

// TestRelayHost goes by name and by address, asks for no MX and knows itself. What is wrong with its name is the fault of
// the configuration, for which no mail is returned.
func TestRelayHost(t *testing.T) {
	const zone = "relay.example. A 127.0.0.2\nrelay.example. MX 10 wrong.example.\nself.example. A 127.0.0.9"
	for host, want := range map[string]string{
		"relay.example": "250 2.0.0 by 2", "127.0.0.2": "250 2.0.0 by 2", "127.0.0.3": "451 4.4.1 connect",
		"gone.example": "451 4.3.5 dns", "self.example": "451 4.3.5 dns", "127.0.0.9": "451 4.3.5 dns",
	} {
		w := newWorld(t, zone, "2", func(o *Options) {
			o.Self = func(a netip.AddrPort) bool { return a.Addr() == netip.MustParseAddr("127.0.0.9") }
		})
		expect(t, host, said(w.remote.ToHop(t.Context(), "s", Hop{Host: host, Port: w.port}, Manner{}, w.task("joe"))), want)
		if n := w.dns.Questions("relay.example", "MX"); n != 0 {
			t.Errorf("the MX of the relay host was asked for %d times", n)
		}
	}
}

// dialLog notes where an attempt wants to connect, and refuses.
func dialLog(t *testing.T, zone string, change func(*Options)) (dialled string, outcome string) {
	t.Helper()
	var all []string
	w := newWorld(t, zone, "", func(o *Options) {
		o.Dial = func(_ context.Context, network, address string) (net.Conn, error) {
			host, _, _ := net.SplitHostPort(address)
			all = append(all, host)
			return nil, errors.New("refused")
		}
		if change != nil {
			change(o)
		}
	})
	outcome = said(w.send("joe"))
	return strings.Join(all, " "), outcome
}

// TestShuffle hands in the order among equals; preference goes before it.
func TestShuffle(t *testing.T) {
	var zone strings.Builder
	for n, preference := range []int{20, 10, 10, 10, 30} {
		fmt.Fprintf(&zone, "example.org. MX %d h%d.example.\nh%d.example. A 192.0.2.%d\n", preference, n, n, n)
	}
	reverse := func(n int, swap func(i, k int)) {
		for i := range n / 2 {
			swap(i, n-1-i)
		}
	}
	plain, _ := dialLog(t, zone.String(), nil)
	reversed, outcome := dialLog(t, zone.String(), func(o *Options) { o.Shuffle = reverse })
	expect(t, "as they came", plain, "192.0.2.1 192.0.2.2 192.0.2.3 192.0.2.0 192.0.2.4")
	expect(t, "reversed", reversed, "192.0.2.3 192.0.2.2 192.0.2.1 192.0.2.0 192.0.2.4")
	expect(t, "outcome", outcome, "451 4.4.1 connect")
}

// TestAddresses has hosts with addresses of both kinds, and with more than one attempt tries.
func TestAddresses(t *testing.T) {
	dialled, _ := dialLog(t, "example.org. AAAA 2001:db8::1", nil)
	expect(t, "no MX, AAAA alone", dialled, "2001:db8::1")
	dialled, _ = dialLog(t, "example.org. MX 10 h.example.\nh.example. AAAA 2001:db8::1\nh.example. A 192.0.2.1", nil)
	expect(t, "both kinds", dialled, "192.0.2.1 2001:db8::1")
	var zone strings.Builder
	for n := range 30 {
		fmt.Fprintf(&zone, "example.org. MX %d h%d.example.\nh%d.example. A 192.0.2.%d\n", n, n, n, n)
	}
	dialled, outcome := dialLog(t, zone.String(), nil)
	if n := len(strings.Fields(dialled)); n != maxAddresses {
		t.Errorf("%d addresses are tried: %s", n, dialled)
	}
	expect(t, "outcome", outcome, "451 4.4.1 connect")
}

// TestEHLO has this server say its own name.
func TestEHLO(t *testing.T) {
	w := newWorld(t, twoHosts, "2", nil)
	w.arrange(func(w *world) {
		w.hosts["2"].rcpt = func(s *receiver.Session, _ string) smtp.Reply {
			return smtp.Replyf(550, smtp.EnhancedCode{5, 0, 0}, "%s %s", s.Protocol(), s.Hello())
		}
	})
	o := w.send("joe")[0]
	expect(t, "greeting", o.Reply.Text(), "550 5.0.0 ESMTP mx.example.net")
	expect(t, "host", o.Host, fmt.Sprintf("first.example [127.0.0.2]:%d", w.port))
}
