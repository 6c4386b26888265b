package spool

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/holub-mail/holub/smtp"
)

// recordVersion is the first octet of every record that is written. A reader refuses what it does not know, so that an older
// holub never misreads what a newer one wrote; it reads all older ones. Version 1 had no HighHeader, no trail, doubts, or via in a recipient,
// and in the index nothing but To, Next, Priority, Held and Fresh.
const recordVersion = 2

// Bits of the flags octets.
const (
	flagEightBit = 1 << iota
	flagCause
	flagAsked
	flagByReturn
	flagHighHeader
)

const (
	flagWarned = 1 << iota
	flagClose
	flagReports
	flagPriority
	flagDoubts
	flagVia
	flagTrail
)

const (
	flagHeld = 1 << iota
	flagFresh
	flagPendingPriority
	flagPendingWarned
	flagPendingBy
	flagPendingVia
)

// CheckMessage tells whether m can be stored and read back: it has an id, at least one recipient, a size that is not
// negative, and only addresses that ParsePath reads again. Engines call it in Apply, before anything is written, so that
// mail which could not be read later is refused while its client still waits for the answer.
func CheckMessage(m *Message) error {
	if m.ID.IsZero() {
		return errors.New("message without an id: take one from spool.IDs")
	}
	if m.Size < 0 {
		return fmt.Errorf("message %s has a negative size: %d", m.ID, m.Size)
	}
	if len(m.Recipients) == 0 {
		return fmt.Errorf("message %s has no recipients: give it at least one", m.ID)
	}
	if err := checkPath(m.From); err != nil {
		return fmt.Errorf("message %s: reverse-path: %w", m.ID, err)
	}
	for i := range m.Recipients {
		to := m.Recipients[i].To
		if to.IsNull() {
			return fmt.Errorf("message %s: recipient %d has no address", m.ID, i)
		}
		if err := checkPath(to); err != nil {
			return fmt.Errorf("message %s: recipient %d: %w", m.ID, i, err)
		}
	}
	return nil
}

func checkPath(p smtp.Path) error {
	if back, err := smtp.ParsePath(p.String()); err != nil {
		return err
	} else if back != p {
		return fmt.Errorf("%w: %q is read back as %q", smtp.ErrPath, p, back)
	}
	return nil
}

// AppendMessage appends the record of an envelope to dst: all of m but its recipients, of which it holds only the number.
// Times are kept to the millisecond.
func AppendMessage(dst []byte, m *Message) []byte {
	var flags byte
	if m.EightBit {
		flags |= flagEightBit
	}
	if !m.Cause.IsZero() {
		flags |= flagCause
	}
	if m.Asked != (Asked{}) {
		flags |= flagAsked
	}
	if m.Asked.ByReturn {
		flags |= flagByReturn
	}
	if m.HighHeader {
		flags |= flagHighHeader
	}
	dst = append(dst, recordVersion, byte(m.Kind), flags)
	dst = append(dst, m.ID[:]...)
	if flags&flagCause != 0 {
		dst = append(dst, m.Cause[:]...)
	}
	dst = binary.AppendVarint(dst, m.Size)
	dst = appendTime(dst, m.Arrived)
	dst = appendPath(dst, m.From)
	dst = appendString(dst, m.Client)
	if flags&flagAsked != 0 {
		dst = appendAsked(dst, &m.Asked)
	}
	return binary.AppendUvarint(dst, uint64(len(m.Recipients)))
}

// Bits of what was asked for.
const (
	askedUTF8 = 1 << iota
	askedBinary
	askedRequireTLS
	askedByTrace
)

// AsStored gives a message as reading it back gives it: its times are of whole milliseconds, in UTC. The recipients are its
// own.
func (m *Message) AsStored() Message {
	s := *m
	s.Arrived, s.Asked.Held, s.Asked.By = storedTime(m.Arrived), storedTime(m.Asked.Held), storedTime(m.Asked.By)
	s.Recipients = make([]Recipient, len(m.Recipients))
	for i := range m.Recipients {
		s.Recipients[i] = m.Recipients[i].AsStored()
	}
	return s
}

// AsStored gives a recipient as reading it back gives it. The trail is its own.
func (r *Recipient) AsStored() Recipient {
	s := *r
	s.Next = storedTime(r.Next)
	s.Trail = slices.Clone(r.Trail)
	for i := range s.Trail {
		s.Trail[i].At = storedTime(s.Trail[i].At)
	}
	return s
}

