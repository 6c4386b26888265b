// Package archive moves mail that waits between spools as one tar file, whatever engines they have: Export writes what a
// spool holds, Import puts it into another.
//
// It never removes anything from the spool it exports, and never changes a message that the importing spool has. A message
// that was exported and left meanwhile comes back with an import, for nobody knows that it left: export from a server that
// is down, and start only the one that imported. cmd/holub calls it for `holub spool export` and `holub spool import`.
//
//	n, err := archive.Export(ctx, engine, file)            // n messages; err names those that could not be read
//	new, known, err := archive.Import(ctx, engine, file)   // twice does no harm: then all are known
//
// # The file
//
// For each message there are three entries: ID.sha256 with the checksums of the other two, ID.json with the envelope and all
// its recipients, and ID.eml with the content. The last entry, manifest.json, has the number of messages: a file without it
// was cut. The envelope is for people to read: times as RFC 3339 has them, states and reasons by their names. A text that is no
// UTF-8 stands as {"base64": "..."}.
//
// A message that does not have its checksums is not imported. They find what a disk or a wire changed, not what a person did.
package archive
