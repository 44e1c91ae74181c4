package harness

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// Process is a child process in a process group of its own, whose output goes to a file. It dies with this process,
// even if that is killed with -9.
type Process struct {
	cmd  *exec.Cmd
	done chan struct{}
	err  error // valid once done is closed
}

// StartProcess starts cmd and appends its standard output and error to logPath (nothing of cmd.Stdout and cmd.Stderr
// that is set already is changed). An empty logPath leaves both as they are.
func StartProcess(cmd *exec.Cmd, logPath string) (*Process, error) {
	if logPath != "" {
		log, err := os.OpenFile(logPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
		if err != nil {
			return nil, err
		}
		defer log.Close() // the child has its own descriptor
		if cmd.Stdout == nil {
			cmd.Stdout = log
		}
		if cmd.Stderr == nil {
			cmd.Stderr = log
		}
	}
	cmd.SysProcAttr = dieWithParent()
	if err := startOnLastingThread(cmd); err != nil {
		return nil, fmt.Errorf("starting %s: %w", cmd.Path, err)
	}
	p := &Process{cmd: cmd, done: make(chan struct{})}
	go func() {
		p.err = cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

var (
	starterOnce sync.Once
	starts      chan func()
)

// startOnLastingThread starts cmd from an operating system thread that lives as long as this process. Linux sends
// the parent-death signal when the *thread* that forked ends, and Go ends a thread when a goroutine that locked it
// returns: without this, an innocent test could kill a broker.
func startOnLastingThread(cmd *exec.Cmd) error {
	starterOnce.Do(func() {
		starts = make(chan func())
		go func() {
			runtime.LockOSThread()
			for start := range starts {
				start()
			}
		}()
	})
	result := make(chan error, 1)
	starts <- func() { result <- cmd.Start() }
	return <-result
}

// PID is the process id, which is also the id of its process group.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Running says whether the process has not ended yet (a paused one is running).
func (p *Process) Running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// Err waits for the end of the process and says how it ended; nil is exit code 0.
func (p *Process) Err() error {
	<-p.done
	return p.err
}

// Signal sends sig to the whole group; a process that has ended already is not an error.
func (p *Process) Signal(sig syscall.Signal) error {
	if !p.Running() { // its id may belong to someone else by now
		return nil
	}
	err := syscall.Kill(-p.PID(), sig)
	if errors.Is(err, syscall.ESRCH) {
		return nil
	}
	return err
}

// Kill is kill −9, and waits until the process is gone. A paused process is killed too.
func (p *Process) Kill() {
	p.Signal(syscall.SIGKILL)
	<-p.done
}

// Pause stops the process where it stands, with its sockets open (SIGSTOP), and returns when it stands: the signal is
// delivered some time after it is sent, and until then threads go on answering.
func (p *Process) Pause() {
	p.Signal(syscall.SIGSTOP)
	for deadline := time.Now().Add(2 * time.Second); p.Running() && !stopped(p.PID()) && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
}

// Resume lets a paused process go on (SIGCONT).
func (p *Process) Resume() { p.Signal(syscall.SIGCONT) }

// Stop asks the process to end (SIGTERM), and kills it if it has not within the grace period. It says whether the
// process ended by itself.
func (p *Process) Stop(grace time.Duration) bool {
	p.Resume() // a stopped process does not see SIGTERM
	p.Signal(syscall.SIGTERM)
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-p.done:
		return true
	case <-timer.C:
		p.Kill()
		return false
	}
}
