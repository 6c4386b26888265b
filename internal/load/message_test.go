package load

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

func insecure() *tls.Config { return &tls.Config{InsecureSkipVerify: true} }

// TestLetter: a message has the size that was asked for, in short lines, none of them with a dot in front, and its number.
func TestLetter(t *testing.T) {
	now := time.Unix(1e9, 0)
	least := 0
	for size := 1; size < 1000; size++ {
		if _, err := newLetter(&Source{Size: size, Recipients: 1, From: "a@b", Domains: []string{"c"}}, now); err == nil {
			least = size
			break
		}
	}
	if least == 0 || least > 300 {
		t.Fatalf("the least size is %d", least)
	}
	sizes := []int{4096, ownContent - 3, ownContent - 2, ownContent, ownContent + 1, 100_000, 3 << 20}
	for i := range 200 {
		sizes = append(sizes, least+i)
	}
	for _, size := range sizes {
		l, err := newLetter(&Source{Size: size, Recipients: 1, From: "a@b", Domains: []string{"c"}}, now)
		if err != nil {
			t.Fatal(err)
		}
		l.putNumber(l.head, 1234567890)
		content, ok := bytes.CutSuffix(slices.Concat(l.head, l.tail), []byte("\r\n.\r\n"))
		if !ok || len(content)+2 != size {
			t.Fatalf("size %d: %d octets, with a final dot: %v", size, len(content)+2, ok)
		}
		for line := range bytes.SplitSeq(content, []byte("\r\n")) {
			if len(line) > 76 && !bytes.HasPrefix(line, []byte("Message-ID:")) || bytes.ContainsAny(line, "\r\n") || bytes.HasPrefix(line, []byte(".")) {
				t.Fatalf("size %d: line %q", size, line)
			}
		}
		if number, found := findNumber(content); number != 1234567890 || !found {
			t.Errorf("size %d: number %d, %v", size, number, found)
		}
	}
}

// TestRecipients: recipient i goes to domain i; with more domains than recipients the messages take turns, evenly.
func TestRecipients(t *testing.T) {
	for _, n := range [][2]int{{1, 1}, {1, 3}, {2, 3}, {3, 3}, {5, 3}, {100, 100}, {4, 6}} {
		recipients, domains := n[0], n[1]
		l := &letter{count: recipients}
		var names []string
		for i := range domains {
			names = append(names, fmt.Sprintf("d%d", i))
		}
		l.address(names)
		seen := map[string]int{}
		for number := range int64(domains) {
			all := string(l.recipients(number, 0, recipients))
			var single string
			inMessage := map[string]bool{}
			for i := range recipients {
				line := string(l.recipients(number, i, i+1))
				single += line
				inMessage[line] = true
				_, domain, _ := strings.Cut(strings.TrimSuffix(line, ">\r\n"), "@")
				seen[domain]++
				if want := names[(int(number)*recipients+i)%domains]; recipients < domains && domain != want {
					t.Errorf("%v: recipient %d of message %d is %q, want domain %s", n, i, number, line, want)
				}
			}
			if single != all || len(inMessage) != recipients {
				t.Errorf("%v: message %d: %q, one by one %q", n, number, all, single)
			}
		}
		if recipients <= domains || recipients%domains == 0 {
			for domain, times := range seen {
				if times != recipients {
					t.Errorf("%v: %s has %d recipients, want %d", n, domain, times, recipients)
				}
			}
		}
	}
}

// TestLatencies: a quantile is never too small, and at most 1/32 too large.
func TestLatencies(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 1))
	var a, b latencies
	var all []time.Duration
	if a.quantile(0.5) != 0 {
		t.Error("the median of nothing is not 0")
	}
	for i := range 5000 {
		d := time.Duration(random.Uint64() >> (1 + random.IntN(63)))
		all = append(all, d)
		if i%2 == 0 {
			a.add(d)
		} else {
			b.add(d)
		}
	}
	a.merge(&b)
	slices.Sort(all)
	for _, q := range []float64{0, 0.01, 0.5, 0.9, 0.99, 0.999, 1} {
		exact := all[max(int(q*5000+0.999999), 1)-1]
		if got := a.quantile(q); got < exact || float64(got) > float64(exact)*(1+1.0/32)+1 {
			t.Errorf("quantile %v is %v, exactly %v", q, got, exact)
		}
	}
	if a.longest != all[4999] || a.quantile(1) != all[4999] {
		t.Errorf("longest %v, %v", a.longest, a.quantile(1))
	}
}

// TestOptions: values that can't be are named.
func TestOptions(t *testing.T) {
	for want, s := range map[string]*Source{
		"Sessions is -1":   {Addr: "127.0.0.1:1", Sessions: -1},
		"Messages is -2":   {Addr: "127.0.0.1:1", Messages: -2},
		"Recipients is -3": {Addr: "127.0.0.1:1", Recipients: -3},
		"is too small":     {Addr: "127.0.0.1:1", Size: 10},
		"address":          {Addr: "nonsense"},
	} {
		if _, err := s.Run(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
