package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/holub-mail/holub/bench/report"
)

// A work is what servers are given to do. The zero values of most fields are those of the simplest work: mail that is only
// accepted, by connections that are kept.
type work struct {
	name, title, note string
	goal              float64
	sessions          int  // at once, of the source
	size              int  // of a message, in octets
	recipients        int  // of a message; 0 is 1
	domains           int  // that the messages go to; 0 is 1
	sites             bool // each domain has a host of its own
	warm              int  // messages before the first that counts
	least, most       int  // messages of a run; 0 for ten a session at least, and for no most
	relay             bool // to the sink
	kept              bool // the server keeps the mail, in the way that costs it least; without this and relay, it queues mail for a host that is down
	early             bool // timed until the source has its last 250, not until the sink has the last message
	perConnection     bool
	tls               bool
	idle              bool // no message at all: the memory of sessions that say nothing
	waiting           int  // recipients that wait for a dead host before it begins
	cores             int  // that server, source and sink may use; 0 for all
}

const kib, mib = 1 << 10, 1 << 20

// works are the rows of the table. The goals are those that holub set itself against Postfix.
var works = []work{
	{name: "accept", title: "4 KiB from 20 sessions, connections kept, into the queue for a next host that is down", goal: 10,
		sessions: 20, size: 4 * kib, warm: 300},
	{name: "accept-kept", title: "as accept, with mail that the server is not to deliver: held, where it can hold mail",
		goal: 10, note: "Postfix then makes one sync a message and no attempt; holub and Haraka queue it all the same",
		sessions: 20, size: 4 * kib, warm: 300, kept: true},
	{name: "relay", title: "4 KiB from 20 sessions, connections kept, from the first MAIL until the next host has the last message",
		goal: 10, sessions: 20, size: 4 * kib, warm: 300, relay: true},
	{name: "relay-conn", title: "as relay, with a connection for each message", goal: 8,
		sessions: 20, size: 4 * kib, warm: 300, relay: true, perConnection: true},
	{name: "relay-64k", title: "as relay, with messages of 64 KiB", goal: 5,
		sessions: 20, size: 64 * kib, warm: 200, relay: true},
	{name: "latency", title: "4 KiB, one session, one message after the other, relayed; timed until the last 250", goal: 2,
		sessions: 1, size: 4 * kib, warm: 50, relay: true, early: true},
	{name: "tls", title: "as relay, with STARTTLS on both sides", goal: 5, note: "the source and the sink pay for TLS on the same cores",
		sessions: 20, size: 4 * kib, warm: 300, relay: true, tls: true},
	{name: "fanout", title: "4 KiB to 100 recipients at 100 domains, each with a host of its own, from 20 sessions", goal: 5,
		note:     "a hundred recipients arrive for each message",
		sessions: 20, size: 4 * kib, warm: 20, recipients: 100, domains: 100, sites: true, relay: true, least: 40},
	{name: "idle", title: "memory that 1,000 sessions take which said EHLO and nothing more", goal: 100,
		note:     "of all processes, shared pages counted once; what the server needs without them is taken off, and the peak has all",
		sessions: 1000, idle: true, kept: true},
}

// unit is what a work's result is counted in.
func (w work) unit() string {
	if w.idle {
		return "MiB"
	}
	return "msg/s"
}

// arrivals is how many recipients must have arrived for n messages.
func (w work) arrivals(n int) int { return n * max(w.recipients, 1) }

// pick gives those of all that have these names, in their order; all of them for no names. what is said of one where there is
// none of a name.
func pick[T interface{ String() string }](what string, all []T, names []string) ([]T, error) {
	if len(names) == 0 {
		return all, nil
	}
	var picked []T
	var known []string
	for _, v := range all {
		known = append(known, v.String())
		if slices.Contains(names, v.String()) {
			picked = append(picked, v)
		}
	}
	for _, name := range names {
		if !slices.Contains(known, name) {
			return nil, fmt.Errorf("there is no %s called %q; there are %s", what, name, strings.Join(known, ", "))
		}
	}
	return picked, nil
}

func (w work) String() string { return w.name }

// described is the work as the report has it.
func (w work) described(generator string) report.Work {
	return report.Work{Name: w.name, Title: w.title, Unit: w.unit(), Goal: w.goal, Less: w.idle, Generator: generator, Note: w.note}
}

// domain is the n-th domain that mail goes to, from 0.
func domain(n int) string { return fmt.Sprintf("d%d.example", n+1) }

// host is the address of the n-th site, from 0: the whole of 127.0.0.0/8 is this machine.
func host(n int) string {
	n++ // 127.0.0.1 is the first
	return fmt.Sprintf("127.%d.%d.%d", n/62500, n/250%250, n%250)
}
