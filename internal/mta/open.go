package mta

import (
	"context"
	"sync"

	"github.com/holub-mail/holub/internal/spool"
)

// openMessages are the messages of the attempts that run. All jobs of a message share one, or a message to a thousand sites
// would be in memory a thousand times. Each job reads and changes its own recipients alone.
type openMessages struct {
	mu  sync.Mutex
	all map[spool.ID]*openMessage
}

type openMessage struct {
	jobs int // that have it; guarded by openMessages.mu
	once sync.Once
	msg  *spool.Message
	err  error
}

// take gives a message, loading it for the first job that wants it. It must be given back, whatever became of it.
func (o *openMessages) take(ctx context.Context, engine spool.Engine, id spool.ID) *openMessage {
	o.mu.Lock()
	if o.all == nil {
		o.all = make(map[spool.ID]*openMessage)
	}
	m := o.all[id]
	if m == nil {
		m = new(openMessage)
		o.all[id] = m
	}
	m.jobs++
	o.mu.Unlock()
	m.once.Do(func() { m.msg, m.err = engine.Load(ctx, id) })
	return m
}

func (o *openMessages) giveBack(id spool.ID, m *openMessage) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if m.jobs--; m.jobs == 0 || o.all[id] != m { // who had an older copy changed what the newer one does not know
		delete(o.all, id)
	}
}

// forget makes the next job load a message anew: somebody else changed recipients of it that no job had. Those that have it
// keep what they have, which is right for their own recipients; when they give it back, it is loaded anew once more.
func (o *openMessages) forget(ids ...spool.ID) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, id := range ids {
		delete(o.all, id)
	}
}
