package protocol

import (
	"reflect"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Clone is a copy of req that a Row's Request may translate while req stays as
// the client sent it. Record bytes, other byte fields, strings and tagged fields
// are shared: a translation replaces them and never edits them.
func Clone(req kmsg.Request) kmsg.Request {
	switch req := req.(type) { // the two that are hot, without reflection
	case *kmsg.ProduceRequest:
		c := *req
		c.Topics = slices.Clone(c.Topics)
		for i := range c.Topics {
			c.Topics[i].Partitions = slices.Clone(c.Topics[i].Partitions)
		}
		return &c
	case *kmsg.FetchRequest:
		c := *req
		c.Topics = slices.Clone(c.Topics)
		for i := range c.Topics {
			c.Topics[i].Partitions = slices.Clone(c.Topics[i].Partitions)
		}
		return &c
	}
	from := reflect.ValueOf(req).Elem()
	to := reflect.New(from.Type())
	to.Elem().Set(from)
	cloneSlices(to.Elem())
	return to.Interface().(kmsg.Request)
}

func cloneSlices(v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				cloneSlices(v.Field(i))
			}
		}
	case reflect.Slice:
		if v.IsNil() || v.Type().Elem().Kind() == reflect.Uint8 {
			return
		}
		c := reflect.MakeSlice(v.Type(), v.Len(), v.Len())
		reflect.Copy(c, v)
		v.Set(c)
		for i := range c.Len() {
			cloneSlices(c.Index(i))
		}
	}
}
