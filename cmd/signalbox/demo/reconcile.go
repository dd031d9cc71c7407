package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"signalbox/core/api"
	"signalbox/edge/decode"
)

func lineProtocol(topic string) decode.Mapping {
	return decode.Mapping{Topic: topic, Format: "line_protocol", Unit: "ns", MaxBytes: decode.DefaultMaxBytes}
}

// settleWithin is how long the last readings may take to arrive after the buses stopped.
const settleWithin = 60 * time.Second

// reconcile waits until everything that was published has been applied and
// compares the two, in total and bus by bus.
func (w *world) reconcile(ctx context.Context) error {
	w.mu.Lock()
	sent := w.sent
	w.mu.Unlock()
	var s *api.Status
	err := w.eventually(ctx, settleWithin, fmt.Sprintf("%d readings to be applied", sent.readings), func(ctx context.Context) error {
		var err error
		if s, err = w.core.Status(ctx); err != nil {
			return err
		}
		if done := s.Readings.Applied + s.Readings.Rejected; done < uint64(sent.readings) {
			return fmt.Errorf("%d so far", done)
		}
		return nil
	})
	if s == nil {
		return err
	}
	lost := sent.readings - int64(s.Readings.Applied+s.Readings.Rejected)
	wrong, checkErr := w.perBus(ctx, sent.perBus)
	restarts := 0
	for _, c := range w.cores {
		_, n := c.pid()
		restarts += n
	}
	fired, _ := w.count(ctx, "SELECT count(*) FROM alerts") // for the summary only
	w.say("published %d readings: applied %d, rejected %d, sent again and recognised %d; lost %d, counted twice %d; buses that differ %d; alerts %d; core restarts %d",
		sent.readings, s.Readings.Applied, s.Readings.Rejected, s.Readings.Duplicate, max(lost, 0), max(-lost, 0), wrong, fired, restarts)
	switch {
	case checkErr != nil:
		return checkErr
	case err != nil:
		return err
	case lost != 0 || wrong != 0 || s.Readings.Rejected != 0:
		return fmt.Errorf("reconciliation failed")
	}
	return nil
}

// perBus compares the number of readings counted for each bus.
func (w *world) perBus(ctx context.Context, sent map[string]int64) (wrong int, err error) {
	rows, err := w.core.Query(ctx, "SELECT bus_id, readings FROM bus_count")
	if err != nil {
		return 0, err
	}
	counted := map[string]int64{}
	for _, r := range rows.Rows {
		var bus string
		if err := json.Unmarshal(r[0], &bus); err != nil {
			return 0, err
		}
		if counted[bus], err = strconv.ParseInt(string(r[1]), 10, 64); err != nil {
			return 0, err
		}
	}
	for bus, n := range sent {
		if counted[bus] != n {
			wrong++
		}
		delete(counted, bus)
	}
	return wrong + len(counted), nil
}

func (w *world) count(ctx context.Context, sql string) (int64, error) {
	rows, err := w.core.Query(ctx, sql)
	if err != nil || len(rows.Rows) != 1 {
		return 0, err
	}
	return strconv.ParseInt(string(rows.Rows[0][0]), 10, 64)
}
