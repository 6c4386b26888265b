package archive

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/holub-mail/holub/internal/spool"
	"github.com/holub-mail/holub/smtp"
)

// version is that of the envelopes that are written. A reader refuses later ones.
const version = 1

// ErrEnvelope is the error for an envelope that can't be read.
var ErrEnvelope = errors.New("not an envelope of a holub spool")

// envelope is spool.Message as it stands in the file. What is empty or zero is left out.
type envelope struct {
	Version    int         `json:"version"`
	ID         string      `json:"id"`
	Kind       string      `json:"kind"`
	From       text        `json:"from"` // in angle brackets
	Arrived    time.Time   `json:"arrived,omitzero"`
	Size       int64       `json:"size"`
	EightBit   bool        `json:"eight_bit,omitzero"`
	HighHeader bool        `json:"high_header,omitzero"`
	Client     text        `json:"client,omitzero"`
	Cause      string      `json:"cause,omitzero"`
	Asked      asked       `json:"asked,omitzero"`
	Recipients []recipient `json:"recipients"`
}

type asked struct {
	UTF8       bool      `json:"utf8,omitzero"`
	Binary     bool      `json:"binary,omitzero"`
	Return     text      `json:"return,omitzero"`
	EnvelopeID text      `json:"envelope_id,omitzero"`
	RequireTLS bool      `json:"require_tls,omitzero"`
	Held       time.Time `json:"held,omitzero"`
	By         time.Time `json:"by,omitzero"`
	ByReturn   bool      `json:"by_return,omitzero"`
	ByTrace    bool      `json:"by_trace,omitzero"`
}

type recipient struct {
	To              text      `json:"to"` // in angle brackets
	State           string    `json:"state"`
	Reason          string    `json:"reason"`
	Attempts        int       `json:"attempts,omitzero"`
	Next            time.Time `json:"next,omitzero"`
	Warned          bool      `json:"warned,omitzero"`
	Notify          []string  `json:"notify,omitempty"`
	OriginalType    text      `json:"original_type,omitzero"`
	OriginalAddress text      `json:"original_address,omitzero"`
	Priority        int8      `json:"priority,omitzero"`
	Host            text      `json:"host,omitzero"`
	Reply           reply     `json:"reply,omitzero"`
	Doubts          int       `json:"doubts,omitzero"`
	Via             text      `json:"via,omitzero"`
	Trail           []attempt `json:"trail,omitempty"`
}

type attempt struct {
	At     time.Time `json:"at,omitzero"`
	Reason string    `json:"reason"`
	Host   text      `json:"host,omitzero"`
	TLS    text      `json:"tls,omitzero"`
	Reply  reply     `json:"reply,omitzero"`
}

type reply struct {
	Code     int    `json:"code,omitzero"`
	Enhanced [3]int `json:"enhanced,omitzero"`
	Lines    []text `json:"lines,omitempty"`
	Close    bool   `json:"close,omitzero"`
}

// IsZero tells encoding/json what to leave out.
func (r reply) IsZero() bool {
	return r.Code == 0 && r.Enhanced == [3]int{} && len(r.Lines) == 0 && !r.Close
}

// text is octets, as a string where they are UTF-8.
type text string

type octets struct {
	Base64 string `json:"base64"`
}

// MarshalJSON writes a string, or an object with its base64.
func (t text) MarshalJSON() ([]byte, error) {
	if utf8.ValidString(string(t)) {
		return plain(string(t), "")
	}
	return json.Marshal(octets{base64.StdEncoding.EncodeToString([]byte(t))})
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (t *text) UnmarshalJSON(b []byte) error {
	if len(b) == 0 || b[0] != '{' {
		return json.Unmarshal(b, (*string)(t))
	}
	var o octets
	if err := strictly(b, &o); err != nil {
		return err
	}
	raw, err := base64.StdEncoding.DecodeString(o.Base64)
	*t = text(raw)
	return err
}

// plain writes JSON that leaves "<" and ">" as they are, for people.
func plain(v any, indent string) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", indent)
	err := e.Encode(v)
	return b.Bytes(), err
}

// strictly decodes one JSON value that has no field unknown to v, and nothing behind it.
func strictly(b []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("more follows its end")
	}
	return nil
}

// encodeEnvelope writes an envelope.
func encodeEnvelope(m *spool.Message) ([]byte, error) {
	e := envelope{Version: version, ID: m.ID.String(), Kind: m.Kind.String(), From: text(m.From.String()), Arrived: m.Arrived,
		Size: m.Size, EightBit: m.EightBit, HighHeader: m.HighHeader, Client: text(m.Client), Recipients: []recipient{}, Asked: asked{
			UTF8: m.Asked.UTF8, Binary: m.Asked.Binary, Return: text(m.Asked.Return), EnvelopeID: text(m.Asked.EnvelopeID),
			RequireTLS: m.Asked.RequireTLS, Held: m.Asked.Held, By: m.Asked.By, ByReturn: m.Asked.ByReturn, ByTrace: m.Asked.ByTrace}}
	if !m.Cause.IsZero() {
		e.Cause = m.Cause.String()
	}
	for i := range m.Recipients {
		e.Recipients = append(e.Recipients, recipientOf(&m.Recipients[i]))
	}
	return plain(e, "  ")
}

