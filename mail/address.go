package mail

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/holub-mail/holub/smtp"
)

// Limits of an address list, so that no header can fill the memory.
const (
	maxAddresses    = 10000
	maxTokens       = 1000 // of one element
	maxCommentDepth = 50
)

// ErrAddress says that an address list has a fault; it comes wrapped with the text at fault.
var ErrAddress = errors.New("not an address list")

// Address is one element of an address list (RFC 5322 3.4). Name is the display name without its quotes, its encoded
// words read (RFC 2047), in valid UTF-8 on one line; "" where there is none. Group is the name of the group of which
// the address is a member. A group without members is one Address that has a Group alone.
//
// The address itself is Mailbox where it is one in the sense of SMTP. Otherwise Mailbox is the zero value and Spec has
// the address as text without comments and spaces: one without a domain, as mail of the machine itself has it, or one
// with a domain that can't be, such as "joe@my_host".
type Address struct {
	Name    string
	Mailbox smtp.Mailbox
	Spec    string
	Group   string
}

// ParseAddressList reads the body of a From, To or other field with addresses. Beside RFC 5322 3.4, RFC 6532 and the
// obsolete syntax of RFC 5322 4.4 it takes what is often met: dots and "@" in names without quotes, dots at odd places
// of a local part, ";" for ",", a group that does not end, encoded words in quotes. A name in a comment behind the
// address serves where there is no other. An empty list is no error. Of the obsolete syntax it does not take control
// characters in an address, nor a backslash in a domain literal.
//
// Of a list with faults it gives all addresses that can be read, and an error that names the first fault. Time and
// memory are linear in the length of s; it reads at most 10,000 addresses.
func ParseAddressList(s string) ([]Address, error) {
	p := addressParser{lex: addressLexer{s: s}}
	for len(p.list) < maxAddresses && p.element() {
	}
	if len(p.list) >= maxAddresses && strings.Trim(p.lex.s, " \t\r\n,;") != "" {
		p.fail("too many addresses", p.lex.s)
	}
	return p.list, p.err
}

// Addresses reads the addresses of all fields with this name, each as ParseAddressList does; the error names the first
// fault.
func (h Header) Addresses(name string) ([]Address, error) {
	var all []Address
	var first error
	for _, body := range h.Values(name) {
		list, err := ParseAddressList(body)
		if err != nil && first == nil {
			first = fmt.Errorf("field %s: %w", name, err)
		}
		all = append(all, list...)
	}
	return all, first
}

// IsGroup tells the Address that stands for a group without members.
func (a Address) IsGroup() bool { return a.Mailbox == smtp.Mailbox{} && a.Spec == "" }

// String writes the address for a header, without its group: the bare address where it has no name.
func (a Address) String() string {
	spec := a.Spec
	if (a.Mailbox != smtp.Mailbox{}) {
		spec = a.Mailbox.String()
	}
	if a.Name == "" || a.IsGroup() {
		return spec
	}
	return phrase(a.Name) + " <" + spec + ">"
}

// FormatAddressList writes the body of a field with addresses, on one line; Header.AddTop folds it. Members of one
// group that stand side by side become one group. Names that are not ASCII become encoded words; a mailbox that is not
// ASCII stays as it is, which asks for SMTPUTF8. ParseAddressList gives back the same list.
func FormatAddressList(list []Address) string {
	var b strings.Builder
	group := ""
	for _, a := range list {
		if a.IsGroup() && a.Group == "" {
			continue
		}
		if group != "" && (a.Group != group || a.IsGroup()) {
			b.WriteByte(';')
			group = ""
		}
		if b.Len() > 0 {
			b.WriteString(", ")
		}
		switch {
		case a.IsGroup():
			b.WriteString(phrase(a.Group) + ":;")
			continue
		case a.Group != group:
			group = a.Group
			b.WriteString(phrase(group) + ": ")
		}
		b.WriteString(a.String())
	}
	if group != "" {
		b.WriteByte(';')
	}
	return b.String()
}

// phrase writes a display name: atoms where it consists of them, a quoted string where it is ASCII, else encoded words.
func phrase(name string) string {
	if name = strings.Trim(plainText(name), " "); !isASCII(name) || DecodeWords(name) != name {
		return encodeText(name)
	}
	for word := range strings.SplitSeq(name, " ") {
		if word == "" || atextPrefix(word) < len(word) {
			return smtp.QuoteLocal(name)
		}
	}
	return name
}

// addressParser reads an address list. Its stages look at the tokens of one element between two separators: what they
// are is known only when "<", ":" or the separator comes.
type addressParser struct {
	lex     addressLexer
	list    []Address
	group   string // the open group
	members bool   // it has some
	err     error  // the first fault
}

