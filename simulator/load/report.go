package load

import (
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"
)

// Report is what a load measured and how the accounts came out.
type Report struct {
	Duration time.Duration
	Rate     float64 // readings per second, as published

	Alert, Result, Floor, Lag Summary // Lag: how late the simulator itself was
	Alerts, Results           Seen
	MissedEvents              int64

	Published, Applied, Rejected int64
	Copies, Recognised           int64 // readings sent twice, and how many of them were counted once only
	Resent                       int64 // batches' readings that agents sent again and the core knew
	Malformed, Future            int64 // of the published ones, refused as intended
	Late                         int64
	Demoted                      int64 // readings that agents sent as history, because they had waited too long for the core: they alert nobody
	Failed                       int64 // messages that the broker did not acknowledge
	WrongBuses                   []string

	CPU         map[string]float64 // seconds, by process
	RSS         map[string]float64 // bytes at the end, by process
	UplinkBytes float64
}

func (l *load) report(after state) *Report {
	b, t := l.before, l.sent
	r := &Report{Duration: l.opt.Duration, Rate: float64(t.readings) / l.opt.Duration.Seconds(),
		Alert: l.alerts.latency.Summary(), Result: l.results.latency.Summary(), Floor: l.floor.hist.Summary(), Lag: l.lag.Summary(),
		Alerts: l.alerts.result(), Results: l.results.result(), MissedEvents: l.missed.Load(),
		Published: t.readings, Applied: int64(after.applied - b.applied), Rejected: int64(after.rejected - b.rejected),
		Copies: t.copies, Resent: int64(after.resent - b.resent), Malformed: t.malformed, Future: t.future, Late: int64(after.late - b.late), Demoted: int64(after.demoted - b.demoted),
		CPU: map[string]float64{}, RSS: after.rss, UplinkBytes: after.uplink - b.uplink}
	_, r.Failed = l.pub.Counts()
	for name, v := range after.cpu {
		r.CPU[name] = v - b.cpu[name]
	}
	counted, once := int64(0), int64(0)
	for bus, n := range after.perBus {
		counted += n - b.perBus[bus]
		if n-b.perBus[bus] != t.perBus[bus] {
			r.WrongBuses = append(r.WrongBuses, fmt.Sprintf("%s: published %d, counted %d", bus, t.perBus[bus], n-b.perBus[bus]))
		}
	}
	for bus, n := range t.perBus {
		if _, ok := after.perBus[bus]; !ok {
			r.WrongBuses = append(r.WrongBuses, fmt.Sprintf("%s: published %d, counted none", bus, n))
		}
	}
	for bus, n := range after.once {
		once += n - b.once[bus]
	}
	if l.opt.Duplicates {
		r.Recognised = counted - once
	}
	return r
}

// Ratio is the 99th percentile of publish→alert over the floor's.
func (r *Report) Ratio() float64 { return float64(r.Alert.P99) / float64(max(r.Floor.P99, 1)) }

// Check says what is wrong with the accounts: published = applied + rejected, in total and per bus, of the applied
// ones every second copy recognised, and every expected event exactly once.
func (r *Report) Check() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if lost := r.Published - r.Applied - r.Rejected; lost > 0 {
		bad("%d readings lost: published %d, applied %d, rejected %d", lost, r.Published, r.Applied, r.Rejected)
	} else if lost < 0 {
		bad("%d readings counted twice: published %d, applied %d, rejected %d", -lost, r.Published, r.Applied, r.Rejected)
	}
	if r.Rejected != r.Malformed+r.Future {
		bad("%d readings rejected, %d were to be", r.Rejected, r.Malformed+r.Future)
	}
	if r.Recognised != r.Copies {
		bad("%d second copies recognised, %d were sent", r.Recognised, r.Copies)
	}
	if n := len(r.WrongBuses); n > 0 {
		bad("%d buses differ, for example %s", n, r.WrongBuses[0])
	}
	if r.Failed > 0 {
		bad("%d messages were not acknowledged by the broker", r.Failed)
	}
	if r.Alerts.Missing > 0 || r.Alerts.Twice > 0 {
		bad("of %d expected transitions %d are missing and %d came more than once %s; %d readings were demoted to history by the agents", r.Alerts.Expected, r.Alerts.Missing, r.Alerts.Twice, r.Alerts.Example, r.Demoted)
	}
	if r.MissedEvents == 0 && (r.Results.Missing > 0 || r.Results.Twice > 0) {
		bad("of %d expected result rows %d are missing and %d came more than once %s", r.Results.Expected, r.Results.Missing, r.Results.Twice, r.Results.Example)
	}
	return errors.Join(errs...)
}

// Print writes the report as tables.
func (r *Report) Print(out io.Writer) error {
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(out, "%.0f readings/s for %s\n\n", r.Rate, r.Duration)
	fmt.Fprintln(t, "latency, ms\tn\tp50\tp90\tp99\tp99.9\tmax\t")
	for _, x := range []struct {
		name string
		s    Summary
	}{{"publish to alert (MQTT)", r.Alert}, {"publish to committed result", r.Result}, {"floor: MQTT echo + 2 fsyncs", r.Floor}, {"the simulator's own lateness", r.Lag}} {
		fmt.Fprintf(t, "%s\t%d\t%s\t%s\t%s\t%s\t%s\t\n", x.name, x.s.Count, ms(x.s.P50), ms(x.s.P90), ms(x.s.P99), ms(x.s.P999), ms(x.s.Max))
	}
	fmt.Fprintf(t, "alert over floor\t\t%.1f\t%.1f\t%.1f\t\t\t\n\n", float64(r.Alert.P50)/float64(max(r.Floor.P50, 1)), float64(r.Alert.P90)/float64(max(r.Floor.P90, 1)), r.Ratio())
	fmt.Fprintln(t, "cost\tCPU s\tof one core\tµs per reading\tRSS MiB\t")
	for _, name := range sortedKeys(r.CPU) {
		fmt.Fprintf(t, "%s\t%.2f\t%.0f %%\t%.2f\t%.1f\t\n", name, r.CPU[name], 100*r.CPU[name]/r.Duration.Seconds(), 1e6*r.CPU[name]/float64(r.Published), r.RSS[name]/(1<<20))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(out, "uplink %.2f MB, %.1f bytes per reading\n\n", r.UplinkBytes/1e6, r.UplinkBytes/float64(r.Published))
	fmt.Fprintf(out, "published %d = applied %d + rejected %d (malformed %d, future %d); of the applied ones %d are second copies and %d were recognised; sent again by agents and recognised %d; late rows %d; demoted to history by agents %d\n",
		r.Published, r.Applied, r.Rejected, r.Malformed, r.Future, r.Copies, r.Recognised, r.Resent, r.Late, r.Demoted)
	_, err := fmt.Fprintf(out, "expected transitions %d, missing %d, twice %d, delivered again %d, of other buses %d; expected result rows %d, missing %d, twice %d, events missed by a slow listener %d\n",
		r.Alerts.Expected, r.Alerts.Missing, r.Alerts.Twice, r.Alerts.Again, r.Alerts.Others, r.Results.Expected, r.Results.Missing, r.Results.Twice, r.MissedEvents)
	return err
}

func ms(d time.Duration) string { return fmt.Sprintf("%.2f", float64(d)/float64(time.Millisecond)) }
