package assumptions

import (
	"testing"

	"github.com/catamaran-io/catamaran/sidecar/inmem"
	"github.com/twmb/franz-go/pkg/kgo"
)

func TestInMemory(t *testing.T) {
	t.Parallel()
	n := inmem.NewNetwork(1)
	c, err := inmem.NewCluster(n, "inmem", 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	runOn(t, inmemTarget{c, n}, inmemDiffers)
}

// inmemTarget is the cluster of the demo and the simulations: kfake, corrected.
type inmemTarget struct {
	*inmem.Cluster
	network *inmem.Network
}

func (i inmemTarget) Client(tb testing.TB, opts ...kgo.Opt) *kgo.Client {
	tb.Helper()
	cl, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(i.Bootstrap()...), kgo.Dialer(i.network.Host("client").Dial)}, opts...)...)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(cl.Close)
	return cl
}

// inmemDiffers is what is left of kfake's differences. Each line is something that the simulations cannot show.
var inmemDiffers = map[string]string{
	"a fresh cluster answers NOT_COORDINATOR to groups until it is asked for a coordinator":                   "no __consumer_offsets, GROUP_ID_NOT_FOUND; after FindCoordinator GROUP_ID_NOT_FOUND",
	"sequences go on at 0 after 2^31-1, between batches and inside one":                                       "ok@0, OUT_OF_ORDER_SEQUENCE_NUMBER, ok@0, OUT_OF_ORDER_SEQUENCE_NUMBER",
	"a transactional batch without a transaction is refused":                                                  "INVALID_TXN_STATE, end 0",
	"a producer is forgotten by the timestamps of its records, not by when it wrote them":                     "old: ok@0, epoch 1, last sequence 0, again ok@0; gap: ok@0, epoch 1, last sequence 0, OUT_OF_ORDER_SEQUENCE_NUMBER; lower epoch: ok@0, epoch 1, last sequence 0, INVALID_PRODUCER_EPOCH",
	"the fence is the marker, which is stamped now: old records do not make the broker forget it":             "forgotten epoch 0, last sequence 0, sealed and swept epoch 1, last sequence -1, INVALID_PRODUCER_EPOCH",
	"with a transaction open its producer may write outside of it only where the transaction has not written": "elsewhere INVALID_TXN_STATE, added but unwritten INVALID_TXN_STATE, written INVALID_TXN_STATE",
	"the first join of an empty group waits for the initial rebalance delay":                                  "generation 1 at once",
}
