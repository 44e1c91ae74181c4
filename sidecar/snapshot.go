package sidecar

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Status is what this process knows at this moment. It asks nobody.
func (s *Sidecar) Status() Status {
	agent := s.agent.Status()
	st := Status{Name: s.cfg.Name, ID: s.cfg.ID, Version: Version, Bootstrap: s.Bootstrap(), Decision: decision(agent)}
	active := ""
	if agent.Known {
		route := agent.Route
		st.Route, active = &route, route.Active
	}
	for _, name := range slices.Sorted(maps.Keys(s.cfg.Clusters)) {
		c := ClusterStatus{Name: name}
		if active != "" {
			c.Role = "standby"
			if name == active {
				c.Role = "active"
			}
		}
		p := s.probes.outcome(name)
		if c.Known, c.Healthy = p.known, p.known && p.err == nil; p.err != nil {
			c.Reason = p.err.Error()
		}
		t := agent.Health[name]
		c.VotesHealthy, c.VotesUnhealthy = t.Healthy, t.Unhealthy
		st.Clusters = append(st.Clusters, c)
	}
	st.Serving, st.NotServing = s.follower.state()
	if st.Serving && active != "" {
		if p := s.probes.outcome(active); p.known && p.err != nil {
			st.Serving, st.NotServing = false, fmt.Sprintf("the active cluster %s does not answer: %v", active, p.err)
		}
	}
	st.Link = s.linkStatus()
	st.Proxy = newProxyStatus(s.proxy.Stats(), time.Now())
	if reports := s.Reports(); len(reports) > 0 {
		st.LastReport = &reports[len(reports)-1]
	}
	return st
}

func (s *Sidecar) linkStatus() LinkStatus {
	if s.mirror == nil {
		return LinkStatus{}
	}
	last, ran, running, problem := s.link.state()
	l := LinkStatus{Enabled: true, Running: running, Source: last.Source, Target: last.Target, Problem: problem}
	if !ran {
		return l
	}
	heard := s.probes.outcome(last.Source).heard
	for _, p := range s.mirror.Status() {
		ps := PartitionStatus{Topic: p.Topic, Partition: p.Partition, State: p.State, Reason: p.Reason, Records: p.Records, Bytes: p.Bytes}
		records, lag := partitionLag(p, heard)
		ps.LagRecords, ps.LagSeconds = records, lag.Seconds()
		l.LagRecords += records
		l.LagSeconds = max(l.LagSeconds, ps.LagSeconds)
		l.Records += p.Records
		l.Bytes += p.Bytes
		l.Partitions = append(l.Partitions, ps)
	}
	slices.SortFunc(l.Partitions, func(a, b PartitionStatus) int {
		if a.Topic != b.Topic {
			return strings.Compare(a.Topic, b.Topic)
		}
		return int(a.Partition) - int(b.Partition)
	})
	return l
}
