package corecmd

import (
	"math"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
)

// memoryShare of the machine's memory, or of what its control group may use, is where the collector begins to work harder
// instead of letting the heap double: many keys must not end the process while half of the memory is garbage.
const memoryShare = 0.8

// limitMemory tells the collector how much memory there is. GOMEMLIMIT, which Go itself reads, wins.
func limitMemory() {
	if os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	if n := memory(os.ReadFile); n < math.MaxInt64 {
		debug.SetMemoryLimit(int64(memoryShare * float64(n)))
	}
}

// memory is the least of what the machine has and what its control group allows, MaxInt64 when nothing says.
func memory(read func(string) ([]byte, error)) int64 {
	least := int64(math.MaxInt64)
	for path, unit := range map[string]int64{"/sys/fs/cgroup/memory.max": 1, "/sys/fs/cgroup/memory/memory.limit_in_bytes": 1, "/proc/meminfo": 1 << 10} {
		text, err := read(path)
		if err != nil {
			continue
		}
		first, _, _ := strings.Cut(strings.TrimPrefix(string(text), "MemTotal:"), "\n")
		word, _, _ := strings.Cut(strings.TrimSpace(first), " ")
		if n, err := strconv.ParseInt(word, 10, 64); err == nil && n > 0 && n < math.MaxInt64/unit { // "max" is no limit
			least = min(least, n*unit)
		}
	}
	return least
}
