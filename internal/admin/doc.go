// Package admin is what an operator sees of the queue and does with it: the commands `holub queue`, `holub trace` and
// `holub reload` speak with a Desk, of which there are three.
//
//	Reader   over an engine and a history folder alone, for when the server is down; it changes nothing
//	Live     over the running server: its queue, its engine, and a few functions of internal/mta
//	Client   over the Unix socket of a Server, which stands before the Live desk of another process
//
// It holds no mail logic: who gets a report, when mail is tried again and where it goes is asked of those who know it.
// It never touches what is in flight, and it hands out nothing of the content of a message. Who may use it is decided by
// the rights of the socket's file alone. internal/mta makes the Live desk and serves it; cmd/holub makes the other two.
//
//	live := admin.NewLive(admin.LiveOptions{Engine: engine, Queue: q, Route: routeOf, Jobs: jobs, End: end})
//	socket, err := admin.Listen(ctx, path, 0o600)
//	go admin.NewServer(live, log).Serve(socket)
//	...
//	desk := admin.NewClient(path)
//	result, err := desk.Act(ctx, admin.Action{Verb: admin.Hold, Selector: admin.Selector{Domain: "example.org"}})
package admin
