package load

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"golang.org/x/sync/errgroup"

	"signalbox/simulator/fleet"
)

// Options of a load. Every field must be set; cmd knows the defaults.
type Options struct {
	Publisher  PublisherConfig // Topic's %s is the depot
	Core       []string        // host:port of every node
	Agents     []string        // host:port of the agents' /metrics
	Rate       float64         // readings per second, probes not counted
	Duration   time.Duration
	PerMessage int           // readings that a depot puts into one message
	Storm      time.Duration // cut and reopen every connection this often; 0 = never
	Probes     int           // buses that are full and empty in turn
	ProbeEvery time.Duration // time between two changes of one of them
	EventTopic string        // where the transitions come, for example signalbox/event/#
	Apply      bool          // give the core the pipeline first
	Duplicates bool          // the fleet sends readings twice: count them once as well
	FloorDir   string        // on the disk that is to be compared with
	FloorEvery time.Duration
	Settle     time.Duration // how long nothing may move after the last reading before the rest is called lost
	Seed       uint64
	Fleet      func(start time.Time) *fleet.Sender
	Progress   func(readings int)
}

// lead is the time between the decision to start and the first reading: connections are warm and listening by then.
const lead = 500 * time.Millisecond

// load is one run.
type load struct {
	opt     Options
	core    *Core
	pub     *Publisher
	seen    mqtt.Client
	floor   *floor
	alerts  *watch
	results *watch
	missed  *counter // events that a core's listener was too slow for
	lag     *Histogram
	sent    *tally
	before  state
}

// Measure publishes, measures and reconciles.
func Measure(ctx context.Context, o Options) (rep *Report, err error) {
	l := &load{opt: o, core: NewCore(o.Core), alerts: newWatch(), results: newWatch(), missed: &counter{}, lag: NewHistogram(), sent: newTally()}
	if o.Apply {
		if err := l.core.Apply(ctx, pipeline(o.Duplicates)...); err != nil {
			return nil, err
		}
	}
	if l.before, err = l.state(ctx); err != nil {
		return nil, err
	}
	if err := l.connect(ctx); err != nil {
		return nil, err
	}
	defer l.disconnect()
	listening, stop := context.WithCancel(ctx)
	defer stop()
	ears := l.listen(listening)
	if err := l.drive(ctx); err != nil {
		return nil, err
	}
	if err := l.pub.Drain(ctx); err != nil {
		return nil, err
	}
	settleErr := l.settle(ctx)
	after, err := l.state(ctx)
	stop()
	ears.Wait()
	if err != nil {
		return nil, errors.Join(settleErr, err)
	}
	return l.report(after), nil
}

func (l *load) connect(ctx context.Context) error {
	o := mqtt.NewClientOptions().AddBroker(l.opt.Publisher.Broker).SetClientID(l.opt.Publisher.ClientID + "-observer").
		SetUsername(l.opt.Publisher.Username).SetPassword(l.opt.Publisher.Password).SetWriteTimeout(10 * time.Second)
	l.seen = mqtt.NewClient(o)
	if err := wait(ctx, l.seen.Connect(), l.opt.Publisher.Timeout); err != nil {
		return fmt.Errorf("connect to broker %s: %w", l.opt.Publisher.Broker, err)
	}
	err := wait(ctx, l.seen.Subscribe(l.opt.EventTopic, 1, l.event), l.opt.Publisher.Timeout)
	if err == nil {
		l.floor, err = newFloor(l.seen, l.opt.FloorDir)
	}
	if err == nil {
		l.pub, err = Connect(ctx, l.opt.Publisher)
	}
	if err != nil {
		l.seen.Disconnect(0)
	}
	return err
}

func (l *load) disconnect() {
	l.pub.disconnect()
	l.floor.close()
	l.seen.Disconnect(250)
}

