package matrix

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
)

// Sizes of the story.
const (
	partitions = 3
	perCodec   = 60
	perResume  = 40
	keys       = 10
)

// stories are the columns of the table, in the order in which they are told: each
// builds on what the ones before left.
var stories = []string{"topics", "none", "gzip", "snappy", "lz4", "zstd", "group", "resume", "seek", "time", "offsets", "delete records", "delete topic"}

// outcome is what came of each story, in words that do not depend on where it
// was told; "" is not told, an error begins with "! ".
type outcome map[string]string

// teller tells the story with one driver against one bootstrap address.
type teller struct {
	ctx       context.Context
	d         *Driver
	adm       *kadm.Client // of the same bootstrap: the test's own eyes
	bootstrap string
	topic     string
	base      int64 // ms, of record 0
	log       map[place]logged
	seen      int // events of members already judged
}

func (s *teller) tell() outcome {
	out := make(outcome)
	tell := map[string]func() (string, error){
		"topics": s.topics, "group": s.group, "resume": s.resume, "seek": s.seek, "time": s.time, "offsets": s.offsets,
		"delete records": s.deleteRecords, "delete topic": s.deleteTopic,
	}
	for i, codec := range codecs {
		tell[codec] = func() (string, error) { return s.produce(codec, int64(i*perCodec), perCodec) }
	}
	for _, name := range stories {
		if s.d.client.Lacks[name] != "" {
			continue
		}
		before := len(s.d.Troubles())
		said, err := tell[name]()
		if troubles := s.d.Troubles()[before:]; err == nil && len(troubles) > 0 {
			err = errors.New(strings.Join(troubles, "; "))
		}
		if err != nil {
			said = "! " + err.Error()
		}
		out[name] = said
		if err != nil && name == "topics" {
			break
		}
	}
	return out
}

func (s *teller) topics() (string, error) {
	if err := s.d.do(nil, "op=create topic=%s partitions=%d", s.topic, partitions); err != nil {
		return "", err
	}
	var listed struct{ Topics map[string]int }
	if why := poll(10*time.Second, func() string { // metadata of a new topic may be late on any cluster
		if err := s.d.do(&listed, "op=topics"); err != nil {
			return err.Error()
		}
		if listed.Topics[s.topic] != partitions {
			return fmt.Sprintf("%v", listed.Topics)
		}
		return ""
	}); why != "" {
		return "", fmt.Errorf("the topic is not listed: %s", why)
	}
	for name := range listed.Topics {
		if strings.Contains(name, "catamaran") {
			return "", fmt.Errorf("the topic %s of the product is visible", name)
		}
	}
	return fmt.Sprintf("%d partitions", listed.Topics[s.topic]), nil
}

// produce writes numbered records; the acknowledgements must be what the log
// then holds, in the codec that was asked for.
func (s *teller) produce(codec string, first, count int64) (string, error) {
	var sent struct{ Sent int64 }
	if err := s.d.do(&sent, "op=produce name=%s topic=%s codec=%s first=%d count=%d rate=0 keys=%d timestamp=%d",
		codec, s.topic, codec, first, count, keys, s.base); err != nil {
		return "", err
	}
	var err error
	if s.log, err = readLog(s.ctx, s.bootstrap, s.topic); err != nil {
		return "", err
	}
	var lines []string
	compressed := false
	for _, e := range s.d.Events(func(e Event) bool { return e.Ack != "" }) {
		r, err := identity(e.Ack)
		if err != nil {
			return "", err
		}
		if r.Producer != codec || r.Number < first {
			continue
		}
		in, want := s.log[place{e.P, e.O}], logged{value: e.Ack, codec: codec, at: s.base + 10*r.Number}
		compressed = compressed || in.codec == codec
		if in.codec == "none" { // libraries leave a batch as it is that would grow
			want.codec = "none"
		}
		if in != want {
			return "", fmt.Errorf("acknowledged at %d@%d: %v, the log holds %v", e.P, e.O, want, in)
		}
		lines = append(lines, fmt.Sprintf("%d@%d=%s", e.P, e.O, e.Ack))
	}
	if int64(len(lines)) != count || sent.Sent != count {
		return "", fmt.Errorf("%d of %d records were acknowledged, %d sent", len(lines), count, sent.Sent)
	}
	if !compressed {
		return "", fmt.Errorf("no batch in the log is %s", codec)
	}
	slices.Sort(lines)
	return strings.Join(lines, " "), nil
}

