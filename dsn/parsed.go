package dsn

import (
	"time"

	"github.com/holub-mail/holub/smtp"
)

// Parsed is what a report says, whoever wrote it. Text in it is as the report has it, in whatever charset, line ends
// and folds taken out; it comes from strangers, and nothing in it is proven. The zero value of a field means that the
// report does not say.
type Parsed struct {
	Kind     Kind    // Failure where it failed for one recipient at least, else Delay, else Success; Complaint; Receipt
	Dialect  Dialect // the form that it was read by
	Software string  // whose text or fields these are: "Postfix", "Exim", ...; "" where no sign was known

	Reporter   MTA       // who reports (Reporting-MTA)
	Gateway    MTA       // who translated a report of another mail system (DSN-Gateway)
	From       MTA       // whom the reporter had the original from (Received-From-MTA)
	Arrived    time.Time // when the reporter took the original
	EnvelopeID string    // ENVID of the original (RFC 3461 4.4)
	QueueID    string    // of the original at the reporter, where it is named
	Sender     string    // the original's reverse-path without brackets, where it is named

	Recipients  []RecipientStatus // of a Receipt or Complaint those that it names
	Original    *Original         // nil where nothing of the original is returned or known
	Complaint   *Feedback         // of a Complaint
	Disposition *Disposition      // of a Receipt

	Truncated bool // more was there than the limits of Parse let it read
}

// Dialect is the form that a report is read by.
type Dialect string

// The dialects that Parse knows. All but the first three are mail in words alone, read by the phrases and the layout
// that the server is known for.
const (
	DialectStatus      Dialect = "rfc3464"  // message/delivery-status, or its form in UTF-8 (RFC 6533)
	DialectFeedback    Dialect = "rfc5965"  // message/feedback-report
	DialectDisposition Dialect = "rfc8098"  // message/disposition-notification
	DialectQmail       Dialect = "qmail"    // QSBMF, the format of qmail-send
	DialectExim        Dialect = "exim"     // Exim without multipart/report, as before 4.8x
	DialectSendmail    Dialect = "sendmail" // sendmail without multipart/report
	DialectPostfix     Dialect = "postfix"  // the text of Postfix alone, its other parts lost
	DialectExchange    Dialect = "exchange" // Exchange and Outlook
	DialectGmail       Dialect = "gmail"    // Gmail of older days
	DialectHeader      Dialect = "header"   // an X-Failed-Recipients field, and no known text
)

// MTA is a name of a host with its type (RFC 3464 2.1.2).
type MTA struct {
	Type string // in lower case: "dns", "x-..."; "" where the report named none
	Name string // as it came
}

// Diagnostic is what a host said (RFC 3464 2.3.6).
type Diagnostic struct {
	Type     string            // in lower case: "smtp", "x-postfix", ...; "" where the report named none
	Text     string            // verbatim; lines of a reply joined by spaces
	Code     int               // of the SMTP reply that Text has; 0 where none is in it
	Enhanced smtp.EnhancedCode // behind Code; zero where there is none
}

// RecipientStatus is what a report says about one recipient.
type RecipientStatus struct {
	Final       Address           // where the original was to go in the end
	Original    Address           // whom the sender had in mind (ORCPT), or the alias that led to Final
	Action      Action            // one of the five; "" in a Receipt and a Complaint
	Status      smtp.EnhancedCode // from the report, else from Diagnostic; zero where neither has one
	Remote      MTA               // who gave Diagnostic; zero is the reporter itself
	Diagnostic  Diagnostic
	LogID       string // Final-Log-ID
	LastAttempt time.Time
	RetryUntil  time.Time // Will-Retry-Until
}

// Reason tells what the status means to a person: why it came to that, and what the sender can do next; each is a
// sentence or two in English, with the domain of Final in it. Where nothing failed and nothing is late both are "".
func (s *RecipientStatus) Reason() (why, next string) {
	if s.Action == "" || outcomeOf(s.Action) == onward {
		return "", ""
	}
	domain := "the domain of the address"
	if m, ok := s.Final.Mailbox(); ok {
		domain = m.Domain.String()
	}
	r := reasonOf(Recipient{
		Reply: smtp.Reply{Code: s.Diagnostic.Code, Enhanced: s.Status, Lines: []string{s.Diagnostic.Text}}, Host: "remote",
	}, domain)
	return r.why, r.todo
}

// Original is what a report returns or says of the message that it is about.
type Original struct {
	MessageID string // without brackets
	From      string // the field as it came, words encoded (RFC 2047)
	To        string // likewise
	Subject   string // likewise
	Date      time.Time
	Part      Part   // how much of it is returned
	Header    []byte // its header, transfer encoding taken off, up to 64 KiB; nil where nothing is returned
	// Offset and Size are where in the report it lies, encoded as Encoding says, for FullMessage with its body. Size is
	// 0 where nothing is returned, or where it is inside of text that is itself encoded.
	Offset, Size int64
	Encoding     string // Content-Transfer-Encoding in lower case: "7bit", "base64", ...
}

// Feedback is a complaint (RFC 5965 3, RFC 6591 3).
type Feedback struct {
	Type         string // in lower case: "abuse", "auth-failure", "fraud", "virus", "not-spam", "other"
	UserAgent    string
	Version      string
	MailFrom     string   // the original's reverse-path without brackets
	RcptTo       []string // as they came, brackets taken off
	SourceIP     string   // of the host that handed the original in
	Domains      []string // Reported-Domain
	URIs         []string // Reported-URI
	Incidents    int      // how many the complaint stands for; 0 where it does not say
	AuthFailure  string   // of auth-failure: "dkim", "spf", ...
	AuthResults  []string // Authentication-Results
	ReceivedDate time.Time
}

// Disposition tells what became of a message in a mail program (RFC 8098 3.2).
type Disposition struct {
	UserAgent string   // Reporting-UA
	Type      string   // in lower case: "displayed", "deleted", "processed", "dispatched", ...
	Modifiers []string // in lower case: "error", ...
	Manual    bool     // a person did it (manual-action)
	Consented bool     // and said that it may be told (MDN-sent-manually)
	Errors    []string // Error and Failure fields
}
