package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/holub-mail/holub/internal/spool"
)

// Limits of a Server. A client that is stuck costs one connection until its time is over, and nothing else.
const (
	maxRequest   = 8 << 20 // octets of a request: some 300,000 ids
	maxRequests  = 64      // at once
	readTime     = 10 * time.Second
	writeTime    = 30 * time.Second // for each piece of an answer
	listTime     = 30 * time.Minute // for a whole listing, which keeps a state of the spool from being cleaned up
	idleTime     = time.Minute
	flushEntries = 200 // of a listing, in one piece
)

// Server serves a Desk to its Clients: JSON over HTTP, of lists one object a line. Lines of a listing are an entry, or
// {"error": {"kind": ..., "text": ...}}.
//
//	GET  /v1/ping  /v1/status  /v1/sites  /v1/messages/ID  /v1/trace?what=WHAT&limit=N
//	POST /v1/list?limit=N (a Selector)  /v1/act (an Action)  /v1/reload
type Server struct {
	desk   Desk
	log    *slog.Logger
	http   *http.Server
	places chan struct{}

	readTime time.Duration // for a whole request
}

// NewServer makes the server of a desk. log may be nil.
func NewServer(desk Desk, log *slog.Logger) *Server {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	s := &Server{desk: desk, log: log, places: make(chan struct{}, maxRequests), readTime: readTime}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/ping", answer(s, func(*http.Request) (any, error) { return nil, nil }))
	mux.HandleFunc("GET /v1/status", answer(s, func(r *http.Request) (any, error) { return desk.Status(r.Context()) }))
	mux.HandleFunc("GET /v1/messages/{id}", answer(s, s.show))
	mux.HandleFunc("POST /v1/act", answer(s, s.act))
	mux.HandleFunc("POST /v1/reload", answer(s, func(r *http.Request) (any, error) { return desk.Reload(r.Context()) }))
	mux.HandleFunc("GET /v1/sites", s.sites)
	mux.HandleFunc("GET /v1/trace", s.trace)
	mux.HandleFunc("POST /v1/list", s.list)
	s.http = &http.Server{
		Handler: s.limit(mux), ReadHeaderTimeout: readTime, IdleTimeout: idleTime, MaxHeaderBytes: 16 << 10,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		ConnContext: func(ctx context.Context, conn net.Conn) context.Context {
			return context.WithValue(ctx, peerKey{}, peer(conn)) // the one way net/http has
		},
	}
	return s
}

// peerKey is under what the context of a request has who is at the other end.
type peerKey struct{}

// Serve answers at a listener until it is closed or Close is called; then the error is nil.
func (s *Server) Serve(l net.Listener) error {
	if err := s.http.Serve(l); !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("serve the control socket: %w", err)
	}
	return nil
}

// Close ends the server: what runs may go on until ctx ends, and is cut then. An action that is cut gives back what it has
// in its hands.
func (s *Server) Close(ctx context.Context) error {
	if err := s.http.Shutdown(ctx); err != nil {
		return s.http.Close()
	}
	return nil
}

// limit refuses what is too much at once, and reads requests whole within their time: net/http takes a read that is still
// under its deadline later for the end of the client.
func (s *Server) limit(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case s.places <- struct{}{}:
			defer func() { <-s.places }()
		default:
			s.fail(w, fmt.Errorf("%w: %d requests at the control socket at once", ErrBusy, maxRequests))
			return
		}
		control := http.NewResponseController(w)
		control.SetReadDeadline(time.Now().Add(s.readTime))
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxRequest))
		if err != nil {
			w.Header().Set("Connection", "close")
			s.fail(w, fmt.Errorf("%w: the request can't be read: %w", ErrWrong, err))
			return
		}
		control.SetReadDeadline(time.Time{})
		r.Body = io.NopCloser(bytes.NewReader(body))
		next.ServeHTTP(w, r)
	})
}

