package receiver

import (
	"errors"
	"strings"

	"github.com/holub-mail/holub/smtp"
)

// command is a row of the table: what may be said, when, and who answers it.
type command struct {
	verb   string
	phases phase                             // in which it may come
	early  smtp.Reply                        // the reply when it comes in another
	arg    argRule                           //
	run    func(*Session, string) smtp.Reply // gets the argument; parses, asks the Handler, changes the phase
	syntax string                            // for HELP
}

type argRule uint8

const (
	argAny argRule = iota
	argNone
	argNeeded
)

var (
	ok             = smtp.NewReply(250, smtp.EnhancedCode{2, 0, 0}, "Ok")
	sendHello      = smtp.NewReply(503, smtp.EnhancedCode{5, 5, 1}, "Send EHLO first")
	sendMail       = smtp.NewReply(503, smtp.EnhancedCode{5, 5, 1}, "Send MAIL first")
	nestedMail     = smtp.NewReply(503, smtp.EnhancedCode{5, 5, 1}, "A transaction is open; send RSET to drop it")
	notImplemented = smtp.NewReply(502, smtp.EnhancedCode{5, 5, 1}, "This command is not implemented here")
	onlyQuit       = smtp.NewReply(503, smtp.EnhancedCode{5, 5, 1}, "This session can only QUIT")
)

// commands makes the table of what a server knows, in the order of 4.1.1 and of its HELP.
func commands() []command {
	return []command{
		{"EHLO", anyPhase, smtp.Reply{}, argNeeded, (*Session).ehlo, "EHLO domain"},
		{"HELO", anyPhase, smtp.Reply{}, argNeeded, (*Session).helo, "HELO domain"},
		{"MAIL", phaseReady, nestedMail, argNeeded, (*Session).mailFrom, "MAIL FROM:<reverse-path> [SIZE=n] [BODY=7BIT|8BITMIME]"},
		{"RCPT", inTransaction, sendMail, argNeeded, (*Session).rcptTo, "RCPT TO:<forward-path>"},
		{"DATA", inTransaction, sendMail, argNone, (*Session).data, "DATA"},
		{"RSET", anyPhase, smtp.Reply{}, argNone, (*Session).rset, "RSET"},
		{"VRFY", anyPhase, smtp.Reply{}, argNeeded, (*Session).vrfy, "VRFY mailbox"},
		{"EXPN", anyPhase, smtp.Reply{}, argAny, answer(notImplemented), ""},
		{"HELP", anyPhase, smtp.Reply{}, argAny, (*Session).help, "HELP [command]"},
		{"NOOP", anyPhase, smtp.Reply{}, argAny, answer(ok), "NOOP"},
		{"QUIT", anyPhase | phaseDead, smtp.Reply{}, argNone, (*Session).quit, "QUIT"},
		{"SEND", anyPhase, smtp.Reply{}, argAny, answer(notImplemented), ""}, // appendix F.6
		{"SOML", anyPhase, smtp.Reply{}, argAny, answer(notImplemented), ""},
		{"SAML", anyPhase, smtp.Reply{}, argAny, answer(notImplemented), ""},
		{"TURN", anyPhase, smtp.Reply{}, argAny, answer(notImplemented), ""}, // appendix F.1
	}
}

func answer(r smtp.Reply) func(*Session, string) smtp.Reply {
	return func(*Session, string) smtp.Reply { return r }
}

// find gives the row of a verb, or nil.
func (s *Session) find(verb string) *command {
	table := s.server.commands
	for i := range table {
		if table[i].verb == verb {
			return &table[i]
		}
	}
	return nil
}

// command checks one line against the table and runs its row.
func (s *Session) command(line []byte) smtp.Reply {
	cmd, err := smtp.ParseCommand(line)
	if err != nil {
		return smtp.NewReply(500, smtp.EnhancedCode{5, 5, 2}, "Not a command: a word of letters, then printable ASCII")
	}
	s.verb = cmd.Verb
	row := s.find(cmd.Verb)
	switch {
	case s.phase == phaseDead && cmd.Verb != "QUIT":
		return onlyQuit
	case row == nil:
		return smtp.NewReply(500, smtp.EnhancedCode{5, 5, 1}, "No such command; HELP lists those there are")
	case s.phase&row.phases == 0 && s.phase == phaseStart:
		return sendHello
	case s.phase&row.phases == 0:
		return row.early
	case row.arg == argNone && cmd.Arg != "", row.arg == argNeeded && cmd.Arg == "":
		return smtp.Replyf(501, smtp.EnhancedCode{5, 5, 4}, "The syntax is: %s", row.syntax)
	}
	return row.run(s, cmd.Arg)
}

func (s *Session) ehlo(arg string) smtp.Reply {
	if r := s.greet(arg, true); !r.IsZero() {
		return r
	}
	first := s.server.hostname() + " greets " + s.hello.String()
	return smtp.Reply{Code: 250, Lines: append([]string{first}, s.offered().Lines()...)}
}

// offered are the extensions of this session.
func (s *Session) offered() smtp.Extensions {
	return smtp.Extensions{Pipelining: true, Size: true, MaxSize: max(s.maxSize, 0), EightBitMIME: true, EnhancedCodes: true}
}

func (s *Session) helo(arg string) smtp.Reply {
	if r := s.greet(arg, false); !r.IsZero() {
		return r
	}
	return smtp.Replyf(250, smtp.EnhancedCode{}, "%s greets %s", s.server.hostname(), s.hello)
}

