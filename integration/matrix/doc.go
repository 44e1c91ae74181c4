// Package matrix runs unmodified client libraries through the sidecar: each tells the same small story against a Kafka
// cluster directly and against the sidecar in front of another, and the two must come out the same, offset for offset;
// then all of them work through a switchover there and back, and through kill −9 of the active cluster, and
// sidecar/history judges what they saw.
//
//	make matrix                         all clients, all stories, as a table
//	CATAMARAN_MATRIX=kafkajs,sarama …   these clients only
//
// Without CATAMARAN_MATRIX a few clients run, which is what `make test` has time for, and the rest is named.
//
// # Drivers
//
// A client library is driven by a small program in its language. It is given the bootstrap address, reads operations
// from standard input, one a line, as key=value words, and ends when that ends:
//
//	op=create id=1 topic=t partitions=3             also delete, topics, offsets, delete_records, read
//	op=produce id=2 name=p topic=t codec=zstd first=0 count=60 rate=0 keys=10 timestamp=1700000000000
//	op=consume id=3 name=a topic=t group=g          runs until stopped; commits after every batch of records
//	op=stop id=4 name=a                             ends a produce or consume, answers when it has ended
//
// Operations run side by side. What the library says comes out as one JSON object a line:
//
//	{"ready": "kafka-python", "version": "3.0.12"}
//	{"ack": "p-7", "p": 2, "o": 31}                 record p-7 was acknowledged at offset 31 of partition 2
//	{"got": "p-7", "name": "a", "p": 2, "o": 31}    member a read it
//	{"trouble": "…", "name": "a"}                   an error that an application would see: none is allowed
//	{"id": 1, "ok": {…}} or {"id": 1, "error": "…"} the outcome of an operation
//
// Record i of name has the value name-i, the key k(i/5 mod keys) and the time timestamp+10·i ms. Settings are the
// library's defaults, but that idempotence is asked for where the library offers it.
//
// # What it needs
//
// Java 17, Maven, Python 3.11 with pip, Node 20 with npm, and their registries the first time: everything is installed
// below the cache directory (see package harness) at the versions that clients.go names.
package matrix
