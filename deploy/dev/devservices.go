// Package devservices starts real servers for tests: mosquitto and Cassandra,
// on loopback addresses and ports of their own, so that tests run beside each other.
//
// It promises that a server ends with its test, even when the test process is
// killed, and that a missing server is told loudly: the test is skipped on a
// developer's machine and fails where CI=true. It refuses to stand in for a
// server: nothing here is a fake.
package devservices

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Require skips or fails the test because something it needs is not there.
func Require(t testing.TB, what string, err error) {
	t.Helper()
	if err == nil {
		return
	}
	text := fmt.Sprintf("NOT TESTED: %s is not there (%v). Run deploy/dev/install.sh.", what, err)
	if os.Getenv("CI") == "true" {
		t.Fatal(text)
	}
	fmt.Fprintf(os.Stderr, "\n*** %s: %s ***\n\n", t.Name(), text)
	t.Skip(text)
}

// scripts is the folder deploy/dev, found from where this file was compiled, or
// from the working directory up when the binary was moved.
func scripts() (string, error) {
	if _, file, _, ok := runtime.Caller(0); ok {
		if dir := filepath.Dir(file); exists(filepath.Join(dir, "install.sh")) {
			return dir, nil
		}
	}
	dir, err := os.Getwd()
	for err == nil && dir != filepath.Dir(dir) {
		if d := filepath.Join(dir, "deploy", "dev"); exists(filepath.Join(d, "install.sh")) {
			return d, nil
		}
		dir = filepath.Dir(dir)
	}
	return "", errors.New("folder deploy/dev with its scripts not found")
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// server is one process that can be killed and started again on the same data.
type server struct {
	t        testing.TB
	command  func() *exec.Cmd
	addr     string
	patience time.Duration
	logs     []string

	mu    sync.Mutex
	cmd   *exec.Cmd
	guard io.WriteCloser
	gone  chan struct{} // closed when the process has ended
}

// Start starts the server and waits until it accepts connections.
func (s *server) Start() {
	s.t.Helper()
	if err := s.start(); err != nil {
		s.t.Fatal(err)
	}
	if err := s.Wait(); err != nil {
		s.t.Fatal(err)
	}
}

func (s *server) start() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	cmd := s.command()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // ctrl-C is for the test, which then ends the server
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	guard, err := guardOf(cmd.Process.Pid)
	if err != nil {
		cmd.Process.Kill()
		cmd.Wait()
		return err
	}
	gone := make(chan struct{})
	go func() { cmd.Wait(); close(gone) }()
	s.cmd, s.guard, s.gone = cmd, guard, gone
	return nil
}

// guardOf starts a shell that kills pid when this process is no more: the pipe
// it reads from is closed by the kernel then. A line on the pipe dismisses it.
func guardOf(pid int) (io.WriteCloser, error) {
	guard := exec.Command("sh", "-c", `read -r line || kill -9 "$0"`, strconv.Itoa(pid))
	guard.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	in, err := guard.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := guard.Start(); err != nil {
		return nil, fmt.Errorf("start the guard: %w", err)
	}
	go guard.Wait()
	return in, nil
}

// Wait waits until the server accepts connections.
func (s *server) Wait() error {
	s.mu.Lock()
	gone := s.gone
	s.mu.Unlock()
	end := time.After(s.patience)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if c, err := net.DialTimeout("tcp", s.addr, time.Second); err == nil {
			return c.Close()
		}
		select {
		case <-gone:
			return fmt.Errorf("the server on %s ended by itself:\n%s", s.addr, s.Log())
		case <-end:
			return fmt.Errorf("the server on %s does not answer after %s:\n%s", s.addr, s.patience, s.Log())
		case <-tick.C:
		}
	}
}

// Kill ends the server as kill -9 does.
func (s *server) Kill() { s.signal(syscall.SIGKILL) }

// Stop asks the server to end and waits for it.
func (s *server) Stop() { s.signal(syscall.SIGTERM) }

// Pause stops the process without ending it, as a hung machine would; Resume continues it.
func (s *server) Pause() { s.cmd.Process.Signal(syscall.SIGSTOP) }

// Resume continues a paused process.
func (s *server) Resume() { s.cmd.Process.Signal(syscall.SIGCONT) }

func (s *server) signal(sig syscall.Signal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd == nil {
		return
	}
	s.cmd.Process.Signal(sig)
	select {
	case <-s.gone:
	case <-time.After(s.patience):
		s.cmd.Process.Kill()
		<-s.gone
	}
	io.WriteString(s.guard, "done\n")
	s.guard.Close()
	s.cmd = nil
}

// Log returns the last lines that the server wrote.
func (s *server) Log() string {
	var b strings.Builder
	for _, path := range s.logs {
		text, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		lines := strings.Split(strings.TrimSpace(string(text)), "\n")
		fmt.Fprintf(&b, "--- %s\n%s\n", filepath.Base(path), strings.Join(lines[max(0, len(lines)-15):], "\n"))
	}
	return b.String()
}
