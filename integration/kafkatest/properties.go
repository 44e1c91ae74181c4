package kafkatest

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// properties is the configuration of one node: what makes it a node of this cluster, then [Config]'s deviations from
// Kafka's defaults, then the caller's.
func (c *Cluster) properties(b *Broker) map[string]string {
	var voters []string
	for _, other := range c.brokers {
		if other.controllerPort != 0 {
			voters = append(voters, fmt.Sprintf("%d@127.0.0.1:%d", other.ID, other.controllerPort))
		}
	}
	roles, listeners := "broker", "PLAINTEXT://"+b.Addr()
	if b.controllerPort != 0 {
		roles = "broker,controller"
		listeners += fmt.Sprintf(",CONTROLLER://127.0.0.1:%d", b.controllerPort)
	}
	n := len(c.brokers)
	replicas := strconv.Itoa(min(3, n))
	session, heartbeat := "4000", "1000" // a killed broker is replaced in 4 s, not 9
	if n == 1 {
		// After a kill a lone broker waits for its own old session to end; nobody else is served meanwhile.
		session, heartbeat = "2000", "500"
	}
	p := map[string]string{
		"process.roles":                  roles,
		"node.id":                        strconv.Itoa(int(b.ID)),
		"controller.quorum.voters":       strings.Join(voters, ","),
		"controller.listener.names":      "CONTROLLER",
		"listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
		"listeners":                      listeners,
		"advertised.listeners":           "PLAINTEXT://" + b.Addr(),
		"log.dirs":                       b.dataDir(),

		// Internal topics: as safe as the cluster's size allows, and writable with one broker left.
		"offsets.topic.replication.factor":                 replicas,
		"offsets.topic.num.partitions":                     "5",
		"transaction.state.log.replication.factor":         replicas,
		"transaction.state.log.min.isr":                    "1",
		"transaction.state.log.num.partitions":             "5",
		"share.coordinator.state.topic.replication.factor": replicas,
		"share.coordinator.state.topic.min.isr":            "1",
		"share.coordinator.state.topic.num.partitions":     "2",
		"auto.create.topics.enable":                        "false", // a test that mistypes a topic should hear of it
		"default.replication.factor":                       replicas,
		"broker.session.timeout.ms":                        session,
		"broker.heartbeat.interval.ms":                     heartbeat,
		"controller.quorum.election.timeout.ms":            "500",
		"controller.quorum.election.backoff.max.ms":        "200",

		// Small.
		"num.network.threads":            "2",
		"num.io.threads":                 "4",
		"background.threads":             "2",
		"group.coordinator.threads":      "1",
		"share.coordinator.threads":      "1",
		"log.cleaner.dedupe.buffer.size": "4194304", // 128 MB by default
		"log.index.size.max.bytes":       "1048576",
		"metadata.max.idle.interval.ms":  "0", // no record every 500 ms in an idle cluster's metadata log
	}
	maps.Copy(p, c.cfg.Properties)
	return p
}

// renderProperties writes Java's .properties format, in order, so that two runs can be compared.
func renderProperties(p map[string]string) []byte {
	escape := strings.NewReplacer(`\`, `\\`, "\n", `\n`)
	var out bytes.Buffer
	for _, key := range slices.Sorted(maps.Keys(p)) {
		fmt.Fprintf(&out, "%s=%s\n", key, escape.Replace(p[key]))
	}
	return out.Bytes()
}

// newUUID is an id as Kafka writes them: 128 random bits in 22 characters. Kafka's tools take one that begins with a
// dash for a flag, so there is none.
func newUUID() string {
	for {
		var id [16]byte
		rand.Read(id[:])
		if s := base64.RawURLEncoding.EncodeToString(id[:]); s[0] != '-' {
			return s
		}
	}
}
