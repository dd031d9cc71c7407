package api

import (
	"net/http/httptest"
	"testing"
)

// A page of another site cannot make a browser change anything here.
func TestForeignPagesMayNotChangeAnything(t *testing.T) {
	for _, c := range []struct {
		header, value string
		may           bool
	}{
		{"Accept", "x", true}, // not a browser
		{"Sec-Fetch-Site", "same-origin", true}, {"Sec-Fetch-Site", "none", true},
		{"Sec-Fetch-Site", "cross-site", false}, {"Sec-Fetch-Site", "same-site", false},
		{"Origin", "http://example.com", true}, // the host of the request
		{"Origin", "http://evil.test", false}, {"Origin", "null", false}, {"Origin", "http://example.com:81", false},
	} {
		r := httptest.NewRequest("POST", "http://example.com/v1/apply", nil)
		r.Header.Set(c.header, c.value)
		w := httptest.NewRecorder()
		if may := mayChange(w, r); may != c.may || !may && w.Code != 403 {
			t.Errorf("%s: %s: %v %d", c.header, c.value, may, w.Code)
		}
	}
}
