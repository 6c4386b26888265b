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
		needsRestart(one("data_dir", text("path", "/var/lib/holub", checkPath), func(c *Config) *string { return &c.DataDir },
			"The folder in which the spool lies. A relative path is relative to the working directory of holub.")),
		tables("listen", func(c *Config) *[]Listen { return &c.Listen },
			Listen{Role: RoleRelay, TLS: ListenPlain, HoldMax: defaultHold},
			"The addresses at which mail is taken, each with its own `[[listen]]`. A file without any gets one: "+
				"127.0.0.1:2525, role relay, networks 127.0.0.0/8 and ::1/128.", listenRows()),
		tables("route", func(c *Config) *[]Route { return &c.Route }, Route{TLS: TLSOpportunistic},
			"The rules that say where mail goes, each with its own `[[route]]`. The first that matches a recipient wins. "+
				"Behind the last one stands a built-in rule that puts mail for the domain localhost into "+
				"`maildir:{data_dir}/mail/{local}`; a rule for every recipient stands before it and takes that mail too. "+
				"A recipient that no rule matches goes to the MX hosts of its domain. "+
				"The rules are asked again at each attempt, so a changed file also changes the way of mail that waits.",
			append(routeRows(), routeScheduleRows()...)),
		table("dns", func(c *Config) *DNS { return &c.DNS },
			"Whom to ask for MX hosts and addresses.", dnsRows()),
		table("delivery", func(c *Config) *Delivery { return &c.Delivery },
			"How mail is carried on, and for how long it is tried.", deliveryRows()),
		table("history", func(c *Config) *History { return &c.History },
			"How much is kept, for `holub trace`, of what became of messages: with times, hosts and replies, but without "+
				"their content.", historyRows()),
		table("limits", func(c *Config) *Limits { return &c.Limits },
			"What a client may ask of the server.", limitsRows()),
		table("admin", func(c *Config) *Admin { return &c.Admin },
			"How an operator speaks with the running server.", adminRows()),
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
	return append([]field[Listen]{
		mustBeGiven(one("address", text("address to listen on", "127.0.0.1:2525", checkListenAddress),
			func(l *Listen) *string { return &l.Address },
			"An IP address and a port, such as `127.0.0.1:2525` or `[::1]:2525`; `:25` is port 25 at every address of "+
				"the machine, and port 0 any free port. Or a Unix socket: `unix:/run/holub/smtp.sock`, with "+
				"`?mode=0660` behind it for its permissions; without a mode the umask decides. Or the sockets that systemd "+
				"hands over: `systemd:` for all of them, `systemd:NAME` for those with this FileDescriptorName.")),
		one("role", word("role", []Role{RoleMX, RoleRelay, RoleSubmission, RoleLMTP}), func(l *Listen) *Role { return &l.Role },
			"`mx` takes mail of strangers for the domains of this server: those that a `[[route]]` in front of any catch-all "+
				"names in `match.domain` with another target than `mx`, and `localhost`; `relay` takes mail for everywhere from `networks`; "+
				"`submission` does so for mail programs, and makes the header of their mail whole (RFC 6409 8): Date, Message-ID, "+
				"From, and Sender where From has several mailboxes, are put in where they lack, Bcc and Return-Path are taken out; "+
				"`lmtp` speaks LMTP and takes mail for the domains of this server, with a reply for each recipient. LMTP is "+
				"not for the world: never at port 25 (RFC 2033 5), and over TCP only at a loopback address or with `networks`."),
		one("networks", listOf(prefix(), "list of networks", `["192.0.2.0/24"]`, ""),
			func(l *Listen) *[]netip.Prefix { return &l.Networks },
			"Who may relay, that is send to everywhere; logging in (AUTH) is not in this version. Empty: nobody. With role "+
				"`lmtp`: who may deliver; empty: everyone who can connect. A client at a Unix socket has no address: with role `relay` or `submission` whoever "+
				"may open the socket may relay, so its mode says who that is."),
	}, listenWireRows()...)
}

