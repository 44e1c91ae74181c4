// Package javaclient runs unmodified Java producers and group consumers, the clients that most applications have, and
// turns what they see into events.
//
//	p := javaclient.StartProducer(t, javaclient.ProducerOptions{Bootstrap: addrs, Topic: "orders", Rate: 1000})
//	c := javaclient.StartConsumer(t, javaclient.ConsumerOptions{Bootstrap: addrs, Topics: []string{"orders"}, Group: "billing"})
//	p.Await(t, javaclient.Acked, 5000, 30*time.Second)
//	p.Stop(t)
//	for _, e := range p.Events() { ... }
//
// # What it promises
//
// The clients have their library's default settings: the only ones set are bootstrap.servers, serializers, group.id
// and auto.offset.reset=earliest (and enable.auto.commit=false if the program is asked to commit itself). Options.Config
// adds to them.
//
// Every record is one event: acknowledged or failed on one side, consumed on the other, with topic, partition and
// offset as the client was told. Every exception that reaches the program is an [Error] event; what the library only
// logs (warnings, errors) is in Log, and in the test's output if the test fails.
//
// A program stops when its standard input ends, so it does not outlive its test.
//
// # What it needs
//
// A JDK of 17 or newer (javac too) and, the first time, Maven; jars and classes are cached. Other versions of the
// library, back to 2.8, run when Options.Version says so.
package javaclient
