// Package intake is what a session may do to us: the receiver's Handler in the daemon. It says who may send to whom,
// stamps the trace field, streams the content into the spool and answers 250 after the commit, never before.
//
// It never delivers, schedules or looks at where mail goes beyond asking whether a recipient is one of ours. internal/mta
// makes one for each listener and hands in the spool and the function that queues what was accepted.
//
//	server := &receiver.Server{Handler: intake.New(intake.Options{Engine: engine, IDs: ids, Hostname: name, ...})}
package intake

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/holub-mail/holub/internal/history"
	"github.com/holub-mail/holub/internal/spool"
	"github.com/holub-mail/holub/mail"
	"github.com/holub-mail/holub/smtp"
	"github.com/holub-mail/holub/smtp/receiver"
)

// Options of an Intake. All are needed but Networks, Record and Logger.
type Options struct {
	Engine   spool.Engine
	IDs      *spool.IDs
	Hostname string

	Networks    []netip.Prefix             // clients that may send to everyone
	Trusted     func(net.Addr) bool        // more of them, such as those of a Unix socket; nil: none
	OursAlone   bool                       // nobody may send to anyone but our recipients
	Strangers   bool                       // others may send to our recipients; else to nobody
	Ours        func(smtp.Path) bool       // a recipient that strangers may send to
	Refusal     func(smtp.Path) smtp.Reply // what a recipient is refused with, whoever asks; zero: it is not
	Room        func() bool                // there is space for more mail; nil: always
	Repair      bool                       // clients are authors: the header of their mail is made whole (RFC 6409 8)
	MaxReceived int                        // Received fields from which on mail counts as going in a circle
	Accepted    func(*spool.Message)       // called with each committed message before its 250
	Record      func(*history.Event)       // keeps that it was accepted, for people; nil: nothing is kept
	Logger      *slog.Logger               // default: none
}

// Intake is a receiver.Handler.
type Intake struct{ Options }

var _ receiver.Handler = (*Intake)(nil)

// New makes an Intake.
func New(o Options) *Intake {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Intake{o}
}

// The refusals of this package.
var (
	relayDenied   = smtp.NewReply(550, smtp.EnhancedCode{5, 7, 1}, "Relaying denied: neither this recipient nor your address is one of ours")
	mailLoop      = smtp.NewReply(554, smtp.EnhancedCode{5, 4, 6}, "The message goes in a circle: it has too many Received fields")
	headerTooLong = smtp.NewReply(552, smtp.EnhancedCode{5, 3, 4}, "The header of the message is too long")
	noRoom        = smtp.NewReply(452, smtp.EnhancedCode{4, 3, 1}, "The disk is nearly full; try again later")
	notStored     = smtp.NewReply(451, smtp.EnhancedCode{4, 3, 0}, "The message could not be stored; try again later")
)

// Mail accepts every reverse-path while there is room in the spool (RFC 5321 4.5.3.1.9, RFC 1870 6.1).
func (in *Intake) Mail(context.Context, *receiver.Session, smtp.Mail) smtp.Reply {
	if in.Room != nil && !in.Room() {
		return noRoom
	}
	return smtp.Reply{}
}

// Rcpt accepts a recipient of ours from anyone a listener is for, and every other one from the networks alone.
func (in *Intake) Rcpt(_ context.Context, s *receiver.Session, r smtp.Rcpt) smtp.Reply {
	if refusal := in.Refusal(r.To); !refusal.IsZero() {
		return refusal
	}
	ours := in.Ours(r.To)
	switch {
	case in.OursAlone && !ours:
		return relayDenied
	case in.trusted(s.RemoteAddr()), in.Strangers && ours:
		return smtp.Reply{}
	}
	return relayDenied
}

// trusted tells a client of the networks.
func (in *Intake) trusted(client net.Addr) bool {
	addr := clientAddr(client)
	for _, network := range in.Networks {
		if network.Contains(addr) {
			return true
		}
	}
	return in.Trusted != nil && in.Trusted(client)
}

// Data stores the message. Its 250 means that the message is on disk (RFC 5321 4.2.5, 6.1).
func (in *Intake) Data(ctx context.Context, s *receiver.Session, content io.Reader) smtp.Reply {
	m := newArrival(in.envelope(s, time.Now()))
	refusal, err := in.store(ctx, s, m, content)
	switch {
	case err != nil:
		in.logFailure(m, err)
		return notStored
	case !refusal.IsZero():
		return refusal
	}
	in.Accepted(m.Message)
	return smtp.Reply{Code: 250, Enhanced: smtp.EnhancedCode{2, 0, 0}, Lines: []string{"Ok: queued as " + m.id}}
}

