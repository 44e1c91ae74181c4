package matrix

import (
	"os"
	"slices"
	"strings"
)

// Pinned versions: here, for Go libraries in goclients/go.mod, and nowhere else.
const (
	python = "confluent-kafka==2.16.1 kafka-python==3.0.12 aiokafka==0.14.0 " +
		"lz4==4.4.5 zstandard==0.25.0 python-snappy==0.7.3 cramjam==2.14.0" // codecs of the latter two
	node = "kafkajs@2.2.4 kafkajs-snappy@1.1.0 lz4-napi@2.10.0 @bokuweb/zstd-wasm@0.0.27"
)

// A Client is one client library.
type Client struct {
	Name    string
	Version string // of kafka-clients
	install func(c Client) (command []string, err error)

	// Idempotent: its producer is, so that a retry is not written twice.
	Idempotent bool
	// Brief clients run in `make test`.
	Brief bool
	// Lacks are the stories that the library cannot tell, with the reason.
	Lacks map[string]string
}

// Clients are all, in the order in which they run.
var Clients = []Client{
	{Name: "franz-go", install: goClient, Idempotent: true, Brief: true},
	{Name: "java-4.3", Version: "4.3.0", install: javaClient, Idempotent: true, Brief: true},
	{Name: "java-3.9", Version: "3.9.1", install: javaClient, Idempotent: true},
	{Name: "java-2.8", Version: "2.8.2", install: javaClient, Idempotent: true},
	{Name: "confluent", install: pythonClient("confluent.py"), Idempotent: true, Brief: true},
	{Name: "kafka-python", install: pythonClient("kafkapython.py"), Idempotent: true},
	{Name: "aiokafka", install: pythonClient("aio.py"), Idempotent: true},
	{Name: "kafkajs", install: nodeClient, Idempotent: true},
	{Name: "sarama", install: goClient, Idempotent: true},
	{Name: "sarama-max", install: goClient, Idempotent: true},
	{Name: "kafka-go", install: goClient, Lacks: map[string]string{"delete records": "the library has no such call"}},
}

// Env chooses: nothing is the brief ones, "all" is all, or names with commas.
const Env = "CATAMARAN_MATRIX"

// chosen are the clients to run, and the names of those left out.
func chosen() (run []Client, left []string) {
	env := os.Getenv(Env)
	for _, c := range Clients {
		if env == "all" || env == "" && c.Brief || slices.Contains(strings.Split(env, ","), c.Name) {
			run = append(run, c)
		} else {
			left = append(left, c.Name)
		}
	}
	return run, left
}

// everything says whether what `make test` has no time for is asked for.
func everything() bool { return os.Getenv(Env) != "" }

// codecs are run one by one by every client.
var codecs = []string{"none", "gzip", "snappy", "lz4", "zstd"}
