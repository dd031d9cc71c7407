package raftstore

import (
	"net"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

// A leader that falls silent in the middle of a snapshot stops a follower for as long as is allowed, and not until TCP gives up.
func TestALeaderSilentInASnapshotStopsNobody(t *testing.T) {
	transport := func() (*Mux, *raft.NetworkTransport) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		m := NewMux(l, l.Addr().String(), TLS{})
		m.stall = 50 * time.Millisecond
		t.Cleanup(func() { m.Close() })
		nt := raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
			Stream: m.Group(1), MaxPool: 3, Timeout: 10 * time.Second, Logger: hclog.NewNullLogger()})
		t.Cleanup(func() { nt.Close() })
		return m, nt
	}
	_, follower := transport()
	_, leader := transport()
	members := raft.Configuration{Servers: []raft.Server{{ID: "follower", Address: follower.LocalAddr()}, {ID: "leader", Address: leader.LocalAddr()}}}
	conf := raft.DefaultConfig()
	conf.LocalID, conf.Logger = "follower", hclog.NewNullLogger()
	logs, snaps := raft.NewInmemStore(), raft.NewInmemSnapshotStore()
	if err := raft.BootstrapCluster(conf, logs, logs, snaps, follower, members); err != nil {
		t.Fatal(err)
	}
	r, err := raft.NewRaft(conf, &machine{}, logs, logs, snaps, follower)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Shutdown().Error() }()

	begun := make(chan raft.Observation, 1)
	r.RegisterObserver(raft.NewObserver(begun, false, func(o *raft.Observation) bool {
		l, ok := o.Data.(raft.LeaderObservation)
		return ok && l.LeaderID == "leader"
	}))
	silent, silence := net.Pipe() // from which nothing comes
	defer silent.Close()
	defer silence.Close()
	header := raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: []byte("leader"), Addr: leader.EncodePeer("leader", leader.LocalAddr())}
	installed := make(chan error, 1)
	go func() {
		installed <- leader.InstallSnapshot("follower", follower.LocalAddr(), &raft.InstallSnapshotRequest{RPCHeader: header, SnapshotVersion: raft.SnapshotVersionMax,
			Term: 7, LastLogIndex: 100, LastLogTerm: 7, Configuration: raft.EncodeConfiguration(members), ConfigurationIndex: 1, Size: 1 << 20}, &raft.InstallSnapshotResponse{}, silence)
	}()
	<-begun // from here on the main loop is in the snapshot
	var answer raft.RequestVoteResponse
	if err := leader.RequestVote("follower", follower.LocalAddr(), &raft.RequestVoteRequest{RPCHeader: header, Term: 8, LastLogIndex: 100, LastLogTerm: 7}, &answer); err != nil {
		t.Fatalf("the follower does not answer: %v", err)
	}
	silence.Close()
	if err := <-installed; err == nil {
		t.Error("a snapshot that never came was installed")
	}
}
