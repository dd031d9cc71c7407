package mqtt

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/hooks/auth"
	"github.com/mochi-mqtt/server/v2/listeners"
)

// broker starts a broker on loopback; cut breaks all its connections but one client's.
func broker(t *testing.T) (addr string, cut func(keep string)) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := mochi.New(&mochi.Options{Logger: slog.New(slog.DiscardHandler)})
	if err := s.AddHook(new(auth.AllowHook), nil); err != nil {
		t.Fatal(err)
	}
	if err := s.AddListener(listeners.NewNet("t", ln)); err != nil {
		t.Fatal(err)
	}
	if err := s.Serve(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return "tcp://" + ln.Addr().String(), func(keep string) {
		for id, c := range s.Clients.GetAll() {
			if id != keep && c.Net.Conn != nil {
				c.Net.Conn.Close()
			}
		}
	}
}

func publisher(t *testing.T, addr string) func(topic, payload string) {
	c := paho.NewClient(paho.NewClientOptions().AddBroker(addr).SetClientID("publisher"))
	if tok := c.Connect(); !tok.WaitTimeout(5*time.Second) || tok.Error() != nil {
		t.Fatal(tok.Error())
	}
	t.Cleanup(func() { c.Disconnect(50) })
	return func(topic, payload string) {
		if tok := c.Publish(topic, 1, false, payload); !tok.WaitTimeout(5*time.Second) || tok.Error() != nil {
			t.Fatalf("publish: %v", tok.Error())
		}
	}
}

func start(t *testing.T, addr string, filters ...string) (*Source, func()) {
	cfg := DefaultConfig()
	cfg.Brokers, cfg.ClientID, cfg.MaxBackoff = []string{addr}, "agent", time.Second
	s, err := New(cfg, filters, time.Now, rand.New(rand.NewPCG(1, 2)))
	if err != nil {
		t.Fatal(err)
	}
	return s, run(t, s)
}

// run runs a source until stop.
func run(t *testing.T, s *Source) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := s.Run(ctx); err != nil {
			t.Errorf("run: %v", err)
		}
	})
	stop = sync.OnceFunc(func() { cancel(); wg.Wait() })
	t.Cleanup(stop)
	until(t, "connected", func() bool { return s.Stats().Connected })
	return stop
}

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); <-time.After(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: never came", what)
		}
	}
}

// take waits for n messages.
func take(t *testing.T, s *Source, n int) []Message {
	t.Helper()
	var out []Message
	until(t, fmt.Sprint(n, " messages"), func() bool {
		out = s.Take(out, n-len(out), 1<<20)
		return len(out) == n
	})
	return out
}

func texts(ms []Message) string {
	var s []string
	for _, m := range ms {
		s = append(s, m.Topic+"="+string(m.Payload))
	}
	return strings.Join(s, " ")
}

func TestRedeliveredMessagesAreDroppedAndAcknowledgedAnew(t *testing.T) {
	addr, cut := broker(t)
	s, stop := start(t, addr, "a/#", "b")
	publish := publisher(t, addr)
	for i := range 5 {
		publish("a/x", fmt.Sprint(i))
	}
	publish("b", "six")
	publish("c", "not ours")
	got := take(t, s, 6)
	if texts(got) != "a/x=0 a/x=1 a/x=2 a/x=3 a/x=4 b=six" {
		t.Fatal(texts(got))
	}
	s.Ack(got[:2])
	until(t, "acknowledged", func() bool { return s.Stats().Acked == 2 })
	cut("publisher")
	until(t, "connected again", func() bool { return s.Stats().Connects == 2 && s.Stats().Connected })
	until(t, "sent again", func() bool { return s.Stats().Redelivered >= 4 })
	s.Ack(got[2:]) // taken before the connection broke
	publish("a/x", "after")
	if after := take(t, s, 1); string(after[0].Payload) != "after" {
		t.Fatalf("%s", texts(after))
	} else {
		s.Ack(after)
	}
	stop()
	// A new process of the same client id gets nothing: the broker has every acknowledgement.
	again, _ := start(t, addr, "a/#", "b")
	publish("a/x", "last")
	if last := take(t, again, 1); string(last[0].Payload) != "last" {
		t.Fatalf("the broker still held %s", texts(last))
	}
}

func TestWhatWasNotAcknowledgedComesAgain(t *testing.T) {
	addr, _ := broker(t)
	s, stop := start(t, addr, "a")
	publish := publisher(t, addr)
	publish("a", "1")
	publish("a", "2")
	take(t, s, 2)
	stop()
	publish("a", "3") // while nobody is there: the session is persistent
	again, _ := start(t, addr, "a")
	got := map[string]bool{}
	for _, m := range take(t, again, 3) {
		got[string(m.Payload)] = true
	}
	if len(got) != 3 {
		t.Errorf("%v", got)
	}
}

func TestTakeIsBounded(t *testing.T) {
	s, err := New(DefaultConfig(), []string{"a"}, time.Now, rand.New(rand.NewPCG(1, 2)))
	if err != nil {
		t.Fatal(err)
	}
	for range 10 {
		s.queue = append(s.queue, Message{Payload: make([]byte, 100)})
		s.bytes += 100
	}
	if n := len(s.Take(nil, 3, 1000)); n != 3 {
		t.Errorf("%d messages, want 3", n)
	}
	m := s.Take(nil, 100, 250)
	if len(m) != 2 {
		t.Errorf("%d messages, want 2 of 100 bytes", len(m))
	}
	if n := len(s.Take(nil, 100, 10)); n != 1 {
		t.Errorf("%d messages, want the one that is too large alone", n)
	}
	s.Return(m)
	if n := len(s.Take(nil, 100, 1<<20)); n != 6 || s.bytes != 0 {
		t.Errorf("%d messages, %d bytes are left", n, s.bytes)
	}
}

func TestBadConfiguration(t *testing.T) {
	c := DefaultConfig()
	c.CertFile = "x"
	if c.Validate() == nil {
		t.Error("certificate without key")
	}
	c = DefaultConfig()
	c.CAFile = t.TempDir() + "/none.pem"
	s, err := New(c, []string{"a"}, time.Now, rand.New(rand.NewPCG(1, 2)))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Run(context.Background()); err == nil || !strings.Contains(err.Error(), "mqtt.ca_file") {
		t.Errorf("%v", err)
	}
}
