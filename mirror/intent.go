package mirror

import (
	"slices"

	"github.com/catamaran-io/catamaran/protocol/logmap"
)

// maxIntents bounds the producers of a partition whose last batches the map
// keeps. One that has been silent for longer than so many others have written
// has no retry outstanding.
const maxIntents = 256

// intent is the last client batches of one producer.
type intent struct {
	logmap.Intent
	used logmap.Logical // of its last batch: the lowest is forgotten first
}

// declare is the map records that say which client batches an item is. They are
// written beside the data and are void if the data does not come.
func (p *part) declare(it *item) (recs []logmap.Record) {
	changed := make(map[int64]*intent)
	for _, c := range it.clients {
		in := p.intents[c.producer]
		if in == nil {
			if forgotten := p.forgetIntent(); forgotten != nil {
				recs = append(recs, forgotten)
			}
			in = &intent{Intent: logmap.Intent{TP: p.topicPartition, ProducerID: c.producer}}
			p.intents[c.producer] = in
		}
		// One that is copied again, because it had not arrived, is listed once.
		batches := slices.DeleteFunc(slices.Clone(in.Batches), func(b logmap.IntentBatch) bool {
			return b.Epoch == c.epoch && b.FirstSequence == c.first && b.LastSequence == c.last
		})
		if n := len(batches) + 1 - logmap.IntentBatches; n > 0 {
			batches = batches[n:]
		}
		in.Batches = append(batches, logmap.IntentBatch{
			Epoch: c.epoch, FirstSequence: c.first, LastSequence: c.last,
			Logical: it.logical + logmap.Logical(c.offset), Cluster: it.at + logmap.Cluster(c.offset), Count: c.count, Generation: p.plan.Generation,
		})
		in.used = it.logical + logmap.Logical(c.offset)
		changed[c.producer] = in
	}
	for _, in := range changed {
		record := in.Intent
		recs = append(recs, &record)
	}
	return recs
}

// forgetIntent makes room: the producer that was silent for longest is emptied.
func (p *part) forgetIntent() logmap.Record {
	if len(p.intents) < maxIntents {
		return nil
	}
	oldest := int64(-1)
	for id, x := range p.intents {
		if oldest < 0 || x.used < p.intents[oldest].used {
			oldest = id
		}
	}
	delete(p.intents, oldest)
	return &logmap.Intent{TP: p.topicPartition, ProducerID: oldest}
}
