// Package local runs the real programs on this machine, as child processes on
// loopback with real disks, for measurements: core nodes, an agent, a broker.
//
// It promises that nothing outlives the parent, that a stop is a clean one, and
// that the processor time it reports is that of the whole process. It refuses
// to know what is measured.
package local

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// stopWithin is how long a program may take to stop cleanly before it is killed.
const stopWithin = 20 * time.Second

// Process is one program.
type Process struct {
	Name string
	Log  string // file with what it wrote

	cmd  *exec.Cmd
	done chan struct{}
	err  error // set before done is closed
	once sync.Once
}

// Start runs a program with its output in dir/NAME.log.
func Start(dir, name, program string, args ...string) (*Process, error) {
	p := &Process{Name: name, Log: filepath.Join(dir, name+".log"), done: make(chan struct{})}
	log, err := os.Create(p.Log)
	if err != nil {
		return nil, err
	}
	p.cmd = exec.Command(program, args...)
	p.cmd.Stdout, p.cmd.Stderr = log, log
	// A measurement that is killed must not leave its programs behind, and ctrl-C is for the parent,
	// which stops them in order.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	go p.live(log, started)
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", program, err)
	}
	return p, nil
}

// live keeps its thread for the life of the process: the death signal belongs to the thread that started it.
func (p *Process) live(log *os.File, started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer log.Close()
	defer close(p.done)
	err := p.cmd.Start()
	started <- err
	if err == nil {
		p.err = p.cmd.Wait()
	}
}

// Pid is the process id.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Ended is closed when the process is gone.
func (p *Process) Ended() <-chan struct{} { return p.done }

// Failure says that the process ended although nobody asked it to, with the end of its log.
func (p *Process) Failure() error {
	text, err := os.ReadFile(p.Log)
	if err != nil {
		text = []byte(err.Error())
	}
	return fmt.Errorf("%s ended: %v\n%s", p.Name, p.err, text[max(0, len(text)-2000):])
}

// Stop ends the process cleanly, or kills it when that takes too long. It may be called again.
func (p *Process) Stop() (err error) {
	p.once.Do(func() {
		select {
		case <-p.done:
			err = p.Failure()
			return
		default:
		}
		if err = p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
			return
		}
		select {
		case <-p.done:
		case <-time.After(stopWithin):
			err = fmt.Errorf("%s did not stop within %s and was killed; its log is %s", p.Name, stopWithin, p.Log)
			_ = p.cmd.Process.Kill() // it may be gone by now
			<-p.done
		}
	})
	return err
}

// Usage is what a process took in its whole life; it is known after Stop.
type Usage struct {
	User, System time.Duration
}

// CPU is user and system time together.
func (u Usage) CPU() time.Duration { return u.User + u.System }

// Usage of a process that has ended.
func (p *Process) Usage() Usage {
	s := p.cmd.ProcessState
	return Usage{User: s.UserTime(), System: s.SystemTime()}
}

// FreeAddresses reserves n loopback ports for a moment and returns their addresses.
func FreeAddresses(n int) ([]string, error) {
	var held []net.Listener
	defer func() {
		for _, l := range held {
			l.Close()
		}
	}()
	var out []string
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		held = append(held, l)
		out = append(out, l.Addr().String())
	}
	return out, nil
}

// answers waits until a port takes connections.
func answers(ctx context.Context, p *Process, addr string) error {
	for {
		d := net.Dialer{Timeout: time.Second}
		c, err := d.DialContext(ctx, "tcp", addr)
		if err == nil {
			return c.Close()
		}
		select {
		case <-p.Ended():
			return p.Failure()
		case <-ctx.Done():
			return fmt.Errorf("%s does not answer on %s: %w", p.Name, addr, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
