package sender

import (
	"cmp"
	"context"
	"crypto/tls"
	"net"
	"net/netip"
	"time"

	"github.com/holub-mail/holub/smtp"
)

// Options say how a session is led. The zero value works.
type Options struct {
	// Hello is the argument of EHLO and HELO. Default: the literal of the connection's own address, such as
	// [192.0.2.1] (4.1.4), and [127.0.0.1] where the connection has no IP address.
	Hello smtp.Domain
	// Timeouts end a call whose server is too slow.
	Timeouts Timeouts
	// MessageTimeout is the longest time for one Send, however steadily the server moves on. Default: as its context
	// says.
	MessageTimeout time.Duration

	// TLS says whether the session is protected. Default: TLSNone.
	TLS TLSMode
	// TLSConfig is the configuration for TLS. Default: the zero one. Where it has no ServerName, Dial gives it the host
	// of its address; NewClient needs one where certificates are verified.
	TLSConfig *tls.Config

	// Auth chooses how to authenticate once the session is as protected as it gets: it gets what the server offers, and
	// the state of TLS or nil. A nil Mechanism goes on without. An error, or a refusal, ends the opening. Default:
	// nobody authenticates; Client.Auth can do it later.
	Auth func(offered []string, state *tls.ConnectionState) (Mechanism, error)
	// AuthInClear allows AUTH without TLS, and over TLS whose certificate nobody looked at (TLSOpportunistic). Default:
	// only over TLS, for most mechanisms show the password.
	AuthInClear bool

	// LMTP speaks LMTP in place of SMTP (RFC 2033): each recipient has a reply to the content of his own.
	LMTP bool
	// NoChunking sends by DATA even where BDAT could be used. Default: BDAT where CHUNKING is offered.
	NoChunking bool
	// SevenBit is for a way that carries 7 bits: no octet above 127 is sent, and 8BITMIME, BINARYMIME and SMTPUTF8 are
	// not used even where they are offered. Content that was not declared as 8-bit and has such octets breaks the
	// session.
	SevenBit bool

	// Trace is told every line sent and received, without its line end; content only as a line "... N octets". Calls
	// never overlap, and line is valid only until Trace returns. What was received is as it came: quote it before it is
	// shown on a terminal. Default: nobody is told.
	Trace func(dir Direction, line []byte)
	// Dialer opens the connection of Dial. Default: that of a zero net.Dialer.
	Dialer func(ctx context.Context, network, addr string) (net.Conn, error)
}

// Timeouts are the longest waits for the server. Zero fields have the values of 4.5.3.2, which are minima there.
type Timeouts struct {
	Connect  time.Duration // opening the connection in Dial; default 1 minute (no value in the RFC)
	Greeting time.Duration // default 5 minutes (4.5.3.2.1)
	Hello    time.Duration // EHLO, HELO, STARTTLS, its handshake, each line of AUTH; default 5 minutes (no value in the RFC)
	Mail     time.Duration // MAIL and RSET; default 5 minutes (4.5.3.2.2)
	Rcpt     time.Duration // each RCPT; default 5 minutes (4.5.3.2.3)
	Data     time.Duration // DATA, up to its 354; default 2 minutes (4.5.3.2.4)
	Block    time.Duration // each write of content, up to 56 KiB, and the reply to BDAT; default 3 minutes (4.5.3.2.5)
	Final    time.Duration // the reply to the final dot or BDAT LAST; default 10 minutes (4.5.3.2.6)
	Quit     time.Duration // QUIT; default 10 seconds, for nothing depends on its reply
}

func (t Timeouts) withDefaults() Timeouts {
	return Timeouts{
		Connect:  cmp.Or(t.Connect, time.Minute),
		Greeting: cmp.Or(t.Greeting, 5*time.Minute),
		Hello:    cmp.Or(t.Hello, 5*time.Minute),
		Mail:     cmp.Or(t.Mail, 5*time.Minute),
		Rcpt:     cmp.Or(t.Rcpt, 5*time.Minute),
		Data:     cmp.Or(t.Data, 2*time.Minute),
		Block:    cmp.Or(t.Block, 3*time.Minute),
		Final:    cmp.Or(t.Final, 10*time.Minute),
		Quit:     cmp.Or(t.Quit, 10*time.Second),
	}
}

// of gives the longest wait for the reply of a stage.
func (t *Timeouts) of(s Stage) time.Duration {
	switch s {
	case StageConnect:
		return t.Connect
	case StageGreeting:
		return t.Greeting
	case StageHello, StageTLS, StageAuth:
		return t.Hello
	case StageReset, StageMail:
		return t.Mail
	case StageRcpt:
		return t.Rcpt
	case StageData:
		return t.Data
	case StageContent:
		return t.Final
	}
	return t.Quit
}

// Direction tells who said a traced line.
type Direction uint8

// The directions, seen from this side.
const (
	Sent Direction = iota
	Received
)

// String gives "C" for the client's lines and "S" for the server's.
func (d Direction) String() string {
	if d == Received {
		return "S"
	}
	return "C"
}

// helloOf gives the literal of the connection's own address (4.1.4: a client without a name gives its address).
func helloOf(conn net.Conn) smtp.Domain {
	if local := conn.LocalAddr(); local != nil {
		if a, err := netip.ParseAddrPort(local.String()); err == nil {
			return smtp.AddressLiteral(a.Addr())
		}
	}
	return smtp.AddressLiteral(netip.AddrFrom4([4]byte{127, 0, 0, 1}))
}
