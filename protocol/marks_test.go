package protocol

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/catamaran-io/catamaran/protocol/logmap"
)

// side is the identities of one side of the sidecar: every value is distinct,
// long and unlikely, so that its bytes in a frame are that identity and nothing
// else. Index 1 of a pair is one that the View does not know.
type side struct {
	topics   [2]TopicID
	nodes    [2]int32
	offset   int64
	producer int64
}

// Of the cluster, and as the client must see the same things.
var (
	upstream = side{
		topics:   [2]TopicID{uuid("cluster-topic-01"), uuid("cluster-topic-02")},
		nodes:    [2]int32{0x5a110c71, 0x5a220c72},
		offset:   0x0000_1a2b_3c4d_5e07,
		producer: 0x00_c1d2_e3f4,
	}
	downstream = side{
		topics:   [2]TopicID{uuid("clients-topic-01"), uuid("clients-topic-02")},
		nodes:    [2]int32{0x00001771, 0x00001772},
		offset:   0x0000_0000_4711_0007,
		producer: 3<<rawBits | 0x00_c1d2_e3f4,
	}
	strayEpoch int32 = 0x6e6e0123
	stray32    int32 = 0x7b7b0456
	stray64    int64 = 0x7c7c_0789_0abc_0def
	strayText        = "mark-of-a-real-cluster"
	strayUUID        = uuid("stray-uuid-mark!")
)

func uuid(s string) (id TopicID) { copy(id[:], s); return id }

// fakeTopics knows one topic.
type fakeTopics struct{}

func (fakeTopics) ByClientID(id TopicID) (string, TopicID, bool) {
	return "orders", upstream.topics[0], id == downstream.topics[0]
}
func (fakeTopics) ByClusterID(id TopicID) (string, TopicID, bool) {
	return "orders", downstream.topics[0], id == upstream.topics[0]
}
func (fakeTopics) ByName(name string) (client, cluster TopicID, ok bool) {
	return downstream.topics[0], upstream.topics[0], name == "orders"
}

// markView is in tenure 3 with one extent, and knows one of two brokers.
func markView() *View {
	m := new(logmap.Map)
	m.Add(logmap.Extent{Generation: 1, Cluster: logmap.Cluster(upstream.offset - 7), Logical: logmap.Logical(downstream.offset - 7), Tenure: 3, Stamp: true})
	return &View{
		ClusterID: "virtual-cluster", Tenure: 3,
		Nodes:   []Node{{ID: downstream.nodes[0], Host: "127.0.0.1", Port: 0x1234}, {ID: downstream.nodes[1], Host: "127.0.0.1", Port: 0x1235}},
		Brokers: []int32{upstream.nodes[0]},
		Topics:  fakeTopics{},
		Map:     func(string, int32) *logmap.Map { return m },
	}
}

// mark sets every field of a message: identities by their rules, from s; two
// elements in every list; an unknown tagged field that holds its path.
func mark(v reflect.Value, path string, index int, s *side, flexible bool) {
	for i := range v.NumField() {
		f, name := v.Field(i), v.Type().Field(i).Name
		at := path + "." + name
		switch {
		case name == "Version":
		case name == "UnknownTags":
			if flexible {
				f.Addr().Interface().(*kmsg.Tags).Set(99, []byte(tagMark(path)))
			}
		case name == "Topic" && f.Kind() == reflect.String:
			f.SetString([]string{"orders", "strange"}[index])
		case at == "DescribeConfigsRequest.Resources.ResourceType" || at == "DescribeConfigsResponse.Resources.ResourceType":
			f.SetInt(int64(kmsg.ConfigResourceTypeBroker))
		case f.Kind() == reflect.Struct:
			mark(f, at, index, s, flexible)
		case f.Kind() == reflect.Slice && f.Type().Elem().Kind() == reflect.Struct:
			f.Set(reflect.MakeSlice(f.Type(), 2, 2))
			for j := range 2 {
				mark(f.Index(j), at, j, s, flexible)
			}
		default:
			set(f, rules[at], index, s)
		}
	}
}

