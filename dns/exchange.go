package dns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	mdns "github.com/miekg/dns"
)

const (
	rounds      = 2    // how often every server is tried
	udpSize     = 1232 // octets of an answer over UDP that pass every path without being cut in pieces
	maxChain    = 10   // CNAMEs followed within one answer
	minTTL      = 5 * time.Second
	maxTTL      = time.Hour
	maxNegative = 5 * time.Minute
)

// answer is what came of a question: records, or a failure without the caller's name and type.
type answer struct {
	mx    []MX
	addrs []netip.Addr
	fail  *Error
	ttl   time.Duration // how long it may be kept; 0: not at all
}

// ask puts the question to each server in turn, twice, until one gives an answer that counts.
func (r *Resolver) ask(ctx context.Context, q question) *answer {
	var a *answer
	for range rounds {
		for _, server := range r.servers {
			a = r.askOne(ctx, server, q)
			if a.fail == nil || !a.fail.Temporary() || a.fail.Kind == KindCanceled {
				return a
			}
		}
	}
	return a
}

// askOne puts the question to one server: over UDP, and over TCP where the answer does not fit (RFC 7766 5).
func (r *Resolver) askOne(ctx context.Context, server string, q question) *answer {
	m := new(mdns.Msg)
	m.SetQuestion(q.name, q.kind) // draws a random id
	m.SetEdns0(udpSize, false)
	reply, err := r.exchange(ctx, "udp", server, m)
	if err == nil && reply.Rcode == mdns.RcodeFormatError { // a server that does not know EDNS (RFC 6891 7)
		m.Extra = nil
		reply, err = r.exchange(ctx, "udp", server, m)
	}
	if err == nil && reply.Truncated {
		reply, err = r.exchange(ctx, "tcp", server, m)
	}
	if err != nil {
		return &answer{fail: &Error{Server: server, Kind: failureKind(ctx, err), Err: err}}
	}
	return read(reply, server, q)
}

// exchange sends m and waits for the reply that belongs to it. Over UDP whatever else arrives is passed over: it may be
// late, or forged.
func (r *Resolver) exchange(ctx context.Context, network, server string, m *mdns.Msg) (*mdns.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	var d net.Dialer
	c, err := d.DialContext(ctx, network, server)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.SetDeadline(time.Unix(1, 0)) })()
	conn := &mdns.Conn{Conn: c, UDPSize: udpSize}
	if err := conn.WriteMsg(m); err != nil {
		return nil, err
	}
	for {
		reply, err := conn.ReadMsg()
		cut := reply != nil && reply.Truncated // the part that arrived need not parse
		if reply != nil && (err == nil || cut) && belongs(reply, m) {
			return reply, nil
		}
		var ne net.Error
		if network == "tcp" && err == nil {
			err = errors.New("the reply belongs to another question")
		}
		if network == "tcp" || errors.As(err, &ne) {
			return nil, err
		}
	}
}

// belongs tells that reply answers m: the same id, and the same question where there is one (RFC 5452 9.1). Only a
// server that could not read the question may leave it out.
func belongs(reply, m *mdns.Msg) bool {
	if reply.Id != m.Id || !reply.Response {
		return false
	}
	if len(reply.Question) == 0 {
		return reply.Rcode == mdns.RcodeFormatError
	}
	got, want := reply.Question[0], m.Question[0]
	return len(reply.Question) == 1 && strings.EqualFold(got.Name, want.Name) &&
		got.Qtype == want.Qtype && got.Qclass == want.Qclass
}

// failureKind sorts an error of exchange. The time of the try is inside exchange; if ctx itself ended, the caller left.
func failureKind(ctx context.Context, err error) Kind {
	var ne net.Error
	var oe *net.OpError
	switch {
	case ctx.Err() != nil:
		return KindCanceled
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &ne) && ne.Timeout():
		return KindTimeout
	case errors.As(err, &oe):
		return KindNetwork
	}
	return KindBadAnswer
}

// read takes the records out of a reply.
func read(m *mdns.Msg, server string, q question) *answer {
	fail := func(k Kind, err error) *answer { return &answer{fail: &Error{Server: server, Kind: k, Err: err}} }
	switch m.Rcode {
	case mdns.RcodeSuccess:
	case mdns.RcodeNameError:
		a := fail(KindNotFound, nil)
		a.ttl = negativeTTL(m)
		return a
	case mdns.RcodeServerFailure:
		return fail(KindServFail, nil)
	case mdns.RcodeRefused:
		return fail(KindRefused, nil)
	default:
		return fail(KindBadAnswer, fmt.Errorf("response code %d %s", m.Rcode, mdns.RcodeToString[m.Rcode]))
	}
	a := &answer{ttl: maxTTL}
	owner := a.followChain(m.Answer, q)
	for _, rr := range m.Answer {
		if h := rr.Header(); h.Rrtype == q.kind && h.Class == mdns.ClassINET && strings.EqualFold(h.Name, owner) {
			a.add(rr)
		}
	}
	if len(a.mx)+len(a.addrs) == 0 {
		a = fail(KindNoData, nil)
		a.ttl = negativeTTL(m)
		return a
	}
	slices.SortStableFunc(a.mx, func(x, y MX) int { return int(x.Preference) - int(y.Preference) })
	a.ttl = max(a.ttl, minTTL)
	return a
}

// followChain gives the name at the end of the CNAMEs of an answer.
func (a *answer) followChain(rrs []mdns.RR, q question) string {
	owner := q.name
	for range maxChain {
		i := slices.IndexFunc(rrs, func(rr mdns.RR) bool {
			_, ok := rr.(*mdns.CNAME)
			return ok && strings.EqualFold(rr.Header().Name, owner)
		})
		if i < 0 {
			break
		}
		owner = rrs[i].(*mdns.CNAME).Target
		a.ttl = min(a.ttl, seconds(rrs[i].Header().Ttl))
	}
	return owner
}

func (a *answer) add(rr mdns.RR) {
	switch rr := rr.(type) {
	case *mdns.MX:
		host := rr.Mx
		if host != "." {
			host = strings.TrimSuffix(host, ".")
		}
		a.mx = append(a.mx, MX{Host: host, Preference: rr.Preference})
	case *mdns.A:
		if addr, ok := netip.AddrFromSlice(rr.A); ok {
			a.addrs = append(a.addrs, addr.Unmap())
		}
	case *mdns.AAAA:
		if addr, ok := netip.AddrFromSlice(rr.AAAA); ok {
			a.addrs = append(a.addrs, addr)
		}
	}
	a.ttl = min(a.ttl, seconds(rr.Header().Ttl))
}

// negativeTTL is how long a denial may be kept: as the SOA of the reply says (RFC 2308 5), within our bounds.
func negativeTTL(m *mdns.Msg) time.Duration {
	for _, rr := range m.Ns {
		if soa, ok := rr.(*mdns.SOA); ok {
			return min(max(seconds(min(soa.Minttl, soa.Hdr.Ttl)), minTTL), maxNegative)
		}
	}
	return minTTL
}

func seconds(n uint32) time.Duration { return time.Duration(n) * time.Second }
