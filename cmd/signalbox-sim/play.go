package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"hash/fnv"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"signalbox/cmd/config"
	"signalbox/simulator/load"
)

// playConfig plays recordings of MQTT messages.
type playConfig struct {
	Files      []string             `yaml:"files" help:"recordings, one message a line: ingest time (RFC 3339), topic, payload (a JSON object); several are merged by ingest time"`
	MQTT       load.PublisherConfig `yaml:"mqtt" help:"the broker; topic is not used, every line has its own"`
	Speed      float64              `yaml:"speed" default:"1" help:"recorded time per wall time; 0 = as fast as the broker takes them"`
	MaxGap     time.Duration        `yaml:"max_gap" default:"10s" help:"longest pause between two messages, wall time: recordings of different days follow each other"`
	ShiftToNow bool                 `yaml:"shift_to_now" default:"false" help:"move tst and tsi in the payloads by whole seconds, so that the newest is now when the last message is sent; otherwise the messages are history, and history fires no alert"`
}

func playCommand() *cobra.Command {
	var cfg playConfig
	return config.Command("play", "Publish recorded messages at their pace, or faster", "SIGNALBOX_SIM_", &cfg, func(c *cobra.Command) error {
		if cfg.Speed < 0 || len(cfg.Files) == 0 {
			return fmt.Errorf("play: name recordings with --files, and a --speed of at least 0")
		}
		messages, err := readRecordings(cfg.Files)
		if err != nil {
			return err
		}
		due := schedule(messages, cfg.Speed, cfg.MaxGap)
		p, err := load.Connect(c.Context(), cfg.MQTT)
		if err != nil {
			return err
		}
		begin := time.Now()
		if cfg.ShiftToNow {
			by := shift(messages, begin.Add(due[len(due)-1]))
			fmt.Fprintf(c.OutOrStdout(), "shifted by %d s\n", int64(by/time.Second))
		}
		err = play(c.Context(), p, messages, due, begin)
		closeErr := p.Close(c.Context())
		acked, failed := p.Counts()
		fmt.Fprintf(c.OutOrStdout(), "published %d of %d messages, %d failed\n", acked, len(messages), failed)
		switch {
		case err != nil:
			return err
		case failed > 0:
			return fmt.Errorf("play: %d messages were not acknowledged by the broker", failed)
		}
		return closeErr
	})
}

// recorded is a line of a recording.
type recorded struct {
	ingest  time.Time
	topic   string
	payload []byte
	key     int // messages of one sender keep their order
}

// maxLine bounds a line of a recording, in bytes.
const maxLine = 1 << 20

func readRecordings(files []string) ([]recorded, error) {
	var out []recorded
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		in := bufio.NewScanner(f)
		in.Buffer(nil, maxLine)
		for n := 1; in.Scan(); n++ {
			if len(bytes.TrimSpace(in.Bytes())) == 0 {
				continue
			}
			m, err := parseRecorded(in.Text())
			if err != nil {
				f.Close()
				return nil, fmt.Errorf("%s:%d: %w", name, n, err)
			}
			out = append(out, m)
		}
		f.Close()
		if err := in.Err(); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("play: %s: no messages", strings.Join(files, ", "))
	}
	slices.SortStableFunc(out, func(a, b recorded) int { return a.ingest.Compare(b.ingest) })
	return out, nil
}

// parseRecorded splits a line. A topic may hold spaces (head signs do), so the payload begins at the first " {".
func parseRecorded(line string) (recorded, error) {
	stamp, rest, _ := strings.Cut(line, " ")
	at, err := time.Parse(time.RFC3339Nano, stamp)
	if err != nil {
		return recorded{}, fmt.Errorf("%.40q is not an RFC 3339 time", stamp)
	}
	topic, payload, ok := strings.Cut(rest, " {")
	if !ok {
		return recorded{}, fmt.Errorf("no payload: want ingest time, topic and a JSON object")
	}
	h := fnv.New32a()
	levels := strings.Split(topic, "/")
	for _, l := range levels[min(7, len(levels)-1):min(9, len(levels))] { // operator and vehicle of an HFP topic
		h.Write([]byte(l))
	}
	return recorded{at, topic, []byte("{" + payload), int(h.Sum32() >> 1)}, nil
}

// schedule says when after the start each message is due.
func schedule(messages []recorded, speed float64, maxGap time.Duration) []time.Duration {
	due := make([]time.Duration, len(messages))
	for i := 1; i < len(messages); i++ {
		due[i] = due[i-1]
		if speed > 0 {
			gap := time.Duration(float64(messages[i].ingest.Sub(messages[i-1].ingest)) / speed)
			due[i] += min(gap, maxGap)
		}
	}
	return due
}

var (
	tstField = regexp.MustCompile(`"tst"\s*:\s*"([0-9T:-]{19})((?:\.[0-9]+)?)Z"`)
	tsiField = regexp.MustCompile(`"tsi"\s*:\s*([0-9]{1,12})\b`)
)

// recordedSeconds is the layout of a time without its fraction, which a shift by whole seconds leaves alone.
const recordedSeconds = "2006-01-02T15:04:05"

// shift moves the times in all payloads so that the newest is end, and returns by how much.
func shift(messages []recorded, end time.Time) time.Duration {
	var newest time.Time
	for _, m := range messages {
		if f := tstField.FindSubmatch(m.payload); f != nil {
			if t, err := time.Parse(recordedSeconds, string(f[1])); err == nil && t.After(newest) {
				newest = t
			}
		}
	}
	if newest.IsZero() {
		return 0
	}
	by := end.Sub(newest.Add(time.Second)).Truncate(time.Second) // with its fraction, the newest is not in the future
	for i := range messages {
		messages[i].payload = shifted(messages[i].payload, by)
	}
	return by
}

// shifted rewrites tst and tsi. A time that cannot be read stays as it is: a sample of garbage remains one.
func shifted(payload []byte, by time.Duration) []byte {
	payload = tstField.ReplaceAllFunc(payload, func(field []byte) []byte {
		f := tstField.FindSubmatch(field)
		t, err := time.Parse(recordedSeconds, string(f[1]))
		if err != nil {
			return field
		}
		return fmt.Appendf(nil, `"tst":"%s%sZ"`, t.Add(by).Format(recordedSeconds), f[2])
	})
	return tsiField.ReplaceAllFunc(payload, func(field []byte) []byte {
		s, err := strconv.ParseInt(string(tsiField.FindSubmatch(field)[1]), 10, 64)
		if err != nil {
			return field
		}
		return fmt.Appendf(nil, `"tsi":%d`, s+int64(by/time.Second))
	})
}

// play publishes every message when it is due.
func play(ctx context.Context, p *load.Publisher, messages []recorded, due []time.Duration, begin time.Time) error {
	bar := progress(int64(len(messages)), "playing")
	defer func() { _ = bar.Finish() }() // a bar that cannot draw is no reason to stop
	for i, m := range messages {
		timer := time.NewTimer(time.Until(begin.Add(due[i])))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
		if err := p.Publish(ctx, m.key, m.topic, m.payload); err != nil {
			return err
		}
		_ = bar.Add(1)
	}
	return nil
}
