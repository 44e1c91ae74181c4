package demo

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

func TestDemoKeepsEveryPromise(t *testing.T) {
	var out bytes.Buffer
	err := Run(t.Context(), Options{Out: &out, Before: 1500 * time.Millisecond, After: 3 * time.Second})
	if err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	for _, want := range []string{"kill -9 of every broker of east", "west    serving", "cutover east → west: switched", "every promise was kept"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the output lacks %q:\n%s", want, out.String())
		}
	}
}
