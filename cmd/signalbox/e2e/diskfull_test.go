package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	devservices "signalbox/deploy/dev"
)

// smallDisk mounts a file system of its own at dir, and returns how to fill it and how to make room again.
func smallDisk(t *testing.T, dir string, megabytes int) (fill, free func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		notTested(t, "a full disk needs root, to mount a small one")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", fmt.Sprintf("size=%dm", megabytes), "tmpfs", dir).CombinedOutput(); err != nil {
		notTested(t, "no small disk can be mounted here: %v: %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", "-l", dir).CombinedOutput(); err != nil {
			t.Errorf("umount %s: %v: %s", dir, err, out)
		}
	})
	ballast := filepath.Join(dir, "ballast")
	fill = func() {
		t.Helper()
		f, err := os.Create(ballast)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		for piece := make([]byte, 4096); err == nil; {
			_, err = f.Write(piece)
		}
	}
	free = func() {
		t.Helper()
		if err := os.Remove(ballast); err != nil {
			t.Fatal(err)
		}
	}
	return fill, free
}

// TestChaosFullDisk fills the disk of the leader, then of a follower, then of an agent. The node stops, or it goes on; the
// others go on in any case, and with room again it comes back with nothing lost.
func TestChaosFullDisk(t *testing.T) {
	seed := chaosOnly(t)
	var fill, free []func()
	disks := func(dir string) {
		for _, name := range []string{"core1", "core2", "core3", "depot1"} {
			a, b := smallDisk(t, filepath.Join(dir, name), 200)
			fill, free = append(fill, a), append(free, b)
		}
	}
	p := startPipelineOn(t, disks, coreNodes, devservices.Mosquitto(t), nil, often)
	end := p.begin(t, seed)
	for _, what := range []string{"leader", "follower", "leader"} {
		p.untilApplied(200)
		i, err := p.leader(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if what == "follower" {
			i = (i + 1) % coreNodes
		}
		t.Logf("the disk of core%d, the %s, is full", i+1, what)
		fill[i]()
		p.untilApplied(1500)
		stopped := !p.cores[i].running()
		t.Logf("core%d stopped: %v\n%s", i+1, stopped, p.cores[i].tail(4))
		free[i]()
		if stopped {
			p.cores[i].start()
		}
		p.everybodyReady(t)
	}
	t.Log("the disk of depot1 is full")
	fill[3]()
	pass(t.Context(), 3*time.Second)
	free[3]()
	end()
	p.reconcile(t)
	p.compare(t)
	eventually(t, time.Minute, "no sink to complain", func(ctx context.Context) error {
		for i := range p.one {
			s, err := p.one[i].Status(ctx)
			if err != nil {
				return err
			}
			for _, k := range s.Sinks {
				if k.Error != "" {
					return errors.New(strings.TrimSpace(k.Name + ": " + k.Error))
				}
			}
		}
		return nil
	})
}
