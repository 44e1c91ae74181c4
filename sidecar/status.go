package sidecar

import (
	"time"

	"github.com/catamaran-io/catamaran/failover"
	"github.com/catamaran-io/catamaran/proxy"
)

// Status is what this process knows, for people (catamaran status), the admin
// API and metrics. It is a snapshot and tells what is, not what was meant.
type Status struct {
	Name      string `json:"name"`
	ID        string `json:"id"`
	Version   string `json:"version"`
	Bootstrap string `json:"bootstrap"`
	// Route is the newest that this process has seen; nil before the first.
	Route *failover.Route `json:"route,omitempty"`
	// Serving: requests flow to the active cluster. NotServing says why not, or
	// why the active does not answer them.
	Serving    bool            `json:"serving"`
	NotServing string          `json:"not_serving,omitempty"`
	Clusters   []ClusterStatus `json:"clusters"`
	Link       LinkStatus      `json:"link"`
	Proxy      ProxyStatus     `json:"proxy"`
	Decision   string          `json:"decision,omitempty"`
	LastReport *Report         `json:"last_report,omitempty"`
}

// ClusterStatus is one cluster as this process sees it.
type ClusterStatus struct {
	Name string `json:"name"`
	Role string `json:"role"` // "active", "standby", "" when no route is known
	// Healthy is the last probe's outcome; Known is false before the first.
	Healthy bool   `json:"healthy"`
	Known   bool   `json:"known"`
	Reason  string `json:"reason,omitempty"`
	// Votes are what the observers say.
	VotesHealthy   int `json:"votes_healthy"`
	VotesUnhealthy int `json:"votes_unhealthy"`
}

// LinkStatus is the mirror as this process runs it.
type LinkStatus struct {
	Enabled bool `json:"enabled"`
	// Running: it copies from Source to Target. Problem says why not.
	Running bool   `json:"running"`
	Source  string `json:"source,omitempty"`
	Target  string `json:"target,omitempty"`
	Problem string `json:"problem,omitempty"`
	// LagRecords and LagSeconds are the link's: the sum and the maximum.
	LagRecords int64             `json:"lag_records"`
	LagSeconds float64           `json:"lag_seconds"`
	Records    int64             `json:"records"`
	Bytes      int64             `json:"bytes"`
	Partitions []PartitionStatus `json:"partitions,omitempty"`
}

// PartitionStatus is one partition of the link.
type PartitionStatus struct {
	Topic      string  `json:"topic"`
	Partition  int32   `json:"partition"`
	State      string  `json:"state"`
	Reason     string  `json:"reason,omitempty"`
	LagRecords int64   `json:"lag_records"`
	LagSeconds float64 `json:"lag_seconds"`
	Records    int64   `json:"records"`
	Bytes      int64   `json:"bytes"`
}

// ProxyStatus counts what the proxy did since the start.
type ProxyStatus struct {
	Sessions int64             `json:"sessions"`
	Requests map[string]uint64 `json:"requests,omitempty"`
	// Held is 0 while writes flow; else the requests that are not answered yet.
	Held      int64 `json:"held"`
	HeldBytes int64 `json:"held_bytes"`
	// HeldSeconds is for how long writes have been held.
	HeldSeconds float64 `json:"held_seconds"`
	Replayed    int64   `json:"replayed"`
	// Deduplicated were answered from the log map: the mirror had them.
	Deduplicated int64 `json:"deduplicated"`
	Expired      int64 `json:"expired"`
	Retries      int64 `json:"retries"`
	BytesIn      int64 `json:"bytes_in"`
	BytesOut     int64 `json:"bytes_out"`
}

func newProxyStatus(s proxy.Stats, now time.Time) ProxyStatus {
	out := ProxyStatus{
		Sessions: s.Sessions, Requests: s.Requests, HeldBytes: s.HeldBytes, Replayed: s.Replays,
		Deduplicated: s.Deduplicated, Expired: s.Expired, Retries: s.Retries, BytesIn: s.BytesIn, BytesOut: s.BytesOut,
	}
	if !s.PausedSince.IsZero() {
		out.Held, out.HeldSeconds = s.Unanswered, now.Sub(s.PausedSince).Seconds()
	}
	return out
}

// Report is a cutover's report and how long it took here.
type Report struct {
	failover.Report
	PauseSeconds float64 `json:"pause_seconds"`
	TailRecords  int64   `json:"tail_records"`
	// TailUnknown counts partitions whose tail nobody could tell.
	TailUnknown int       `json:"tail_unknown,omitempty"`
	Held        int       `json:"held_partitions,omitempty"`
	At          time.Time `json:"at"`
}

func newReport(r failover.Report) Report {
	out := Report{Report: r, PauseSeconds: r.Pause().Seconds()}
	for _, p := range r.Partitions {
		switch {
		case p.Tail < 0:
			out.TailUnknown++
		default:
			out.TailRecords += p.Tail
		}
		if p.Held != "" {
			out.Held++
		}
	}
	if n := len(r.Timeline); n > 0 {
		out.At = r.Timeline[n-1].At
	}
	return out
}

// Version is the release, set by the build (-ldflags -X).
var Version = "dev"