func recipientOf(r *spool.Recipient) recipient {
	out := recipient{To: text(r.To.String()), State: r.State.String(), Reason: r.Reason.String(), Attempts: r.Attempts, Next: r.Next,
		Warned: r.Warned, OriginalType: text(r.Original.Type), OriginalAddress: text(r.Original.Address), Priority: int8(r.Priority),
		Host: text(r.Host), Reply: replyOf(r.Reply), Doubts: r.Doubts, Via: text(r.Via)}
	for _, n := range notifies {
		if r.Notify&n != 0 {
			out.Notify = append(out.Notify, n.String())
		}
	}
	for _, a := range r.Trail {
		out.Trail = append(out.Trail, attempt{At: a.At, Reason: a.Reason.String(), Host: text(a.Host), TLS: text(a.TLS),
			Reply: replyOf(a.Reply)})
	}
	return out
}

func replyOf(r smtp.Reply) reply {
	out := reply{Code: r.Code, Enhanced: r.Enhanced, Close: r.Close}
	for _, line := range r.Lines {
		out.Lines = append(out.Lines, text(line))
	}
	return out
}

// decodeEnvelope reads what encodeEnvelope wrote. The message can be put into a spool. Errors wrap ErrEnvelope.
func decodeEnvelope(b []byte) (*spool.Message, error) {
	m, err := decode(b)
	if err == nil {
		err = spool.CheckMessage(m)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrEnvelope, err)
	}
	return m, nil
}

func decode(b []byte) (*spool.Message, error) {
	var v struct{ Version int }
	if err := json.Unmarshal(b, &v); err != nil {
		return nil, err
	}
	if v.Version < 1 || v.Version > version {
		return nil, fmt.Errorf("version %d; this holub reads versions up to %d", v.Version, version)
	}
	var e envelope
	if err := strictly(b, &e); err != nil {
		return nil, err
	}
	a := &e.Asked
	m := &spool.Message{Arrived: e.Arrived.UTC(), Size: e.Size, EightBit: e.EightBit, HighHeader: e.HighHeader,
		Client: string(e.Client), Asked: spool.Asked{UTF8: a.UTF8, Binary: a.Binary, Return: smtp.Return(a.Return),
			EnvelopeID: string(a.EnvelopeID), RequireTLS: a.RequireTLS, Held: a.Held.UTC(), By: a.By.UTC(), ByReturn: a.ByReturn,
			ByTrace: a.ByTrace}}
	var errs [4]error
	m.ID, errs[0] = spool.ParseID(e.ID)
	m.Kind, errs[1] = named[spool.Kind]("kind", e.Kind)
	m.From, errs[2] = smtp.ParsePath(string(e.From))
	if e.Cause != "" {
		m.Cause, errs[3] = spool.ParseID(e.Cause)
	}
	if err := errors.Join(errs[:]...); err != nil {
		return nil, err
	}
	for n := range e.Recipients {
		r, err := e.Recipients[n].recipient()
		if err != nil {
			return nil, fmt.Errorf("recipient %d: %w", n, err)
		}
		m.Recipients = append(m.Recipients, r)
	}
	return m, nil
}

func (in *recipient) recipient() (r spool.Recipient, err error) {
	r = spool.Recipient{Attempts: in.Attempts, Next: in.Next.UTC(), Warned: in.Warned, Priority: smtp.Priority(in.Priority),
		Original: smtp.OriginalRecipient{Type: string(in.OriginalType), Address: string(in.OriginalAddress)}, Host: string(in.Host),
		Reply: in.Reply.reply(), Doubts: in.Doubts, Via: string(in.Via)}
	if r.To, err = smtp.ParsePath(string(in.To)); err != nil {
		return r, err
	}
	if r.State, err = named[spool.State]("state", in.State); err != nil {
		return r, err
	}
	if r.Reason, err = spool.ParseReason(in.Reason); err != nil {
		return r, err
	}
	for _, name := range in.Notify {
		n, err := parseNotify(name)
		if err != nil {
			return r, err
		}
		r.Notify |= n
	}
	if len(in.Trail) > spool.TrailLength {
		return r, fmt.Errorf("%d attempts in its trail, more than %d", len(in.Trail), spool.TrailLength)
	}
	for _, a := range in.Trail {
		reason, err := spool.ParseReason(a.Reason)
		if err != nil {
			return r, err
		}
		r.Trail = append(r.Trail, spool.Attempt{At: a.At.UTC(), Reason: reason, Host: string(a.Host), TLS: string(a.TLS),
			Reply: a.Reply.reply()})
	}
	return r, nil
}

func (in *reply) reply() smtp.Reply {
	r := smtp.Reply{Code: in.Code, Enhanced: in.Enhanced, Close: in.Close}
	for _, line := range in.Lines {
		r.Lines = append(r.Lines, string(line))
	}
	return r
}

// named finds the kind or state of a name.
func named[T interface {
	~uint8
	String() string
}](what, name string) (T, error) {
	var names []string
	for v := T(0); v.String() != "unknown"; v++ {
		if v.String() == name {
			return v, nil
		}
		names = append(names, v.String())
	}
	return 0, fmt.Errorf("no %s is called %.40q; there are %s", what, name, strings.Join(names, ", "))
}

// notifies are the members of NOTIFY.
var notifies = []smtp.Notify{smtp.NotifyNever, smtp.NotifySuccess, smtp.NotifyFailure, smtp.NotifyDelay}

func parseNotify(name string) (smtp.Notify, error) {
	for _, n := range notifies {
		if n.String() == name {
			return n, nil
		}
	}
	return 0, fmt.Errorf("no member of NOTIFY is called %.40q", name)
}
