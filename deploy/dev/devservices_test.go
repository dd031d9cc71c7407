package devservices

import (
	"net"
	"testing"
)

func answers(addr string) bool {
	c, err := net.Dial("tcp", addr)
	if err == nil {
		c.Close()
	}
	return err == nil
}

func TestBrokersRunBesideEachOtherAndComeBack(t *testing.T) {
	a, b := Mosquitto(t), Mosquitto(t)
	if a.Port == b.Port {
		t.Fatal("both on the same port")
	}
	a.Kill()
	if answers(a.addr) {
		t.Error("a killed broker answers")
	}
	if !answers(b.addr) {
		t.Error("the other broker went with it")
	}
	a.Start()
	a.Stop()
	if answers(a.addr) {
		t.Error("a stopped broker answers")
	}
}

func TestCassandraStartsAndIsKilled(t *testing.T) {
	n := Cassandra(t)
	n.Kill()
	if answers(n.addr) {
		t.Error("a killed node answers")
	}
}