// arrival is a message that comes in, with the texts that its trace field, its reply, the log and the history share.
type arrival struct {
	*spool.Message
	id   string
	from string   // in angle brackets
	to   []string // without
}

func newArrival(m *spool.Message) arrival {
	a := arrival{m, m.ID.String(), m.From.String(), make([]string, len(m.Recipients))}
	for i := range m.Recipients {
		a.to[i] = history.Address(m.Recipients[i].To)
	}
	return a
}

// envelope makes the message of a transaction. A recipient that was named twice gets it once.
func (in *Intake) envelope(s *receiver.Session, now time.Time) *spool.Message {
	m := &spool.Message{ID: in.IDs.New(now), From: s.Mail().From, Arrived: now, Client: clientText(s)}
	m.Asked = asked(s.Mail(), now)
	named := distinct(s.Recipients())
	m.Recipients = make([]spool.Recipient, len(named))
	next, urgency := m.Started(), priority(s.Mail())
	for i, r := range named {
		m.Recipients[i] = spool.Recipient{To: r.To, Next: next, Priority: urgency, Notify: r.Notify, Original: r.Original}
	}
	return m
}

// distinct gives each recipient as it was named first. It leaves named as it is.
func distinct(named []smtp.Rcpt) []smtp.Rcpt {
	if len(named) == 1 {
		return named
	}
	type key struct{ local, domain string }
	seen := make(map[key]bool, len(named))
	first := make([]smtp.Rcpt, 0, len(named))
	for _, r := range named {
		if k := (key{r.To.Local, r.To.Domain.Key()}); !seen[k] {
			seen[k] = true
			first = append(first, r)
		}
	}
	return first
}

// asked keeps what the client asked for with the parameters of MAIL.
func asked(c smtp.Mail, now time.Time) spool.Asked {
	a := spool.Asked{UTF8: c.UTF8, Binary: c.Body == smtp.BodyBinaryMIME, Return: c.Return, EnvelopeID: c.EnvelopeID,
		RequireTLS: c.RequireTLS, Held: c.HoldUntil}
	if c.HoldFor > 0 {
		a.Held = now.Add(c.HoldFor)
	}
	if by := c.DeliverBy; by != nil {
		a.By, a.ByReturn, a.ByTrace = now.Add(by.Within), by.Return, by.Trace
	}
	return a
}

func priority(c smtp.Mail) smtp.Priority {
	if c.Priority == nil {
		return 0
	}
	return *c.Priority
}

// copyBuffers hold what is on its way from the connection to the spool.
var copyBuffers = sync.Pool{New: func() any { b := make([]byte, 32<<10); return &b }}

// store streams the trace field and the content into the spool and commits. The error is ours; what is wrong with the
// content comes as a refusal.
func (in *Intake) store(ctx context.Context, s *receiver.Session, m arrival, content io.Reader) (smtp.Reply, error) {
	stored, err := in.Engine.Create(ctx, m.ID)
	if err != nil {
		return smtp.Reply{}, err
	}
	defer stored.Abort()
	var scan mail.Scanner
	if err := in.trace(stored, s, m); err != nil {
		return smtp.Reply{}, err
	}
	var repaired *mail.RepairReader
	if in.Repair {
		repaired = mail.NewRepairReader(content, in.repairs(s, m), maxRepaired)
		content = repaired
	}
	if err := copyContent(stored, &scan, content); err != nil {
		if refusal, ok := smtp.AsReply(err); ok {
			return refusal, nil
		}
		return smtp.Reply{}, err
	}
	if repaired != nil && repaired.TooLong() {
		return headerTooLong, nil
	}
	if scan.Received() >= in.MaxReceived { // RFC 5321 6.3
		in.Logger.Warn("loop", "id", m.ID, "from", m.from, "received", scan.Received(), "client", m.Client)
		return mailLoop, nil
	}
	m.Size += scan.Size()
	m.EightBit, m.HighHeader = scan.EightBit(), scan.EightBitHeader()
	// The client may hang up now: what it was told to be accepted or not must not depend on that.
	if err := in.Engine.Apply(context.WithoutCancel(ctx), spool.Put{Message: m.Message, Content: stored}); err != nil {
		return smtp.Reply{}, err
	}
	messageID := scan.MessageID()
	if in.Record != nil {
		in.record(s, m, messageID)
	}
	in.Logger.LogAttrs(ctx, slog.LevelInfo, "accepted", slog.String("id", m.id), slog.String("from", m.from),
		slog.Int("recipients", len(m.Recipients)), slog.Int64("size", m.Size), slog.String("message_id", messageID),
		slog.String("client", m.Client))
	return smtp.Reply{}, nil
}

