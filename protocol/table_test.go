package protocol

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
	"pgregory.net/rapid"

	"github.com/catamaran-io/catamaran/protocol/logmap"
)

func TestRowsAreComplete(t *testing.T) {
	last := int16(-1)
	for _, row := range Table() {
		if row.Key <= last {
			t.Errorf("%s is out of order", row.Name)
		}
		last = row.Key
		if got, ok := Lookup(row.Key); !ok || got != row {
			t.Errorf("%s is not found by its key", row.Name)
		}
		if m := kmsg.RequestForKey(row.Key).MaxVersion(); row.Max > m || row.AdvertisedMin > row.Min || row.Min > row.Max {
			t.Errorf("%s: versions %d to %d, the library knows %d", row.Name, row.Min, row.Max, m)
		}
		needs := map[string]bool{
			"Fail":  row.Fail != nil,
			"Split": (row.Split != nil) == (row.Destination == Leaders),
			"Merge": (row.Merge != nil) == (row.Split != nil || row.PerGroup != nil),
			"Group": (row.Group != nil) == (row.Destination == GroupCoordinator),
			"Here":  row.Destination != Here || row.Request == nil && row.Response == nil,
		}
		for what, ok := range needs {
			if !ok {
				t.Errorf("%s: %s", row.Name, what)
			}
		}
	}
}

// errorsIn counts the error fields of a message and how many hold code.
func errorsIn(v reflect.Value, code int16) (all, set int) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			return errorsIn(v.Elem(), code)
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Struct {
			for i := range v.Len() {
				a, s := errorsIn(v.Index(i), code)
				all, set = all+a, set+s
			}
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).Name == "ErrorCode" {
				if all++; v.Field(i).Int() == int64(code) {
					set++
				}
			} else if v.Type().Field(i).IsExported() {
				a, s := errorsIn(v.Field(i), code)
				all, set = all+a, set+s
			}
		}
	}
	return all, set
}

// What Fail answers names as much as the request and holds the error where a
// client of that version finds it, after going over the wire.
func TestFailGivesTheErrorInEveryVersion(t *testing.T) {
	for _, row := range Table() {
		for version := row.Min; version <= row.Max; version++ {
			if row.Key == 3 && version < 13 {
				// Below 13 Metadata has errors only in topics.
				continue
			}
			req := kmsg.RequestForKey(row.Key)
			req.SetVersion(version)
			mark(reflect.ValueOf(req).Elem(), row.Name+"Request", 0, &downstream, false)
			frame := AppendRequest(nil, 1, nil, req)
			h, body, _ := ParseRequest(frame[4:])
			req, err := ParseBody(h, body)
			if err != nil {
				t.Fatal(err)
			}
			_, resp, err := ParseResponse(AppendResponse(nil, 1, row.Fail(req, 41))[4:], req)
			if err != nil {
				t.Fatal(err)
			}
			if _, set := errorsIn(reflect.ValueOf(resp), 41); set == 0 {
				t.Errorf("%s %d: the error is not in %+v", row.Name, version, resp)
			}
			if row.Destination == Leaders {
				if all, set := errorsIn(reflect.ValueOf(resp), 41); set != 4 && all-set > 1 {
					t.Errorf("%s %d: %d of %d errors are set, for 2 topics of 2 partitions", row.Name, version, set, all)
				}
			}
		}
	}
}

// Merging the answers to what Split made gives every partition of the request,
// in its order, with the answer of its leader or the error for those without.
func TestSplitAndMergeAnswerEveryPartitionInOrder(t *testing.T) {
	for _, row := range Table() {
		if row.Destination != Leaders {
			continue
		}
		t.Run(row.Name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				version := int16(rapid.IntRange(int(row.Min), int(row.Max)).Draw(t, "version"))
				req := drawLeadersRequest(t, row, version)
				v := markView()
				leaders := rapid.SliceOfN(rapid.Int32Range(-1, 2), 8, 8).Draw(t, "leaders")
				before := AppendRequest(nil, 1, nil, req)
				var parts []kmsg.Response
				for to, part := range row.Split(v, req, func(_ string, p int32) int32 { return leaders[p] }) {
					if to >= 0 {
						if err := row.Request(v, Clone(part)); err != nil {
							t.Fatal(err)
						}
						parts = append(parts, row.Fail(part, 200+int16(to)))
					}
				}
				got := row.Merge(v, req, parts, 300)
				want := row.Fail(req, 300)
				setCodes(reflect.ValueOf(want), func(id TopicID, partition int64) (int64, bool) {
					to := leaders[partition]
					return 200 + int64(to), to >= 0 && (id == TopicID{} || id == downstream.topics[0])
				}, TopicID{})
				if a, b := AppendResponse(nil, 1, got), AppendResponse(nil, 1, want); string(a) != string(b) {
					t.Fatalf("got  %+v\nwant %+v", got, want)
				}
				if string(before) != string(AppendRequest(nil, 1, nil, req)) {
					t.Fatal("splitting changed the request")
				}
			})
		})
	}
}

