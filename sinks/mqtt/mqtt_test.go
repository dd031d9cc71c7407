package mqtt

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"

	devservices "signalbox/deploy/dev"
	"signalbox/engine/alert"
	"signalbox/engine/column"
	"signalbox/sinks"
	"signalbox/sinks/sinktest"
)

// patience is how long a condition may take before the test says so.
const patience = 60 * time.Second

// listener collects what subscribers get.
type listener struct {
	client paho.Client
	mu     sync.Mutex
	got    []paho.Message
	more   chan struct{}
}

func listen(t testing.TB, url, id, filter string) *listener {
	t.Helper()
	l := &listener{more: make(chan struct{}, 1)}
	o := paho.NewClientOptions().AddBroker(url).SetClientID(id).SetCleanSession(true).SetAutoReconnect(false)
	l.client = paho.NewClient(o)
	await(t, l.client.Connect())
	await(t, l.client.Subscribe(filter, 1, func(_ paho.Client, m paho.Message) {
		l.mu.Lock()
		l.got = append(l.got, m)
		l.mu.Unlock()
		select {
		case l.more <- struct{}{}:
		default:
		}
	}))
	t.Cleanup(func() { l.client.Disconnect(0) })
	return l
}

func await(t testing.TB, token paho.Token) {
	t.Helper()
	if !token.WaitTimeout(patience) || token.Error() != nil {
		t.Fatalf("mqtt: %v", token.Error())
	}
}

// until waits until the messages so far satisfy done.
func (l *listener) until(t testing.TB, what string, done func([]paho.Message) bool) []paho.Message {
	t.Helper()
	end := time.After(patience)
	for {
		l.mu.Lock()
		got := append([]paho.Message(nil), l.got...)
		l.mu.Unlock()
		if done(got) {
			return got
		}
		select {
		case <-l.more:
		case <-end:
			t.Fatalf("%s: not seen among %d messages", what, len(got))
		}
	}
}

// retained asks the broker for all retained messages below a topic. A marker
// published by the same client after the subscription tells that all have come.
func retained(t testing.TB, url, prefix string) map[string][]byte {
	t.Helper()
	l := listen(t, url, "retained-reader", prefix+"/#")
	await(t, l.client.Publish(prefix+"/marker", 1, false, "end"))
	got := l.until(t, "marker", func(ms []paho.Message) bool {
		return len(ms) > 0 && ms[len(ms)-1].Topic() == prefix+"/marker"
	})
	l.client.Disconnect(0)
	out := map[string][]byte{}
	for _, m := range got {
		if m.Retained() {
			out[m.Topic()] = m.Payload()
		}
	}
	return out
}

