package main

import (
	"testing"
	"time"
)

func TestRecordedLines(t *testing.T) {
	const line = `2024-05-13T05:49:00.347888Z /hfp/v2/journey/upcoming/vp/bus/0012/01211/4735/2/Tikkurila as./08:54/4820207/1/60;25/31/30/82 {"VP":{"desi":"735","tst":"2024-05-13T05:49:00.211Z","tsi":1715579340,"ttarr":"2024-05-13T05:49:00.000Z"}}`
	m, err := parseRecorded(line)
	if err != nil {
		t.Fatal(err)
	}
	if want := "/hfp/v2/journey/upcoming/vp/bus/0012/01211/4735/2/Tikkurila as./08:54/4820207/1/60;25/31/30/82"; m.topic != want {
		t.Errorf("topic %q, want %q: a head sign may hold spaces", m.topic, want)
	}
	if got, want := string(shifted(m.payload, time.Hour)), `{"VP":{"desi":"735","tst":"2024-05-13T06:49:00.211Z","tsi":1715582940,"ttarr":"2024-05-13T05:49:00.000Z"}}`; got != want {
		t.Errorf("shifted by an hour: %s, want %s", got, want)
	}
	other, err := parseRecorded(`2024-05-13T05:49:01Z /hfp/v2/journey/ongoing/apc-partial/bus/0012/01211 {"APC":{"tst":"2024-05-13T05:49:00Z"}}`)
	if err != nil || other.key != m.key {
		t.Errorf("the counter of the same vehicle has key %d, its position %d (%v): their order would not be kept", other.key, m.key, err)
	}
	for _, bad := range []string{"", "yesterday /t {}", "2024-05-13T05:49:01Z /t nothing"} {
		if _, err := parseRecorded(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func TestShiftAndSchedule(t *testing.T) {
	day := time.Date(2024, 5, 13, 5, 0, 0, 0, time.UTC)
	ms := []recorded{
		{ingest: day, payload: []byte(`{"A":{"tst":"2024-05-13T04:59:58.500Z"}}`)},
		{ingest: day.Add(4 * time.Second), payload: []byte(`{"A":{"tst":"garbage"}}`)},
		{ingest: day.Add(time.Hour), payload: []byte(`{"A":{"tst":"2024-05-13T05:59:59Z"}}`)},
	}
	due := schedule(ms, 2, 10*time.Second)
	if due[0] != 0 || due[1] != 2*time.Second || due[2] != 12*time.Second {
		t.Errorf("due %v, want 0 s, 2 s and, with the longest gap, 12 s", due)
	}
	by := shift(ms, day.Add(24*time.Hour+time.Minute))
	if want := `{"A":{"tst":"2024-05-14T05:00:59Z"}}`; string(ms[2].payload) != want || string(ms[1].payload) != `{"A":{"tst":"garbage"}}` || by != 23*time.Hour+time.Minute {
		t.Errorf("shifted by %v: %s, want %s and garbage untouched", by, ms[2].payload, want)
	}
	if fast := schedule(ms, 0, time.Second); fast[2] != 0 {
		t.Errorf("speed 0: due %v, want no waiting", fast)
	}
}