// listenWireRows are the settings of a listener about what is spoken there.
func listenWireRows() []field[Listen] {
	file := text("path", "/etc/holub/cert.pem", checkFile)
	networks := listOf(prefix(), "list of networks", `["10.0.0.0/8"]`, "")
	return []field[Listen]{
		one("tls", word("kind of TLS", []ListenTLS{ListenPlain, ListenStartTLS, ListenImplicit}),
			func(l *Listen) *ListenTLS { return &l.TLS },
			"`none`: no TLS. `starttls`: offered, and begun by the client's STARTTLS (RFC 3207). `implicit`: TLS from the "+
				"first octet (RFC 8314), as at port 465. The last two need `certificate` and `key`."),
		one("certificate", file, func(l *Listen) *string { return &l.Certificate },
			"A PEM file with the certificate and, behind it, those that lead to its root. It is loaded when the configuration "+
				"is checked, at the start, and at each `holub reload`: reload after a renewal. A relative path is relative to the working directory of holub, like that of `data_dir`."),
		one("key", file, func(l *Listen) *string { return &l.Key },
			"A PEM file with the private key of the certificate; it may be the same file."),
		one("proxy", networks, func(l *Listen) *[]netip.Prefix { return &l.Proxy },
			"The networks of proxies. A connection from them must begin with the PROXY protocol, version 1 or 2, and counts "+
				"as one of the client that it names; others are served as they are. At a Unix socket any entry here means that "+
				"every connection is one of a proxy. Empty: there is none."),
		one("xclient", networks, func(l *Listen) *[]netip.Prefix { return &l.XClient },
			"Who may say with XCLIENT for which client they speak; it is offered to nobody else. Only a filter or proxy of "+
				"your own belongs here: it can take any address on. Empty: nobody."),
		one("seven_bit", boolean(), func(l *Listen) *bool { return &l.SevenBit },
			"The channel carries 7 bits only: 8BITMIME and what builds on it are not offered, and an octet above 127 is "+
				"neither sent nor taken."),
		one("hold_max", hold(), func(l *Listen) *time.Duration { return &l.HoldMax },
			"The longest time for which a client may ask to hold a message back with FUTURERELEASE (RFC 4865). `\"0\"`: the "+
				"extension is not offered."),
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
				"`smtps://HOST:PORT`: the same with TLS from the first octet, port 465 if left out. `lmtp://HOST:PORT`: that "+
				"host by LMTP. `smtp://unix:/PATH` and `lmtp://unix:/PATH`: a Unix socket. `smtp+exec:PROGRAM ARGUMENTS` and "+
				"`lmtp+exec:`: a program whose standard input and output speak SMTP or LMTP, started without a shell. "+
				"`maildir:PATH`: a Maildir; the placeholders `{local}`, `{domain}` and `{data_dir}` stand for the two parts "+
				"of the recipient's address and the setting. `discard`: nowhere, and the sender is not told. "+
				"`reject:TEXT`: refused with this text.")),
		inWords(one("tls", deliveryTLS(), func(r *Route) *TLS { return &r.TLS },
			"`none`: never TLS. `opportunistic`: STARTTLS where it is offered, whatever the certificate says, else plain. "+
				"`required`: STARTTLS or `smtps://` with a certificate that is good for the host by the roots of the system; "+
				"else the mail waits. `smtps://` with `opportunistic` takes any certificate."),
			"the one of `[delivery]` for `mx`, `\"required\"` for `smtps://`, else `\"opportunistic\"`"),
		one("seven_bit", boolean(), func(r *Route) *bool { return &r.SevenBit },
			"The channel to the next hop carries 7 bits only: no octet above 127 is sent, whatever it offers."),
	}
}

