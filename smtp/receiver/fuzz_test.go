package receiver_test

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/holub-mail/holub/smtp"
	"github.com/holub-mail/holub/smtp/receiver"
)

// toChunks is where a message may begin with BDAT.
const toChunks = "EHLO client.example\r\nMAIL FROM:<alice@example.org>\r\nRCPT TO:<bob@example.net>\r\n"

// FuzzSession: whatever a client sends, the server answers in well-formed replies, ends with the client, and says the
// same when the octets come one by one.
func FuzzSession(f *testing.F) {
	f.Add([]byte(twoRecipients))
	f.Add([]byte(toContent + "a\n.\nQUIT\r\n.\r\nNOOP\r\n"))
	f.Add([]byte("EHLO [192.0.2.1]\r\nMAIL FROM:<\"a b\"@[IPv6:::1]> SIZE=1 BODY=7BIT\r\n" +
		"RCPT TO:<@a:b@c> X=1\r\nHELP\r\n"))
	f.Add([]byte(toChunks + "BDAT 3\r\na\r\nNOOP\r\nBDAT 2\r\n.\rBDAT 3 LAST\r\n\n\r\nQUIT\r\n"))
	f.Add([]byte(toChunks + "BDAT 6\r\nQUIT\r\nRSET\r\nBDAT 9999 LAST\r\n" + toChunks + "BDAT 0 LAST\r\n"))
	f.Add([]byte("EHLO a\r\nMAIL FROM:<a@b> BODY=BINARYMIME\r\nRCPT TO:<a@b>\r\nDATA\r\nBDAT 4 LAST\r\na\nb\r"))
	f.Add([]byte("EHLO a\r\nAUTH PLAIN\r\n*\r\nAUTH X-PROOF\r\nYWxpY2U=\r\n\r\n"))
	f.Add([]byte("\x00\r\n\n\r\r\n.\r\n"))
	files, err := filepath.Glob("testdata/dialogues/*.txt")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range files {
		d, err := readDialogue(name)
		if err != nil {
			f.Fatal(err)
		}
		var all []byte
		for _, s := range d.steps {
			all = append(all, s.send...)
		}
		if len(all) < 5000 {
			f.Add(all)
		}
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		whole, keptWhole := session(groups(string(in)))
		checkReplies(t, whole)
		if len(in) > maxFuzzSize { // where two limits are met in one read, the first that is seen counts
			return
		}
		pieces := make([]string, len(in))
		for i := range in {
			pieces[i] = string(in[i : i+1])
		}
		single, keptSingle := session(groups(pieces...))
		if keptWhole != keptSingle {
			t.Errorf("kept %q, but octet by octet %q", keptWhole, keptSingle)
		}
		if whole != single {
			t.Errorf("the server says %q, but octet by octet %q", whole, single)
		}
	})
}

const maxFuzzSize = 10_000

func session(in io.Reader) (out, kept string) {
	h := &recorder{}
	conn := &scriptConn{in: in, keep: true}
	(&receiver.Server{Hostname: "mx.example.org", Handler: h, MaxSize: maxFuzzSize, MaxRecipients: 5,
		Offer: smtp.Extensions{UTF8: true, BinaryMIME: true, DSN: true}, Auth: clerk{}, AuthWithoutTLS: true}).ServeConn(conn)
	return conn.out.String(), h.kept()
}

// checkReplies reads the output as a client does.
func checkReplies(t *testing.T, out string) {
	t.Helper()
	rest, found := strings.CutPrefix(out, "220 mx.example.org ESMTP holub\r\n")
	if !found {
		t.Fatalf("the greeting is %.80q", out)
	}
	var reply smtp.Reply
	for rest != "" {
		line, after, ended := strings.Cut(rest, "\r\n")
		if !ended || len(line) > 510 || strings.ContainsAny(line, "\r\n\x00") {
			t.Fatalf("not a line: %q", line)
		}
		rest = after
		last, err := reply.AddLine([]byte(line))
		if err != nil || len(line) < 4 {
			t.Fatalf("not a reply line: %q: %v", line, err)
		}
		if last {
			if again := string(reply.Append(nil)); !strings.HasSuffix(out[:len(out)-len(rest)], again) {
				t.Fatalf("the reply %q is read as %q", line, again)
			}
			reply = smtp.Reply{}
		}
	}
	if !reply.IsZero() {
		t.Fatalf("the last reply is not whole: %v", reply)
	}
}

// TestDialoguesAreKept: the folder of dialogues holds nothing that no test reads.
func TestDialoguesAreKept(t *testing.T) {
	entries, err := os.ReadDir("testdata/dialogues")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		name := e.Name()
		b, err := os.ReadFile(filepath.Join("testdata/dialogues", name))
		if err != nil {
			t.Fatal(err)
		}
		if name != "README.md" && (filepath.Ext(name) != ".txt" || !bytes.HasPrefix(b, []byte("# "))) {
			t.Errorf("%s is no dialogue, or does not start with its story", name)
		}
	}
}