// drive runs the buses, the probes, the floor and the storms side by side until the duration is over.
func (l *load) drive(ctx context.Context) error {
	start := time.Now().Add(lead).Truncate(time.Microsecond)
	end := start.Add(l.opt.Duration)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return l.buses(ctx, start, end) })
	g.Go(func() error { return l.probes(ctx, start) })
	g.Go(func() error {
		for due := start; due.Before(end); due = due.Add(l.opt.FloorEvery) {
			if err := sleepUntil(ctx, due); err != nil {
				return err
			}
			if err := l.floor.sample(due); err != nil {
				return err
			}
		}
		return nil
	})
	if l.opt.Storm > 0 {
		g.Go(func() error {
			for due := start.Add(l.opt.Storm); due.Before(end); due = due.Add(l.opt.Storm) {
				if err := sleepUntil(ctx, due); err != nil {
					return err
				}
				if err := l.pub.Reconnect(ctx); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return g.Wait()
}

// gateway is what a depot has gathered for its next message.
type gateway struct {
	payload []byte
	waiting []fleet.Delivery
}

// buses publishes the fleet: a depot sends a message when it has gathered enough readings, at the time of the last of them.
func (l *load) buses(ctx context.Context, start, end time.Time) error {
	s := l.opt.Fleet(start)
	depots := make([]gateway, l.opt.Publisher.Connections)
	for {
		d := s.Next()
		due := time.Unix(0, d.At)
		if !due.Before(end) {
			break
		}
		g := &depots[d.Reading.Bus%len(depots)]
		g.payload = append(g.payload, line(d)...)
		g.waiting = append(g.waiting, d)
		if len(g.waiting) < l.opt.PerMessage {
			continue
		}
		if err := l.sendDepot(ctx, d.Reading.Bus%len(depots), g, due); err != nil {
			return err
		}
	}
	for i := range depots {
		if len(depots[i].waiting) > 0 {
			if err := l.sendDepot(ctx, i, &depots[i], end); err != nil {
				return err
			}
		}
	}
	return nil
}

func (l *load) sendDepot(ctx context.Context, depot int, g *gateway, due time.Time) error {
	if err := l.send(ctx, depot, g.payload, due); err != nil {
		return err
	}
	for _, d := range g.waiting {
		l.sent.add(d)
	}
	if l.opt.Progress != nil {
		l.opt.Progress(len(g.waiting))
	}
	g.payload, g.waiting = nil, g.waiting[:0]
	return nil
}

// line is a delivery's line. A malformed one is cut before its fields: then it is
// refused for certain, while half a line may by chance be a whole one.
func line(d fleet.Delivery) []byte {
	if !d.Malformed {
		return d.Payload
	}
	out := d.Payload
	for i, c := range out {
		if c == ' ' {
			out = out[:i]
			break
		}
	}
	return append(append([]byte(nil), out...), '\n')
}

// send publishes at the due time and records how late the simulator itself was.
func (l *load) send(ctx context.Context, depot int, payload []byte, due time.Time) error {
	if err := sleepUntil(ctx, due); err != nil {
		return err
	}
	l.lag.Record(time.Since(due))
	return l.pub.Publish(ctx, depot, fmt.Sprintf(l.opt.Publisher.Topic, fmt.Sprintf("depot%d", depot+1)), payload)
}

// probeCapacity is how many people a probe bus holds.
const probeCapacity = 50

// probes publishes the buses that are full and empty in turn, each in a message of its own, spread evenly with
// jitter, so that they do not march in step with anything periodic in the system. All end empty.
func (l *load) probes(ctx context.Context, start time.Time) error {
	rng := rand.New(rand.NewPCG(l.opt.Seed, 0x9e0be))
	step := l.opt.ProbeEvery / time.Duration(l.opt.Probes)
	rounds := int(l.opt.Duration/l.opt.ProbeEvery) &^ 1
	for round := range rounds {
		for i := range l.opt.Probes {
			due := start.Add(time.Duration(round)*l.opt.ProbeEvery + time.Duration(i)*step + time.Duration(rng.Int64N(int64(step)))).Truncate(time.Microsecond)
			r := fleet.Reading{Bus: i, BusID: fmt.Sprintf("probe%04d", i+1), Route: "R00", VehicleType: "A2", Time: due.UnixNano(),
				Seq: int64(round) + 1, Capacity: probeCapacity}
			if round%2 == 0 {
				r.Passengers = probeCapacity
				l.results.expect(r.BusID, due, due)
			}
			l.alerts.expect(r.BusID, due, due)
			if err := l.send(ctx, i%l.opt.Publisher.Connections, fleet.AppendLine(nil, r), due); err != nil {
				return err
			}
			l.sent.add(fleet.Delivery{At: r.Time, Reading: r})
		}
	}
	return nil
}
