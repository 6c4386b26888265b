package smtp

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// Extensions are what a server offers in its reply to EHLO (4.1.1.1). The zero value offers nothing.
type Extensions struct {
	Pipelining    bool     // RFC 2920
	Size          bool     // RFC 1870
	MaxSize       int64    // octets; 0 where SIZE names no limit
	EightBitMIME  bool     // RFC 6152
	UTF8          bool     // SMTPUTF8, RFC 6531
	Chunking      bool     // RFC 3030
	BinaryMIME    bool     // RFC 3030
	DSN           bool     // RFC 3461
	EnhancedCodes bool     // RFC 2034
	StartTLS      bool     // RFC 3207
	Auth          []string // mechanisms in upper case (RFC 4954)
	RequireTLS    bool     // RFC 8689

	DeliverBy    bool          // RFC 2852
	MinDeliverBy time.Duration // the shortest time that may be asked for; 0 where none is named

	FutureRelease bool          // RFC 4865
	MaxHold       time.Duration // the longest time a message is held
	MaxHoldUntil  time.Time     // and the last time it may be held to

	Priority        bool   // MT-PRIORITY, RFC 6710
	PriorityProfile string // the name of its levels; "" is the default

	Limits *Limits // RFC 9422; nil where it is not offered

	ETRN    bool     // RFC 1985
	VRFY    bool     // 3.5.1
	EXPN    bool     // 3.5.1
	HELP    bool     // 4.1.1.8
	XCLIENT []string // attributes in upper case, a habit of Postfix

	Other []string // lines with keywords that this package does not know, as they came
}

// Limits are what a server tells of its limits (RFC 9422 4); 0 is none told.
type Limits struct {
	Mails       int // MAILMAX: transactions in a session
	Rcpts       int // RCPTMAX: recipients in a transaction
	RcptDomains int // RCPTDOMAINMAX: domains of recipients in a transaction
}

// extension is a row of the table of EHLO's keywords.
type extension struct {
	keyword string
	line    func(*Extensions) (arg string, offered bool)
	parse   func(*Extensions, string)
}

// flag is the row of a keyword without arguments.
func flag(keyword string, of func(*Extensions) *bool) extension {
	return extension{keyword,
		func(e *Extensions) (string, bool) { return "", *of(e) },
		func(e *Extensions, _ string) { *of(e) = true }}
}

var extensions = []extension{
	flag("PIPELINING", func(e *Extensions) *bool { return &e.Pipelining }),
	{"SIZE",
		func(e *Extensions) (string, bool) { return positive(e.MaxSize), e.Size },
		func(e *Extensions, arg string) { e.Size, e.MaxSize = true, number(arg) }},
	flag("8BITMIME", func(e *Extensions) *bool { return &e.EightBitMIME }),
	flag("SMTPUTF8", func(e *Extensions) *bool { return &e.UTF8 }),
	flag("CHUNKING", func(e *Extensions) *bool { return &e.Chunking }),
	flag("BINARYMIME", func(e *Extensions) *bool { return &e.BinaryMIME }),
	flag("DSN", func(e *Extensions) *bool { return &e.DSN }),
	flag("ENHANCEDSTATUSCODES", func(e *Extensions) *bool { return &e.EnhancedCodes }),
	flag("STARTTLS", func(e *Extensions) *bool { return &e.StartTLS }),
	{"AUTH",
		func(e *Extensions) (string, bool) { return strings.Join(e.Auth, " "), len(e.Auth) > 0 },
		func(e *Extensions, arg string) { e.Auth = append(e.Auth, strings.Fields(strings.ToUpper(arg))...) }},
	flag("REQUIRETLS", func(e *Extensions) *bool { return &e.RequireTLS }),
	{"DELIVERBY",
		func(e *Extensions) (string, bool) { return positive(int64(e.MinDeliverBy / time.Second)), e.DeliverBy },
		func(e *Extensions, arg string) { e.DeliverBy, e.MinDeliverBy = true, seconds(arg) }},
	{"FUTURERELEASE", (*Extensions).futureReleaseLine, (*Extensions).parseFutureRelease},
	{"MT-PRIORITY",
		func(e *Extensions) (string, bool) { return e.PriorityProfile, e.Priority },
		func(e *Extensions, arg string) { e.Priority, e.PriorityProfile = true, arg }},
	{"LIMITS", (*Extensions).limitsLine, (*Extensions).parseLimits},
	flag("ETRN", func(e *Extensions) *bool { return &e.ETRN }),
	flag("VRFY", func(e *Extensions) *bool { return &e.VRFY }),
	flag("EXPN", func(e *Extensions) *bool { return &e.EXPN }),
	flag("HELP", func(e *Extensions) *bool { return &e.HELP }),
	{"XCLIENT",
		func(e *Extensions) (string, bool) { return strings.Join(e.XCLIENT, " "), len(e.XCLIENT) > 0 },
		func(e *Extensions, arg string) { e.XCLIENT = strings.Fields(strings.ToUpper(arg)) }},
}