// routeScheduleRows are the settings of a route that go before those of [delivery].
func routeScheduleRows() []field[Route] {
	const notFor = " Not for `discard` and `reject`: no mail waits for them."
	return []field[Route]{
		inWords(one("retry", waits(), func(r *Route) *[]time.Duration { return &r.Retry },
			"How long to wait between the attempts for mail by this rule, in the words of `delivery.retry`."+notFor),
			"the one of `[delivery]`"),
		inWords(one("warn_after", duration(), func(r *Route) *time.Duration { return &r.WarnAfter },
			"The age at which a message by this rule makes a notice of the delay to its sender. It must be less than the "+
				"`give_up_after` that holds for the rule, from wherever it comes."+notFor),
			"the one of `[delivery]`"),
		inWords(one("give_up_after", duration(), func(r *Route) *time.Duration { return &r.GiveUpAfter },
			"The age at which a message by this rule goes back to its sender."+notFor),
			"the one of `[delivery]`"),
		inWords(one("connections", connections(), func(r *Route) *int { return &r.Connections },
			"How many connections to one destination of this rule are open at once, at most; with `maildir:`, how many "+
				"deliveries into one Maildir run at once."+notFor),
			"the `connections_per_site` of `[delivery]`"),
	}
}

// waits is the codec of the times between attempts.
func waits() codec[[]time.Duration] {
	return listOf(duration(), "list of durations", `["1m", "1h"]`, "write at least one time to wait")
}

// connections is the codec of the cap of one destination.
func connections() codec[int] { return integer(1, 10000, "") }

func deliveryTLS() codec[TLS] {
	return word("level of TLS", []TLS{TLSOpportunistic, TLSRequired, TLSNone})
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
		one("tls", deliveryTLS(), func(d *d) *TLS { return &d.TLS },
			"The TLS of deliveries to MX hosts, in the words of `route.tls`; a `[[route]]` with its own goes before. "+
				"`required` verifies the certificate by the name of the MX host and the roots of the system, and mail for "+
				"hosts without one waits until it is returned. That name comes from the DNS: unless the DNS answer is secure, "+
				"this does not keep out who can forge it. Verification by DANE and MTA-STS is not in this version."),
		one("retry", waits(), func(d *d) *[]time.Duration { return &d.Retry },
			"How long to wait after the first failed attempt, after the second, and so on; the last one repeats. A "+
				"`[[route]]` with its own goes before, as it does for the next two and for `connections_per_site`."),
		one("warn_after", duration(), func(d *d) *time.Duration { return &d.WarnAfter },
			"The age at which a message that still waits makes a notice of the delay to its sender. It must be less than "+
				"`give_up_after`."),
		one("give_up_after", duration(), func(d *d) *time.Duration { return &d.GiveUpAfter },
			"The age at which a message that still waits goes back to its sender. RFC 5321 4.5.4.1 asks for 4 to 5 days "+
				"at least."),
		one("pause_max", duration(), func(d *d) *time.Duration { return &d.PauseMax },
			"The longest time for which a site that can't be reached is left alone before one attempt is let through. The "+
				"pauses grow like the `retry` of its route, up to this one, and the mail for the site waits untouched."),
		one("connections_per_site", connections(), func(d *d) *int { return &d.ConnectionsPerSite },
			"How many connections to one destination are open at once, at most."),
		one("connect_timeout", duration(), func(d *d) *time.Duration { return &d.ConnectTimeout },
			"How long to wait for one address of a host to take the connection, before the next one is tried."),
		one("signed", word("treatment of signed mail", []Signed{SignedConvert, SignedReturn}), func(d *d) *Signed { return &d.Signed },
			"What becomes of 8-bit or binary mail with a signature (DKIM, `multipart/signed`, `multipart/encrypted`) when the next host "+
				"takes only 7 bits, or no binary. `convert`: it is converted like any other mail, and the signature is valid no "+
				"more. `return`: it goes back to its sender with 5.6.3."),
		one("return_size", size(0, ""), func(d *d) *int64 { return &d.ReturnSize },
			"A bounce carries the whole message up to this size, and only its header above it."),
	}
}

func historyRows() []field[History] {
	return []field[History]{
		one("max_age", durationOrNone(), func(h *History) *time.Duration { return &h.MaxAge },
			"What is older than this is forgotten. `\"0\"`: nothing is kept, and `holub trace` knows only what still waits."),
		one("max_size", size(1<<20, "; max_age = \"0\" keeps nothing"), func(h *History) *int64 { return &h.MaxSize },
			"How much room the history may take on the disk, at least 1MiB. Above it the oldest is forgotten first."),
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
			"How many clients may be connected at once, at each listener. Those above get a 421."),
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
