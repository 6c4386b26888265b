package admin

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/holub-mail/holub/internal/history"
	"github.com/holub-mail/holub/internal/spool"
	"github.com/holub-mail/holub/smtp"
)

// defaultLives is how many lives Trace gives where nobody said how many.
const defaultLives = 20

// Trace reads the history, and the spool for what still waits.
func (r *Reader) Trace(ctx context.Context, what string, limit int) ([]Life, error) {
	return r.trace(ctx, what, limit, view{r: r})
}

func (r *Reader) trace(ctx context.Context, what string, limit int, v view) ([]Life, error) {
	what = strings.TrimSpace(what)
	if limit <= 0 {
		limit = defaultLives
	}
	if strings.Trim(what, "<>@") == "" {
		return nil, fmt.Errorf("%w: %w", ErrWrong, history.ErrWhat)
	}
	var lives []Life
	var failed error
	if r.History != "" {
		var past []history.Life
		past, failed = history.Lives(ctx, r.History, what, limit)
		for _, l := range past {
			lives = append(lives, newLife(l))
		}
	}
	if ctx.Err() != nil {
		return lives, ctx.Err()
	}
	if left := limit - len(lives); left > 0 { // what is from before the history began, or it is kept nowhere
		ids, err := r.find(ctx, what, left, mentioned(lives))
		failed = errors.Join(failed, err)
		for _, id := range ids {
			lives = append(lives, Life{ID: id.String()})
		}
	}
	for i := range lives {
		if err := r.owed(ctx, &lives[i], v); err != nil {
			failed = errors.Join(failed, err)
		}
	}
	return lives, failed
}

// mentioned are the messages that lives tell of.
func mentioned(lives []Life) map[string]bool {
	ids := map[string]bool{}
	for _, l := range lives {
		ids[l.ID] = true
		for _, e := range l.Events {
			ids[e.ID], ids[e.Report] = true, true
		}
	}
	return ids
}

// mostSearched is how many messages of the spool, the oldest first, are searched for an address. What the history does not
// have is older than it; in a spool of millions a search of all of them would take its time from the mail.
const mostSearched = 100_000

// find looks in the spool itself for messages that are not known: for one of this id, or those with this sender or recipient.
func (r *Reader) find(ctx context.Context, what string, limit int, known map[string]bool) (ids []spool.ID, err error) {
	if id, err := spool.ParseID(strings.ToLower(what)); err == nil {
		if known[id.String()] {
			return nil, nil
		}
		if _, err := r.Engine.Load(ctx, id); errors.Is(err, spool.ErrNotFound) {
			return nil, nil
		}
		return []spool.ID{id}, nil
	}
	a, err := parseAddressMatch(what)
	if err != nil || a.path.IsNull() && a.domain.key == "" {
		return nil, nil // a message-id, which the spool does not know
	}
	searched := 0
	for m, err := range r.Engine.List(ctx, spool.ID{}) {
		if searched++; searched > mostSearched {
			break
		}
		if err != nil {
			if aboutOne(err) {
				continue
			}
			return ids, fmt.Errorf("search the spool: %w", err)
		}
		if known[m.ID.String()] {
			continue
		}
		hit := a.matches(m.From)
		for n := range m.Recipients {
			hit = hit || a.matches(m.Recipients[n].To)
		}
		if hit {
			if ids = append(ids, m.ID); len(ids) == limit {
				break
			}
		}
	}
	return ids, nil
}

// owed adds what still waits of a message, and of the reports about it.
func (r *Reader) owed(ctx context.Context, l *Life, v view) error {
	ids := []string{l.ID}
	for _, e := range l.Events {
		for _, id := range []string{e.ID, e.Report} {
			known := id == ""
			for _, k := range ids {
				known = known || k == id
			}
			if !known {
				ids = append(ids, id)
			}
		}
	}
	for _, text := range ids {
		id, err := spool.ParseID(text)
		if err != nil {
			continue // a refusal before there was a message
		}
		m, err := r.Engine.Load(ctx, id)
		if errors.Is(err, spool.ErrNotFound) {
			continue
		}
		if err != nil {
			return fmt.Errorf("message %s: %w", id, err)
		}
		for n := range m.Recipients {
			if !m.Recipients[n].State.Done() {
				l.Waiting = append(l.Waiting, v.shown(m, n))
			}
		}
	}
	return nil
}

func newLife(l history.Life) Life {
	life := Life{ID: idText(l.ID)}
	for i := range l.Events {
		life.Events = append(life.Events, newEvent(&l.Events[i]))
	}
	return life
}

func newEvent(e *history.Event) Event {
	reason := e.Reason
	if e.Kind == history.Delivered {
		reason = ""
	}
	return Event{
		At: e.At, ID: idText(e.ID), Kind: string(e.Kind), From: e.From, To: e.To, MessageID: e.MessageID, Client: e.Client,
		Hello: e.Hello, TLS: e.TLS, Size: e.Size, Host: e.Host, Reply: said(e.Reply), Reason: reason, Attempt: e.Attempt,
		Next: e.Next, Site: e.Site, Cause: idText(e.Cause), Report: idText(e.Report), Note: e.Note,
	}
}

// said is "" for the text of the zero smtp.Reply: nothing was said.
func said(reply string) string {
	if reply == (smtp.Reply{}).Text() {
		return ""
	}
	return reply
}

// idText is "" for the id of no message.
func idText(id spool.ID) string {
	if id.IsZero() {
		return ""
	}
	return id.String()
}
