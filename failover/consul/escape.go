package consul

import (
	"fmt"
	"strconv"
	"strings"
)

// escape makes a name one path element of a key: everything but letters, digits,
// dot, minus and underscore becomes ~ and two hexadecimal digits. Percent signs
// will not do: Consul's HTTP server decodes them in the key once more and then
// refuses names with spaces.
func escape(name string) string {
	var b strings.Builder
	for i := range len(name) {
		switch c := name[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '.' && len(name) > 2, c == '-', c == '_':
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "~%02x", c)
		}
	}
	return b.String()
}

func unescape(key string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(key); i++ {
		if key[i] != '~' {
			b.WriteByte(key[i])
			continue
		}
		if i+3 > len(key) {
			return "", fmt.Errorf("%q ends within an escape", key)
		}
		c, err := strconv.ParseUint(key[i+1:i+3], 16, 8)
		if err != nil {
			return "", fmt.Errorf("%q holds an escape that is none", key)
		}
		b.WriteByte(byte(c))
		i += 2
	}
	return b.String(), nil
}