// maxRepaired is the longest header of a submitted mail, in octets.
const maxRepaired = 512 << 10

// repairs say how the header of a submitted mail is made whole.
func (in *Intake) repairs(s *receiver.Session, m arrival) mail.Repairs {
	return mail.Repairs{Now: m.Arrived, MessageID: func() string { return m.id + "@" + in.Hostname },
		Sender: m.From.Mailbox, Claimed: s.Identity() == "", UTF8: m.Asked.UTF8}
}

// record keeps that a message was accepted.
func (in *Intake) record(s *receiver.Session, m arrival, messageID string) {
	hello := s.Hello().String()
	e := history.Event{At: m.Arrived, ID: m.ID, Kind: history.Accepted, From: m.from[1 : len(m.from)-1], To: m.to,
		MessageID: messageID, Client: strings.TrimSuffix(m.Client, " ("+hello+")"), Hello: hello, Size: m.Size}
	if state := s.TLS(); state != nil {
		e.TLS = tls.VersionName(state.Version)
	}
	in.Record(&e)
}

// trace writes the Received field of this server (RFC 5321 4.4) and starts the size of the message with it. A single
// recipient is named in it; of several, none learns of the others.
func (in *Intake) trace(stored io.Writer, s *receiver.Session, m arrival) error {
	field := mail.Received{Hello: s.Hello().String(), Addr: clientAddr(s.RemoteAddr()), By: in.Hostname, With: s.Protocol(),
		ID: m.id, Date: m.Arrived}
	if len(m.to) == 1 {
		field.For = m.to[0]
	}
	buf := copyBuffers.Get().(*[]byte)
	defer copyBuffers.Put(buf)
	line := field.Append((*buf)[:0])
	m.Size = int64(len(line))
	_, err := stored.Write(line)
	return err
}

func copyContent(stored io.Writer, scan *mail.Scanner, content io.Reader) error {
	buf := copyBuffers.Get().(*[]byte)
	defer copyBuffers.Put(buf)
	for {
		n, err := content.Read(*buf)
		scan.Write((*buf)[:n])
		if n > 0 {
			if _, err := stored.Write((*buf)[:n]); err != nil {
				return err
			}
		}
		switch err {
		case nil:
		case io.EOF:
			return nil
		default:
			return fmt.Errorf("%w: %w", errIncoming, err)
		}
	}
}

// errIncoming marks an error of what comes from the client, as opposed to one of the spool.
var errIncoming = errors.New("the content broke off")

// logFailure tells a client that went away from a spool that does not take mail.
func (in *Intake) logFailure(m arrival, err error) {
	if errors.Is(err, errIncoming) {
		in.Logger.Info("aborted", "id", m.ID, "from", m.from, "client", m.Client, "error", err)
		return
	}
	in.Logger.Error("not stored", "id", m.ID, "from", m.from, "client", m.Client, "error", err)
}

// clientText names a client for people: its address, or the socket it came by, and what it calls itself.
func clientText(s *receiver.Session) string {
	var room [128]byte // few texts are longer
	text := append(appendClientAddress(room[:0], s), " ("...)
	return string(append(append(text, s.Hello().String()...), ')'))
}

// appendClientAddress writes an address and its port, as net.Addr gives them, or the socket.
func appendClientAddress(dst []byte, s *receiver.Session) []byte {
	remote := s.RemoteAddr()
	if tcp, ok := remote.(*net.TCPAddr); ok && tcp.AddrPort().IsValid() {
		at := tcp.AddrPort()
		return netip.AddrPortFrom(at.Addr().Unmap(), at.Port()).AppendTo(dst)
	}
	if remote.Network() == "unix" {
		return append(append(dst, "unix:"...), s.LocalAddr().String()...)
	}
	return append(dst, remote.String()...)
}

// clientAddr is the IP address of a client, or the zero Addr where it has none.
func clientAddr(a net.Addr) netip.Addr {
	if tcp, ok := a.(*net.TCPAddr); ok {
		return tcp.AddrPort().Addr().Unmap().WithZone("")
	}
	return netip.Addr{}
}
