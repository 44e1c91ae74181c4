package assumptions

// kfakeDiffers is what kfake answers where it differs from real Kafka. Much of it has one cause: it keeps one epoch
// and one transaction for a producer id where a broker keeps them for each partition, and raises the epoch when the
// transactional id is taken instead of when the markers arrive.
var kfakeDiffers = map[string]string{
	// It needs no internal topics, so it always coordinates; and it has Kafka's other name for a group it has not seen.
	"a fresh cluster answers NOT_COORDINATOR to groups until it is asked for a coordinator": "no __consumer_offsets, GROUP_ID_NOT_FOUND; after FindCoordinator GROUP_ID_NOT_FOUND",

	// It counts on into negative sequences.
	"sequences go on at 0 after 2^31-1, between batches and inside one": "ok@0, OUT_OF_ORDER_SEQUENCE_NUMBER, ok@0, OUT_OF_ORDER_SEQUENCE_NUMBER",

	"epochs are kept per partition": "ok@0, ok@0, INVALID_PRODUCER_EPOCH",

	// Refused by it too, under other names.
	"a transactional batch without a transaction is refused": "INVALID_TXN_STATE, end 0",
	"a request takes one batch per partition":                "CORRUPT_MESSAGE, end 0",
	"a base offset other than 0 is refused":                  "CORRUPT_MESSAGE, end 0",

	// It lists producers with an open transaction only.
	"DescribeProducers has epoch and last sequence of each producer in each partition":              "unknown; unknown; unknown; unknown",
	"a producer whose records are stamped now is remembered through the sweep":                      "ok@0, unknown, ok@0, OUT_OF_ORDER_SEQUENCE_NUMBER",
	"DescribeProducers shows a sealed, unwritten partition with the new epoch and last sequence -1": "unknown, then unknown",
	"the fence is the marker, which is stamped now: old records do not make the broker forget it":   "forgotten unknown, sealed and swept unknown, INVALID_PRODUCER_EPOCH",

	// It never forgets a producer.
	"a producer is forgotten by the timestamps of its records, not by when it wrote them": "old: ok@0, unknown, again ok@0; gap: ok@0, unknown, OUT_OF_ORDER_SEQUENCE_NUMBER; lower epoch: ok@0, unknown, INVALID_PRODUCER_EPOCH",

	// It fences when the transactional id is taken, everywhere.
	"until the markers are written the first holder can write":                                  "ok@0, after InitProducerId INVALID_PRODUCER_EPOCH, after AddPartitionsToTxn INVALID_TXN_STATE",
	"after the markers the first holder is refused, also where the new one has written nothing": "sealed: INVALID_PRODUCER_EPOCH, INVALID_PRODUCER_EPOCH; not sealed: INVALID_PRODUCER_EPOCH",

	// An open transaction closes all partitions to plain batches of its producer.
	"with a transaction open its producer may write outside of it only where the transaction has not written": "elsewhere INVALID_TXN_STATE, added but unwritten INVALID_TXN_STATE, written INVALID_TXN_STATE",

	// Transactions complete before EndTxn answers, and are Empty again.
	"DescribeTransactions tells when markers are complete, and raises no epoch": "Empty, Ongoing, Empty, Empty, epoch +0",

	"the first join of an empty group waits for the initial rebalance delay": "generation 1 at once",
}
