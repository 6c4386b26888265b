// Package local delivers into mailboxes on this machine: Maildir today.
//
// It never expands addresses and knows no users: the folder of a mailbox is what the route made of the recipient.
// internal/mta calls it for the recipients whose destination is such a folder.
//
//	outcomes := local.Maildir(ctx, "/var/mail/joe", hostname, task)
package local

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/holub-mail/holub/internal/deliver"
	"github.com/holub-mail/holub/internal/spool"
	"github.com/holub-mail/holub/mail"
	"github.com/holub-mail/holub/smtp"
)

// Maildir writes a message into the Maildir dir, once for each recipient of the task, and syncs file and folder before
// it reports success. Folders that lack are made. The file's name follows from message and recipient, so that an attempt
// repeated after a crash finds what the first one wrote in new/ and does not deliver twice.
//
// The file starts with Return-Path (RFC 5321 4.4), below which Delivered-To has the recipient's address, and has the line ends
// of Unix, as readers of Maildirs expect. A message that comes with a Delivered-To field of the same address goes in a circle
// (RFC 5321 6.3) and is refused with 554 5.4.6.
func Maildir(ctx context.Context, dir, hostname string, t deliver.Task) []spool.Outcome {
	outcomes := make([]spool.Outcome, 0, len(t.Recipients))
	for _, n := range t.Recipients {
		outcomes = append(outcomes, maildirOutcome(ctx, n, dir, store(ctx, dir, hostname, n, t)))
	}
	return outcomes
}

func maildirOutcome(ctx context.Context, n int, dir string, err error) spool.Outcome {
	switch {
	case err == nil:
		return spool.Outcome{N: n, Reply: smtp.Replyf(250, smtp.EnhancedCode{2, 0, 0}, "Delivered to %s", dir)}
	case ctx.Err() != nil, errors.Is(err, errContent):
		return deliver.NotRead(ctx, n, err)
	case errors.Is(err, errBeenHere):
		return spool.Outcome{N: n, Reply: smtp.NewReply(554, smtp.EnhancedCode{5, 4, 6},
			"The message goes in a circle: it was delivered to this address before")}
	case errors.Is(err, syscall.ENAMETOOLONG): // no later attempt makes the name shorter
		return spool.Outcome{N: n, Reply: smtp.Replyf(550, smtp.EnhancedCode{5, 1, 1}, "No mailbox here can have this name: %v", err)}
	}
	return spool.Outcome{N: n, Reason: spool.ReasonLocal,
		Reply: smtp.Replyf(451, smtp.EnhancedCode{4, 2, 0}, "The mailbox can't be written: %v", err)}
}

// errContent marks an error of reading the message, as opposed to one of writing it.
var errContent = errors.New("read the message from the spool")

// content is the message; its errors wrap errContent.
type content struct{ io.Reader }

func (c content) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	if err != nil && err != io.EOF {
		err = fmt.Errorf("%w: %w", errContent, err)
	}
	return n, err
}

func store(ctx context.Context, dir, hostname string, n int, t deliver.Task) error {
	for _, sub := range []string{"tmp", "new", "cur"} {
		if err := makeDir(filepath.Join(dir, sub)); err != nil {
			return err
		}
	}
	name := fileName(hostname, n, t.Message)
	tmp, final := filepath.Join(dir, "tmp", name), filepath.Join(dir, "new", name)
	if _, err := os.Stat(final); err == nil {
		// An attempt whose result was lost has delivered it, but maybe not as far as its sync.
		return errors.Join(syncDir(filepath.Join(dir, "new")), syncDir(dir), syncDir(filepath.Dir(dir)))
	}
	if err := write(ctx, tmp, delivered(t.Message.Recipients[n].To, hostname), t); err != nil {
		os.Remove(tmp)
		return err
	}
	if err := os.Rename(tmp, final); err != nil {
		os.Remove(tmp)
		return err
	}
	return syncDir(filepath.Join(dir, "new"))
}

// makeDir makes a folder with its parents, each safe on disk: mail in a folder whose name a loss of power took is lost.
func makeDir(dir string) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	parent := filepath.Dir(dir)
	if parent == dir {
		return fmt.Errorf("make folder %s: %w", dir, os.ErrNotExist)
	}
	if err := makeDir(parent); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return syncDir(parent)
}

// maxHostPart keeps the name of a file within the 255 octets of file systems.
const maxHostPart = 128

// fileName is unique for a recipient of a message: time, queue id with the recipient's number, host.
func fileName(hostname string, n int, m *spool.Message) string {
	host := strings.NewReplacer("/", "\\057", ":", "\\072").Replace(hostname)
	return fmt.Sprintf("%d.%s_%d.%s", m.Arrived.Unix(), m.ID, n, host[:min(len(host), maxHostPart)])
}

func write(ctx context.Context, path string, to smtp.Mailbox, t deliver.Task) error {
	stored, err := t.Open(ctx)
	if err != nil {
		return fmt.Errorf("%w: %w", errContent, err)
	}
	defer stored.Close()
	message, err := unlessBeenHere(content{stored}, to)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(f, 32<<10)
	lines := unixLines{w: w}
	if _, err = lines.Write(appendDeliveredTo(mail.AppendReturnPath(nil, t.Message.From), to)); err == nil {
		if _, err = io.Copy(&lines, message); err == nil {
			err = lines.close()
		}
	}
	if err == nil {
		err = w.Flush()
	}
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// syncDir makes the new name of a file survive a loss of power. Windows can't sync a folder and needs none.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); err != nil && os.PathSeparator == '/' {
		return err
	}
	return nil
}

// unixLines writes CRLF as LF and all else as it is.
type unixLines struct {
	w  *bufio.Writer
	cr bool // a CR was seen and not written yet
}

func (u *unixLines) Write(p []byte) (int, error) {
	for i := 0; i < len(p); {
		if u.cr && p[i] != '\n' {
			u.w.WriteByte('\r')
		}
		u.cr = false
		end := i
		for end < len(p) && p[end] != '\r' {
			end++
		}
		if _, err := u.w.Write(p[i:end]); err != nil {
			return i, err
		}
		if i = end; i < len(p) {
			u.cr = true
			i++
		}
	}
	return len(p), nil
}

func (u *unixLines) close() error {
	if u.cr {
		u.cr = false
		return u.w.WriteByte('\r')
	}
	return nil
}
