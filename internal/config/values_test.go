package config

import (
	"math"
	"slices"
	"testing"
	"time"
)

func TestDurations(t *testing.T) {
	for _, c := range []struct {
		in   string
		want time.Duration
		out  string
	}{
		{"5d", 120 * time.Hour, "5d"},
		{"1d12h", 36 * time.Hour, "1d12h"},
		{"36h", 36 * time.Hour, "1d12h"},
		{"0d", 0, "0s"},
		{"90s", 90 * time.Second, "1m30s"},
		{"1h30m", 90 * time.Minute, "1h30m"},
		{"1.5h", 90 * time.Minute, "1h30m"},
		{"250ms", 250 * time.Millisecond, "250ms"},
		{"1d1h1m1.5s", 25*time.Hour + time.Minute + 1500*time.Millisecond, "1d1h1m1.5s"},
		{"106751d", 106751 * day, "106751d"},
	} {
		got, err := ParseDuration(c.in)
		if err != nil || got != c.want {
			t.Errorf("ParseDuration(%q) = %v, %v; want %v", c.in, got, err, c.want)
		}
		if out := FormatDuration(got); out != c.out {
			t.Errorf("FormatDuration(%v) = %q, want %q", got, out, c.out)
		}
	}
	for _, in := range []string{"", "5", "d", "-1d", "+1d", "1d-1h", "1d+1h", "-1h", "1.5d", "12h1d", "1d 1h", "1 d", "1D",
		"106752d", "99999999999999999999d", "106751d24h", "5 minutes", "1w", "\n"} {
		if got, err := ParseDuration(in); err == nil {
			t.Errorf("ParseDuration(%q) = %v, want an error", in, got)
		}
	}
}

func FuzzDuration(f *testing.F) {
	f.Add(int64(0))
	f.Add(int64(36 * time.Hour))
	f.Add(int64(math.MaxInt64))
	f.Fuzz(func(t *testing.T, n int64) {
		d := time.Duration(max(n, 0))
		if got, err := ParseDuration(FormatDuration(d)); err != nil || got != d {
			t.Errorf("%d is written %q and read as %d, %v", d, FormatDuration(d), got, err)
		}
	})
}

func TestSizes(t *testing.T) {
	for _, c := range []struct {
		in   string
		want int64
	}{
		{"10KiB", 10240}, {"50MiB", 52428800}, {"1GiB", 1 << 30}, {"0KiB", 0}, {"8589934591GiB", 8589934591 << 30},
	} {
		if got, err := parseSize(c.in); err != nil || got != c.want {
			t.Errorf("parseSize(%q) = %d, %v; want %d", c.in, got, err, c.want)
		}
	}
	for _, in := range []string{"", "KiB", "10", "10KB", "10kib", "10 KiB", "-1KiB", "+1KiB", "1.5MiB", "8589934592GiB",
		"99999999999999999999KiB", "1MiBKiB"} {
		if got, err := parseSize(in); err == nil {
			t.Errorf("parseSize(%q) = %d, want an error", in, got)
		}
	}
	for n, want := range map[int64]string{
		0: "0", 1000: "1000", 1024: "1KiB", 1536: "1536", 1 << 20: "1MiB", 3 << 30: "3GiB",
	} {
		if got := formatSize(n); got != want {
			t.Errorf("formatSize(%d) = %q, want %q", n, got, want)
		}
	}
}

