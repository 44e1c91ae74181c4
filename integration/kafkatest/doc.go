// Package kafkatest runs real Apache Kafka clusters inside tests: one to several KRaft brokers as Java processes, on
// free ports of localhost, that can be stopped, killed, paused and brought back.
//
//	east := kafkatest.Start(t, kafkatest.Config{Name: "east", Brokers: 3})
//	cl := east.Client(t, kgo.ConsumeTopics("orders"))
//	east.Kill()           // kill −9, all brokers
//	east.Restart(t)       // same ports, same data
//	east.Broker(2).Pause() // SIGSTOP: sockets stay open, nothing answers
//
// # What it promises
//
// Start returns when every broker answers and knows of every other. Nothing survives the test: brokers are killed when
// the test ends, and by the kernel if the test process itself is killed (Linux). Data and logs of a test that passed
// are deleted; of one that failed they are kept, and the test's output says where.
//
// Brokers are Kafka's defaults where tests could tell, with the exceptions that [Config] names; Config.Properties
// overrides any of them.
//
// # What it needs
//
// Java 17 or newer and, the first time, Maven. The jars that pom.xml names are fetched once into the cache of
// package harness (55 MB; ten seconds more go into formatting a storage directory to copy from and into a class
// archive that makes every later start twice as fast).
//
// # What it costs
//
// On two cores a single broker is ready in about 2 s and three in about 5 s; a broker takes about 300 MB of memory.
package kafkatest
