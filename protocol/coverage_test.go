package protocol

import (
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// sensitive are the names of fields that may carry an identity of one cluster:
// an address, a node, topic or cluster id, a producer id or epoch, a leader
// epoch, an offset, a session, a rack, or records.
var sensitive = regexp.MustCompile(`(?i)host|port$|node|broker|leader|controller|coordinator|replica|^isr$|endpoint|address|server` +
	`|topicid|clusterid|directory|producer|transaction|epoch|sequence|offset|watermark|session|rack|records|batch|resourcename|snapshot|feature`)

// fieldsOf calls visit for every field of messages of type t, by path.
func fieldsOf(t reflect.Type, path string, visit func(path string, f reflect.StructField)) {
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Name == "Version" || f.Type == reflect.TypeFor[kmsg.Tags]() {
			continue
		}
		at := path + "." + f.Name
		visit(at, f)
		elem := f.Type
		for elem.Kind() == reflect.Slice || elem.Kind() == reflect.Pointer {
			elem = elem.Elem()
		}
		if elem.Kind() == reflect.Struct {
			fieldsOf(elem, at, visit)
		}
	}
}

func messages(row *Row) map[string]reflect.Type {
	req := kmsg.RequestForKey(row.Key)
	return map[string]reflect.Type{
		row.Name + "Request":  reflect.TypeOf(req).Elem(),
		row.Name + "Response": reflect.TypeOf(req.ResponseKind()).Elem(),
	}
}

// mayCarry says that a field's name or type suggests an identity: all 64-bit
// numbers (offsets, producer ids), UUIDs and raw bytes do.
func mayCarry(f reflect.StructField) bool {
	if !leaf(f.Type) {
		return false
	}
	elem := f.Type
	if elem.Kind() == reflect.Slice && elem.Elem().Kind() == reflect.Int64 {
		elem = elem.Elem()
	}
	bytes := f.Type.Kind() == reflect.Slice && f.Type.Elem().Kind() == reflect.Uint8
	return elem.Kind() == reflect.Int64 || bytes || f.Type == reflect.TypeFor[TopicID]() || sensitive.MatchString(f.Name)
}

// leaf says that a field holds a value, not more fields.
func leaf(t reflect.Type) bool {
	for t.Kind() == reflect.Slice || t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t.Kind() != reflect.Struct
}

func TestEveryFieldOfAnIdentityHasARule(t *testing.T) {
	seen := make(map[string]bool)
	for _, row := range Table() {
		for name, typ := range messages(row) {
			fieldsOf(typ, name, func(path string, f reflect.StructField) {
				seen[path] = true
				if _, ok := rules[path]; !ok && mayCarry(f) {
					t.Errorf("%s (%s) may carry an identity and has no rule", path, f.Type)
				}
			})
		}
	}
	for path, r := range rules {
		if !seen[path] {
			t.Errorf("the rule %q for %s is for a field that does not exist", r, path)
		}
		if strings.TrimSpace(string(r)) == "" {
			t.Errorf("%s has an empty rule", path)
		}
	}
}
