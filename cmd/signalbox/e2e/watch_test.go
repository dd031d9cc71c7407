package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"

	sinkmqtt "signalbox/sinks/mqtt"
)

// watcher is a subscriber of alert topics, as an operator's own program would be.
type watcher struct {
	mu       sync.Mutex
	messages []message
}

type message struct {
	topic    string
	payload  []byte
	retained bool
}

func watch(t testing.TB, broker, id, filter string) *watcher {
	t.Helper()
	w := &watcher{}
	opt := paho.NewClientOptions().AddBroker(broker).SetClientID(id).SetCleanSession(false).SetResumeSubs(true)
	c := paho.NewClient(opt)
	await(t, c.Connect())
	t.Cleanup(func() { c.Disconnect(100) })
	await(t, c.Subscribe(filter, 1, func(_ paho.Client, m paho.Message) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.messages = append(w.messages, message{m.Topic(), bytes.Clone(m.Payload()), m.Retained()})
	}))
	return w
}

func await(t testing.TB, token paho.Token) {
	t.Helper()
	if !token.WaitTimeout(30 * time.Second) {
		t.Fatal("the broker does not answer")
	}
	if token.Error() != nil {
		t.Fatal(token.Error())
	}
}

func (w *watcher) all() []message {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]message(nil), w.messages...)
}

// transitions returns each transition once. It is an error when a repetition says something else.
func (w *watcher) transitions() (map[string]sinkmqtt.AlertPayload, error) {
	out, texts := map[string]sinkmqtt.AlertPayload{}, map[string]string{}
	for _, m := range w.all() {
		var a sinkmqtt.AlertPayload
		if err := json.Unmarshal(m.payload, &a); err != nil {
			return nil, fmt.Errorf("%s: %w", m.topic, err)
		}
		if !strings.HasSuffix(m.topic, "/"+a.Group+"/"+a.Rule+"/"+a.ID) {
			return nil, fmt.Errorf("alert %s came on topic %s", a.ID, m.topic)
		}
		k := fmt.Sprintf("%s %s %s %d", a.ID, a.Episode, a.State, a.Seq)
		if old, ok := texts[k]; ok && old != string(m.payload) {
			return nil, fmt.Errorf("the same transition with two payloads:\n%s\n%s", old, m.payload)
		}
		out[k], texts[k] = a, string(m.payload)
	}
	return out, nil
}
