// Package deliver makes one attempt: it carries one message to some of its recipients at one destination and returns one
// outcome for each of them. Remote speaks SMTP with the next host; the folder local writes mailboxes.
//
// It never repeats an attempt, never changes the spool and sends no reports: what follows from an outcome is settled
// elsewhere. internal/mta calls it with what the route said.
//
//	remote := deliver.NewRemote(deliver.Options{Hostname: "mx.example.org", Resolver: resolver, Port: 25})
//	outcomes := remote.ToMX(ctx, site, domain, deliver.Manner{TLS: sender.TLSOpportunistic},
//		deliver.Task{Message: m, Recipients: []int{0}, Open: open})
package deliver