func TestTargets(t *testing.T) {
	for _, c := range []struct {
		in   string
		want Target
		out  string // if it is not in
	}{
		{"mx", Target{Kind: TargetMX}, ""},
		{"discard", Target{Kind: TargetDiscard}, ""},
		{"smtp://relay.example.org:2525",
			Target{Kind: TargetSMTP, Protocol: SMTP, Network: "relay.example.org:2525", Host: "relay.example.org", Port: 2525}, ""},
		{"smtp://relay",
			Target{Kind: TargetSMTP, Protocol: SMTP, Network: "relay:25", Host: "relay", Port: 25}, "smtp://relay:25"},
		{"smtp://Relay:25",
			Target{Kind: TargetSMTP, Protocol: SMTP, Network: "relay:25", Host: "relay", Port: 25}, "smtp://relay:25"},
		{"smtp://mail_sink:25",
			Target{Kind: TargetSMTP, Protocol: SMTP, Network: "mail_sink:25", Host: "mail_sink", Port: 25}, ""},
		{"smtp://192.0.2.1",
			Target{Kind: TargetSMTP, Protocol: SMTP, Network: "192.0.2.1:25", Host: "192.0.2.1", Port: 25}, "smtp://192.0.2.1:25"},
		{"smtp://[2001:DB8:0::1]",
			Target{Kind: TargetSMTP, Protocol: SMTP, Network: "[2001:db8::1]:25",
				Host: "2001:db8::1", Port: 25}, "smtp://[2001:db8::1]:25"},
		{"smtp://[2001:db8::1]:587",
			Target{Kind: TargetSMTP, Protocol: SMTP, Network: "[2001:db8::1]:587", Host: "2001:db8::1", Port: 587}, ""},
		{"smtps://relay.example.org",
			Target{Kind: TargetSMTP, Protocol: SMTP, Network: "relay.example.org:465",
				ImplicitTLS: true, Host: "relay.example.org", Port: 465}, "smtps://relay.example.org:465"},
		{"smtps://[::1]:4650",
			Target{Kind: TargetSMTP, Protocol: SMTP, Network: "[::1]:4650", ImplicitTLS: true, Host: "::1", Port: 4650}, ""},
		{"lmtp://127.0.0.1:24",
			Target{Kind: TargetSMTP, Protocol: LMTP, Network: "127.0.0.1:24", Host: "127.0.0.1", Port: 24}, ""},
		{"lmtp://unix:/run/dovecot/lmtp", Target{Kind: TargetSMTP, Protocol: LMTP, Network: "unix:/run/dovecot/lmtp"}, ""},
		{"smtp://unix:/run/a%3fb",
			Target{Kind: TargetSMTP, Protocol: SMTP, Network: "unix:/run/a%3Fb"}, "smtp://unix:/run/a%3Fb"},
		{"smtp://unix:@holub", Target{Kind: TargetSMTP, Protocol: SMTP, Network: "unix:@holub"}, ""},
		{"smtp+exec:ssh relay.example holub session",
			Target{Kind: TargetSMTP, Protocol: SMTP, Network: "exec:ssh relay.example holub session"}, ""},
		{"lmtp+exec:  deliver  -d \"a b\" ",
			Target{Kind: TargetSMTP, Protocol: LMTP, Network: "exec:deliver -d 'a b'"}, "lmtp+exec:deliver -d 'a b'"},
		{"maildir:/var/mail/{domain}/{local}", Target{Kind: TargetMaildir, Path: "/var/mail/{domain}/{local}"}, ""},
		{"maildir:{data_dir}/mail", Target{Kind: TargetMaildir, Path: "{data_dir}/mail"}, ""},
		{"reject:no such user: gone", Target{Kind: TargetReject, Text: "no such user: gone"}, ""},
		{"reject: moved ", Target{Kind: TargetReject, Text: "moved"}, "reject:moved"},
	} {
		got, err := ParseTarget(c.in)
		if err != nil || got != c.want {
			t.Errorf("ParseTarget(%q) = %+v, %v; want %+v", c.in, got, err, c.want)
		}
		if c.out == "" {
			c.out = c.in
		}
		if got.String() != c.out {
			t.Errorf("%q is written %q, want %q", c.in, got, c.out)
		}
	}
	for _, in := range []string{"", "MX", "smtp", "smtp://", "smtp://:25", "smtp://a b", "smtp://user@host",
		"smtp://host:25:25",
		"smtp://[relay.example.org]:25", "smtp://[192.0.2.1]:25", "smtp://[2001:db8::1",
		"smtp://2001:db8::1:25",
		"smtp://host:65536", "smtp://host:smtp", "smtp://host?x=1", "smtp://[::1]x", "maildir",
		"maildir:{}", "maildir:a}b", "maildir:{{local}}",
		"maildir:a\x00", "mx:", "discard:x", "reject", "reject: \t", "reject:a\r\nb",
		"smtps:", "smtps://", "smtps://unix:/run/x", "smtps://host:0", "smtps+exec:a", "lmtps://host:24", "SMTP://host",
		"lmtp://host", "lmtp://[::1]", "lmtp://host:", "lmtp://host:25", "lmtp://host:x", "lmtp:unix:/run/x",
		"smtp://unix:", "smtp://unix:25", "smtp://unix:run/x", "smtp://unix:/run/x?mode=0660", "smtp://unix:/run/%",
		"smtp://unix:/run/a\nb", "smtp://exec:25", "smtp://systemd:25", "smtp://stdio:25", "smtp://unix",
		"smtp+exec:", "smtp+exec: ", "smtp+exec:'a", "smtp+exec:a\\", "smtp+exec://a\nb", "smtp+exec", "smtp+exec:a\x00"} {
		if got, err := ParseTarget(in); err == nil {
			t.Errorf("ParseTarget(%q) = %+v, want an error", in, got)
		}
	}
}

func FuzzTarget(f *testing.F) {
	f.Add("smtp://[2001:db8::1]:25")
	f.Add("maildir:/var/mail/{local}")
	f.Add("smtps://Relay.example")
	f.Add("lmtp://unix:/run/a%3Fb")
	f.Add("lmtp+exec:deliver -d 'a b' \"c\\\"d\"")
	f.Add("reject: a text")
	f.Fuzz(func(t *testing.T, s string) {
		first, err := ParseTarget(s)
		if err != nil {
			return
		}
		if again, err := ParseTarget(first.String()); err != nil || again != first {
			t.Errorf("%q is %+v, written %q, read as %+v, %v", s, first, first, again, err)
		}
	})
}

func TestNearest(t *testing.T) {
	known := []string{"hostname", "data_dir", "listen", "route", "dns", "delivery", "limits"}
	for word, want := range map[string]string{
		"hostnam": "hostname", "host": "hostname", "Hostname": "hostname", "hsotname": "hostname", "host_name": "hostname",
		"data-dir": "data_dir", "listener": "listen", "routes": "route", "rout": "route", "DNS": "dns", "limit": "limits",
		"colour": "", "x": "", "": "", "admin": "", "tls": "",
	} {
		if got := nearest(word, known); got != want {
			t.Errorf("nearest(%q) = %q, want %q", word, got, want)
		}
	}
	if !slices.Contains(known, nearest("delivry", known)) {
		t.Error("delivry has no nearest")
	}
	for _, c := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"", "ab", 2}, {"ab", "ba", 1}, {"kitten", "sitting", 3}, {"ž", "z", 1}} {
		if got := distance(c.a, c.b); got != c.want {
			t.Errorf("distance(%q, %q) = %d, want %d", c.a, c.b, got, c.want)
		}
	}
}