func storedTime(t time.Time) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return time.UnixMilli(t.UnixMilli()).UTC()
}

func appendAsked(dst []byte, a *Asked) []byte {
	var flags byte
	for _, f := range []struct {
		set bool
		bit byte
	}{{a.UTF8, askedUTF8}, {a.Binary, askedBinary}, {a.RequireTLS, askedRequireTLS}, {a.ByTrace, askedByTrace}} {
		if f.set {
			flags |= f.bit
		}
	}
	dst = append(dst, flags)
	dst = appendTime(dst, a.Held)
	dst = appendTime(dst, a.By)
	dst = appendString(dst, string(a.Return))
	return appendString(dst, a.EnvelopeID)
}

func (d *decoder) asked() (a Asked) {
	flags := d.octet()
	a.UTF8, a.Binary, a.RequireTLS = flags&askedUTF8 != 0, flags&askedBinary != 0, flags&askedRequireTLS != 0
	a.ByTrace = flags&askedByTrace != 0
	a.Held = d.time()
	a.By = d.time()
	a.Return = smtp.Return(d.string())
	a.EnvelopeID = d.string()
	return a
}

// DecodeMessage reads what AppendMessage wrote. The message comes without its recipients; their number is returned beside
// it. Errors wrap ErrDamaged.
func DecodeMessage(b []byte) (m *Message, recipients int, err error) {
	d := newDecoder("envelope", b)
	m = &Message{Kind: Kind(d.enum(len(kindNames)))}
	flags := d.octet()
	m.EightBit = flags&flagEightBit != 0
	// An older record does not tell where the octets are: then they may be in the header.
	m.HighHeader = flags&flagHighHeader != 0 || d.version == 1 && m.EightBit
	m.ID = d.id()
	if flags&flagCause != 0 {
		m.Cause = d.id()
	}
	m.Size = d.varint()
	m.Arrived = d.time()
	m.From = d.path()
	m.Client = d.string()
	if flags&flagAsked != 0 {
		m.Asked = d.asked()
	}
	m.Asked.ByReturn = flags&flagByReturn != 0
	n := d.uvarint()
	if m.Size < 0 || n == 0 || n > math.MaxInt32 {
		d.fail("size or number of recipients out of range")
	}
	if err := d.end(); err != nil {
		return nil, 0, err
	}
	return m, int(n), nil
}

// AppendRecipient appends the record of a recipient to dst: its address and its whole state. Times are kept to the
// millisecond.
func AppendRecipient(dst []byte, r *Recipient) []byte {
	var flags byte
	if r.Warned {
		flags |= flagWarned
	}
	if r.Reply.Close {
		flags |= flagClose
	}
	if r.Notify != 0 || r.Original != (smtp.OriginalRecipient{}) {
		flags |= flagReports
	}
	if r.Priority != 0 {
		flags |= flagPriority
	}
	if r.Doubts != 0 {
		flags |= flagDoubts
	}
	if r.Via != "" {
		flags |= flagVia
	}
	if len(r.Trail) > 0 {
		flags |= flagTrail
	}
	dst = append(dst, recordVersion, byte(r.State), byte(r.Reason), flags)
	if r.Priority != 0 {
		dst = append(dst, byte(r.Priority))
	}
	if flags&flagReports != 0 {
		dst = append(dst, byte(r.Notify))
		dst = appendString(dst, r.Original.Type)
		dst = appendString(dst, r.Original.Address)
	}
	dst = appendPath(dst, r.To)
	dst = binary.AppendVarint(dst, int64(r.Attempts))
	dst = appendTime(dst, r.Next)
	dst = appendString(dst, r.Host)
	dst = appendReply(dst, r.Reply)
	if r.Doubts != 0 {
		dst = binary.AppendVarint(dst, int64(r.Doubts))
	}
	if r.Via != "" {
		dst = appendString(dst, r.Via)
	}
	if len(r.Trail) > 0 {
		dst = appendTrail(dst, r.Trail)
	}
	return dst
}

// appendReply writes a reply but for its Close.
func appendReply(dst []byte, r smtp.Reply) []byte {
	dst = binary.AppendVarint(dst, int64(r.Code))
	for _, n := range r.Enhanced {
		dst = binary.AppendVarint(dst, int64(n))
	}
	dst = binary.AppendUvarint(dst, uint64(len(r.Lines)))
	for _, line := range r.Lines {
		dst = appendString(dst, line)
	}
	return dst
}