// greet takes the client's name and drops an open transaction (4.1.4).
func (s *Session) greet(arg string, esmtp bool) smtp.Reply {
	hello, err := smtp.ParseHelo(arg)
	if err != nil {
		return smtp.NewReply(501, smtp.EnhancedCode{}, "Give your domain name or address literal")
	}
	s.reset()
	s.hello, s.esmtp, s.phase = hello, esmtp, phaseReady
	return smtp.Reply{}
}

func (s *Session) mailFrom(arg string) smtp.Reply {
	m, err := smtp.ParseMail(arg)
	switch {
	case err != nil:
		return syntaxReply(err, "MAIL FROM:<reverse-path>", smtp.EnhancedCode{5, 1, 7})
	case m.Unoffered(s.offered()) != "":
		return unknownParam(m.Unoffered(s.offered()))
	case !m.From.IsASCII() && !m.UTF8:
		return needsUTF8
	case s.maxSize > 0 && m.Size > s.maxSize:
		return replyTooLarge // RFC 1870 6.1
	}
	r := orReply(s.handler.Mail(s.ctx, s, m), smtp.NewReply(250, smtp.EnhancedCode{2, 1, 0}, "Ok"))
	if r.Positive() {
		s.mail, s.phase = m, phaseMail
	}
	return r
}

// needsUTF8 answers an address that only SMTPUTF8 allows (RFC 6531 3.5).
var needsUTF8 = smtp.NewReply(553, smtp.EnhancedCode{5, 6, 7}, "The address has octets above 127, which need SMTPUTF8")

// unknownParam answers a parameter of an extension that was not offered (4.1.1.11).
func unknownParam(keyword string) smtp.Reply {
	return smtp.Replyf(555, smtp.EnhancedCode{5, 5, 4}, "%s is not offered here", keyword)
}

func (s *Session) rcptTo(arg string) smtp.Reply {
	rcpt, err := smtp.ParseRcpt(arg)
	switch {
	case err != nil:
		return syntaxReply(err, "RCPT TO:<forward-path>", smtp.EnhancedCode{5, 1, 3})
	case rcpt.Unoffered(s.offered()) != "":
		return unknownParam(rcpt.Unoffered(s.offered()))
	case !rcpt.To.IsASCII() && !s.mail.UTF8:
		return needsUTF8
	case s.maxRecipients > 0 && s.asked >= s.maxRecipients: // 4.5.3.1.10: 452, and what was accepted stands
		return smtp.NewReply(452, smtp.EnhancedCode{4, 5, 3}, "Too many recipients; send the others in another transaction")
	}
	s.asked++
	r := orReply(s.handler.Rcpt(s.ctx, s, rcpt), smtp.NewReply(250, smtp.EnhancedCode{2, 1, 5}, "Ok"))
	if r.Positive() {
		s.rcpts = append(s.rcpts, rcpt)
		s.phase = phaseRcpt
	}
	return r
}

func (s *Session) data(string) smtp.Reply {
	if s.phase != phaseRcpt { // 3.3; RFC 2920 3.1
		return smtp.NewReply(554, smtp.EnhancedCode{5, 5, 1}, "No valid recipients")
	}
	s.write("DATA", smtp.NewReply(354, smtp.EnhancedCode{}, "Send the message, end it with a line that has only a dot"))
	r := s.receive()
	s.reset()
	return r
}

func (s *Session) rset(string) smtp.Reply {
	s.reset()
	return ok
}

// vrfy neither confirms nor denies (3.5.3, 7.3).
func (s *Session) vrfy(string) smtp.Reply {
	return smtp.NewReply(252, smtp.EnhancedCode{2, 0, 0}, "Not verified; send mail to it and see")
}

func (s *Session) help(arg string) smtp.Reply {
	if arg != "" {
		row := s.find(strings.ToUpper(arg))
		if row == nil || row.syntax == "" {
			return smtp.NewReply(504, smtp.EnhancedCode{5, 5, 4}, "No such command; HELP lists those there are")
		}
		return smtp.NewReply(214, smtp.EnhancedCode{2, 0, 0}, row.syntax)
	}
	lines := []string{"The commands are:"}
	for _, row := range s.server.commands {
		if row.syntax != "" {
			lines = append(lines, "  "+row.syntax)
		}
	}
	return smtp.Reply{Code: 214, Enhanced: smtp.EnhancedCode{2, 0, 0}, Lines: lines}
}

func (s *Session) quit(string) smtp.Reply {
	return smtp.Reply{Code: 221, Enhanced: smtp.EnhancedCode{2, 0, 0}, Close: true,
		Lines: []string{s.server.hostname() + " closes the channel"}}
}

// syntaxReply turns an error of a command's parser into its reply: 501, with a code for the address where it is at fault
// (4.2.4; RFC 5248).
func syntaxReply(err error, syntax string, address smtp.EnhancedCode) smtp.Reply {
	if errors.Is(err, smtp.ErrParam) || errors.Is(err, smtp.ErrDuplicate) {
		return smtp.NewReply(501, smtp.EnhancedCode{5, 5, 4}, "A parameter is wrong or given twice")
	}
	if errors.Is(err, smtp.ErrPath) { // its word or its brackets are missing, not the address in them wrong
		address = smtp.EnhancedCode{5, 5, 4}
	}
	return smtp.Replyf(501, address, "The syntax is: %s", syntax)
}
