package peer

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
)

// product is a Server: how it is installed, and how it is run.
type product struct {
	name    string
	durable string // see Durability
	install func(context.Context) (version string, err error)
	plan    func(Setup) (plan, error)
}

// Name is a part of Server, as are the other methods.
func (p *product) Name() string { return p.name }

func (p *product) Durability() string { return p.durable }

func (p *product) Install(ctx context.Context) (string, error) {
	version, err := p.install(ctx)
	if err != nil {
		return "", fmt.Errorf("install %s: %w", p.name, err)
	}
	return version, nil
}

func (p *product) Config(s Setup) string {
	if s.Dir == "" {
		s.Dir = "/DIR"
	}
	plan, err := p.plan(s)
	if err != nil {
		return fmt.Sprintf("# there is no configuration: %v\n", err)
	}
	return plan.text()
}

func (p *product) Start(ctx context.Context, s Setup) (*Running, error) {
	if err := s.check(); err != nil {
		return nil, fmt.Errorf("start %s: %w", p.name, err)
	}
	dir, err := filepath.Abs(s.Dir)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", p.name, err)
	}
	s.Dir = dir
	plan, err := p.plan(s)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", p.name, err)
	}
	if err := free(ctx, s.Addr); err != nil {
		return nil, fmt.Errorf("start %s: %w", p.name, err)
	}
	if err := lay(s, plan); err != nil {
		return nil, fmt.Errorf("start %s: write its files: %w", p.name, err)
	}
	r := &Running{Name: p.name, Addr: s.Addr, Config: plan.text(), dir: s.Dir, trace: s.Trace, queued: plan.queued}
	if err := r.start(ctx, s, plan); err != nil {
		return nil, fmt.Errorf("start %s: %w", p.name, err)
	}
	return r, nil
}

// free fails where another program listens: its greeting would be taken for that of the server.
func free(ctx context.Context, addr string) error {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err != nil {
		return fmt.Errorf("it can't have its address (choose another one, or end who has it): %w", err)
	}
	return l.Close()
}

// lay writes what a server finds in its folder: logs go to log, the certificate lies in tls.
func lay(s Setup, p plan) error {
	for _, folder := range append([]string{"log", "tls"}, p.folders...) {
		if err := os.MkdirAll(filepath.Join(s.Dir, folder), 0o755); err != nil {
			return err
		}
	}
	if s.TLS != nil {
		for name, from := range map[string]string{"cert.pem": s.TLS.Cert, "key.pem": s.TLS.Key} {
			pem, err := os.ReadFile(from)
			if err != nil {
				return err
			}
			if err := os.WriteFile(filepath.Join(s.Dir, "tls", name), pem, 0o600); err != nil {
				return err
			}
		}
	}
	for _, f := range p.files {
		to := filepath.Join(s.Dir, f.name)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(to, []byte(f.text), 0o644); err != nil {
			return err
		}
	}
	return nil
}