// busiest is the partition with the most records: which one has any depends on
// the library's partitioner.
func (s *teller) busiest() (partition int32, records int64) {
	n := make(map[int32]int64)
	for at := range s.log {
		n[at.partition]++
	}
	for p := range int32(partitions) {
		if n[p] > records {
			partition, records = p, n[p]
		}
	}
	return partition, records
}

// readFrom reads five records by what, which leads to offset.
func (s *teller) readFrom(partition int32, offset int64, what string) (string, error) {
	offsets := []int64{offset, offset + 1, offset + 2, offset + 3, offset + 4}
	return fmt.Sprintf("%d@%d", partition, offset), s.readList(partition, offsets, what)
}

// readList reads by what, which leads to the first of offsets; those are the
// next ones that hold a record.
func (s *teller) readList(partition int32, offsets []int64, what string) error {
	var read struct {
		First  int64
		Values []string
	}
	if err := s.d.do(&read, "op=read topic=%s partition=%d count=%d %s", s.topic, partition, len(offsets), what); err != nil {
		return err
	}
	var want []string
	for _, o := range offsets {
		want = append(want, s.log[place{partition, o}].value)
	}
	if read.First != offsets[0] || !slices.Equal(read.Values, want) {
		return fmt.Errorf("partition %d from %s: offset %d %q was read, %d %q is there", partition, what, read.First, read.Values, offsets[0], want)
	}
	return nil
}

func (s *teller) seek() (string, error) {
	p, n := s.busiest()
	return s.readFrom(p, n/2, fmt.Sprintf("offset=%d", n/2))
}

// time seeks between two records' times: the second is wanted.
func (s *teller) time() (string, error) {
	p, n := s.busiest()
	return s.readFrom(p, n/3, fmt.Sprintf("at=%d", s.log[place{p, n / 3}].at-1))
}

func (s *teller) offsets() (string, error) {
	p, n := s.busiest()
	return s.expectOffsets(p, 0, n)
}

func (s *teller) expectOffsets(p int32, earliest, latest int64) (string, error) {
	var got struct{ Earliest, Latest int64 }
	if err := s.d.do(&got, "op=offsets topic=%s partition=%d", s.topic, p); err != nil {
		return "", err
	}
	if got.Earliest != earliest || got.Latest != latest {
		return "", fmt.Errorf("partition %d: %d to %d were listed, %d to %d is true", p, got.Earliest, got.Latest, earliest, latest)
	}
	return fmt.Sprintf("partition %d: %d to %d", p, earliest, latest), nil
}

func (s *teller) deleteRecords() (string, error) {
	p, n := s.busiest()
	if err := s.d.do(nil, "op=delete_records topic=%s partition=%d offset=7", s.topic, p); err != nil {
		return "", err
	}
	return s.expectOffsets(p, 7, n)
}

func (s *teller) deleteTopic() (string, error) {
	if err := s.d.do(nil, "op=delete topic=%s", s.topic); err != nil {
		return "", err
	}
	why := poll(10*time.Second, func() string {
		var listed struct{ Topics map[string]int }
		if err := s.d.do(&listed, "op=topics"); err != nil {
			return err.Error()
		}
		if _, there := listed.Topics[s.topic]; there {
			return "it is still listed"
		}
		return ""
	})
	if why != "" {
		return "", errors.New(why)
	}
	return "gone", nil
}
