package corecmd

import (
	"errors"
	"math"
	"testing"
)

func TestMemoryIsWhatTheGroupAllows(t *testing.T) {
	const info = "/proc/meminfo"
	machine := "MemTotal:       16384 kB\nMemFree: 5 kB\n"
	for _, c := range []struct {
		files map[string]string
		want  int64
	}{
		{map[string]string{info: machine}, 16 << 20},
		{map[string]string{info: machine, "/sys/fs/cgroup/memory.max": "max\n"}, 16 << 20},
		{map[string]string{info: machine, "/sys/fs/cgroup/memory.max": "1048576\n"}, 1 << 20},
		{map[string]string{info: machine, "/sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n"}, 16 << 20},
		{map[string]string{info: "nonsense"}, math.MaxInt64},
		{nil, math.MaxInt64},
	} {
		got := memory(func(path string) ([]byte, error) {
			text, ok := c.files[path]
			if !ok {
				return nil, errors.New("not there")
			}
			return []byte(text), nil
		})
		if got != c.want {
			t.Errorf("%v: %d, want %d", c.files, got, c.want)
		}
	}
}