// answer serves what is answered in one piece. A result that comes beside an error goes with it.
func answer(s *Server, do func(r *http.Request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		v, err := do(r)
		status := http.StatusOK
		var f *failure
		if err != nil {
			f = new(failure)
			*f, status = newFailure(err)
		}
		body, err := json.Marshal(struct {
			Value any      `json:"value,omitempty"`
			Error *failure `json:"error,omitempty"`
		}{v, f})
		if err != nil {
			s.fail(w, err)
			return
		}
		s.write(w, status, body)
	}
}

func (s *Server) fail(w http.ResponseWriter, err error) {
	f, status := newFailure(err)
	body, _ := json.Marshal(map[string]failure{"error": f})
	s.write(w, status, body)
}

func (s *Server) write(w http.ResponseWriter, status int, body []byte) {
	http.NewResponseController(w).SetWriteDeadline(time.Now().Add(writeTime))
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	w.Write(append(body, '\n'))
}

func (s *Server) show(r *http.Request) (any, error) {
	id, err := spool.ParseID(r.PathValue("id"))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrWrong, err)
	}
	return s.desk.Show(r.Context(), id)
}

func (s *Server) act(r *http.Request) (any, error) {
	var a Action
	if err := read(r, &a); err != nil {
		return nil, err
	}
	a.Who, _ = r.Context().Value(peerKey{}).(string)
	return s.desk.Act(r.Context(), a)
}

// read reads the JSON of a request; an unknown field may be one that narrows what is meant, so it is refused.
func read(r *http.Request, v any) error {
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	err := d.Decode(v)
	if err == nil && d.More() {
		err = errors.New("more follows than one object")
	}
	if err != nil {
		return fmt.Errorf("%w: the request can't be read: %w", ErrWrong, err)
	}
	return nil
}

func limitOf(r *http.Request) (int, error) {
	s := r.URL.Query().Get("limit")
	if s == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("%w: limit %.20q is no number of at least 0", ErrWrong, s)
	}
	return n, nil
}

// lines writes a list.
type lines struct {
	w       http.ResponseWriter
	control *http.ResponseController
	enc     *json.Encoder
	n       int
}

func newLines(w http.ResponseWriter) *lines {
	w.Header().Set("Content-Type", "application/x-ndjson")
	l := &lines{w: w, control: http.NewResponseController(w), enc: json.NewEncoder(w)}
	l.control.SetWriteDeadline(time.Now().Add(writeTime))
	return l
}

// write adds a line; false: the client is gone.
func (l *lines) write(v any, err error) bool {
	if err != nil {
		f, _ := newFailure(err)
		v = map[string]failure{"error": f}
	}
	if l.enc.Encode(v) != nil {
		return false
	}
	if l.n++; l.n%flushEntries != 0 && err == nil {
		return true
	}
	return l.control.Flush() == nil && l.control.SetWriteDeadline(time.Now().Add(writeTime)) == nil
}

func (s *Server) sites(w http.ResponseWriter, r *http.Request) {
	sites, err := s.desk.Sites(r.Context())
	if err != nil {
		s.fail(w, err)
		return
	}
	out := newLines(w)
	for _, site := range sites {
		if !out.write(site, nil) {
			return
		}
	}
}

func (s *Server) trace(w http.ResponseWriter, r *http.Request) {
	limit, err := limitOf(r)
	if err != nil {
		s.fail(w, err)
		return
	}
	lives, err := s.desk.Trace(r.Context(), r.URL.Query().Get("what"), limit)
	if err != nil && len(lives) == 0 {
		s.fail(w, err)
		return
	}
	out := newLines(w)
	for _, life := range lives {
		if !out.write(life, nil) {
			return
		}
	}
	if err != nil {
		out.write(nil, err)
	}
}

func (s *Server) list(w http.ResponseWriter, r *http.Request) {
	var selector Selector
	limit, err := limitOf(r)
	if err == nil {
		err = read(r, &selector)
	}
	if err == nil {
		_, err = selector.compile(time.Now())
	}
	if err != nil {
		s.fail(w, err)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), listTime)
	defer cancel()
	out := newLines(w)
	for entry, err := range s.desk.List(ctx, selector, limit) {
		if !out.write(entry, err) {
			return
		}
	}
}