func appendTrail(dst []byte, trail []Attempt) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(trail)))
	for i := range trail {
		a := &trail[i]
		dst = appendTime(dst, a.At)
		dst = append(dst, byte(a.Reason), bit(a.Reply.Close))
		dst = appendString(dst, a.Host)
		dst = appendString(dst, a.TLS)
		dst = appendReply(dst, a.Reply)
	}
	return dst
}

func bit(b bool) byte {
	if b {
		return 1
	}
	return 0
}

// DecodeRecipient reads what AppendRecipient wrote. Errors wrap ErrDamaged.
func DecodeRecipient(b []byte) (Recipient, error) {
	d := newDecoder("recipient", b)
	r := Recipient{State: State(d.enum(len(stateNames))), Reason: Reason(d.enum(len(reasonNames)))}
	flags := d.octet()
	r.Warned = flags&flagWarned != 0
	r.Reply.Close = flags&flagClose != 0
	if flags&flagPriority != 0 {
		r.Priority = smtp.Priority(d.octet())
	}
	if flags&flagReports != 0 {
		r.Notify = smtp.Notify(d.octet())
		r.Original.Type = d.string()
		r.Original.Address = d.string()
	}
	r.To = d.path()
	r.Attempts = d.int()
	r.Next = d.time()
	r.Host = d.string()
	closes := r.Reply.Close
	r.Reply = d.reply()
	r.Reply.Close = closes
	if flags&flagDoubts != 0 {
		r.Doubts = d.int()
	}
	if flags&flagVia != 0 {
		r.Via = d.string()
	}
	if flags&flagTrail != 0 {
		r.Trail = d.trail()
	}
	if err := d.end(); err != nil {
		return Recipient{}, err
	}
	return r, nil
}

// AppendPending appends the record of an index entry to dst: all of it but ID and N, which name the entry and belong into its
// key. Times are kept to the millisecond.
func AppendPending(dst []byte, p *Pending) []byte {
	var flags byte
	if p.Held {
		flags |= flagHeld
	}
	if p.Fresh {
		flags |= flagFresh
	}
	if p.Priority != 0 {
		flags |= flagPendingPriority
	}
	if p.Warned {
		flags |= flagPendingWarned
	}
	if !p.By.IsZero() {
		flags |= flagPendingBy
	}
	if p.Via != "" {
		flags |= flagPendingVia
	}
	dst = append(dst, recordVersion, flags)
	if p.Priority != 0 {
		dst = append(dst, byte(p.Priority))
	}
	dst = appendTime(dst, p.Next)
	dst = appendPath(dst, p.To)
	dst = appendTime(dst, p.Started)
	dst = binary.BigEndian.AppendUint32(dst, p.Sender)
	if !p.By.IsZero() {
		dst = appendTime(dst, p.By)
	}
	if p.Via != "" {
		dst = appendString(dst, p.Via)
	}
	return dst
}

// DecodePending reads what AppendPending wrote, for the recipient n of message id. Errors wrap ErrDamaged.
func DecodePending(id ID, n int, b []byte) (Pending, error) {
	d := newDecoder("index entry", b)
	flags := d.octet()
	p := Pending{ID: id, N: n, Held: flags&flagHeld != 0, Fresh: flags&flagFresh != 0, Warned: flags&flagPendingWarned != 0}
	if flags&flagPendingPriority != 0 {
		p.Priority = smtp.Priority(d.octet())
	}
	p.Next = d.time()
	p.To = d.path()
	if d.version == 1 {
		p.Started = id.Time().UTC()
	} else {
		p.Started = d.time()
		p.Sender = d.uint32()
	}
	if flags&flagPendingBy != 0 {
		p.By = d.time()
	}
	if flags&flagPendingVia != 0 {
		p.Via = d.string()
	}
	if err := d.end(); err != nil {
		return Pending{ID: id, N: n}, err
	}
	return p, nil
}

// PendingOf gives the index entry of the recipient n of m when its state is r.
func PendingOf(m *Message, n int, r *Recipient) Pending {
	return Pending{ID: m.ID, N: n, To: r.To, Via: r.Via, Next: r.Next, Started: m.Started(), By: m.Asked.By, Sender: SenderKey(m.From),
		Priority: r.Priority, Held: r.State == Held, Fresh: r.Attempts == 0, Warned: r.Warned}
}

