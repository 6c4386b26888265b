package admin

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"

	"github.com/holub-mail/holub/transport"
)

// ErrInUse is wrapped by the error of Listen where another server answers at the socket.
var ErrInUse = transport.ErrInUse

// Listen makes the control socket. A file that a dead server left there is replaced, one that answers never. The file has
// its mode from the first moment; it is removed when the listener is closed. Call it as the owner of the data folder only:
// the lock of that folder decides who is the server.
func Listen(ctx context.Context, path string, mode fs.FileMode) (net.Listener, error) {
	l, err := transport.Listen(ctx, transport.Endpoint{Kind: transport.Unix, Path: path, Mode: mode}, transport.ListenOptions{})
	if errors.Is(err, transport.ErrInUse) {
		return nil, fmt.Errorf("the control socket: %w: another server has it; give each a data_dir or a socket in [admin] of its own", err)
	}
	if err != nil {
		return nil, fmt.Errorf("the control socket: %w", err)
	}
	return l, nil
}
