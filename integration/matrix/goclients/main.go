// Command goclients drives one Go client library by the matrix's line protocol (integration/matrix says what that is):
//
//	goclients franz-go|sarama|sarama-max|kafka-go BOOTSTRAP
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"time"
)

// library is one client library. Its methods are called from many goroutines;
// ctx ends when the operation is told to stop.
type library interface {
	module() string
	create(ctx context.Context, topic string, partitions int) error
	remove(ctx context.Context, topic string) error
	topics(ctx context.Context) (map[string]int, error)
	produce(ctx context.Context, a args) (sent int, err error)
	consume(ctx context.Context, a args) error
	read(ctx context.Context, a args) (first int64, values []string, err error)
	offsets(ctx context.Context, topic string, partition int32) (earliest, latest int64, err error)
	deleteRecords(ctx context.Context, topic string, partition int32, before int64) error
}

var libraries = map[string]func(bootstrap string) library{
	"franz-go":   func(b string) library { return &franz{b} },
	"sarama":     func(b string) library { return &saramaLib{bootstrap: b} },
	"sarama-max": func(b string) library { return &saramaLib{bootstrap: b, newest: true} },
	"kafka-go":   func(b string) library { return &segment{b} },
}

var errLacks = errors.New("the library has no such call")

// args are the key=value words of one line.
type args map[string]string

func (a args) int(key string) int64 {
	n, err := strconv.ParseInt(a[key], 10, 64)
	if err != nil {
		emit("trouble", fmt.Sprintf("argument %s=%q is no number", key, a[key]))
		os.Exit(2)
	}
	return n
}

// The identity of record i: value, key and time.
func (a args) value(i int64) []byte { return fmt.Appendf(nil, "%s-%d", a["name"], i) }
func (a args) key(i int64) []byte   { return fmt.Appendf(nil, "k%d", i/5%a.int("keys")) }
func (a args) at(i int64) time.Time { return time.UnixMilli(a.int("timestamp") + 10*i) }

// each calls send with the numbers to send, at the rate asked for, until all are
// sent or ctx ends.
func (a args) each(ctx context.Context, send func(i int64) error) (sent int, err error) {
	first, count, rate := a.int("first"), a.int("count"), a.int("rate")
	start := time.Now()
	for i := first; i < first+count; i++ {
		if rate > 0 {
			select {
			case <-ctx.Done():
			case <-time.After(time.Until(start.Add(time.Duration(i-first) * time.Second / time.Duration(rate)))):
			}
		}
		if ctx.Err() != nil {
			return sent, nil
		}
		if err := send(i); err != nil {
			return sent, err
		}
		sent++
	}
	return sent, nil
}

var out struct {
	sync.Mutex
	*bufio.Writer
}

// emit writes one event: names and values in turn.
func emit(kv ...any) {
	m := make(map[string]any, len(kv)/2)
	for i := 0; i < len(kv); i += 2 {
		m[kv[i].(string)] = kv[i+1]
	}
	line, err := json.Marshal(m)
	if err != nil {
		panic(err)
	}
	out.Lock()
	defer out.Unlock()
	out.Write(append(line, '\n'))
	out.Flush()
}

func acked(value []byte, partition int32, offset int64) {
	emit("ack", string(value), "p", partition, "o", offset)
}

func got(name string, value []byte, partition int32, offset int64) {
	emit("got", string(value), "name", name, "p", partition, "o", offset)
}

func trouble(name string, err error) { emit("trouble", err.Error(), "name", name) }

// running are the operations that can be told to stop, by name.
var running sync.Map // name → *operation

type operation struct {
	cancel context.CancelFunc
	done   chan struct{}
}

func main() {
	out.Writer = bufio.NewWriter(os.Stdout)
	lib := libraries[os.Args[1]](os.Args[2])
	emit("ready", os.Args[1], "version", version(lib.module()))
	lines := bufio.NewScanner(os.Stdin)
	var wg sync.WaitGroup
	for lines.Scan() {
		a := make(args)
		for _, word := range strings.Fields(lines.Text()) {
			key, value, _ := strings.Cut(word, "=")
			a[key] = value
		}
		ctx, cancel := context.WithCancel(context.Background())
		op := &operation{cancel, make(chan struct{})}
		if a["op"] == "produce" || a["op"] == "consume" {
			running.Store(a["name"], op)
		}
		wg.Go(func() {
			defer cancel()
			result, err := run(ctx, lib, a)
			close(op.done)
			if err != nil {
				emit("id", a.int("id"), "error", err.Error())
				return
			}
			emit("id", a.int("id"), "ok", result)
		})
	}
	wg.Wait()
}

func run(ctx context.Context, lib library, a args) (map[string]any, error) {
	bounded, cancel := context.WithTimeout(ctx, 60*time.Second)
	defer cancel()
	partition := func() int32 { return int32(a.int("partition")) }
	switch a["op"] {
	case "create":
		return nil, lib.create(bounded, a["topic"], int(a.int("partitions")))
	case "delete":
		return nil, lib.remove(bounded, a["topic"])
	case "topics":
		topics, err := lib.topics(bounded)
		return map[string]any{"topics": topics}, err
	case "produce":
		sent, err := lib.produce(ctx, a)
		return map[string]any{"sent": sent}, err
	case "consume":
		return nil, lib.consume(ctx, a)
	case "read":
		first, values, err := lib.read(bounded, a)
		return map[string]any{"first": first, "values": values}, err
	case "offsets":
		earliest, latest, err := lib.offsets(bounded, a["topic"], partition())
		return map[string]any{"earliest": earliest, "latest": latest}, err
	case "delete_records":
		return nil, lib.deleteRecords(bounded, a["topic"], partition(), a.int("offset"))
	case "stop":
		v, ok := running.Load(a["name"])
		if !ok {
			return nil, fmt.Errorf("nothing called %s runs", a["name"])
		}
		op := v.(*operation)
		op.cancel()
		<-op.done
		return nil, nil
	}
	return nil, fmt.Errorf("unknown operation %q", a["op"])
}

// version is that of a module in this binary.
func version(module string) string {
	info, _ := debug.ReadBuildInfo()
	for _, dep := range info.Deps {
		if dep.Path == module {
			return strings.TrimPrefix(dep.Version, "v")
		}
	}
	return "?"
}
