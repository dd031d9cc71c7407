package raftstore

import (
	"errors"
	"net"
	"os"
	"sync/atomic"
	"time"
)

// StallTimeout bounds the silence of a peer within a request. The Raft library
// receives a snapshot in its main loop and without a deadline: a leader that is
// cut off or frozen in the middle of one would stop a follower, and with it the
// majority, until TCP gives up after minutes.
const StallTimeout = 5 * time.Second

// steadyConn is the accepting side of a Raft connection: silent between
// requests for as long as the peer likes, but not within one.
type steadyConn struct {
	net.Conn
	stall  time.Duration
	midway atomic.Bool // something arrived since the last answer
}

func (c *steadyConn) Read(p []byte) (int, error) {
	var end time.Time
	if c.midway.Load() {
		end = time.Now().Add(c.stall)
	}
	if err := c.SetReadDeadline(end); err != nil {
		return 0, err
	}
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.midway.Store(true)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		_ = c.Close() // whatever still wants the rest of the request gets an error at once
	}
	return n, err
}

func (c *steadyConn) Write(p []byte) (int, error) {
	c.midway.Store(false)
	return c.Conn.Write(p)
}