func openTest(t testing.TB, o Options) *Sink {
	t.Helper()
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestContract(t *testing.T) {
	broker := devservices.Mosquitto(t)
	n := 0
	sinktest.Run(t, func(t *testing.T) sinktest.Target {
		n++
		prefix := fmt.Sprintf("test%d", n)
		return sinktest.Target{
			Open: func() (sinks.Sink, error) {
				return Open(Options{Brokers: []string{broker.URL}, Prefix: prefix, ClientID: prefix})
			},
			Alerts: func() (map[string]sinktest.Alert, error) {
				out := map[string]sinktest.Alert{}
				for topic, payload := range retained(t, broker.URL, prefix) {
					var p AlertPayload
					if err := json.Unmarshal(payload, &p); err != nil {
						return nil, fmt.Errorf("%s: %w", topic, err)
					}
					out[p.ID] = sinktest.Alert{Seq: p.Seq, State: p.State, Label: p.Labels.Get("bus_id")}
				}
				return out, nil
			},
		}
	})
}

func firing(id string, seq uint64) alert.Transition {
	tr := alert.Transition{ID: id, Seq: seq, Episode: 1_000_000, At: 2_000_000, Group: "buses", Rule: "AtCapacity", From: alert.Inactive, To: alert.Firing,
		Value: "80", Labels: []alert.Label{{Name: "bus_id", Value: id}}}
	if seq%2 == 0 {
		tr.From, tr.To = alert.Firing, alert.Resolved
	}
	return tr
}

func TestPayloadIsThePublishedFormat(t *testing.T) {
	got, err := alertPayload(&alert.Transition{ID: "ab12", Episode: 1_767_225_600_000_001, Seq: 3, Group: "g", Rule: "r", From: alert.Pending, To: alert.Firing,
		At: 1_767_225_601_000_000, Value: "81", Labels: []alert.Label{{Name: "bus_id", Value: "7"}, {Name: "severity", Value: "page"}}})
	want := `{"v":1,"id":"ab12","episode":"2026-01-01T00:00:00.000001Z","seq":3,"group":"g","rule":"r","from":"pending","state":"firing",` +
		`"at":"2026-01-01T00:00:01.000000Z","value":"81","labels":{"bus_id":"7","severity":"page"},"annotations":{},"historical":false}`
	if err != nil || string(got) != want {
		t.Errorf("payload, %v\n got %s\nwant %s", err, got, want)
	}
}

func TestTopicLevelsAreEscaped(t *testing.T) {
	got := Topic("signalbox", "state", "a/b", "+#%", "", "$SYS", "läuft", strings.Repeat("x", 5000))
	want := "signalbox/state/a%2Fb/%2B%23%25/%00/%24SYS/läuft/" + strings.Repeat("x", maxLevel)
	if got != want {
		t.Errorf("got  %.100s\nwant %.100s", got, want)
	}
}

func TestOnlyWhatIsAskedForIsTold(t *testing.T) {
	s := openTest(t, Options{Brokers: []string{"tcp://127.0.0.1:1"}})
	cases := []struct {
		from, to alert.State
		want     bool
	}{
		{alert.Inactive, alert.Pending, false}, {alert.Pending, alert.Inactive, false}, {alert.Pending, alert.Firing, true},
		{alert.Firing, alert.Resolved, true}, {alert.Firing, alert.NoData, true}, {alert.NoData, alert.Inactive, true}, {alert.Resolved, alert.Pending, false},
	}
	for _, c := range cases {
		if got := s.selects(&alert.Transition{From: c.from, To: c.to}); got != c.want {
			t.Errorf("%s to %s: told %v, want %v", c.from, c.to, got, c.want)
		}
	}
}

// TestBrokerDiesWhilePublishing kills the broker twice in the middle: the sink
// recovers by itself and ends with exactly one counted acknowledgement for each
// message. (What a killed broker forgets of what it acknowledged is its own affair.)
func TestBrokerDiesWhilePublishing(t *testing.T) {
	broker := devservices.Mosquitto(t)
	s := openTest(t, Options{Brokers: []string{broker.URL}, AckTimeout: 2 * time.Second, BackoffMax: 200 * time.Millisecond, MaxTry: patience})
	const alertsPerWrite, writes = 50, 40
	written, killed := make(chan int, writes), make(chan struct{})
	go func() {
		defer close(killed)
		for n := range written {
			if n == 10 || n == 25 {
				broker.Kill()
				broker.Start()
			}
		}
	}()
	for n := range writes {
		var list []alert.Transition
		for a := range alertsPerWrite {
			list = append(list, firing(fmt.Sprint(a), uint64(n+1)))
		}
		if err := s.Write(t.Context(), []sinks.Batch{{Index: uint64(n + 1), Alerts: list}}, uint64(n+1)); err != nil {
			t.Fatal(err)
		}
		written <- n
	}
	close(written)
	<-killed
	if err := s.Write(t.Context(), []sinks.Batch{{Index: writes + 1, Alerts: []alert.Transition{firing("last", 1)}}}, writes+1); err != nil {
		t.Fatal(err)
	}
	if st := s.Stats(); st.Connects < 2 || st.Published != 2*(writes*alertsPerWrite+1) {
		t.Errorf("the broker was killed twice, but the counters say %+v", st)
	}
}

func TestEventsArriveInOrderAndStateIsTheNewest(t *testing.T) {
	broker := devservices.Mosquitto(t)
	l := listen(t, broker.URL, "subscriber", "signalbox/event/#")
	s := openTest(t, Options{Brokers: []string{broker.URL}})
	const n = 300
	var list []alert.Transition
	for seq := uint64(1); seq <= n; seq++ {
		list = append(list, firing("7", seq))
	}
	if err := s.Write(t.Context(), []sinks.Batch{{Index: 1, Alerts: list}}, 1); err != nil {
		t.Fatal(err)
	}
	got := l.until(t, "all events", func(ms []paho.Message) bool { return len(ms) >= n })
	for i, m := range got {
		var p AlertPayload
		if err := json.Unmarshal(m.Payload(), &p); err != nil || p.Seq != uint64(i+1) {
			t.Fatalf("event %d has sequence %d, %v", i+1, p.Seq, err)
		}
	}
	state := retained(t, broker.URL, "signalbox/state")
	if len(state) != 1 || !strings.Contains(string(state["signalbox/state/buses/AtCapacity/7"]), `"seq":300,`) {
		t.Errorf("retained state is %s", state)
	}
}

// TestTakeOver: a second sink with the same client id, as a new leader has,
// throws the first out, and the first does not come back by itself.
func TestTakeOver(t *testing.T) {
	broker := devservices.Mosquitto(t)
	o := Options{Brokers: []string{broker.URL}, ClientID: "cluster-alerts"}
	stale, leader := openTest(t, o), openTest(t, o)
	write := func(s *Sink, seq uint64) {
		t.Helper()
		if err := s.Write(t.Context(), []sinks.Batch{{Index: seq, Alerts: []alert.Transition{firing("7", seq)}}}, seq); err != nil {
			t.Fatal(err)
		}
	}
	write(stale, 1)
	write(leader, 1)
	select {
	case <-stale.conn.lost:
	case <-time.After(patience):
		t.Fatal("the stale leader is still connected")
	}
	write(leader, 2)
	if st := leader.Stats(); st.Connects != 1 || st.Disconnects != 0 {
		t.Errorf("the leader was disturbed: %+v", st)
	}
}

func TestAbsentBrokerGivesAnErrorThatCanBeRetried(t *testing.T) {
	s := openTest(t, Options{Brokers: []string{fmt.Sprintf("tcp://127.0.0.1:%d", devservices.FreePort(t))}, MaxTry: time.Millisecond})
	err := s.Write(t.Context(), []sinks.Batch{{Index: 1, Alerts: []alert.Transition{firing("7", 1)}}}, 1)
	if err == nil || errors.Is(err, sinks.ErrPermanent) {
		t.Fatalf("got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Write(ctx, []sinks.Batch{{Index: 1, Alerts: []alert.Transition{firing("7", 1)}}}, 1); err == nil {
		t.Error("a cancelled write succeeded")
	}
}

func TestRowsOfChosenTables(t *testing.T) {
	broker := devservices.Mosquitto(t)
	s := openTest(t, Options{Brokers: []string{broker.URL}, Tables: []string{"bus_now"}})
	schema := &column.Schema{Name: "bus_now", Fields: []column.Field{{Name: "bus_id", Type: column.Of(column.String)}, {Name: "n", Type: column.Of(column.BigInt)}}}
	make_ := func(index uint64, bus string, n int64, deleted bool) sinks.Batch {
		b := sinks.Batch{Index: index, Table: sinks.Table{Name: "bus_now", Schema: schema, Key: []string{"bus_id"}, Entity: []string{"bus_id"}},
			Rows: column.NewBatch(schema, 1), IDs: make([][16]byte, 1), Revisions: []uint32{uint32(index)}, Deleted: []bool{deleted}}
		b.Rows.AppendRow(column.Str(bus), column.I64(n))
		return b
	}
	other := make_(1, "x", 1, false)
	other.Table.Name = "other"
	if err := s.Write(t.Context(), []sinks.Batch{make_(1, "a/1", 5, false), make_(2, "a/1", 9007199254740993, false), make_(2, "b", 1, false), other}, 2); err != nil {
		t.Fatal(err)
	}
	if err := s.Write(t.Context(), []sinks.Batch{make_(3, "b", 0, true)}, 3); err != nil {
		t.Fatal(err)
	}
	got := retained(t, broker.URL, "signalbox/table")
	want := `{"v":1,"table":"bus_now","id":"00000000000000000000000000000000","revision":2,"index":2,"row":{"bus_id":"a/1","n":9007199254740993}}`
	if len(got) != 1 || string(got["signalbox/table/bus_now/a%2F1"]) != want {
		t.Errorf("retained rows are %s\nwant %s", got, want)
	}
}
