package consul

import (
	"testing"

	"pgregory.net/rapid"
)

func TestNamesComeBackFromKeys(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.String().Draw(t, "name")
		if got, err := unescape(escape(name)); err != nil || got != name {
			t.Fatalf("%q became %q, %v", name, got, err)
		}
	})
}

func TestEscapedNamesAreOnePathElement(t *testing.T) {
	for name, want := range map[string]string{"sidecar-1.example_a": "sidecar-1.example_a", "a/b": "a~2fb", "~": "~7e", "..": "~2e~2e", " ü": "~20~c3~bc"} {
		if got := escape(name); got != want {
			t.Errorf("%q became %q; want %q", name, got, want)
		}
	}
}

func TestForeignKeysAreErrors(t *testing.T) {
	for _, key := range []string{"~", "a~2", "~zz"} {
		if got, err := unescape(key); err == nil {
			t.Errorf("%q became %q; want an error", key, got)
		}
	}
}
