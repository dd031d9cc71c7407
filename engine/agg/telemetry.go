package agg

import (
	"cmp"
	"slices"

	"signalbox/engine/column"
)

func telemetryEntries() []entry {
	return []entry{
		{Info: Info{Name: "counter_increase", Signature: "counter_increase(counter, time)", BeyondSpark: true, Example: "counter_increase(door_cycles, time)",
			Doc: "How much a counter has grown between its first and last reading by time; where it falls it was reset and started at 0. NULL for fewer than two readings."},
			bind: bindCounter, min: 2, max: 2},
		{Info: Info{Name: "rate_per_second", Signature: "rate_per_second(counter, time)", BeyondSpark: true, Example: "rate_per_second(door_cycles, time)",
			Doc: "counter_increase by the seconds between the first and last reading; NULL when there is no time between them."},
			bind: bindCounter, min: 2, max: 2},
		{Info: Info{Name: "state_duration", Signature: "state_duration(condition, time)", BeyondSpark: true, Example: "state_duration(passengers >= capacity, time)",
			Doc: "How long the condition held, as an interval: from each reading where it is true to the next reading by time. The last reading adds nothing; NULL without readings."},
			bind: bindState, min: 2, max: 2},
	}
}

// timeArg requires that argument i is a timestamp.
func (c *call) timeArg(i int) error {
	if k := c.args[i].Type().Kind; k == column.Timestamp || k == column.TimestampNTZ {
		return nil
	}
	return c.coerce(i, column.Of(column.Timestamp))
}

func bindCounter(c *call) (Func, error) {
	if err := c.double(0); err != nil {
		return nil, err
	}
	if err := c.timeArg(1); err != nil {
		return nil, err
	}
	rate := c.name == "rate_per_second"
	return c.listFn(column.Of(column.Double), 0, 2, func(a *listAcc, slots []int32, out *column.Column) error {
		slots = a.byTime(slots)
		if len(slots) < 2 {
			out.AppendNull()
			return nil
		}
		vals, times := a.lists.cells[0].f64, a.lists.cells[1].i64
		grown := 0.0
		for i := 1; i < len(slots); i++ {
			now, before := vals[slots[i]], vals[slots[i-1]]
			if now >= before {
				grown += now - before
			} else {
				grown += now
			}
		}
		if !rate {
			out.AppendF64(grown)
			return nil
		}
		span := times[slots[len(slots)-1]] - times[slots[0]]
		if span <= 0 {
			out.AppendNull()
			return nil
		}
		out.AppendF64(grown / (float64(span) / 1e6))
		return nil
	})
}

// byTime sorts rows (value, time) by time, those of equal times in order of arrival, without NULL times.
func (a *listAcc) byTime(slots []int32) []int32 {
	t := &a.lists.cells[1]
	slots = slices.DeleteFunc(slots, func(s int32) bool { return !t.has[s] })
	slices.SortStableFunc(slots, func(x, y int32) int { return cmp.Compare(t.i64[x], t.i64[y]) })
	return slots
}

func bindState(c *call) (Func, error) {
	if err := c.coerce(0, column.Of(column.Boolean)); err != nil {
		return nil, err
	}
	if err := c.timeArg(1); err != nil {
		return nil, err
	}
	return c.listFn(column.Of(column.IntervalDT), 0, 2, func(a *listAcc, slots []int32, out *column.Column) error {
		slots = a.byTime(slots)
		if len(slots) == 0 {
			out.AppendNull()
			return nil
		}
		on, times := a.lists.cells[0].i64, a.lists.cells[1].i64
		sum := int64(0)
		for i := 1; i < len(slots); i++ {
			if on[slots[i-1]] != 0 {
				sum += times[slots[i]] - times[slots[i-1]]
			}
		}
		out.AppendI64(sum)
		return nil
	})
}