func tagMark(path string) string { return "tag of " + path + ";" }

func set(f reflect.Value, r rule, index int, s *side) {
	switch r {
	case topicID:
		f.Set(reflect.ValueOf(s.topics[index]))
	case newTopicID:
		f.Set(reflect.ValueOf(s.topics[0]))
	case logical:
		f.SetInt(s.offset)
	case noEpoch:
		f.SetInt(int64(strayEpoch))
	case clientID:
		f.SetInt(s.producer)
	case batches:
		b := BuildBatch([]Record{{Value: []byte("payload")}}, Producer{ID: s.producer, Epoch: 4, Sequence: 9}, 0)
		if s == &upstream {
			b.SetBaseOffset(s.offset)
			b.SetLeaderEpoch(strayEpoch)
		}
		f.SetBytes(b)
	case nodeName:
		f.SetString(strconv.Itoa(int(s.nodes[0])))
	case virtualNode, virtualID, stripped:
		stray(f, r, index, s)
	case "", answeredHere: // lists of names and of partitions
		switch f.Interface().(type) {
		case []string:
			f.Set(reflect.ValueOf([]string{"one", "two"}))
		case []int32:
			f.Set(reflect.ValueOf([]int32{0, 1}))
		}
	}
}

func stray(f reflect.Value, r rule, index int, s *side) {
	switch f.Interface().(type) {
	case int32:
		if f.SetInt(int64(stray32)); r == virtualNode {
			f.SetInt(int64(s.nodes[index]))
		}
	case []int32: // an assignment to a node that is not there is refused: not here
		if s == &downstream {
			f.Set(reflect.ValueOf([]int32{s.nodes[0]}))
		} else {
			f.Set(reflect.ValueOf([]int32{s.nodes[0], s.nodes[1]}))
		}
	case int16:
		f.SetInt(0x6d01)
	case int64:
		f.SetInt(stray64)
	case []int64:
		f.Set(reflect.ValueOf([]int64{stray64}))
	case string:
		f.SetString(strayText)
	case *string:
		text := strayText
		f.Set(reflect.ValueOf(&text))
	case TopicID:
		f.Set(reflect.ValueOf(strayUUID))
	default:
		panic("no mark for a field of type " + f.Type().String())
	}
}

// remains are the marks of s that stand in frame.
func remains(frame []byte, s *side) (found []string) {
	be32 := func(v int32) []byte { return binary.BigEndian.AppendUint32(nil, uint32(v)) }
	be64 := func(v int64) []byte { return binary.BigEndian.AppendUint64(nil, uint64(v)) }
	for what, pattern := range map[string][]byte{
		"topic id": s.topics[0][:], "unknown topic id": s.topics[1][:],
		"node id": be32(s.nodes[0]), "unknown node id": be32(s.nodes[1]), "node id as a name": []byte(strconv.Itoa(int(s.nodes[0]))),
		"offset": be64(s.offset), "producer id": be64(s.producer),
		"leader epoch": be32(strayEpoch), "number": be32(stray32), "64-bit number": be64(stray64),
		"text": []byte(strayText), "uuid": strayUUID[:],
	} {
		if bytes.Contains(frame, pattern) {
			found = append(found, what)
		}
	}
	return found
}

// kept checks that unknown tagged fields survive wherever their structure does.
func kept(t *testing.T, before, after []byte, name string, typ reflect.Type) {
	t.Helper()
	check := func(path string) {
		for at := path; strings.Contains(at, "."); at = at[:strings.LastIndex(at, ".")] {
			if r := rules[at]; r == stripped || r == virtualNode {
				return
			}
		}
		if bytes.Contains(before, []byte(tagMark(path))) && !bytes.Contains(after, []byte(tagMark(path))) {
			t.Errorf("an unknown tagged field of %s is lost", path)
		}
	}
	check(name)
	fieldsOf(typ, name, func(path string, _ reflect.StructField) { check(path) })
}

