package admin

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"syscall"

	"github.com/holub-mail/holub/internal/spool"
)

// maxClientLine is the longest line of an answer, in octets: a message with very many recipients.
const maxClientLine = 256 << 20

// Client is a Desk over the control socket of a running server. Each method makes a connection of its own or takes one
// that is idle; ErrNotRunning tells that nobody listens there.
type Client struct {
	path string
	http *http.Client
}

var _ Desk = (*Client)(nil)

// NewClient makes a client of the socket at path. Nothing is connected yet.
func NewClient(path string) *Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", path)
	}
	return &Client{path: path, http: &http.Client{Transport: &http.Transport{DialContext: dial, DisableCompression: true}}}
}

// Close closes the connections that are idle.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// do sends a request. The caller closes the body of the response.
func (c *Client) do(ctx context.Context, method, path string, body any) (*http.Response, error) {
	var in io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		in = bytes.NewReader(b)
	}
	r, err := http.NewRequestWithContext(ctx, method, "http://holub"+path, in)
	if err != nil {
		return nil, err
	}
	response, err := c.http.Do(r)
	var op *net.OpError
	switch {
	case err == nil:
		return response, nil
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case errors.As(err, &op) && op.Op == "dial" && (errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, fs.ErrNotExist)):
		return nil, fmt.Errorf("%w (nobody listens at %s)", ErrNotRunning, c.path)
	case errors.As(err, &op) && errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("may not open the control socket %s: do it as the user of the server, or as root: %w", c.path, fs.ErrPermission)
	}
	return nil, fmt.Errorf("ask the server at %s: %w", c.path, errors.Unwrap(err))
}

// ask sends a request whose answer comes in one piece. The value is read even where there is an error beside it.
func (c *Client) ask(ctx context.Context, method, path string, body, value any) error {
	response, err := c.do(ctx, method, path, body)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	var whole struct {
		Value json.RawMessage `json:"value"`
		Error *failure        `json:"error"`
	}
	if err := json.NewDecoder(response.Body).Decode(&whole); err != nil {
		return fmt.Errorf("read the answer of the server at %s (%s): %w", c.path, response.Status, err)
	}
	if len(whole.Value) > 0 {
		if err := json.Unmarshal(whole.Value, value); err != nil {
			return fmt.Errorf("read the answer of the server at %s: %w", c.path, err)
		}
	}
	if whole.Error != nil {
		return whole.Error.err()
	}
	return nil
}

// Ping asks whether the server answers at all, which costs it nothing. ErrNotRunning: nobody is there.
func (c *Client) Ping(ctx context.Context) error {
	return c.ask(ctx, http.MethodGet, "/v1/ping", nil, nil)
}

// Status asks the server.
func (c *Client) Status(ctx context.Context) (s Status, err error) {
	return s, c.ask(ctx, http.MethodGet, "/v1/status", nil, &s)
}

// Show asks the server.
func (c *Client) Show(ctx context.Context, id spool.ID) (*Shown, error) {
	var s Shown
	if err := c.ask(ctx, http.MethodGet, "/v1/messages/"+id.String(), nil, &s); err != nil {
		return nil, err
	}
	return &s, nil
}

// Act asks the server. When ctx ends, the server stops after the commit that it is in, and what it did then is not known
// here.
func (c *Client) Act(ctx context.Context, a Action) (r Result, err error) {
	return r, c.ask(ctx, http.MethodPost, "/v1/act", a, &r)
}

// Reload asks the server.
func (c *Client) Reload(ctx context.Context) (r Reloaded, err error) {
	return r, c.ask(ctx, http.MethodPost, "/v1/reload", struct{}{}, &r)
}

// Sites asks the server.
func (c *Client) Sites(ctx context.Context) (sites []Site, err error) {
	for s, err := range stream[Site](ctx, c, http.MethodGet, "/v1/sites", nil) {
		if err != nil {
			return sites, err
		}
		sites = append(sites, s)
	}
	return sites, nil
}

// List asks the server. Entries are given as they come; to end the loop early ends the listing there too.
func (c *Client) List(ctx context.Context, s Selector, limit int) iter.Seq2[Entry, error] {
	return stream[Entry](ctx, c, http.MethodPost, "/v1/list?limit="+strconv.Itoa(limit), s)
}

// Trace asks the server.
func (c *Client) Trace(ctx context.Context, what string, limit int) (lives []Life, err error) {
	query := url.Values{"what": {what}, "limit": {strconv.Itoa(limit)}}
	for l, e := range stream[Life](ctx, c, http.MethodGet, "/v1/trace?"+query.Encode(), nil) {
		if e != nil {
			err = errors.Join(err, e)
			continue
		}
		lives = append(lives, l)
	}
	return lives, err
}

// stream reads a list line by line. A list that breaks off ends with an error.
func stream[T any](ctx context.Context, c *Client, method, path string, body any) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var zero T
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		response, err := c.do(ctx, method, path, body)
		if err != nil {
			yield(zero, err)
			return
		}
		defer response.Body.Close()
		in := bufio.NewScanner(response.Body)
		in.Buffer(nil, maxClientLine)
		for in.Scan() {
			var line struct {
				Error *failure `json:"error"`
			}
			var v T
			err := json.Unmarshal(in.Bytes(), &line)
			if err == nil && line.Error != nil {
				err = line.Error.err()
			} else if err == nil {
				err = json.Unmarshal(in.Bytes(), &v)
			}
			if !yield(v, err) {
				return
			}
		}
		if err := in.Err(); err != nil {
			yield(zero, fmt.Errorf("the list of the server at %s broke off: %w", c.path, err))
		}
	}
}
