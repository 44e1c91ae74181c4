// Command catamaran is the sidecar, the mirror and the failover controller of a
// pair of Kafka clusters, and the tool to look at them and to move the role.
package main

import (
	"os"

	"github.com/catamaran-io/catamaran/sidecar/cli"
)

func main() { os.Exit(cli.Main(os.Args[1:], os.Stdout, os.Stderr)) }