// fail keeps the first fault.
func (p *addressParser) fail(what, text string) {
	if p.err == nil {
		p.err = fmt.Errorf("%w: %s: %.80q", ErrAddress, what, text)
	}
}

// element reads up to a separator. It returns false behind the last one.
func (p *addressParser) element() bool {
	start := p.lex.s
	var words, angle []addressToken
	comment, inAngle, fault := "", false, ""
	for {
		t := p.lex.next()
		if len(words)+len(angle) > maxTokens {
			words, angle, fault = nil, nil, "too many words"
		}
		switch {
		case t.kind == tokenBad:
			fault = t.text
		case t.kind == tokenComment:
			comment = t.text
		case t.kind == tokenEnd, t.is(",") && !(inAngle && isRoute(angle)), t.is(";"):
			if inAngle {
				fault = `"<" without ">"`
			}
			if fault != "" {
				p.fail(fault, start)
			} else {
				p.add(words, angle, comment, start)
			}
			if t.kind == tokenEnd || t.is(";") {
				p.endGroup()
			}
			return t.kind != tokenEnd
		case inAngle && t.is(">"):
			inAngle = false
			angle = append(angle, t) // tells that there was one
		case inAngle:
			angle = append(angle, t)
		case t.is("<") && angle == nil:
			inAngle = true
			angle = []addressToken{}
		case t.is(":") && p.group == "" && angle == nil:
			if p.group = name(words); p.group == "" {
				fault = "group without a name"
			}
			words, comment, p.members = nil, "", false
		case angle != nil || t.kind == tokenSpecial && !t.is(".") && !t.is("@"):
			fault = "unexpected " + t.text
		default:
			words = append(words, t)
		}
	}
}

// isRoute tells the tokens of an obsolete source route (RFC 5322 4.4), in which commas may stand.
func isRoute(angle []addressToken) bool { return len(angle) > 0 && angle[0].is("@") }

// endGroup closes the open group.
func (p *addressParser) endGroup() {
	if p.group != "" && !p.members {
		p.list = append(p.list, Address{Group: p.group})
	}
	p.group = ""
}

// add takes an element: words, and perhaps an address in angle brackets, ended by ">".
func (p *addressParser) add(words, angle []addressToken, comment, text string) {
	a := Address{Group: p.group}
	spec := words
	if angle != nil {
		a.Name = name(words)
		spec = angle[:len(angle)-1]
		if len(spec) > 0 && spec[0].is("@") { // a source route, which is dropped (RFC 5322 4.4)
			for len(spec) > 0 && !spec[0].is(":") {
				spec = spec[1:]
			}
			spec = spec[min(1, len(spec)):]
		}
	} else if len(words) == 0 {
		return // nothing between two separators (RFC 5322 4.4)
	}
	if !a.setSpec(spec) {
		p.fail("no address", text)
		return
	}
	if a.Name == "" {
		a.Name = cleanName(comment)
	}
	p.list = append(p.list, a)
	p.members = true
}

// setSpec takes an addr-spec (RFC 5322 3.4.1), with space and comments between any of its tokens (4.4).
func (a *Address) setSpec(tokens []addressToken) bool {
	at := len(tokens)
	for i, t := range tokens {
		if t.is("@") {
			at = i
			break
		}
	}
	local, ok := joined(tokens[:at], tokenQuoted)
	if !ok || !isShown(local) || at == len(tokens) && local == "" {
		return false
	}
	if at == len(tokens) {
		a.Spec = smtp.QuoteLocal(local)
		return true
	}
	domain, ok := joined(tokens[at+1:], tokenLiteral)
	if !ok || !isShown(domain) || strings.Trim(domain, ".") == "" {
		return false
	}
	spec := smtp.QuoteLocal(local) + "@" + domain
	m, err := smtp.ParseMailbox(spec)
	if err != nil {
		a.Spec = spec
	}
	a.Mailbox = m
	return true
}

// joined gives the text of atoms, tokens of one kind more, and the dots between them.
func joined(tokens []addressToken, kind tokenKind) (string, bool) {
	var b strings.Builder
	dot := true
	for _, t := range tokens {
		isDot := t.is(".")
		if !isDot && (!dot || t.kind != tokenAtom && t.kind != kind) {
			return "", false
		}
		dot = isDot
		b.WriteString(t.text)
	}
	return b.String(), len(tokens) > 0
}

// isShown tells valid UTF-8 without control characters.
func isShown(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}

// name makes a display name of tokens.
func name(tokens []addressToken) string {
	var b strings.Builder
	for i, t := range tokens {
		if t.spaced && i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(t.text)
	}
	return cleanName(b.String())
}

func cleanName(s string) string { return strings.Trim(plainText(DecodeWords(s)), " ") }
