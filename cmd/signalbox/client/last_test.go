package client

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
)

// A node that was starting when a pipeline was applied through another one may answer again before it has heard of it:
// what follows must go where the pipeline went.
func TestTheNodeThatAnsweredIsAskedAgain(t *testing.T) {
	var ready bool
	var asked []string
	node := func(name string, up func() bool) string {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if !up() {
				http.Error(w, "starting", http.StatusServiceUnavailable)
				return
			}
			asked = append(asked, name)
			_, _ = io.WriteString(w, "{}")
		}))
		t.Cleanup(s.Close)
		return s.URL
	}
	c := New(node("late", func() bool { return ready }) + "," + node("early", func() bool { return true }))
	for range 2 {
		if _, err := c.Status(t.Context()); err != nil {
			t.Fatal(err)
		}
		ready = true
	}
	if len(asked) != 2 || asked[0] != "early" || asked[1] != "early" {
		t.Errorf("asked %v", asked)
	}
}
