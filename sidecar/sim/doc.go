// Package sim plays the whole product in virtual time: two clusters and a
// network in memory, sidecars with their mirrors, unmodified clients, and faults
// that a seed chooses. The history checker judges what the clients saw.
//
// The tests need the build tag "synctests", with which kgo waits for its locks
// on channels: only then does the clock of a testing/synctest bubble advance
// while it holds one over a request.
//
//	go test -tags synctests ./sidecar/sim                      100 seeds
//	SIM_SEED=7 go test -tags synctests -v ./sidecar/sim        one seed, with its log
//	SIM_SEEDS=2000 go test -tags synctests ./sidecar/sim       more of them
//
// A seed chooses the scenario. The order in which goroutines run is the Go
// scheduler's, so a seed that fails may have to be played several times.
package sim