// drawLeadersRequest names topics and partitions at random, each once.
func drawLeadersRequest(t *rapid.T, row *Row, version int16) kmsg.Request {
	req := kmsg.RequestForKey(row.Key)
	req.SetVersion(version)
	byID := version >= 13 && (row.Key == 0 || row.Key == 1)
	topics := reflect.ValueOf(req).Elem().FieldByName("Topics")
	n := rapid.IntRange(0, 2).Draw(t, "topics")
	topics.Set(reflect.MakeSlice(topics.Type(), n, n))
	for i := range n {
		topic := topics.Index(i)
		if byID {
			topic.FieldByName("TopicID").Set(reflect.ValueOf(downstream.topics[i]))
		} else {
			topic.FieldByName("Topic").SetString([]string{"orders", "strange"}[i])
		}
		numbers := rapid.SliceOfNDistinct(rapid.Int32Range(0, 7), 0, 5, func(v int32) int32 { return v }).Draw(t, "partitions")
		partitions := topic.FieldByName("Partitions")
		partitions.Set(reflect.MakeSlice(partitions.Type(), len(numbers), len(numbers)))
		for j, p := range numbers {
			partitions.Index(j).FieldByName("Partition").SetInt(int64(p))
		}
	}
	return req
}

func setCodes(v reflect.Value, code func(TopicID, int64) (int64, bool), id TopicID) {
	switch v.Kind() {
	case reflect.Pointer:
		setCodes(v.Elem(), code, id)
	case reflect.Slice:
		for i := range v.Len() {
			setCodes(v.Index(i), code, id)
		}
	case reflect.Struct:
		if f := v.FieldByName("TopicID"); f.IsValid() {
			id = f.Interface().(TopicID)
		}
		if topics := v.FieldByName("Topics"); topics.IsValid() {
			setCodes(topics, code, id)
		}
		if partitions := v.FieldByName("Partitions"); partitions.IsValid() {
			setCodes(partitions, code, id)
		}
		if p := v.FieldByName("Partition"); p.IsValid() {
			if c, ok := code(id, p.Int()); ok {
				v.FieldByName("ErrorCode").SetInt(c)
			}
		}
	}
}

func TestGroupRequestsAreDividedAndJoinedInOrder(t *testing.T) {
	for key, set := range map[int16]func(kmsg.Request){
		15: func(r kmsg.Request) { r.(*kmsg.DescribeGroupsRequest).Groups = []string{"a", "b", "c"} },
		42: func(r kmsg.Request) { r.(*kmsg.DeleteGroupsRequest).Groups = []string{"a", "b", "c"} },
		9: func(r kmsg.Request) {
			r.(*kmsg.OffsetFetchRequest).Groups = []kmsg.OffsetFetchRequestGroup{{Group: "a"}, {Group: "b"}, {Group: "c"}}
		},
	} {
		row, _ := Lookup(key)
		req := kmsg.RequestForKey(key)
		req.SetVersion(row.Max)
		set(req)
		var answers []kmsg.Response
		var names string
		for i, part := range row.PerGroup(req) {
			if names += row.Group(part); i != 1 {
				answers = append([]kmsg.Response{row.Fail(part, int16(70+i))}, answers...)
			}
		}
		if names != "abc" {
			t.Errorf("%s: groups %q", row.Name, names)
		}
		got := fmt.Sprintf("%+v", row.Merge(markView(), req, answers, 15))
		if i, j, k := strings.Index(got, "ErrorCode:70"), strings.Index(got, "ErrorCode:15"), strings.Index(got, "ErrorCode:72"); i < 0 || j < i || k < j {
			t.Errorf("%s: %s", row.Name, got)
		}
	}
}

func TestPositionsAndCommitsGoThroughOneFunction(t *testing.T) {
	m := new(logmap.Map)
	m.Add(logmap.Extent{Generation: 1, Cluster: 1, Logical: 0})
	m.Add(logmap.Extent{Generation: 2, Cluster: 12, Logical: 10, Stamp: true}) // offset 11 is a marker
	v := viewOf(m)
	for at := int64(0); at < 20; at++ {
		commit := kmsg.NewPtrOffsetCommitRequest()
		commit.Version = 9
		commit.Topics = []kmsg.OffsetCommitRequestTopic{{Topic: "orders", Partitions: []kmsg.OffsetCommitRequestTopicPartition{{Offset: at, LeaderEpoch: 4}}}}
		if err := offsetCommit.Request(v, commit); err != nil {
			t.Fatal(err)
		}
		stored := commit.Topics[0].Partitions[0]
		if stored.LeaderEpoch != -1 {
			t.Fatalf("epoch %d was committed", stored.LeaderEpoch)
		}
		fetch := kmsg.NewPtrOffsetFetchResponse()
		fetch.Version = 8
		fetch.Groups = []kmsg.OffsetFetchResponseGroup{{Topics: []kmsg.OffsetFetchResponseGroupTopic{{Topic: "orders",
			Partitions: []kmsg.OffsetFetchResponseGroupTopicPartition{{Offset: stored.Offset, LeaderEpoch: 4}, {Partition: 1, Offset: -1}}}}}}
		if err := offsetFetch.Response(v, kmsg.NewPtrOffsetFetchRequest(), fetch); err != nil {
			t.Fatal(err)
		}
		ends := kmsg.NewPtrListOffsetsResponse()
		ends.Version = 5
		ends.Topics = []kmsg.ListOffsetsResponseTopic{{Topic: "orders", Partitions: []kmsg.ListOffsetsResponseTopicPartition{{Offset: stored.Offset, LeaderEpoch: 4}}}}
		if err := listOffsets.Response(v, nil, ends); err != nil {
			t.Fatal(err)
		}
		got, end := fetch.Groups[0].Topics[0].Partitions, ends.Topics[0].Partitions[0]
		if got[0].Offset != at || got[0].LeaderEpoch != -1 || got[1].Offset != -1 || end.Offset != at || end.LeaderEpoch != -1 {
			t.Fatalf("committed %d, stored %d, read %+v, listed %+v", at, stored.Offset, got, end)
		}
	}
}
