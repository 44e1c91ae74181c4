package matrix

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// member starts a consumer; wait waits for its end, which stop orders.
func (s *teller) member(name string) (stop func() error) {
	wait := s.d.start("op=consume name=%s topic=%s group=%s-group", name, s.topic, s.topic)
	return func() error { return errors.Join(s.d.do(nil, "op=stop name=%s", name), wait(opTimeout, nil)) }
}

// awaitGroup waits until the group has its members and is at rest.
func (s *teller) awaitGroup(members int) error {
	group := s.topic + "-group"
	if why := poll(45*time.Second, func() string {
		described, err := s.adm.DescribeGroups(s.ctx, group)
		if err != nil {
			return err.Error()
		}
		if g := described[group]; g.State != "Stable" || len(g.Members) != members {
			return fmt.Sprintf("%s with %d members %v", g.State, len(g.Members), g.Err)
		}
		return ""
	}); why != "" {
		return fmt.Errorf("the group does not settle with %d members: %s", members, why)
	}
	return nil
}

// awaitRead waits until the members have read exactly what is wanted, each once.
func (s *teller) awaitRead(want map[place]logged) (string, error) {
	got := make(map[place][]string)
	why := poll(30*time.Second, func() string {
		clear(got)
		for _, e := range s.d.Events(func(e Event) bool { return e.Got != "" })[s.seen:] {
			at := place{e.P, e.O}
			got[at] = append(got[at], e.Got)
		}
		if len(got) < len(want) {
			return fmt.Sprintf("%d of %d records were read", len(got), len(want))
		}
		return ""
	})
	if why != "" {
		return "", errors.New(why)
	}
	var lines []string
	for at, values := range got {
		if w, ok := want[at]; !ok || len(values) != 1 || values[0] != w.value {
			return "", fmt.Errorf("at %v %q was read, %q is there", at, values, w.value)
		}
		lines = append(lines, fmt.Sprintf("%d@%d=%s", at.partition, at.offset, values[0]))
	}
	s.seen += len(got)
	slices.Sort(lines)
	return strings.Join(lines, " "), nil
}

// committed demands that the group's commits are the ends of the log.
func (s *teller) committed() error {
	ends := make(map[int32]int64)
	for at := range s.log {
		ends[at.partition] = max(ends[at.partition], at.offset+1)
	}
	commits, err := s.adm.FetchOffsets(s.ctx, s.topic+"-group")
	if err != nil {
		return err
	}
	for p, end := range ends {
		if c, ok := commits.Lookup(s.topic, p); !ok || c.At != end {
			return fmt.Errorf("partition %d ends at %d, committed is %d", p, end, c.At)
		}
	}
	return nil
}

func (s *teller) group() (said string, err error) {
	stopA, stopB := s.member("a"), s.member("b")
	if err = s.awaitGroup(2); err == nil {
		said, err = s.awaitRead(s.log)
	}
	stopped := make(chan error, 1)
	go func() { stopped <- stopA() }()
	err = errors.Join(err, stopB(), <-stopped)
	if err == nil {
		err = s.committed()
	}
	return said, err
}

// resume: a member that comes later begins where the group had stopped.
func (s *teller) resume() (string, error) {
	before := maps.Clone(s.log)
	if _, err := s.produce("none", 1000, perResume); err != nil {
		return "", err
	}
	fresh := maps.Clone(s.log)
	for at := range before {
		delete(fresh, at)
	}
	stop := s.member("c")
	said, err := s.awaitRead(fresh)
	if err = errors.Join(err, stop()); err == nil {
		err = s.committed()
	}
	return said, err
}
