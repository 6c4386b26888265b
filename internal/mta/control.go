package mta

import (
	"github.com/holub-mail/holub/internal/config"
)

// control is the socket at which operators speak with this server.
type control struct {
}

func (m *MTA) openControl(cfg *config.Config) error { return nil }

func (c *control) serve() {}

func (c *control) close() {}
