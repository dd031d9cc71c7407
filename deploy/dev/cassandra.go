package devservices

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// CassandraPort is the CQL port of every node; nodes differ by address.
const CassandraPort = 9042

// CassandraHeap is enough for tests and little enough to run beside others.
const CassandraHeap = "256m"

// CassandraNode is a running single-node Cassandra. It takes 5 to 10 s to
// start: share it among the subtests of one test. It acknowledges a write when
// the write is on disk, so that a test may kill it and look for every row.
type CassandraNode struct {
	server
	Host string // a loopback address of its own
	Dir  string
}

// Cassandra starts a node that lives as long as the test. The jars are fetched
// into a cache the first time.
func Cassandra(t testing.TB) *CassandraNode {
	t.Helper()
	dir, err := scripts()
	Require(t, "deploy/dev", err)
	Require(t, "Java for Cassandra", found("java", "bash"))
	out, err := exec.Command(filepath.Join(dir, "cassandra", "fetch.sh")).CombinedOutput()
	if err != nil {
		Require(t, "Cassandra", fmt.Errorf("%w: %s", err, strings.TrimSpace(string(out))))
	}
	host, err := freeAddress()
	if err != nil {
		t.Fatal(err)
	}
	n := &CassandraNode{Host: host, Dir: t.TempDir()}
	n.server = server{t: t, addr: fmt.Sprintf("%s:%d", host, CassandraPort), patience: 3 * time.Minute,
		logs: []string{filepath.Join(n.Dir, "logs", "stdout.log"), filepath.Join(n.Dir, "logs", "system.log")},
		command: func() *exec.Cmd {
			cmd := exec.Command("bash", filepath.Join(dir, "cassandra", "node.sh"), "run", n.Dir, host, CassandraHeap)
			cmd.Env = append(os.Environ(), "COMMITLOG_SYNC=batch") // acknowledged = on disk: there is no second replica
			return cmd
		}}
	t.Cleanup(n.Kill)
	n.Start()
	return n
}

// freeAddress finds a loopback address on which both ports of a node are free.
func freeAddress() (string, error) {
	var last error
	for range 50 {
		host := fmt.Sprintf("127.%d.%d.%d", 64+rand.IntN(128), rand.IntN(256), 1+rand.IntN(254))
		if last = bothFree(host); last == nil {
			return host, nil
		}
	}
	return "", fmt.Errorf("no free loopback address for Cassandra (some systems know 127.0.0.1 only): %w", last)
}

func bothFree(host string) error {
	for _, port := range []int{CassandraPort, 7000} {
		l, err := net.Listen("tcp", fmt.Sprintf("%s:%d", host, port))
		if err != nil {
			return err
		}
		l.Close()
	}
	return nil
}
