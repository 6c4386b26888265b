package receiver_test

import (
	"context"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/holub-mail/holub/internal/peers"
	"github.com/holub-mail/holub/smtp/receiver"
)

// BenchmarkSmtpSource sends messages of 4 KiB over 20 sessions with Postfix's smtp-source, in turns to this server, which
// discards them, and to Postfix's smtp-sink, and reports the median rate of both and their ratio. It takes some ten
// seconds whatever -benchtime says.
func BenchmarkSmtpSource(b *testing.B) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	srv := &receiver.Server{Hostname: "mx.example.org", Handler: discard{}}
	go srv.Serve(l)
	defer func() {
		now, cancel := context.WithCancel(context.Background())
		cancel()
		srv.Shutdown(now)
	}()
	sink := peers.Sink(b)
	rate := func(addr string) float64 {
		source := peers.Command(b, "smtp-source", "-s", "20", "-m", "20000", "-d", "-l", "4096", addr)
		start := time.Now()
		if out, err := source.CombinedOutput(); err != nil {
			b.Fatalf("smtp-source: %v\n%s", err, out)
		}
		return 20000 / time.Since(start).Seconds()
	}
	var ours, theirs []float64
	for range 7 {
		ours = append(ours, rate(l.Addr().String()))
		theirs = append(theirs, rate(sink))
	}
	slices.Sort(ours)
	slices.Sort(theirs)
	b.ReportMetric(ours[3], "msg/s")
	b.ReportMetric(theirs[3], "smtp-sink-msg/s")
	b.ReportMetric(ours[3]/theirs[3], "ratio")
	b.ReportMetric(0, "ns/op")
	if ratio := ours[3] / theirs[3]; ratio < 0.9 {
		b.Errorf("%.2f of smtp-sink's rate; the aim is 0.9", ratio)
	}
}
