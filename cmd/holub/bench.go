package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

func benchCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Send mail to a server as fast as it takes it, or take and count it",
		Long: "Measure a mail server, this one or another: `holub bench source` sends it mail as fast as it takes it, and\n" +
			"`holub bench sink` takes what it passes on, and counts. Both need little time of the processor themselves.",
		Args: cobra.NoArgs,
	}
	cmd.AddCommand(benchSourceCommand(), benchSinkCommand())
	return cmd
}

// sizeFlag is a number of octets, written as in the configuration: 4096 or 4KiB.
type sizeFlag int

func (s *sizeFlag) String() string { return strconv.Itoa(int(*s)) }
func (s *sizeFlag) Type() string   { return "size" }

func (s *sizeFlag) Set(text string) error {
	digits, shift := text, 0
	for i, unit := range []string{"KiB", "MiB", "GiB"} {
		if rest, ok := strings.CutSuffix(text, unit); ok {
			digits, shift = rest, 10*(i+1)
		}
	}
	n, err := strconv.ParseUint(digits, 10, 31-shift)
	if err != nil || n == 0 {
		return errors.New("write octets, or a number with KiB or MiB, such as 4KiB")
	}
	*s = sizeFlag(n << shift)
	return nil
}

// benchLine is one line of a result: a name and what to say of it. Lines that say nothing are left out.
type benchLine struct{ name, text string }

func printLines(w io.Writer, lines []benchLine) error {
	for _, l := range lines {
		if l.text == "" {
			continue
		}
		if _, err := fmt.Fprintf(w, "%-12s %s\n", l.name, printable([]byte(l.text))); err != nil {
			return err
		}
	}
	return nil
}

// perSecond is a rate; 0 where the time is too short for one.
func perSecond(n int, d time.Duration) float64 {
	if d <= 0 {
		return 0
	}
	return float64(n) / d.Seconds()
}

// ms is a duration in milliseconds, for JSON.
func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// throwawayCertificate makes a certificate that nobody trusts, for a sink.
func throwawayCertificate(host string) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{host},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(30 * 24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}
