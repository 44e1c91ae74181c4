package proxy

import (
	"sync"

	"github.com/catamaran-io/catamaran/protocol"
	"github.com/catamaran-io/catamaran/protocol/logmap"
)

// topicIDs answers protocol.Topics from one cluster's metadata and the births
// in its log map. Nobody changes it.
type topicIDs struct {
	byName    map[string]topicID
	byClient  map[protocol.TopicID]string
	byCluster map[protocol.TopicID]string
}

type topicID struct{ client, cluster protocol.TopicID }

func newTopicIDs(m *metadata, births map[string]protocol.TopicID) *topicIDs {
	t := &topicIDs{
		byName:    make(map[string]topicID, len(m.topics)),
		byClient:  make(map[protocol.TopicID]string, len(m.topics)),
		byCluster: make(map[protocol.TopicID]string, len(m.topics)),
	}
	none := protocol.TopicID{}
	for name, have := range m.topics {
		id := topicID{client: have.id, cluster: have.id}
		if born, ok := births[name]; ok && born != none {
			id.client = born
		}
		t.byName[name] = id
		if id.client != none {
			t.byClient[id.client] = name
		}
		if id.cluster != none {
			t.byCluster[id.cluster] = name
		}
	}
	return t
}

func (t *topicIDs) ByClientID(id protocol.TopicID) (string, protocol.TopicID, bool) {
	name, ok := t.byClient[id]
	return name, t.byName[name].cluster, ok
}

func (t *topicIDs) ByClusterID(id protocol.TopicID) (string, protocol.TopicID, bool) {
	name, ok := t.byCluster[id]
	return name, t.byName[name].client, ok
}

func (t *topicIDs) ByName(name string) (client, cluster protocol.TopicID, ok bool) {
	id, ok := t.byName[name]
	return id.client, id.cluster, ok
}

// viewCache keeps the View that goes with what it was made from.
type viewCache struct {
	mu     sync.Mutex
	view   *protocol.View
	meta   *metadata
	births uint64
	nodes  int
}

// view is the translation for e as things stand, with the metadata that it was
// made from.
func (p *Proxy) view(e *era) (*protocol.View, *metadata) {
	c := e.cluster
	meta, births, nodes := c.meta.Load(), c.logMap.birthChanges(), p.nodes.open()
	v := &e.views
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.view != nil && v.meta == meta && v.births == births && v.nodes == len(nodes) {
		return v.view, meta
	}
	ids, births := c.logMap.birthIDs()
	v.meta, v.births, v.nodes = meta, births, len(nodes)
	v.view = &protocol.View{
		ClusterID: p.clusterID,
		Tenure:    e.route.Tenure,
		Nodes:     nodes,
		Brokers:   meta.order,
		Topics:    newTopicIDs(meta, ids),
		Map:       func(topic string, partition int32) *logmap.Map { return c.logMap.mapOf(topic, partition) },
	}
	return v.view, meta
}

// hereView answers what depends on the virtual cluster alone, also while no
// cluster is reachable.
func (p *Proxy) hereView() *protocol.View {
	return &protocol.View{ClusterID: p.clusterID, Nodes: p.nodes.open(), Topics: &topicIDs{}, Map: func(string, int32) *logmap.Map { return identity }}
}
