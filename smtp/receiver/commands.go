package receiver

import (
	"strings"

	"github.com/holub-mail/holub/smtp"
)

// command is a row of the table: what may be said, when, and who answers it.
type command struct {
	verb   string
	phases phase                             // in which it may come
	early  smtp.Reply                        // the reply when it comes in another
	arg    argRule                           //
	check  func(*Session, string) smtp.Reply // what else is wrong with the argument; nil: nothing is
	run    func(*Session, string) smtp.Reply // gets the argument; parses, asks the Handler, changes the phase
	syntax string                            // for HELP
	on     func(*Session) bool               // whether a session has this command; nil: each has
	drops  bool                              // between two chunks of BDAT it drops the message
}

type argRule uint8

const (
	argAny argRule = iota
	argNone
	argNeeded
)

var (
	ok            = smtp.NewReply(250, smtp.EnhancedCode{2, 0, 0}, "Ok")
	mailOk        = smtp.NewReply(250, smtp.EnhancedCode{2, 1, 0}, "Ok")
	rcptOk        = smtp.NewReply(250, smtp.EnhancedCode{2, 1, 5}, "Ok")
	sendMail      = smtp.NewReply(503, smtp.EnhancedCode{5, 5, 1}, "Send MAIL first")
	nestedMail    = smtp.NewReply(503, smtp.EnhancedCode{5, 5, 1}, "A transaction is open; send RSET to drop it")
	betweenChunks = smtp.NewReply(503, smtp.EnhancedCode{5, 5, 1},
		"A message has begun; go on with BDAT or drop it with RSET")
	notImplemented = smtp.NewReply(502, smtp.EnhancedCode{5, 5, 1}, "This command is not implemented here")
	onlyQuit       = smtp.NewReply(503, smtp.EnhancedCode{5, 5, 1}, "This session can only QUIT")
)

// commands makes the table of what a server knows, in the order of 4.1.1 and of its HELP. What options bring follows.
func commands() []command {
	return []command{
		{verb: "EHLO", phases: anyPhase, arg: argNeeded, check: checkHello, run: (*Session).ehlo, syntax: "EHLO domain",
			on: (*Session).isSMTP, drops: true},
		{verb: "HELO", phases: anyPhase, arg: argNeeded, check: checkHello, run: (*Session).helo, syntax: "HELO domain",
			on: (*Session).isSMTP, drops: true},
		{verb: "LHLO", phases: anyPhase, arg: argNeeded, check: checkHello, run: (*Session).ehlo, syntax: "LHLO domain",
			on: (*Session).isLMTP, drops: true}, // RFC 2033 4.1
		{verb: "MAIL", phases: phaseReady, early: nestedMail, arg: argNeeded, run: (*Session).mailFrom,
			syntax: "MAIL FROM:<reverse-path> [SIZE=n] [BODY=7BIT|8BITMIME]"},
		{verb: "RCPT", phases: takesRcpt, early: sendMail, arg: argNeeded, run: (*Session).rcptTo,
			syntax: "RCPT TO:<forward-path>"},
		{verb: "DATA", phases: takesRcpt, early: sendMail, arg: argNone, run: (*Session).data, syntax: "DATA"},
		{verb: "BDAT", phases: anyPhase | phaseDead, run: (*Session).bdat, syntax: "BDAT octets [LAST]"},
		{verb: "RSET", phases: anyPhase, arg: argNone, run: (*Session).rset, syntax: "RSET", drops: true},
		{verb: "VRFY", phases: anyPhase, arg: argNeeded, run: (*Session).vrfy, syntax: "VRFY mailbox"},
		{verb: "EXPN", phases: anyPhase, arg: argNeeded, run: (*Session).expn, syntax: "EXPN list", on: (*Session).expands},
		{verb: "EXPN", phases: anyPhase, run: answer(notImplemented)},
		{verb: "HELP", phases: anyPhase, run: (*Session).help, syntax: "HELP [command]"},
		{verb: "NOOP", phases: anyPhase, run: answer(ok), syntax: "NOOP"},
		{verb: "QUIT", phases: anyPhase | phaseDead, arg: argNone, run: (*Session).quit, syntax: "QUIT", drops: true},
		{verb: "STARTTLS", phases: phaseReady, early: nestedMail, arg: argNone, run: (*Session).startTLS,
			syntax: "STARTTLS", on: (*Session).hasTLS},
		{verb: "AUTH", phases: phaseReady, early: nestedMail, arg: argNeeded, run: (*Session).auth,
			syntax: "AUTH mechanism [initial-response]", on: (*Session).hasAuth}, // RFC 4954 4
		{verb: "ETRN", phases: phaseReady, early: nestedMail, arg: argNeeded, run: (*Session).etrn,
			syntax: "ETRN [@|#]node", on: (*Session).turns},
		{verb: "XCLIENT", phases: phaseStart | phaseReady, early: nestedMail, arg: argNeeded, run: (*Session).xclient,
			syntax: "XCLIENT attribute=value ...", on: (*Session).mayXClient},
		{verb: "SEND", phases: anyPhase, run: answer(notImplemented)}, // appendix F.6
		{verb: "SOML", phases: anyPhase, run: answer(notImplemented)},
		{verb: "SAML", phases: anyPhase, run: answer(notImplemented)},
		{verb: "TURN", phases: anyPhase, run: answer(notImplemented)}, // appendix F.1
	}
}

