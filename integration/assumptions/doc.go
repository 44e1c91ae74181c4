// Package assumptions holds the facts about brokers that the product leans on, as one suite of tests that runs on
// every target that claims to be Kafka: real brokers (kafkatest), kfake as it comes, and whatever in-memory cluster
// the simulation uses.
//
// A fact is a sentence, something to try with requests made by hand, and what real Kafka answers, written down as
// text. On real Kafka that text is asserted. A target that differs lists the fact in its table of differences with
// what it answers instead, and that is asserted too: an upgrade that changes an answer, for better or worse, fails
// the suite until someone has read the difference.
//
// There is nothing to import here.
package assumptions
