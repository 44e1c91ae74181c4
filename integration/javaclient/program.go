package javaclient

import (
	"bufio"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/catamaran-io/catamaran/integration/internal/harness"
)

// stopGrace is how long a program may take to close its client: a producer delivers what it holds first, for up to
// Kafka's delivery.timeout.ms of two minutes if nobody answers.
const stopGrace = 130 * time.Second

// A program is a running Java program; Producer and Consumer embed it.
type program struct {
	name  string
	proc  *harness.Process
	stdin io.Closer
	read  chan struct{} // closed when all output has been read

	mu      sync.Mutex
	events  []Event
	changed chan struct{} // closed and replaced with every event
	log     strings.Builder
	onEvent func(Event)
}

func start(tb testing.TB, name, class, version string, config map[string]string, args map[string]string, onEvent func(Event)) *program {
	tb.Helper()
	harness.SkipIfShort(tb, "a Java client")
	dir, err := Build(version)
	if err != nil {
		tb.Fatal(err)
	}
	line := []string{"-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto",
		"-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-Dorg.slf4j.simpleLogger.showDateTime=true",
		"-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS", "-Dorg.slf4j.simpleLogger.showThreadName=false",
		"-cp", filepath.Join(dir, "classes") + ":" + filepath.Join(dir, "jars", "*"), class}
	for key, value := range args {
		line = append(line, key+"="+value)
	}
	for key, value := range config {
		line = append(line, "config."+key+"="+value)
	}
	cmd := exec.Command("java", line...)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		tb.Fatal(err)
	}
	// Pipes of our own making: those of exec.Cmd are closed by its Wait, which runs beside the readers.
	stdout, outEnd := io.Pipe()
	stderr, errEnd := io.Pipe()
	cmd.Stdout, cmd.Stderr = outEnd, errEnd

	p := &program{name: name, stdin: stdin, read: make(chan struct{}), changed: make(chan struct{}), onEvent: onEvent}
	p.proc, err = harness.StartProcess(cmd, "")
	if err != nil {
		tb.Fatalf("javaclient: %s: %v", name, err)
	}
	var readers sync.WaitGroup
	readers.Go(func() { p.readEvents(stdout) })
	readers.Go(func() { p.readLog(stderr) })
	go func() {
		<-p.proc.Done() // Wait has copied everything by then
		outEnd.Close()
		errEnd.Close()
		readers.Wait()
		close(p.read)
	}()
	tb.Cleanup(func() {
		p.proc.Kill()
		<-p.read
		if tb.Failed() {
			if log := p.Log(); log != "" {
				tb.Logf("javaclient: %s logged:\n%s", name, log)
			}
			for _, e := range p.Errors() {
				tb.Logf("javaclient: %s: %s %v", name, e.At.Format("15:04:05.000"), e)
			}
		}
	})
	return p
}

func (p *program) readEvents(stdout io.Reader) {
	lines := bufio.NewScanner(stdout)
	lines.Buffer(nil, 4<<20)
	for lines.Scan() {
		e, err := parseEvent(lines.Bytes())
		if err != nil {
			e = Event{Kind: Error, At: time.Now(), Err: err.Error()}
		}
		if p.onEvent != nil {
			p.onEvent(e)
		}
		p.mu.Lock()
		p.events = append(p.events, e)
		close(p.changed)
		p.changed = make(chan struct{})
		p.mu.Unlock()
	}
	io.Copy(io.Discard, stdout) // a line beyond all bounds: let the program end
}

func (p *program) readLog(stderr io.Reader) {
	lines := bufio.NewScanner(stderr)
	for lines.Scan() {
		p.mu.Lock()
		fmt.Fprintln(&p.log, lines.Text())
		p.mu.Unlock()
	}
	io.Copy(io.Discard, stderr)
}

// Events returns everything seen so far, in order.
func (p *program) Events() []Event {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clip(p.events) // appending never changes what the caller holds
}

// Of returns the events of one kind so far.
func (p *program) Of(kind Kind) []Event {
	var some []Event
	for _, e := range p.Events() {
		if e.Kind == kind {
			some = append(some, e)
		}
	}
	return some
}

// Errors returns every exception that has reached the program so far.
func (p *program) Errors() []Event { return p.Of(Error) }

// Log is what the client library has logged so far as a warning or an error.
func (p *program) Log() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.String()
}

// Await waits until n events of a kind have been seen since the start, and ends the test if they have not within the
// timeout or the program ends before.
func (p *program) Await(tb testing.TB, kind Kind, n int, timeout time.Duration) {
	tb.Helper()
	deadline := time.After(timeout)
	seen, have := 0, 0
	for {
		p.mu.Lock()
		events, changed := p.events, p.changed
		p.mu.Unlock()
		for ; seen < len(events); seen++ {
			if events[seen].Kind == kind {
				have++
			}
		}
		if have >= n {
			return
		}
		select {
		case <-changed:
		case <-p.read:
			p.mu.Lock()
			unread := len(p.events) > seen
			p.mu.Unlock()
			if !unread {
				tb.Fatalf("javaclient: %s ended (%v) after %d of %d %q events", p.name, p.proc.Err(), have, n, kind)
			}
		case <-deadline:
			tb.Fatalf("javaclient: %s has seen %d of %d %q events within %v", p.name, have, n, kind, timeout)
		}
	}
}

// Stop lets the program close its client in order (a producer delivers what it holds, a consumer commits and leaves
// its group) and waits for its end. Afterwards Events is complete. It may be called twice.
func (p *program) Stop(tb testing.TB) {
	tb.Helper()
	p.stdin.Close()
	select {
	case <-p.read:
	case <-time.After(stopGrace):
		p.proc.Kill()
		<-p.read
		tb.Errorf("javaclient: %s did not close its client within %v and was killed", p.name, stopGrace)
		return
	}
	if err := p.proc.Err(); err != nil {
		tb.Errorf("javaclient: %s: %v", p.name, err)
	}
}

// Done is closed when the program has ended and Events is complete.
func (p *program) Done() <-chan struct{} { return p.read }

// Kill is kill −9.
func (p *program) Kill() {
	p.proc.Kill()
	<-p.read
}

// Pause stops the program where it stands (SIGSTOP).
func (p *program) Pause() { p.proc.Pause() }

// Resume lets a paused program go on (SIGCONT).
func (p *program) Resume() { p.proc.Resume() }
