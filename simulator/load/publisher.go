// Package load sends a fleet's readings to a real MQTT broker at a fixed pace
// and measures what comes out at the other end, from the moment a reading was
// due, so that a slow system cannot hide its own delay. It promises to account
// for every message it published, and refuses to know how the product works inside.
package load

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"signalbox/simulator/fleet"
)

// PublisherConfig says where and how to publish.
type PublisherConfig struct {
	Broker      string        `yaml:"broker" default:"tcp://127.0.0.1:1883" help:"the usual local broker"`
	ClientID    string        `yaml:"client_id" default:"signalbox-sim" help:"prefix; a number is added per connection"`
	Username    string        `yaml:"username" help:"none unless the broker asks for one"`
	Password    string        `yaml:"password" secret:"true" help:"file: or env: reference"`
	Topic       string        `yaml:"topic" default:"fleet/%s/telemetry" help:"%s is the bus"`
	Connections int           `yaml:"connections" default:"4" help:"depots; readings of one bus keep their order on one connection"`
	InFlight    int           `yaml:"in_flight" default:"256" help:"QoS 1 messages waiting for the broker, per connection"`
	Timeout     time.Duration `yaml:"timeout" default:"30s" help:"for connecting and for the last acknowledgements"`
}

// Publisher is a set of MQTT connections. A bus always uses the same one.
type Publisher struct {
	cfg     PublisherConfig
	opened  int          // connections so far
	mu      sync.RWMutex // held for writing while connections are opened anew
	clients []mqtt.Client
	slots   []chan struct{}
	wg      sync.WaitGroup
	acked   atomic.Int64
	failed  atomic.Int64
}

// Connect opens the connections.
func Connect(ctx context.Context, cfg PublisherConfig) (*Publisher, error) {
	p := &Publisher{cfg: cfg}
	for range cfg.Connections {
		c, err := p.connect(ctx)
		if err != nil {
			p.disconnect()
			return nil, err
		}
		p.clients = append(p.clients, c)
		p.slots = append(p.slots, make(chan struct{}, cfg.InFlight))
	}
	return p, nil
}

// connect opens a connection under a name of its own: a broker that is still busy with the end of the one before
// must not take the two for rivals and cut the new one too.
func (p *Publisher) connect(ctx context.Context) (mqtt.Client, error) {
	p.opened++
	opt := mqtt.NewClientOptions().AddBroker(p.cfg.Broker).SetClientID(fmt.Sprintf("%s-%d", p.cfg.ClientID, p.opened)).
		SetUsername(p.cfg.Username).SetPassword(p.cfg.Password).SetWriteTimeout(10 * time.Second).
		SetMaxReconnectInterval(5 * time.Second).SetOrderMatters(false)
	c := mqtt.NewClient(opt)
	if err := wait(ctx, c.Connect(), p.cfg.Timeout); err != nil {
		return nil, fmt.Errorf("connect to broker %s: %w", p.cfg.Broker, err)
	}
	return c, nil
}

func wait(ctx context.Context, t mqtt.Token, limit time.Duration) error {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-t.Done():
		return t.Error()
	case <-timer.C:
		return fmt.Errorf("no answer within %s", limit)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Publish sends one message about a bus with QoS 1; it waits only while too many are unacknowledged.
func (p *Publisher) Publish(ctx context.Context, bus int, topic string, payload []byte) error {
	p.mu.RLock()
	defer p.mu.RUnlock()
	i := bus % len(p.clients)
	select {
	case p.slots[i] <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	token := p.clients[i].Publish(topic, 1, false, payload)
	p.wg.Add(1)
	go func() {
		defer p.wg.Done()
		<-token.Done()
		<-p.slots[i]
		if token.Error() != nil {
			p.failed.Add(1)
			return
		}
		p.acked.Add(1)
	}()
	return nil
}

// Reconnect cuts every connection and opens it again: a reconnect storm.
func (p *Publisher) Reconnect(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.Drain(ctx); err != nil {
		return err
	}
	for i, c := range p.clients {
		c.Disconnect(0)
		fresh, err := p.connect(ctx)
		if err != nil {
			return err
		}
		p.clients[i] = fresh
	}
	return nil
}

// Drain waits until the broker acknowledged everything.
func (p *Publisher) Drain(ctx context.Context) error {
	done := make(chan struct{})
	go func() { p.wg.Wait(); close(done) }()
	timer := time.NewTimer(p.cfg.Timeout)
	defer timer.Stop()
	select {
	case <-done:
		return nil
	case <-timer.C:
		return fmt.Errorf("broker %s did not acknowledge everything within %s", p.cfg.Broker, p.cfg.Timeout)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Counts returns how many messages the broker acknowledged and how many failed.
func (p *Publisher) Counts() (acked, failed int64) { return p.acked.Load(), p.failed.Load() }

// Close waits for the acknowledgements and disconnects.
func (p *Publisher) Close(ctx context.Context) error {
	err := p.Drain(ctx)
	p.disconnect()
	return err
}

func (p *Publisher) disconnect() {
	for _, c := range p.clients {
		c.Disconnect(250)
	}
}

// RunConfig is a run in real time, or faster.
type RunConfig struct {
	Speed    float64                    // event time per wall time; 1 = real time
	Duration time.Duration              // wall time; 0 = until the context ends
	Storm    time.Duration              // reconnect every connection this often; 0 = never
	Topic    func(fleet.Reading) string // nil = the publisher's topic with the bus
	Sent     func(fleet.Delivery)
}

// Run publishes the messages of a sender when they are due, until the duration is over or the context ends.
func Run(ctx context.Context, p *Publisher, s *fleet.Sender, cfg RunConfig) error {
	begin := time.Now()
	lastStorm := begin
	var first int64
	topic := cfg.Topic
	if topic == nil {
		topic = func(r fleet.Reading) string { return fmt.Sprintf(p.cfg.Topic, r.BusID) }
	}
	for {
		d := s.Next()
		if first == 0 {
			first = d.At
		}
		due := begin.Add(time.Duration(float64(d.At-first) / cfg.Speed))
		if cfg.Duration > 0 && due.Sub(begin) >= cfg.Duration {
			return nil
		}
		if err := sleepUntil(ctx, due); err != nil {
			return nil // asked to stop: what was sent is accounted for
		}
		if cfg.Storm > 0 && time.Since(lastStorm) >= cfg.Storm {
			lastStorm = time.Now()
			if err := p.Reconnect(ctx); err != nil {
				return err
			}
		}
		if err := p.Publish(ctx, d.Reading.Bus, topic(d.Reading), d.Payload); err != nil {
			return nil
		}
		if cfg.Sent != nil {
			cfg.Sent(d)
		}
	}
}

func sleepUntil(ctx context.Context, due time.Time) error {
	d := time.Until(due)
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
