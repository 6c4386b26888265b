package dsn

import (
	"strings"

	"github.com/holub-mail/holub/smtp"
)

// reason is what a status means to a person: why, and what the sender can do. "{domain}" stands for the domain of the
// recipient.
type reason struct{ why, todo string }

const (
	todoAddress = "Check the address, letter by letter, and send the message again to the right one. If it is right, " +
		"ask the person in another way."
	todoDomain     = "Check what stands behind the @ for a typing mistake, and send the message to the right address."
	todoLater      = "Try again later. If it fails again, reach the person in another way."
	todoSmaller    = "Send it again with smaller attachments or none, or pass the files on in another way."
	todoOwner      = "If you believe that this is a mistake, show this report to whoever runs your own mail server."
	todoPostmaster = "You can't change this yourself. Show this report to whoever runs the mail server of {domain}, " +
		"for example postmaster@{domain}."
	todoPlain = "Send it again with plain English letters in the subject, the names and the addresses."
	todoAsk   = "Ask the person for another address."
)

// reasons are the common statuses by subject and detail (RFC 3463 3, and the registry of RFC 5248). The class makes no
// difference to what went wrong, only to how long it may last.
var reasons = map[[2]int]reason{
	{1, 1}:  {"There is no mailbox of this name at {domain}.", todoAddress},
	{1, 2}:  {"There is no mail domain {domain}.", todoDomain},
	{1, 3}:  {"The address is not written as a mail address must be.", todoAddress},
	{1, 4}:  {"The address fits more than one mailbox at {domain}.", todoAddress},
	{1, 5}:  {"The address is good, but the message was not taken.", todoLater},
	{1, 6}:  {"The mailbox has moved away from {domain}, and it is not known where to.", todoAsk},
	{1, 7}:  {"The receiving server does not accept your own address as a sender.", todoOwner},
	{1, 8}:  {"The receiving server can't find the domain of your own address.", todoOwner},
	{1, 10}: {"The domain {domain} takes no mail: its owner says so in the DNS.", todoDomain},
	{2, 1}:  {"The mailbox is switched off and takes no mail.", "Reach the person in another way."},
	{2, 2}:  {"The mailbox is full.", "Try again later, or tell the person in another way that the mailbox is full."},
	{2, 3}:  {"The message is larger than this mailbox takes.", todoSmaller},
	{2, 4}:  {"The address is a mailing list, and the message could not be passed to its members.", todoPostmaster},
	{3, 1}:  {"The receiving server has no room left.", todoLater},
	{3, 2}:  {"The receiving server takes no mail at present.", todoLater},
	{3, 3}:  {"The receiving server can't do what the message asks for.", todoOwner},
	{3, 4}:  {"The message is larger than the receiving server takes.", todoSmaller},
	{3, 5}:  {"A mail server is set up wrongly.", todoOwner},
	{4, 1}:  {"The receiving server did not answer.", todoLater},
	{4, 2}:  {"The connection to the receiving server broke, or was refused.", todoLater},
	{4, 3}:  {"The server could not look up where mail for {domain} goes: the DNS did not answer.", todoLater},
	{4, 4}:  {"No server that takes mail for {domain} could be found.", todoDomain},
	{4, 5}:  {"The receiving server has too much to do.", todoLater},
	{4, 6}:  {"The message went in a circle: the mail servers of {domain} pass it on to each other.", todoPostmaster},
	{4, 7}:  {"The time in which the message could have been delivered ran out.", todoLater},
	{5, 1}:  {"The two mail servers did not understand each other: one sent a command that does not fit.", todoOwner},
	{5, 2}:  {"The two mail servers did not understand each other: one sent a command that is not well formed.", todoOwner},
	{5, 3}:  {"The message has too many recipients for the receiving server.", "Send it to fewer people at once."},
	{5, 4}:  {"The two mail servers did not understand each other: an option of a command was not taken.", todoOwner},
	{5, 6}:  {"The two mail servers did not understand each other.", todoOwner},
	{6, 1}:  {"The receiving server does not take this kind of content.", todoSmaller},
	{6, 2}:  {"The message would have to be converted for the receiving server, and that is not allowed.", todoOwner},
	{6, 3}:  {"The message is in a form that the receiving server does not take, and it can't be converted.", todoOwner},
	{6, 4}:  {"The message would lose something if it were converted for the receiving server.", todoOwner},
	{6, 5}:  {"The message had to be converted for the receiving server, and that failed.", todoOwner},
	{6, 7}:  {"The receiving server does not take addresses with letters outside of plain English.", todoAsk},
	{6, 8}:  {"A reply in letters outside of plain English is needed, and the receiving server can't get one.", todoAsk},
	{6, 9}:  {"The header of the message has letters that the receiving server does not take.", todoPlain},
	{6, 10}: {"The header of the message has letters that the receiving server does not take.", todoPlain},
	{7, 1}:  {"The receiving server did not allow this message.", todoOwner},
	{7, 2}:  {"You are not allowed to write to this mailing list.", "Join the list, or ask whoever runs it."},
	{7, 3}:  {"The message would have to be converted for the safety rules of the receiving server, and can't be.", todoOwner},
	{7, 4}:  {"The receiving server can't keep the safety rules that the message demands.", todoOwner},
	{7, 5}:  {"The message is encrypted or signed in a way that a mail server on the way could not handle.", todoOwner},
	{7, 7}:  {"The message was changed or damaged on its way.", "Send it again."},
	{7, 8}:  {"The receiving server did not accept the user name or password with which the message was sent.", todoOwner},
	{7, 10}: {"The receiving server takes mail over encrypted connections only.", todoOwner},
	{7, 13}: {"The account is switched off.", "Reach the person in another way."},
	{7, 17}: {"The mailbox has a new owner since the time that the message names.", todoAsk},
	{7, 18}: {"The domain {domain} has a new owner since the time that the message names.", todoAsk},
	{7, 20}: {"The message has no valid signature of the sending domain (DKIM).", todoOwner},
	{7, 21}: {"The message has no signature that the receiving server accepts (DKIM).", todoOwner},
	{7, 22}: {"The message is not signed by the domain of its author (DKIM).", todoOwner},
	{7, 23}: {"The domain of your address does not list the sending server as its own (SPF).", todoOwner},
	{7, 24}: {"The list of servers that may send for the domain of your address can't be used (SPF).", todoOwner},
	{7, 25}: {"The address of the sending server has no valid name in the DNS.", todoOwner},
	{7, 26}: {"The receiving server could not make sure that the message is really from your domain.", todoOwner},
	{7, 27}: {"The domain of your own address takes no mail, so no answer could reach you.", todoOwner},
	{7, 28}: {"The receiving server got more messages than it takes in such a time.", todoLater},
	{7, 29}: {"The message changed on its way, and no server there vouches for it (ARC).", todoOwner},
	{7, 30}: {"The way to the receiving server can't be encrypted as the message demands.", todoOwner},
}