// Lines gives the keywords as lines of the EHLO reply, after its first.
func (e Extensions) Lines() []string {
	var lines []string
	for _, x := range extensions {
		if arg, offered := x.line(&e); offered {
			lines = append(lines, strings.TrimSpace(x.keyword+" "+arg))
		}
	}
	return append(lines, e.Other...)
}

// ParseExtensions reads the lines of an EHLO reply after its first. Keywords have no case; what is not known is kept.
func ParseExtensions(lines []string) Extensions {
	var e Extensions
	for _, line := range lines {
		keyword, arg, _ := strings.Cut(strings.TrimSpace(line), " ")
		if rest, ok := strings.CutPrefix(strings.ToUpper(keyword), "AUTH="); ok { // the form of drafts before RFC 2554
			keyword, arg = "AUTH", rest+" "+arg
		}
		i := slices.IndexFunc(extensions, func(x extension) bool { return strings.EqualFold(x.keyword, keyword) })
		switch {
		case i >= 0:
			extensions[i].parse(&e, strings.TrimSpace(arg))
		case keyword != "":
			e.Other = append(e.Other, line)
		}
	}
	slices.Sort(e.Auth)
	e.Auth = slices.Compact(e.Auth)
	return e
}

func (e *Extensions) futureReleaseLine() (string, bool) {
	return positive(int64(e.MaxHold/time.Second)) + " " + e.MaxHoldUntil.UTC().Format(time.RFC3339), e.FutureRelease
}

func (e *Extensions) parseFutureRelease(arg string) {
	interval, until, _ := strings.Cut(arg, " ")
	e.FutureRelease, e.MaxHold = true, seconds(interval)
	e.MaxHoldUntil, _ = time.Parse(time.RFC3339, until)
}

func (e *Extensions) limitsLine() (string, bool) {
	if e.Limits == nil {
		return "", false
	}
	var words []string
	for _, l := range e.Limits.named() {
		if *l.value > 0 {
			words = append(words, l.name+"="+strconv.Itoa(*l.value))
		}
	}
	return strings.Join(words, " "), true
}

func (e *Extensions) parseLimits(arg string) {
	e.Limits = new(Limits)
	for word := range strings.FieldsSeq(arg) {
		name, value, _ := strings.Cut(word, "=")
		for _, l := range e.Limits.named() {
			if strings.EqualFold(l.name, name) {
				*l.value = int(min(number(value), 1<<30))
			}
		}
	}
}

type namedLimit struct {
	name  string
	value *int
}

func (l *Limits) named() []namedLimit {
	return []namedLimit{{"MAILMAX", &l.Mails}, {"RCPTMAX", &l.Rcpts}, {"RCPTDOMAINMAX", &l.RcptDomains}}
}

// positive gives the digits of a number above zero, else "".
func positive(n int64) string {
	if n <= 0 {
		return ""
	}
	return strconv.FormatInt(n, 10)
}

// number reads a number above zero; what is none counts as not given.
func number(s string) int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0
	}
	return max(n, 0)
}

func seconds(s string) time.Duration { return time.Duration(min(number(s), 1<<32)) * time.Second }
