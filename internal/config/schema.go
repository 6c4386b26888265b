package config

import (
	"net/netip"
	"time"
)

// schema is the table of all settings: whatever can stand in a file is a row here, and nothing else. The rows are
// functions, not variables, because reading looks them up again for its hints.
func schema() []field[Config] {
	return []field[Config]{
		hostname(),
		one("data_dir", text("path", "/var/lib/holub", checkPath), func(c *Config) *string { return &c.DataDir },
			"The folder in which the spool lies. A relative path is relative to the working directory of holub."),
		tables("listen", func(c *Config) *[]Listen { return &c.Listen }, Listen{Role: RoleRelay},
			"The addresses at which mail is taken, each with its own `[[listen]]`. A file without any gets one: "+
				"127.0.0.1:2525, role relay, networks 127.0.0.0/8 and ::1/128.", listenRows()),
		tables("route", func(c *Config) *[]Route { return &c.Route }, Route{},
			"The rules that say where mail goes, each with its own `[[route]]`. The first that matches a recipient wins. "+
				"Behind the last one stands a built-in rule that puts mail for the domain localhost into "+
				"`maildir:{data_dir}/mail/{local}`; a rule for every recipient stands before it and takes that mail too. "+
				"A recipient that no rule matches goes to the MX hosts of its domain. "+
				"The rules are asked again at each attempt, so a changed file also changes the way of mail that waits.",
			routeRows()),
		table("dns", func(c *Config) *DNS { return &c.DNS },
			"Whom to ask for MX hosts and addresses.", dnsRows()),
		table("delivery", func(c *Config) *Delivery { return &c.Delivery },
			"How mail is carried on, and for how long it is tried.", deliveryRows()),
		table("limits", func(c *Config) *Limits { return &c.Limits },
			"What a client may ask of the server.", limitsRows()),
	}
}

func hostname() field[Config] {
	f := one("hostname", text("domain", "mx.example.org", checkHostname), func(c *Config) *string { return &c.Hostname },
		"The name of this server in its greeting, in EHLO, in Received lines and in bounces. It should have an address "+
			"in the DNS that points back to it, or others will distrust the mail. A server without a name may use an "+
			"address literal such as `[192.0.2.1]`.")
	f.preset = "the name of the machine, if it is a domain name; else \"localhost\""
	return f
}

func listenRows() []field[Listen] {
	return []field[Listen]{
		mustBeGiven(one("address", text("address with a port", "127.0.0.1:2525", checkListenAddress),
			func(l *Listen) *string { return &l.Address },
			"An IP address and a port, such as `127.0.0.1:2525` or `[::1]:2525`; `:25` is port 25 at every address of "+
				"the machine, and port 0 any free port.")),
		one("role", role(), func(l *Listen) *Role { return &l.Role },
			"`mx` takes mail of strangers for the domains of this server; `relay` takes mail for everywhere from `networks`."),
		one("networks", listOf(prefix(), "list of networks", `["192.0.2.0/24"]`, ""),
			func(l *Listen) *[]netip.Prefix { return &l.Networks },
			"Who may relay, that is send to everywhere, without logging in. Empty: nobody."),
	}
}

func routeRows() []field[Route] {
	return []field[Route]{
		table("match", func(r *Route) *Match { return &r.Match },
			"Which recipients the rule is for. A rule without `match` is for every recipient.", []field[Match]{
				one("domain", patterns(), func(m *Match) *[]string { return &m.Domain },
					"The domain of the recipient, without case: `example.org` is this one, `*.example.org` every name below "+
						"it but not itself, `*` every domain."),
			}),
		mustBeGiven(one("to", fromText("target", "mx", ParseTarget, Target.String), func(r *Route) *Target { return &r.To },
			"Where the mail goes. `mx`: the MX hosts of its domain. `smtp://HOST:PORT`: that host, port 25 if left out. "+
				"`maildir:PATH`: a Maildir; the placeholders `{local}`, `{domain}` and `{data_dir}` stand for the two parts "+
				"of the recipient's address and the setting. `discard`: nowhere, and the sender is not told. "+
				"`reject:TEXT`: refused with this text.")),
	}
}

func dnsRows() []field[DNS] {
	return []field[DNS]{
		one("servers", listOf(server(), "list of DNS servers", `["127.0.0.1:53"]`, ""),
			func(d *DNS) *[]string { return &d.Servers },
			"The servers that are asked, as IP addresses, port 53 if left out. Empty: those of the system."),
	}
}

func deliveryRows() []field[Delivery] {
	type d = Delivery
	return []field[d]{
		one("port", integer(1, 65535, ""), func(d *d) *int { return &d.Port },
			"The port of MX hosts. Every MX host of the world is at port 25; another one is for tests."),
		one("retry", listOf(duration(), "list of durations", `["1m", "1h"]`, "write at least one time to wait"),
			func(d *d) *[]time.Duration { return &d.Retry },
			"How long to wait after the first failed attempt, after the second, and so on; the last one repeats."),
		one("warn_after", duration(), func(d *d) *time.Duration { return &d.WarnAfter },
			"The age at which a message that still waits makes a notice of the delay to its sender. It must be less than "+
				"`give_up_after`."),
		one("give_up_after", duration(), func(d *d) *time.Duration { return &d.GiveUpAfter },
			"The age at which a message that still waits goes back to its sender. RFC 5321 4.5.4.1 asks for 4 to 5 days "+
				"at least."),
		one("connections_per_site", integer(1, 10000, ""), func(d *d) *int { return &d.ConnectionsPerSite },
			"How many connections to one destination are open at once, at most."),
		one("connect_timeout", duration(), func(d *d) *time.Duration { return &d.ConnectTimeout },
			"How long to wait for one address of a host to take the connection, before the next one is tried."),
		one("return_size", size(0, ""), func(d *d) *int64 { return &d.ReturnSize },
			"A bounce carries the whole message up to this size, and only its header above it."),
	}
}

func limitsRows() []field[Limits] {
	type l = Limits
	return []field[l]{
		one("message_size", size(64<<10, " (RFC 5321 4.5.3.1.7)"), func(l *l) *int64 { return &l.MessageSize },
			"The largest message that is taken. It is offered to clients with the SIZE extension; RFC 5321 4.5.3.1.7 asks "+
				"for 64KiB at least."),
		one("recipients", integer(100, 1_000_000, " (RFC 5321 4.5.3.1.8)"), func(l *l) *int { return &l.Recipients },
			"How many recipients one message may have. Those above get a 452 and can be sent in the next transaction; "+
				"RFC 5321 4.5.3.1.8 asks for 100 at least."),
		one("sessions", integer(1, 1_000_000, ""), func(l *l) *int { return &l.Sessions },
			"How many clients may be connected at once, to all listeners together. Those above get a 421."),
		one("errors", integer(1, 1_000_000, ""), func(l *l) *int { return &l.Errors },
			"After this many refused commands in one session it is closed."),
		one("idle_timeout", duration(), func(l *l) *time.Duration { return &l.IdleTimeout },
			"How long to wait for the next octets of a client. RFC 5321 4.5.3.2.7 asks for 5 minutes at least; less is "+
				"allowed here."),
		one("message_timeout", duration(), func(l *l) *time.Duration { return &l.MessageTimeout },
			"How long a client may take for one whole message, from DATA to its end."),
		one("received", integer(1, 10000, ""), func(l *l) *int { return &l.Received },
			"A message with this many Received lines goes in a circle and is refused. RFC 5321 6.3 asks for 100 at least."),
	}
}
