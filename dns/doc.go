// Package dns asks what the delivery of mail needs to know: the mail exchangers of a domain and the addresses of a
// host. It speaks to recursive name servers, tries them in turn, keeps answers for their TTL, and lets equal questions
// that are asked at once share one query.
//
// It never walks the tree from the root itself, never appends a search domain to a name, and never chooses: the order
// among equal preferences, the fallback from MX to addresses and the meaning of a null MX belong to the caller, which
// is the delivery of remote mail.
//
//	r, err := dns.New(dns.Options{})        // the name servers of the system
//	mx, err := r.MX(ctx, "example.org")     // no MX: an empty slice; null MX: one with Host "."
//	addrs, err := r.Addrs(ctx, mx[0].Host)  // IPv4 first, then IPv6
//	var e *dns.Error
//	if errors.As(err, &e) && e.NotFound() { // no such domain: bounce
//	}
//	if errors.As(err, &e) && e.Temporary() { // timeout, SERVFAIL, no network: try later
//	}
package dns
