package mqtt

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"

	devservices "signalbox/deploy/dev"
	"signalbox/engine/alert"
	"signalbox/sinks"
)

// cuttingProxy forwards to the broker and cuts each connection after a random
// number of bytes in one of the directions: publications arrive whose
// acknowledgement does not, and publications are torn.
func cuttingProxy(t *testing.T, target string, seed uint64) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	rng := rand.New(rand.NewPCG(seed, 0))
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			broker, err := net.Dial("tcp", target)
			if err != nil {
				client.Close()
				continue
			}
			up, down := int64(1<<30), int64(1<<30)
			if rng.IntN(2) == 0 {
				down = 4 + rng.Int64N(400) // CONNACK has 4 bytes, as has each PUBACK
			} else {
				up = 100 + rng.Int64N(40_000)
			}
			cut := func(dst, src net.Conn, n int64) {
				io.CopyN(dst, src, n)
				client.Close()
				broker.Close()
			}
			go cut(broker, client, up)
			go cut(client, broker, down)
		}
	}()
	return "tcp://" + l.Addr().String()
}

// TestConnectionsBreakAnywhere: through connections that break all the time,
// every event arrives, and first arrivals are in order per alert.
func TestConnectionsBreakAnywhere(t *testing.T) {
	broker := devservices.Mosquitto(t)
	const seed, alerts, seqs = 7, 5, 200
	l := listen(t, broker.URL, "subscriber", "signalbox/event/#")
	s := openTest(t, Options{Brokers: []string{cuttingProxy(t, fmt.Sprintf("%s:%d", broker.Host, broker.Port), seed)},
		BackoffMin: time.Millisecond, BackoffMax: 5 * time.Millisecond, AckTimeout: 2 * time.Second, MaxTry: patience})
	for seq := uint64(1); seq <= seqs; seq += 4 {
		var batches []sinks.Batch
		for n := seq; n < seq+4; n++ {
			b := sinks.Batch{Index: n}
			for a := range alerts {
				b.Alerts = append(b.Alerts, firing(fmt.Sprint(a), n))
			}
			batches = append(batches, b)
		}
		if err := s.Write(t.Context(), batches, seq+3); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
	newest := map[string]uint64{}
	messages := l.until(t, "every last event", func(got []paho.Message) bool {
		clear(newest)
		for _, m := range got {
			var p AlertPayload
			if json.Unmarshal(m.Payload(), &p) == nil {
				newest[p.ID] = max(newest[p.ID], p.Seq)
			}
		}
		for a := range alerts {
			if newest[fmt.Sprint(a)] < seqs {
				return false
			}
		}
		return true
	})
	inOrder(t, messages, alerts*seqs)
	if st := s.Stats(); st.Disconnects < 10 || st.Published != 2*alerts*seqs-uint64(alerts*seqs*3/4) {
		t.Errorf("seed %d: %+v: connections must have broken, and each message counts once (of four states the newest)", seed, st)
	}
}

// inOrder checks that what a consumer keeps, by the rule of the payload (drop what is not above
// the highest sequence), is every event of every alert, one after the other.
func inOrder(t *testing.T, messages []paho.Message, want int) {
	t.Helper()
	highest, kept := map[string]uint64{}, 0
	for _, m := range messages {
		var p AlertPayload
		if err := json.Unmarshal(m.Payload(), &p); err != nil {
			t.Fatal(err)
		}
		switch {
		case p.Seq <= highest[p.ID]: // a repetition
		case p.Seq == highest[p.ID]+1:
			highest[p.ID]++
			kept++
		default:
			t.Fatalf("alert %s: sequence %d comes after %d", p.ID, p.Seq, highest[p.ID])
		}
		if want := alert.Firing; p.Seq%2 == 1 && p.State != want {
			t.Fatalf("alert %s: sequence %d is %s", p.ID, p.Seq, p.State)
		}
	}
	if kept != want {
		t.Errorf("%d events arrived, want %d", kept, want)
	}
}