func TestNoIdentityOfTheClusterReachesAClient(t *testing.T) {
	for _, row := range Table() {
		if row.Destination == Here {
			continue
		}
		for version := row.Min; version <= row.Max; version++ {
			t.Run(fmt.Sprintf("%s/%d", row.Name, version), func(t *testing.T) {
				req := kmsg.RequestForKey(row.Key)
				req.SetVersion(version)
				resp := req.ResponseKind()
				mark(reflect.ValueOf(resp).Elem(), row.Name+"Response", 0, &upstream, resp.IsFlexible())
				before := AppendResponse(nil, 1, resp)
				frame := bytes.Clone(before) // Response may edit what it is given
				_, resp, err := ParseResponse(frame[4:], req)
				if err != nil {
					t.Fatal(err)
				}
				if row.Response != nil {
					if err := row.Response(markView(), req, resp); err != nil {
						t.Fatal(err)
					}
				}
				frame = AppendResponse(nil, 1, resp)
				if found := remains(frame, &upstream); len(found) > 0 {
					t.Errorf("of the cluster's identities these remain: %v", found)
				}
				expectBoth(t, before, frame, &upstream, &downstream)
				kept(t, before, frame, row.Name+"Response", reflect.TypeOf(resp).Elem())
				if _, _, err := ParseResponse(frame[4:], req); err != nil {
					t.Fatalf("what the client is sent does not parse: %v", err)
				}
			})
		}
	}
}

// expectBoth checks that what stood in before as one side's stands in after as
// the other's: blanking an offset would pass the search for marks.
func expectBoth(t *testing.T, before, after []byte, from, to *side) {
	t.Helper()
	be64 := func(v int64) []byte { return binary.BigEndian.AppendUint64(nil, uint64(v)) }
	for what, pair := range map[string][2][]byte{
		"topic id":    {from.topics[0][:], to.topics[0][:]},
		"offset":      {be64(from.offset), be64(to.offset)},
		"producer id": {be64(from.producer), be64(to.producer)},
	} {
		n, m := bytes.Count(before, pair[0]), bytes.Count(after, pair[1])
		// Of two topics the second has an unknown id where topics are named by
		// id, and what stood under it may be gone.
		if half := bytes.Contains(before, from.topics[1][:]) && m == n/2; n != m && !half {
			t.Errorf("%s: %d stood in the frame, %d were translated", what, n, m)
		}
	}
}

func TestNoIdentityOfAClientReachesTheCluster(t *testing.T) {
	for _, row := range Table() {
		if row.Destination == Here {
			continue
		}
		for version := row.Min; version <= row.Max; version++ {
			t.Run(fmt.Sprintf("%s/%d", row.Name, version), func(t *testing.T) {
				req := kmsg.RequestForKey(row.Key)
				req.SetVersion(version)
				mark(reflect.ValueOf(req).Elem(), row.Name+"Request", 0, &downstream, req.IsFlexible())
				before := AppendRequest(nil, 1, nil, req)
				h, body, err := ParseRequest(before[4:])
				if err != nil {
					t.Fatal(err)
				}
				if req, err = ParseBody(h, body); err != nil {
					t.Fatal(err)
				}
				translated := Clone(req)
				if row.Request != nil {
					if err := row.Request(markView(), translated); err != nil {
						t.Fatal(err)
					}
				}
				frame := AppendRequest(nil, 1, nil, translated)
				if found := remains(frame, &downstream); len(found) > 0 {
					t.Errorf("of the client's identities these remain: %v", found)
				}
				if again := AppendRequest(nil, 1, nil, req); !bytes.Equal(before, again) {
					t.Error("translating a clone changed the client's request")
				}
				kept(t, before, frame, row.Name+"Request", reflect.TypeOf(req).Elem())
			})
		}
	}
}
