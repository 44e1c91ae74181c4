// Command deps fetches and builds everything that the integration tests start, into the cache: `make deps`. Tests do
// the same when they find it missing.
package main

import (
	"fmt"
	"os"
	"time"

	"github.com/catamaran-io/catamaran/integration/consultest"
	"github.com/catamaran-io/catamaran/integration/javaclient"
	"github.com/catamaran-io/catamaran/integration/kafkatest"
)

func main() {
	failed := false
	for _, dep := range []struct {
		name string
		get  func() (string, error)
	}{
		{"Kafka " + kafkatest.Version, kafkatest.Fetch},
		{"Java clients " + javaclient.DefaultVersion, func() (string, error) { return javaclient.Build("") }},
		{"Consul " + consultest.Version, consultest.Build},
	} {
		began := time.Now()
		path, err := dep.get()
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			failed = true
			continue
		}
		fmt.Printf("%-20s %s (%v)\n", dep.name, path, time.Since(began).Round(100*time.Millisecond))
	}
	if failed {
		os.Exit(1)
	}
}
