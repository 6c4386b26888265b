package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/holub-mail/holub/internal/config"
	"github.com/holub-mail/holub/internal/mta"
	"github.com/holub-mail/holub/internal/spool"
	"github.com/holub-mail/holub/transport"
)

func sessionCommand() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "session",
		Short: "Serve one SMTP session on standard input and output",
		Long: "Serve one SMTP session on standard input and output, for inetd, ssh, or any other channel of bytes:\n\n" +
			"  to = \"smtp+exec:ssh relay.example.org holub session -c /etc/holub.toml\"\n\n" +
			"Where a server runs on the same data folder, the session is one with its first listener, by its rules. Else\n" +
			"the mail is written into the spool, and `holub serve` carries it on; then whoever can start this command may\n" +
			"send to everyone, and a client that comes through a socket (inetd) where the listener's networks let it.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := loadConfig(file)
			if err != nil {
				return err
			}
			return session(cmd.Context(), cfg)
		},
	}
	cmd.Flags().StringVarP(&file, "config", "c", "", "configuration file (default: none is needed)")
	return cmd
}

// session serves standard input and output here, or hands it to the server that has the spool.
func session(ctx context.Context, cfg *config.Config) error {
	info, err := os.Stdin.Stat()
	fromNetwork := err == nil && info.Mode()&os.ModeSocket != 0
	log, flush := newLogger(os.Stderr, false)
	defer flush()
	m, err := mta.New(mta.Options{Config: cfg, Logger: log})
	if errors.Is(err, spool.ErrInUse) {
		if fromNetwork {
			return exit(exTempFail, errors.New("a server runs on this data folder: let the client connect to its listener"))
		}
		if l := cfg.Listen[0]; l.TLS == config.ListenImplicit || len(l.Proxy) > 0 {
			return exit(exConfig, fmt.Errorf("a server runs on this data folder, and its first listener, %s, begins with TLS or "+
				"PROXY: put a plain one first, such as unix:/run/holub/session.sock", l.Address))
		}
		return handOver(ctx, cfg)
	}
	if err != nil {
		return exit(exOSErr, err)
	}
	conn, err := transport.Stdio()
	if err != nil {
		return errors.Join(exit(exOSErr, fmt.Errorf("standard input and output: %w", err)), m.Close())
	}
	m.Session(conn, !fromNetwork)
	return exit(exSoftware, m.Close())
}

// handOver copies between standard input and output and the first listener of the server that runs.
func handOver(ctx context.Context, cfg *config.Config) error {
	endpoint, err := cfg.Listen[0].Endpoint()
	if err != nil {
		return exit(exConfig, err)
	}
	if endpoint.Kind == transport.TCP && endpoint.Host == "" {
		endpoint.Host = "localhost"
	}
	dialing, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	server, err := transport.Dial(dialing, endpoint, transport.DialOptions{})
	if err != nil {
		return exit(exTempFail, fmt.Errorf("the server that runs on this data folder can't be reached: %w", err))
	}
	defer server.Close()
	go func() {
		io.Copy(server, os.Stdin)
		if half, ok := server.(interface{ CloseWrite() error }); ok {
			half.CloseWrite()
		}
	}()
	_, err = io.Copy(os.Stdout, server)
	if errors.Is(err, net.ErrClosed) {
		err = nil
	}
	return exit(exTempFail, err)
}
