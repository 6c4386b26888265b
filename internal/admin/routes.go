package admin

import (
	"github.com/holub-mail/holub/internal/config"
	"github.com/holub-mail/holub/internal/route"
	"github.com/holub-mail/holub/internal/spool"
)

// Routes asks a table where what waits goes, as the server does: by its route, or where an operator sent it. A target that
// this version can't read counts as none.
func Routes(table *route.Table) func(spool.Pending) route.Destination {
	return func(p spool.Pending) route.Destination {
		if p.Via != "" {
			if target, err := config.ParseTarget(p.Via); err == nil {
				return table.Via(p.To, target)
			}
		}
		return table.Route(p.To)
	}
}
