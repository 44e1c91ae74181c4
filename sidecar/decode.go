package sidecar

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
)

// decode fills into from YAML and says, field by field, what does not fit. The
// library's strict mode stops at the first defect and speaks of Go types; this
// names every one by its path.
func decode(raw []byte, into *Config) (problems []string) {
	var tree any
	if err := yaml.Unmarshal(raw, &tree); err != nil {
		return []string{"not YAML: " + strings.ReplaceAll(strings.TrimSpace(yaml.FormatError(err, false, true)), "\n", "\n    ")}
	}
	d := decoder{}
	d.value("", tree, reflect.ValueOf(into).Elem())
	return d.problems
}

type decoder struct{ problems []string }

func (d *decoder) fail(path, format string, args ...any) {
	if path == "" {
		path = "the file"
	}
	d.problems = append(d.problems, path+": "+fmt.Sprintf(format, args...))
}

var durationType = reflect.TypeFor[time.Duration]()

func (d *decoder) value(path string, node any, into reflect.Value) {
	if node == nil { // "key:" with nothing behind it keeps the default
		if into.Kind() == reflect.Pointer {
			into.Set(reflect.New(into.Type().Elem()))
		}
		return
	}
	if into.Type() == durationType {
		d.duration(path, node, into)
		return
	}
	switch into.Kind() {
	case reflect.Pointer:
		v := reflect.New(into.Type().Elem())
		d.value(path, node, v.Elem())
		into.Set(v)
	case reflect.Struct:
		d.structure(path, node, into)
	case reflect.Map:
		d.mapping(path, node, into)
	case reflect.Slice:
		d.list(path, node, into)
	case reflect.String:
		switch v := node.(type) {
		case string:
			into.SetString(v)
		case uint64, int64, float64, bool:
			into.SetString(fmt.Sprint(v)) // id: 7 means the string 7
		case map[string]any:
			text, ok := flowAddress(v)
			if !ok {
				d.fail(path, "%s is given, a text is accepted", describe(node))
				return
			}
			into.SetString(text)
		default:
			d.fail(path, "%s is given, a text is accepted", describe(node))
		}
	case reflect.Bool:
		v, ok := node.(bool)
		if !ok {
			d.fail(path, "%s is given, true or false is accepted", describe(node))
			return
		}
		into.SetBool(v)
	case reflect.Int, reflect.Int64:
		switch v := node.(type) {
		case uint64:
			if v > 1<<62 {
				d.fail(path, "%d is too large, a whole number up to 2^62 is accepted", v)
				return
			}
			into.SetInt(int64(v))
		case int64:
			into.SetInt(v)
		default:
			d.fail(path, "%s is given, a whole number is accepted", describe(node))
		}
	default:
		panic("no rule for a field of type " + into.Type().String())
	}
}

// flowAddress gives the text back that the library reads as a mapping: by YAML's
// rules [east-1:9092] is a list of one text (no space follows the colon).
func flowAddress(m map[string]any) (string, bool) {
	for host, port := range m {
		if n, ok := port.(uint64); ok && len(m) == 1 {
			return fmt.Sprintf("%s:%d", host, n), true
		}
	}
	return "", false
}

func (d *decoder) duration(path string, node any, into reflect.Value) {
	s, ok := node.(string)
	v, err := time.ParseDuration(s)
	if !ok || err != nil {
		d.fail(path, "%s is given, a duration such as 500ms, 2s or 1m30s is accepted", describe(node))
		return
	}
	into.SetInt(int64(v))
}

func (d *decoder) structure(path string, node any, into reflect.Value) {
	m, ok := node.(map[string]any)
	if !ok {
		d.fail(path, "%s is given, a section with the keys %s is accepted", describe(node), strings.Join(keys(into.Type()), ", "))
		return
	}
	for _, key := range slices.Sorted(maps.Keys(m)) {
		i := slices.IndexFunc(reflect.VisibleFields(into.Type()), func(f reflect.StructField) bool { return f.Tag.Get("yaml") == key })
		if i < 0 {
			d.fail(join(path, key), "this key is not known, accepted here are %s", strings.Join(keys(into.Type()), ", "))
			continue
		}
		d.value(join(path, key), m[key], into.Field(i))
	}
}

func (d *decoder) mapping(path string, node any, into reflect.Value) {
	m, ok := node.(map[string]any)
	if !ok {
		d.fail(path, "%s is given, a section of named entries is accepted", describe(node))
		return
	}
	into.Set(reflect.MakeMap(into.Type()))
	for _, key := range slices.Sorted(maps.Keys(m)) {
		v := reflect.New(into.Type().Elem()).Elem()
		d.value(join(path, key), m[key], v)
		into.SetMapIndex(reflect.ValueOf(key), v)
	}
}

func (d *decoder) list(path string, node any, into reflect.Value) {
	list, ok := node.([]any)
	if !ok {
		d.fail(path, "%s is given, a list such as [a, b] is accepted", describe(node))
		return
	}
	into.Set(reflect.MakeSlice(into.Type(), len(list), len(list)))
	for i, n := range list {
		d.value(fmt.Sprintf("%s[%d]", path, i), n, into.Index(i))
	}
}

func keys(t reflect.Type) (out []string) {
	for _, f := range reflect.VisibleFields(t) {
		out = append(out, f.Tag.Get("yaml"))
	}
	return out
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

func describe(node any) string {
	switch v := node.(type) {
	case map[string]any:
		return "a section"
	case []any:
		return "a list"
	case string:
		return fmt.Sprintf("%q", v)
	default:
		return fmt.Sprint(v)
	}
}
