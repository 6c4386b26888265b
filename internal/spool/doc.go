// Package spool says what a message on its trip is (Message, Recipient) and what a store of messages must do (Engine). It
// is the ground every stage stands on: a stage hands a message on by committing a new state here.
//
// The package itself stores nothing and decides nothing: no schedule, no routes, no bounces. The engines live in folders
// below it (lsm is the embedded one); the kit that each of them must pass is spool/spooltest. intake puts messages in,
// settle changes their recipients, deliver and settle read them, and internal/mta joins an engine with all of these.
//
//	w, err := engine.Create(ctx, id)            // content streams in, nothing is promised yet
//	io.Copy(w, content)
//	err = engine.Apply(ctx, spool.Put{Message: m, Content: w}) // on disk when this returns: now a 250 may be sent
//	...
//	err = engine.Apply(ctx,
//		spool.Put{Message: bounce, Content: b},     // the bounce and the end of the recipient
//		spool.Update{ID: m.ID, Recipients: ended})  // are one commit
package spool
