package sidecar

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/catamaran-io/catamaran/failover"
)

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("catamaran_"+name, help, labels, nil)
}

var (
	routeEpoch  = desc("route_epoch", "Epoch of the newest route that this process has seen.")
	routeTenure = desc("route_tenure", "Completed cutovers of the virtual cluster.")
	routeState  = desc("route_state", "1 for the state that the route is in.", "state")
	activeDesc  = desc("active", "1 for the active cluster.", "cluster")
	healthyDesc = desc("cluster_healthy", "1 if the cluster answered the last probe of this process.", "cluster")
	servingDesc = desc("serving", "1 if requests flow to the active cluster and it answers.")

	linkRunning = desc("link_running", "1 if this process mirrors.", "source", "target")
	linkRecords = desc("link_lag_records", "Records that the standby is behind, all partitions.", "source", "target")
	linkSeconds = desc("link_lag_seconds", "Time that the standby is behind, worst partition.", "source", "target")
	lagRecords  = desc("mirror_lag_records", "Records that the standby is behind.", "topic", "partition")
	lagSeconds  = desc("mirror_lag_seconds", "Time that the standby is behind.", "topic", "partition")
	mirrored    = desc("mirrored_records_total", "Records copied by this process.", "topic", "partition")
	bytesDesc   = desc("mirrored_bytes_total", "Bytes copied by this process.", "topic", "partition")
	partState   = desc("partition_state", "1 for the state that the mirrored partition is in.", "topic", "partition", "state")

	sessions  = desc("proxy_sessions", "Client connections.")
	requests  = desc("proxy_requests_total", "Requests of clients.", "api")
	held      = desc("proxy_held_requests", "Requests that are held now.")
	heldBytes = desc("proxy_held_bytes", "Bytes of the requests that are held now.")
	heldFor   = desc("proxy_held_seconds", "For how long writes have been held; 0 while they flow.")
	replays   = desc("proxy_replayed_total", "Batches that were sent again after a cutover.")
	deduped   = desc("proxy_deduplicated_total", "Batches that were answered from the log map, for the mirror had them.")
	expired   = desc("proxy_expired_total", "Requests that were held too long and answered with an error.")
	retries   = desc("proxy_retries_total", "Attempts at a cluster that failed and were repeated.")
	bytesIn   = desc("proxy_received_bytes_total", "Bytes that clients sent.")
	bytesOut  = desc("proxy_sent_bytes_total", "Bytes that clients were sent.")

	cutovers  = desc("cutovers_total", "Cutovers that this process saw, by kind and outcome.", "kind", "outcome")
	lastPause = desc("last_cutover_pause_seconds", "From the fence to the end of the last cutover.")
	lastTail  = desc("last_cutover_tail_records", "Records that the last cutover left behind, as far as known.")
)

// collector turns a Status into metrics at each scrape, so that the two can
// never disagree.
type collector struct{ s *Sidecar }

// Describe sends nothing: an unchecked collector, whose labels come and go.
func (c *collector) Describe(chan<- *prometheus.Desc) {}

func (c *collector) Collect(out chan<- prometheus.Metric) {
	st := c.s.Status()
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	count := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, v, labels...)
	}
	gauge(servingDesc, truth(st.Serving))
	if r := st.Route; r != nil {
		gauge(routeEpoch, float64(r.Epoch))
		gauge(routeTenure, float64(r.Tenure))
		for _, state := range []failover.State{failover.Serving, failover.Suspect, failover.Fencing, failover.Sealing, failover.Switching, failover.Halted} {
			gauge(routeState, truth(r.State == state), string(state))
		}
	}
	for _, cl := range st.Clusters {
		gauge(activeDesc, truth(cl.Role == "active"), cl.Name)
		if cl.Known {
			gauge(healthyDesc, truth(cl.Healthy), cl.Name)
		}
	}
	if l := st.Link; l.Enabled && l.Source != "" {
		gauge(linkRunning, truth(l.Running), l.Source, l.Target)
		gauge(linkRecords, float64(l.LagRecords), l.Source, l.Target)
		gauge(linkSeconds, l.LagSeconds, l.Source, l.Target)
		for _, p := range l.Partitions {
			tp := []string{p.Topic, strconv.Itoa(int(p.Partition))}
			gauge(lagRecords, float64(p.LagRecords), tp...)
			gauge(lagSeconds, p.LagSeconds, tp...)
			count(mirrored, float64(p.Records), tp...)
			count(bytesDesc, float64(p.Bytes), tp...)
			for _, state := range []string{"starting", "mirroring", "stopped"} {
				gauge(partState, truth(p.State == state), append(tp, state)...)
			}
		}
	}
	gauge(sessions, float64(st.Proxy.Sessions))
	gauge(held, float64(st.Proxy.Held))
	gauge(heldBytes, float64(st.Proxy.HeldBytes))
	gauge(heldFor, st.Proxy.HeldSeconds)
	count(replays, float64(st.Proxy.Replayed))
	count(deduped, float64(st.Proxy.Deduplicated))
	count(expired, float64(st.Proxy.Expired))
	count(retries, float64(st.Proxy.Retries))
	count(bytesIn, float64(st.Proxy.BytesIn))
	count(bytesOut, float64(st.Proxy.BytesOut))
	for api, n := range st.Proxy.Requests {
		count(requests, float64(n), api)
	}
	if r := st.LastReport; r != nil {
		gauge(lastPause, r.PauseSeconds)
		gauge(lastTail, float64(r.TailRecords))
	}
	for kind, n := range c.s.cutovers() {
		count(cutovers, float64(n), kind.kind, kind.outcome)
	}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
