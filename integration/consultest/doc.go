// Package consultest runs a real Consul agent inside a test: one server with a KV store, sessions, checks and a
// leader, on free ports of localhost, that can be stopped, killed, paused and brought back.
//
//	consul := consultest.Start(t)
//	kv := consul.Client(t).KV()
//	consul.Kill()      // kill −9
//	consul.Restart(t)  // same address, same data
//
// # What it promises
//
// Start and Restart return when the agent has a leader and serves consistent reads. Nothing survives the test, as with
// kafkatest. A log is kept if the test failed.
//
// # What it needs
//
// Consul comes as no package that a test could start, so it is built from source, once, through the Go module proxy
// (agent/go.mod: a module of its own, so that its 270 dependencies stay out of the product's module graph). That
// takes five minutes on two cores and 180 MB in the cache; `make deps` does it beforehand.
//
// # Timing
//
// Raft runs with shorter timeouts than in production: an agent is ready in about a second. Session TTLs and lock
// delays are Consul's own.
package consultest
