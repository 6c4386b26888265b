package sender

import (
	"context"
	"crypto/tls"
	"fmt"

	"github.com/holub-mail/holub/smtp"
)

// TLSMode says how a session is protected.
type TLSMode uint8

const (
	// TLSNone speaks in the clear, whatever the server offers. The zero value.
	TLSNone TLSMode = iota
	// TLSOpportunistic starts TLS where STARTTLS is offered, whatever certificate the server has: it keeps those out
	// who only listen (RFC 7435). VerifyConnection and VerifyPeerCertificate of the configuration are called all the
	// same. Where the offer is refused the session goes on in the clear; where the handshake fails the session broke,
	// and the caller may open another with TLSNone.
	TLSOpportunistic
	// TLSRequired starts TLS by STARTTLS, as strict as TLSConfig is, or fails with ErrTLS.
	TLSRequired
	// TLSImplicit starts TLS before anything is said (RFC 8314 3), as strict as TLSConfig is.
	TLSImplicit

	// tlsIfOffered starts TLS where it is offered, as strict as TLSConfig is: the way of SendMail.
	tlsIfOffered
)

// TLS gives the state of TLS, or nil where there is none.
func (c *Client) TLS() *tls.ConnectionState { return c.tls }

// Replies in place of TLS. They may pass: a server's offer can come back, its certificate be renewed.
var (
	noStartTLS = smtp.NewReply(451, smtp.EnhancedCode{4, 7, 4}, "TLS is required, and the receiving host does not offer it")
	failedTLS  = smtp.NewReply(451, smtp.EnhancedCode{4, 7, 5},
		"TLS is required, and there is none to be trusted with the receiving host")
)

// startTLS says STARTTLS where the mode asks for it, and EHLO again inside (RFC 3207 4.2).
func (k *call) startTLS(opts Options) error {
	if opts.TLS == TLSNone || opts.TLS == TLSImplicit {
		return nil
	}
	if k.c.tls != nil { // the caller's connection has it
		return nil
	}
	if !k.c.ext.StartTLS {
		if opts.TLS == TLSRequired {
			return k.noTLS(noStartTLS)
		}
		return nil
	}
	reply, err := k.command(StageTLS, smtp.Command{Verb: "STARTTLS"}.Append)
	switch {
	case err != nil:
		return err
	case reply.Code/100 == 3:
		return k.unexpected(StageTLS, reply)
	case !reply.Positive() && opts.TLS == TLSOpportunistic:
		return nil
	case !reply.Positive():
		return k.noTLS(smtp.Replyf(451, smtp.EnhancedCode{4, 7, 4},
			"TLS is required, and the receiving host refuses to start it: %s", reply.Text()))
	case k.replies.in.Buffered() > 0:
		return k.fail(StageTLS, ErrInjection, smtp.Reply{})
	}
	if err := k.handshake(opts.TLSConfig, opts.TLS); err != nil {
		return err
	}
	return k.greet()
}

// noTLS ends a session politely that lacks the TLS it needs, with a reply of our own.
func (k *call) noTLS(reply smtp.Reply) error {
	k.quit()
	broke := k.fail(StageTLS, ErrTLS, reply)
	broke.Local = true
	return broke
}

// handshake puts TLS around the connection.
func (k *call) handshake(config *tls.Config, mode TLSMode) error {
	if config == nil {
		config = new(tls.Config)
	}
	if mode == TLSOpportunistic {
		config = config.Clone()
		config.InsecureSkipVerify = true
	}
	conn := tls.Client(k.c.raw, config)
	timeout := k.c.timeouts.Hello
	ctx, cancel := context.WithTimeout(k.ctx, timeout)
	defer cancel()
	if err := conn.HandshakeContext(ctx); err != nil {
		broke := k.fail(StageTLS, fmt.Errorf("%w: %w", ErrTLS, k.explain(err, timeout)), smtp.Reply{})
		if mode != TLSOpportunistic && k.ctx.Err() == nil && !isTimeout(err) {
			broke.Reply, broke.Local = failedTLS, true
		}
		return broke
	}
	state := conn.ConnectionState()
	k.c.conn, k.c.tls = conn, &state
	k.c.verified = mode != TLSOpportunistic
	k.replies.in.Reset(conn)
	return nil
}

// withServerName completes a configuration with the name that was dialled.
func withServerName(config *tls.Config, host string) *tls.Config {
	if config == nil {
		return &tls.Config{ServerName: host}
	}
	if config.ServerName == "" {
		config = config.Clone()
		config.ServerName = host
	}
	return config
}

// overTLS is a connection of the caller's that has TLS.
type overTLS interface {
	ConnectionState() tls.ConnectionState
	HandshakeContext(context.Context) error
}

// adopt takes the TLS of the caller's connection for the session's; how far it is to be trusted is the caller's
// business.
func (k *call) adopt(conn overTLS) error {
	timeout := k.c.timeouts.Hello
	ctx, cancel := context.WithTimeout(k.ctx, timeout)
	defer cancel()
	if err := conn.HandshakeContext(ctx); err != nil {
		return k.fail(StageTLS, fmt.Errorf("%w: %w", ErrTLS, k.explain(err, timeout)), smtp.Reply{})
	}
	state := conn.ConnectionState()
	k.c.tls, k.c.verified = &state, true
	return nil
}
