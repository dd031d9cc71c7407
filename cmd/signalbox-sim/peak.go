package main

import (
	"os"
	"syscall"
)

// peakKiB is the greatest resident set of an ended process (Linux counts in KiB).
func peakKiB(s *os.ProcessState) int64 {
	if u, ok := s.SysUsage().(*syscall.Rusage); ok {
		return int64(u.Maxrss)
	}
	return 0
}
