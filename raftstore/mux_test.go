package raftstore

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"
)

// Connections beyond the bound are closed at once and counted, and those that end make room.
func TestOpenConnectionsAreBounded(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m := NewMux(l, l.Addr().String(), TLS{})
	m.maxOpen = 3
	defer m.Close()
	dial := func() (server, client net.Conn) {
		// Asked before dialling: the mux counts the new connection whenever it comes to it.
		full, before := m.open.Load() >= m.maxOpen, m.Refused()
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write([]byte("GET")); err != nil {
			t.Fatal(err)
		}
		_ = c.SetReadDeadline(time.Now().Add(time.Minute))
		accepted := make(chan net.Conn, 1)
		stop := make(chan struct{})
		go func() {
			select {
			case s := <-m.http.conns:
				accepted <- s
			case <-stop:
				close(accepted)
			}
		}()
		if full { // it will be closed
			if n, err := c.Read(make([]byte, 1)); n != 0 || err == nil || m.Refused() != before+1 {
				t.Errorf("one too many: read %d bytes, %v, %d refused", n, err, m.Refused()-before)
			}
			close(stop)
		}
		return <-accepted, c
	}
	var open []net.Conn
	for range 3 {
		s, c := dial()
		defer c.Close()
		open = append(open, s)
	}
	_, c := dial()
	_ = c.Close()
	_ = open[0].Close()
	_ = open[0].Close() // twice is once
	s, c := dial()
	defer c.Close()
	if s == nil {
		t.Fatal("no room after one ended")
	}
	if b, err := io.ReadAll(io.LimitReader(s, 3)); string(b) != "GET" || err != nil {
		t.Errorf("read %q, %v", b, err)
	}
}

// Connections that say nothing must not keep out those that do: the oldest of them goes.
func TestSilentConnectionsKeepNobodyOut(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m := NewMux(l, l.Addr().String(), TLS{})
	defer m.Close()
	var silent []net.Conn
	for range MaxHandshakes + 10 {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		silent = append(silent, c)
	}
	for _, c := range silent[:10] {
		_ = c.SetReadDeadline(time.Now().Add(time.Minute))
		if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("the oldest are not closed: %v", err)
		}
	}
	c, err := m.DialPeer(t.Context(), l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, "hello"); err != nil {
		t.Fatal(err)
	}
	s, err := m.Peer().Accept()
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(io.LimitReader(s, 5)); string(b) != "hello" || err != nil {
		t.Errorf("read %q, %v", b, err)
	}
	if n := m.Refused(); n < 10 {
		t.Errorf("%d refused are counted", n)
	}
}
