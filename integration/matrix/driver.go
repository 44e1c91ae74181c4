package matrix

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/catamaran-io/catamaran/integration/internal/harness"
)

// An Event is one line that a driver wrote.
type Event struct {
	At      time.Time       `json:"-"`
	Ready   string          `json:"ready"`
	Version string          `json:"version"`
	ID      int             `json:"id"`
	OK      json.RawMessage `json:"ok"`
	Error   string          `json:"error"`
	Ack     string          `json:"ack"`
	Got     string          `json:"got"`
	Trouble string          `json:"trouble"`
	Name    string          `json:"name"`
	P       int32           `json:"p"`
	O       int64           `json:"o"`
}

// A Driver is a running driver program. Its methods may be called from any
// goroutine.
type Driver struct {
	client Client
	proc   *harness.Process
	stdin  io.WriteCloser

	mu       sync.Mutex
	version  string
	events   []Event
	answers  map[int]chan Event
	nextID   int
	log      strings.Builder
	troubles []string
}

// startDriver starts a client's program against bootstrap.
func startDriver(c Client, bootstrap string) (*Driver, error) {
	command, err := c.install(c)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(command[0], append(command[1:], bootstrap)...)
	d := &Driver{client: c, answers: make(map[int]chan Event)}
	if d.stdin, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	stdout, outEnd := io.Pipe()
	cmd.Stdout, cmd.Stderr = outEnd, (*driverLog)(d)
	if d.proc, err = harness.StartProcess(cmd, ""); err != nil {
		return nil, err
	}
	go func() { <-d.proc.Done(); outEnd.Close() }()
	go d.read(stdout)
	return d, nil
}

// driverLog keeps standard error.
type driverLog Driver

func (l *driverLog) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.log.Len() < 1<<20 {
		l.log.Write(b)
	}
	return len(b), nil
}

func (d *Driver) read(stdout io.Reader) {
	lines := bufio.NewScanner(stdout)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		e := Event{At: time.Now()}
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			e.Trouble = fmt.Sprintf("the driver wrote %q: %v", lines.Text(), err)
		}
		d.mu.Lock()
		switch {
		case e.ID != 0:
			if answer := d.answers[e.ID]; answer != nil {
				answer <- e
			}
		case e.Ready != "":
			d.version = e.Version
		default:
			if e.Trouble != "" {
				d.troubles = append(d.troubles, fmt.Sprintf("%s %s: %s", e.At.Format("15:04:05.000"), e.Name, e.Trouble))
			}
			d.events = append(d.events, e)
		}
		d.mu.Unlock()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for id, answer := range d.answers {
		answer <- Event{ID: id, Error: "the driver has ended"}
		delete(d.answers, id)
	}
	d.answers = nil
}

// start sends an operation: words like "op=create topic=t". The returned
// function waits for its outcome and decodes it into into, if not nil.
func (d *Driver) start(format string, args ...any) (wait func(timeout time.Duration, into any) error) {
	line := fmt.Sprintf(format, args...)
	answer := make(chan Event, 2)
	d.mu.Lock()
	d.nextID++
	id := d.nextID
	if d.answers == nil {
		answer <- Event{Error: "the driver has ended"}
	} else {
		d.answers[id] = answer
	}
	d.mu.Unlock()
	fmt.Fprintf(d.stdin, "%s id=%d\n", line, id) // a failure shows as the driver's end
	return func(timeout time.Duration, into any) error {
		select {
		case e := <-answer:
			if e.Error != "" {
				return fmt.Errorf("%s: %s", line, e.Error)
			}
			if into != nil {
				return json.Unmarshal(e.OK, into)
			}
			return nil
		case <-time.After(timeout):
			return fmt.Errorf("%s: no outcome within %v", line, timeout)
		}
	}
}

// opTimeout bounds an operation that ends by itself.
const opTimeout = 75 * time.Second

// do is start and wait.
func (d *Driver) do(into any, format string, args ...any) error {
	return d.start(format, args...)(opTimeout, into)
}

// Events are all so far that keep says true of.
func (d *Driver) Events(keep func(Event) bool) (out []Event) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, e := range d.events {
		if keep(e) {
			out = append(out, e)
		}
	}
	return out
}

// Troubles are the errors that an application would have seen.
func (d *Driver) Troubles() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.troubles)
}

// Version is the library's, as it says itself.
func (d *Driver) Version() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.version
}

// Log is the end of what the program wrote to standard error.
func (d *Driver) Log() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	lines := strings.Split(strings.TrimSpace(d.log.String()), "\n")
	return strings.Join(lines[max(0, len(lines)-40):], "\n")
}

// Close kills the program.
func (d *Driver) Close() { d.proc.Kill() }
