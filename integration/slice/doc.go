// Package slice tests the whole product on real parts: two Kafka clusters,
// Consul, the catamaran binary as a user starts it, unmodified clients, and
// kill −9. Everything that happens goes into one history, and the one checker
// judges it.
package slice