func appendString(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

// appendPath writes a path as appendString writes its text.
func appendPath(dst []byte, p smtp.Path) []byte {
	var room [128]byte // few are longer
	text := p.Append(room[:0])
	return append(binary.AppendUvarint(dst, uint64(len(text))), text...)
}

// appendTime writes 0 for the zero time, else Unix milliseconds as a zigzag varint moved up by one.
func appendTime(dst []byte, t time.Time) []byte {
	if t.IsZero() {
		return append(dst, 0)
	}
	ms := t.UnixMilli()
	return binary.AppendUvarint(dst, (uint64(ms)<<1^uint64(ms>>63))+1)
}

// decoder is a cursor over a record. After the first fault it yields zero values; end reports the fault.
type decoder struct {
	what    string
	size    int
	version byte
	rest    []byte
	fault   string
}

func newDecoder(what string, b []byte) *decoder {
	d := &decoder{what: what, size: len(b), rest: b}
	d.version = d.octet()
	if d.fault == "" && (d.version == 0 || d.version > recordVersion) {
		d.fail(fmt.Sprintf("version %d, this holub reads versions up to %d", d.version, recordVersion))
	}
	return d
}

func (d *decoder) fail(fault string) {
	if d.fault == "" {
		d.fault = fault
		d.rest = nil
	}
}

func (d *decoder) end() error {
	if d.fault == "" && len(d.rest) > 0 {
		d.fail(fmt.Sprintf("%d octets after its end", len(d.rest)))
	}
	if d.fault != "" {
		return fmt.Errorf("%w: %s record of %d octets: %s", ErrDamaged, d.what, d.size, d.fault)
	}
	return nil
}

func (d *decoder) take(n int) []byte {
	if n > len(d.rest) {
		d.fail("cut short")
		return nil
	}
	b := d.rest[:n]
	d.rest = d.rest[n:]
	return b
}

func (d *decoder) octet() byte {
	if b := d.take(1); b != nil {
		return b[0]
	}
	return 0
}

// enum reads an octet that must be below limit.
func (d *decoder) enum(limit int) byte {
	v := d.octet()
	if int(v) >= limit {
		d.fail(fmt.Sprintf("unknown kind, state or reason %d", v))
		return 0
	}
	return v
}

func (d *decoder) id() (id ID) {
	copy(id[:], d.take(len(id)))
	return id
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.rest)
	if n <= 0 {
		d.fail("bad number")
		return 0
	}
	d.rest = d.rest[n:]
	return v
}

func (d *decoder) varint() int64 {
	v := d.uvarint()
	return int64(v>>1) ^ -int64(v&1)
}

// int reads a number that fits 32 bits, so that it means the same on every machine.
func (d *decoder) int() int {
	v := d.varint()
	if v < math.MinInt32 || v > math.MaxInt32 {
		d.fail("number out of range")
		return 0
	}
	return int(v)
}

func (d *decoder) string() string {
	n := d.uvarint()
	if n > uint64(len(d.rest)) {
		d.fail("text cut short")
		return ""
	}
	return string(d.take(int(n)))
}

func (d *decoder) uint32() uint32 {
	if b := d.take(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

// count reads how many things follow, each of which takes at least least octets: garbage can't ask for more than it brings.
func (d *decoder) count(least int) int {
	n := d.uvarint()
	if n > uint64(len(d.rest)/least) {
		d.fail("more parts than octets")
		return 0
	}
	return int(n)
}

func (d *decoder) reply() (r smtp.Reply) {
	r.Code = d.int()
	for i := range r.Enhanced {
		r.Enhanced[i] = d.int()
	}
	if n := d.count(1); n > 0 {
		r.Lines = make([]string, n)
		for i := range r.Lines {
			r.Lines[i] = d.string()
		}
	}
	return r
}

func (d *decoder) trail() []Attempt {
	trail := make([]Attempt, d.count(10))
	for i := range trail {
		a := &trail[i]
		a.At = d.time()
		a.Reason = Reason(d.enum(len(reasonNames)))
		closes := d.octet() != 0
		a.Host = d.string()
		a.TLS = d.string()
		a.Reply = d.reply()
		a.Reply.Close = closes
	}
	return trail
}

func (d *decoder) time() time.Time {
	v := d.uvarint()
	if v == 0 {
		return time.Time{}
	}
	v--
	return time.UnixMilli(int64(v>>1) ^ -int64(v&1)).UTC()
}

func (d *decoder) path() smtp.Path {
	s := d.string()
	if d.fault != "" {
		return smtp.Path{}
	}
	p, err := smtp.ParsePath(s)
	if err != nil {
		d.fail(err.Error())
	}
	return p
}