func answer(r smtp.Reply) func(*Session, string) smtp.Reply {
	return func(*Session, string) smtp.Reply { return r }
}

func (s *Session) isSMTP() bool { return !s.server.LMTP }
func (s *Session) isLMTP() bool { return s.server.LMTP }

// has tells whether a row is one of this session.
func (s *Session) has(row *command) bool { return row.on == nil || row.on(s) }

// find gives the row of a verb, or nil.
func (s *Session) find(verb string) *command {
	table := s.server.commands
	for i := range table {
		if table[i].verb == verb && s.has(&table[i]) {
			return &table[i]
		}
	}
	return nil
}

// command answers one line.
func (s *Session) command(line []byte) smtp.Reply {
	row, arg, refusal := s.parse(line)
	if !refusal.IsZero() {
		return refusal
	}
	return row.run(s, arg)
}

// parse checks one line against the table. Without a refusal the row may run.
func (s *Session) parse(line []byte) (row *command, arg string, refusal smtp.Reply) {
	cmd, err := smtp.ParseCommand(line)
	if err != nil {
		return nil, "", smtp.NewReply(500, smtp.EnhancedCode{5, 5, 2},
			"Not a command: a word of letters, then printable ASCII")
	}
	s.verb = cmd.Verb
	row = s.find(cmd.Verb)
	switch {
	case s.phase == phaseDead && (row == nil || row.phases&phaseDead == 0):
		refusal = onlyQuit
	case row == nil:
		refusal = smtp.NewReply(500, smtp.EnhancedCode{5, 5, 1}, "No such command; HELP lists those there are")
	case s.phase&row.phases == 0 && s.phase == phaseStart:
		refusal = s.sendHello()
	case s.phase&row.phases == 0 && s.phase == phaseChunks: // RFC 3030 2
		refusal = betweenChunks
	case s.phase&row.phases == 0:
		refusal = row.early
	case row.arg == argNone && cmd.Arg != "", row.arg == argNeeded && cmd.Arg == "":
		refusal = smtp.Replyf(501, smtp.EnhancedCode{5, 5, 4}, "The syntax is: %s", row.syntax)
	case row.check != nil:
		refusal = row.check(s, cmd.Arg)
	}
	return row, cmd.Arg, refusal
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
	for i, row := range s.server.commands {
		if row.syntax != "" && s.has(&s.server.commands[i]) {
			lines = append(lines, "  "+row.syntax)
		}
	}
	return smtp.Reply{Code: 214, Enhanced: smtp.EnhancedCode{2, 0, 0}, Lines: lines}
}

func (s *Session) quit(string) smtp.Reply {
	return smtp.Reply{Code: 221, Enhanced: smtp.EnhancedCode{2, 0, 0}, Close: true,
		Lines: []string{s.server.hostname() + " closes the channel"}}
}
