package demo

import (
	"io"
	"strings"
	"testing"
)

func TestItSaysWhatIsWrongWithItsFolder(t *testing.T) {
	for _, dir := range []string{"/proc/nothing", "/dev/null"} {
		err := Run(t.Context(), Options{Dir: dir, Out: io.Discard, Headless: true})
		if err == nil || !strings.Contains(err.Error(), "--data") {
			t.Errorf("%s: %v", dir, err)
		}
	}
}
