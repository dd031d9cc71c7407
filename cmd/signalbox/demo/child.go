package demo

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// restartAfter is how long a killed node stays away, so that a person can see it missing.
const restartAfter = 3 * time.Second

// stopWithin is how long a child may take to stop cleanly before it is killed.
const stopWithin = 15 * time.Second

// child is a process of the demo that is started again when somebody kills it.
type child struct {
	name string
	args []string
	log  string

	mu       sync.Mutex
	cmd      *exec.Cmd
	restarts int
}

func newChild(name, dir string, args ...string) *child {
	return &child{name: name, args: args, log: filepath.Join(dir, name+".log")}
}

// run keeps the process alive until the context ends, then stops it.
func (c *child) run(ctx context.Context, events func(string)) error {
	// The death signal of a child belongs to the thread that started it: keep that thread.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for {
		done, err := c.start()
		if err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return c.stop(done)
		case err := <-done:
			events(fmt.Sprintf("%s ended (%v); it starts again in %s", c.name, err, restartAfter))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(restartAfter):
		}
		c.mu.Lock()
		c.restarts++
		c.mu.Unlock()
	}
}

// start begins the process; the channel yields once, when it ends.
func (c *child) start() (<-chan error, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	log, err := os.OpenFile(c.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close() // the child has its own descriptor
	cmd := exec.Command(self, c.args...)
	cmd.Stdout, cmd.Stderr = log, log
	// Ctrl-C in the terminal must reach only the demo, which stops its children in order;
	// and a demo that is killed must not leave them behind.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", c.name, err)
	}
	c.mu.Lock()
	c.cmd = cmd
	c.mu.Unlock()
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	return done, nil
}

func (c *child) stop(done <-chan error) error {
	if err := c.signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-done:
		return nil
	case <-time.After(stopWithin):
		if err := c.signal(syscall.SIGKILL); err != nil {
			return err
		}
		<-done
		return fmt.Errorf("%s did not stop within %s and was killed; its log is %s", c.name, stopWithin, c.log)
	}
}

func (c *child) signal(s syscall.Signal) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cmd.Process.Signal(s)
}

// pid returns the process id, and how often the process was started again.
func (c *child) pid() (pid, restarts int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cmd == nil {
		return 0, c.restarts
	}
	return c.cmd.Process.Pid, c.restarts
}

// kill ends the process at once, as a power cut would.
func (c *child) kill() error { return c.signal(syscall.SIGKILL) }
