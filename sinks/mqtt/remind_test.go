package mqtt

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	paho "github.com/eclipse/paho.mqtt.golang"

	devservices "signalbox/deploy/dev"
	"signalbox/engine/alert"
	"signalbox/sinks"
)

// A broker that forgot its retained messages, or shows one of long ago, is shown the newest states again; nobody is told an event.
func TestABrokerThatForgotIsReminded(t *testing.T) {
	broker := devservices.Mosquitto(t)
	s := openTest(t, Options{Brokers: []string{broker.URL}})
	if err := s.Write(t.Context(), []sinks.Batch{{Index: 1, Alerts: []alert.Transition{firing("7", 1), firing("8", 1)}}}, 1); err != nil {
		t.Fatal(err)
	}
	before := retained(t, broker.URL, "signalbox/state")
	broker.Kill()
	if err := os.RemoveAll(filepath.Join(broker.Dir, "data")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(broker.Dir, "data"), 0o700); err != nil {
		t.Fatal(err)
	}
	broker.Start()
	if left := retained(t, broker.URL, "signalbox/state"); len(left) != 0 {
		t.Fatalf("the broker remembers %s: this tests nothing", left)
	}
	events := listen(t, broker.URL, "subscriber", "signalbox/event/#")
	x := firing("7", 1)
	state := alert.Active{ID: x.ID, Group: x.Group, Rule: x.Rule, State: x.To, Episode: x.Episode, Since: x.At, Seq: x.Seq, Value: x.Value, Labels: x.Labels, Annotations: x.Annotations}
	pending := state
	pending.ID, pending.State = "9", alert.Pending
	for range 2 {
		if err := s.Remind(t.Context(), []alert.Active{state, pending}); err != nil {
			t.Fatal(err)
		}
	}
	after := retained(t, broker.URL, "signalbox/state")
	if len(after) != 1 {
		t.Fatalf("shown: %s", after)
	}
	for topic, text := range after {
		var was, is AlertPayload
		if err := json.Unmarshal(before[topic], &was); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(text, &is); err != nil {
			t.Fatal(err)
		}
		was.From = is.From
		if a, b := mustJSON(t, was), mustJSON(t, is); a != b || is.From != is.State {
			t.Errorf("shown again as %s, was %s", b, a)
		}
	}
	// An event that follows is the first that the subscriber gets.
	if err := s.Write(t.Context(), []sinks.Batch{{Index: 2, Alerts: []alert.Transition{firing("7", 2)}}}, 2); err != nil {
		t.Fatal(err)
	}
	got := events.until(t, "the event", func(ms []paho.Message) bool { return len(ms) > 0 })
	var first AlertPayload
	if err := json.Unmarshal(got[0].Payload(), &first); err != nil || first.Seq != 2 {
		t.Errorf("the first event is %s, %v", got[0].Payload(), err)
	}
}

func mustJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
