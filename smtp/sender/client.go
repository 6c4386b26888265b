package sender

import (
	"context"
	"net"
	"sync"
	"sync/atomic"

	"github.com/holub-mail/holub/smtp"
)

// Client is one SMTP session. Its calls come one after the other; Close and Broken may come at any time.
type Client struct {
	conn      net.Conn
	hello     smtp.Domain
	timeouts  Timeouts
	trace     func(Direction, []byte) // nil, or serialised
	ext       smtp.Extensions
	needReset bool // the server holds a transaction that will not be completed
	broken    atomic.Bool
	closed    atomic.Bool
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
	return NewClient(ctx, conn, opts)
}

// NewClient opens a session on a fresh connection: it reads the greeting and says EHLO, or HELO where EHLO is refused.
// It owns conn from here on: where it fails, conn is closed and the error is a *SessionError, with the server's reply
// where the server refused.
func NewClient(ctx context.Context, conn net.Conn, opts Options) (*Client, error) {
	c := &Client{conn: conn, hello: opts.Hello, timeouts: opts.Timeouts.withDefaults()}
	if c.hello.IsZero() {
		c.hello = helloOf(conn)
	}
	if opts.Trace != nil {
		c.trace = serialised(opts.Trace)
	}
	k := c.begin(ctx, 0)
	defer k.end()
	if err := k.greet(); err != nil {
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

// greet goes through the opening of a session (3.1, 3.2).
func (k *call) greet() error {
	greeting, err := k.reply(StageGreeting)
	if err != nil {
		return err
	}
	if err := k.accepted(StageGreeting, greeting); err != nil {
		return err
	}
	ehlo, err := k.sayHello("EHLO")
	if err != nil {
		return err
	}
	if ehlo.Permanent() { // a server without extensions, or one that refuses them (3.2)
		return k.helo(ehlo)
	}
	if err := k.accepted(StageHello, ehlo); err != nil {
		return err
	}
	k.c.ext = smtp.ParseExtensions(ehlo.Lines[1:])
	return nil
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

// Extensions gives what the server offered in its reply to EHLO; the zero value after HELO.
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
	return c.Close()
}

// Close closes the connection without a word. It ends a call that is under way.
func (c *Client) Close() error {
	c.broken.Store(true)
	if c.closed.Swap(true) {
		return nil
	}
	return c.conn.Close()
}
