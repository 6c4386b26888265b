package sender

import (
	"path/filepath"
	"slices"
	"testing"
	"time"
)

func TestDialogues(t *testing.T) {
	files, err := filepath.Glob("testdata/dialogues/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no dialogues: %v", err)
	}
	for _, file := range files {
		for _, transport := range []string{"pipe", "tcp"} {
			t.Run(filepath.Base(file)+"/"+transport, func(t *testing.T) {
				t.Parallel()
				play(t, readDialogue(t, file), transport == "tcp")
			})
		}
	}
}

func play(t *testing.T, d dialogue, tcp bool) {
	t.Helper()
	client, server := connections(t, tcp)
	defer client.Close()
	deadline := time.Now().Add(20 * time.Second) // of a test that hangs
	server.SetDeadline(deadline)
	served := make(chan error, 1)
	go func() { served <- d.serve(server, !tcp) }()
	u := user{conn: client, opts: testOptions(t)}
	for _, a := range d.user {
		if got := u.do(t.Context(), t, a.text); !slices.Equal(got, a.want) {
			t.Errorf("line %d: > %s\n got %q\nwant %q", a.line, a.text, got, a.want)
		}
		if u.client == nil {
			break
		}
	}
	client.Close()
	if err := <-served; err != nil {
		t.Error(err)
	}
}
