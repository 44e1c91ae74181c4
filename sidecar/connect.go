package sidecar

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Finding is one thing that was looked at before a start.
type Finding struct {
	Field string
	OK    bool
	// Text is a sentence: what was found, and what to do if it is not good.
	Text string
	// Fatal: a sidecar does not start with it.
	Fatal bool
}

// connectTimeout bounds the look at one cluster.
const connectTimeout = 5 * time.Second

// needed are the requests, with the lowest version, without which the mirror
// cannot take or prove ownership of a cluster.
var needed = []struct {
	key     kmsg.Key
	version int16
	since   string
}{
	{kmsg.InitProducerID, 3, "Kafka 2.5"},
	{kmsg.AddPartitionsToTxn, 3, "Kafka 2.8"},
	{kmsg.DescribeProducers, 0, "Kafka 2.8"},
	{kmsg.DescribeTransactions, 0, "Kafka 3.0"},
}

// Connect looks at both clusters. One that does not answer is a warning (a
// sidecar must be able to start while a cluster is down), two are fatal, and so
// are two names for one cluster.
func Connect(ctx context.Context, cfg *Config, dial dialFunc) []Finding {
	names := slices.Sorted(maps.Keys(cfg.Clusters))
	results := make([]looked, len(names))
	var wg sync.WaitGroup
	for i, name := range names {
		wg.Go(func() { results[i] = look(ctx, name, cfg.Clusters[name], dial) })
	}
	wg.Wait()
	var out []Finding
	reached := 0
	for _, r := range results {
		out = append(out, r.findings...)
		if r.reached {
			reached++
		}
	}
	if reached == 0 {
		for i := range out {
			out[i].Fatal = true
		}
	}
	if len(results) == 2 && results[0].id != "" && results[0].id == results[1].id {
		out = append(out, Finding{Field: "clusters", Fatal: true,
			Text: fmt.Sprintf("%s and %s are the same cluster (id %s), two different clusters are accepted", names[0], names[1], results[0].id)})
	}
	return out
}

// looked is what one cluster said.
type looked struct {
	reached  bool
	id       string
	findings []Finding
}

func look(ctx context.Context, name string, c Cluster, dial dialFunc) (l looked) {
	field := "clusters." + name
	add := func(ok bool, format string, args ...any) {
		l.findings = append(l.findings, Finding{Field: field, OK: ok, Text: fmt.Sprintf(format, args...)})
	}
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	cl, err := c.client(dial, "catamaran-check")
	if err != nil {
		add(false, "no client can be made (%v)", err)
		return l
	}
	defer cl.Close()
	resp, err := metadata(ctx, cl, kmsg.NewPtrMetadataRequest())
	if err != nil {
		l.findings = append(l.findings, Finding{Field: field + ".bootstrap", Text: unreachable(c.Bootstrap, err)})
		return l
	}
	l.reached = true
	if resp.ClusterID != nil {
		l.id = *resp.ClusterID
	}
	add(true, "reached: %d brokers, %d topics, cluster id %s", len(resp.Brokers), len(resp.Topics), l.id)
	l.versions(ctx, field, cl)
	return l
}

func (l *looked) versions(ctx context.Context, field string, cl *kgo.Client) {
	resp, err := kmsg.NewPtrApiVersionsRequest().RequestWith(ctx, cl)
	if err != nil {
		l.findings = append(l.findings, Finding{Field: field, Text: fmt.Sprintf("the supported versions cannot be read (%v)", err)})
		return
	}
	for _, n := range needed {
		i := slices.IndexFunc(resp.ApiKeys, func(k kmsg.ApiVersionsResponseApiKey) bool { return k.ApiKey == int16(n.key) })
		if i < 0 || resp.ApiKeys[i].MaxVersion < n.version {
			l.findings = append(l.findings, Finding{Field: field,
				Text: fmt.Sprintf("its brokers do not support %s version %d, %s or later is needed to mirror into it", kmsg.NameForKey(int16(n.key)), n.version, n.since)})
		}
	}
}

// unreachable is a sentence about addresses that do not answer.
func unreachable(addresses []string, err error) string {
	why := err.Error()
	if dns := new(net.DNSError); errors.As(err, &dns) {
		why = "the name does not resolve: " + dns.Error()
	} else if errors.Is(err, context.DeadlineExceeded) {
		why = fmt.Sprintf("no answer within %v", connectTimeout)
	}
	return fmt.Sprintf("[%s] is given and cannot be reached (%s), addresses of live Kafka brokers are accepted", strings.Join(addresses, ", "), why)
}
