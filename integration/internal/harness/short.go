package harness

import "testing"

// SkipIfShort skips a test that starts something real, under -short. The words NOT RUN are what `make test-short`
// looks for, to say aloud what it left out.
func SkipIfShort(tb testing.TB, needs string) {
	tb.Helper()
	if testing.Short() {
		tb.Skipf("NOT RUN with -short: %s needs %s; left to make test", tb.Name(), needs)
	}
}