// subjectReasons serve where the detail is not in the table.
var subjectReasons = [...]reason{
	0: {"The receiving server gave no reason that is known here; its own words stand below.", todoAddress},
	1: {"There is something wrong with the address.", todoAddress},
	2: {"There is something wrong with the mailbox at {domain}.", todoLater},
	3: {"There is something wrong with a mail server on the way.", todoLater},
	4: {"The message found no way to the receiving server.", todoLater},
	5: {"The two mail servers did not understand each other.", todoOwner},
	6: {"The receiving server does not take the content of the message.", todoOwner},
	7: {"The receiving server refused the message by its own rules.", todoOwner},
}

// unsaid serves where there is no status at all.
var unsaid = reason{"The reason is not known.", todoLater}

// own serves a reply of this server itself that has no more precise status.
var own = reason{"The server that sends this report could not deliver the message; its reason stands below.", todoLater}

// reasonOf finds the words for a reply.
func reasonOf(rcpt Recipient, domain string) reason {
	r := findReason(rcpt.Reply.Enhanced)
	if rcpt.Reply.IsZero() {
		r = unsaid
	} else if rcpt.Host == "" && r == subjectReasons[7] {
		r = own
	} else if r == subjectReasons[0] {
		if rcpt.Host == "" {
			r = own
		} else if rcpt.Reply.Temporary() { // then it is hardly the address
			r.todo = todoLater
		}
	}
	return reason{
		why:  strings.ReplaceAll(r.why, "{domain}", domain),
		todo: strings.ReplaceAll(r.todo, "{domain}", domain),
	}
}

func findReason(code smtp.EnhancedCode) reason {
	if r, ok := reasons[[2]int{code[1], code[2]}]; ok {
		return r
	}
	if s := code[1]; s > 0 && s < len(subjectReasons) {
		return subjectReasons[s]
	}
	return subjectReasons[0]
}
