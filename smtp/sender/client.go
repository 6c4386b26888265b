package sender

import (
	"context"
	"crypto/tls"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holub-mail/holub/smtp"
)

// Client is one SMTP session. Its calls come one after the other; Close and Broken may come at any time.
type Client struct {
	raw            net.Conn // the connection below TLS
	conn           net.Conn
	tls            *tls.ConnectionState
	verified       bool // TLS was set up to know whom it speaks to
	hello          smtp.Domain
	timeouts       Timeouts
	messageTimeout time.Duration
	trace          func(Direction, []byte) // nil, or serialised
	lmtp           bool
	sevenBit       bool
	noChunking     bool
	authInClear    bool
	ext            smtp.Extensions // what the server offers
	use            smtp.Extensions // and what of it is used
	mails          int             // transactions so far
	needReset      bool            // the server holds a transaction that will not be completed
	broken         atomic.Bool
	closed         atomic.Bool
}

// Dial connects to addr, "host:port", and opens a session as NewClient does. Its error is a *SessionError.
func Dial(ctx context.Context, addr string, opts Options) (*Client, error) {
	dial := opts.Dialer
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	timeouts := opts.Timeouts.withDefaults()
	dialCtx, cancel := context.WithTimeout(ctx, timeouts.Connect)
	defer cancel()
	conn, err := dial(dialCtx, "tcp", addr)
	if err != nil {
		return nil, &SessionError{Stage: StageConnect, Err: err}
	}
	if host, _, err := net.SplitHostPort(addr); err == nil && opts.TLS != TLSNone {
		opts.TLSConfig = withServerName(opts.TLSConfig, host)
	}
	return NewClient(ctx, conn, opts)
}

// NewClient opens a session on a fresh connection: it reads the greeting and says EHLO, or HELO where EHLO is refused,
// starts TLS and authenticates as the options say. It owns conn from here on: where it fails, conn is closed and the
// error is a *SessionError, with the server's reply where the server refused.
func NewClient(ctx context.Context, conn net.Conn, opts Options) (*Client, error) {
	c := &Client{raw: conn, conn: conn, hello: opts.Hello.ASCII(), timeouts: opts.Timeouts.withDefaults(),
		messageTimeout: opts.MessageTimeout, lmtp: opts.LMTP, sevenBit: opts.SevenBit, noChunking: opts.NoChunking,
		authInClear: opts.AuthInClear}
	if c.hello.IsZero() {
		c.hello = helloOf(conn)
	}
	if opts.Trace != nil {
		c.trace = serialised(opts.Trace)
	}
	k := c.begin(ctx, 0)
	defer k.end()
	if err := k.open(opts); err != nil {
		return nil, err
	}
	return c, nil
}

// serialised keeps calls of f apart: a pipelined envelope is written while its replies are read.
func serialised(f func(Direction, []byte)) func(Direction, []byte) {
	var mu sync.Mutex
	return func(dir Direction, line []byte) {
		mu.Lock()
		defer mu.Unlock()
		f(dir, line)
	}
}

// open goes through the opening of a session (3.1, 3.2).
func (k *call) open(opts Options) error {
	if over, ok := k.c.conn.(overTLS); ok {
		if err := k.adopt(over); err != nil {
			return err
		}
	} else if opts.TLS == TLSImplicit {
		if err := k.handshake(opts.TLSConfig, opts.TLS); err != nil {
			return err
		}
	}
	greeting, err := k.reply(StageGreeting)
	if err != nil {
		return err
	}
	if err := k.accepted(StageGreeting, greeting); err != nil {
		return err
	}
	if err := k.greet(); err != nil {
		return err
	}
	if err := k.startTLS(opts); err != nil {
		return err
	}
	if opts.Auth != nil {
		return k.authAtOpening(opts.Auth)
	}
	return nil
}

// greet says EHLO and notes what is offered.
func (k *call) greet() error {
	verb := "EHLO"
	if k.c.lmtp {
		verb = "LHLO" // RFC 2033 4.1
	}
	ehlo, err := k.sayHello(verb)
	if err != nil {
		return err
	}
	if ehlo.Permanent() && !k.c.lmtp { // a server without extensions, or one that refuses them (3.2)
		k.c.offered(smtp.Extensions{})
		return k.helo(ehlo)
	}
	if err := k.accepted(StageHello, ehlo); err != nil {
		return err
	}
	k.c.offered(smtp.ParseExtensions(ehlo.Lines[1:]))
	return nil
}

// offered notes what the server offers, and what of it the options let be used.
func (c *Client) offered(ext smtp.Extensions) {
	c.ext, c.use = ext, ext
	if c.sevenBit {
		c.use.EightBitMIME, c.use.BinaryMIME, c.use.UTF8 = false, false, false
	}
	if c.noChunking {
		c.use.Chunking, c.use.BinaryMIME = false, false
	}
}

// helo says HELO after EHLO was refused. A server that hangs up on it has given its reason in reply to EHLO.
func (k *call) helo(ehlo smtp.Reply) error {
	helo, err := k.sayHello("HELO")
	if broke, ok := err.(*SessionError); ok && broke.Reply.IsZero() {
		broke.Reply = ehlo
	}
	if err != nil {
		return err
	}
	return k.accepted(StageHello, helo)
}

func (k *call) sayHello(verb string) (smtp.Reply, error) {
	return k.command(StageHello, smtp.Command{Verb: verb, Arg: k.c.hello.String()}.Append)
}

// accepted fails where the server refuses the session.
func (k *call) accepted(stage Stage, reply smtp.Reply) error {
	switch reply.Code / 100 {
	case 2:
		return nil
	case 3:
		return k.unexpected(stage, reply)
	}
	k.quit() // the client says QUIT even where it is refused (4.1.1.10, 3.1)
	return k.fail(stage, nil, reply)
}

func (k *call) quit() error {
	_, err := k.command(StageQuit, smtp.Command{Verb: "QUIT"}.Append)
	return err
}

// Extensions gives what the server offered in its last reply to EHLO or LHLO, that inside TLS where there is TLS; the
// zero value after HELO.
func (c *Client) Extensions() smtp.Extensions { return c.ext }

// Broken tells that the session ended or must not be used any more: it broke, the server said 421 or spoke unasked, or
// it was closed. That an idle server has hung up is seen only by the next call.
func (c *Client) Broken() bool { return c.broken.Load() }

// Quit says QUIT, waits for the reply up to its timeout, and closes the connection, whatever happens. A session that is
// broken is only closed. The error says that the end was not polite; no message is touched by it.
func (c *Client) Quit(ctx context.Context) error {
	if c.Broken() {
		return c.Close()
	}
	k := c.begin(ctx, 0)
	defer k.end()
	if err := k.quit(); err != nil {
		return err
	}
	if c.conn != c.raw && !c.closed.Load() {
		c.conn.(*tls.Conn).CloseWrite() // RFC 8446 6.1
	}
	c.Close() // the server may have closed first, which is as it should be
	return nil
}

// Close closes the connection without a word. It ends a call that is under way.
func (c *Client) Close() error {
	c.broken.Store(true)
	if c.closed.Swap(true) {
		return nil
	}
	return c.raw.Close() // the farewell of TLS would wait for a peer that may not read
}

// abort ends a session that broke.
func (c *Client) abort() { c.Close() }
