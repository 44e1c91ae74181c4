// Package protocol is what Catamaran knows of the Kafka protocol: frames, the
// API table with one numbered file per API, the record-batch view, and the
// identities that are translated between a client and a cluster.
//
// It is pure: no network, no time, no goroutines, no logging. Everything from
// the wire that does not parse is an error, never a panic.
package protocol
