package mqtt

import (
	"context"
	"fmt"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"

	"signalbox/engine/alert"
	"signalbox/sinks"
	"signalbox/sinks/row"
)

// message is one publication of a Write.
type message struct {
	topic    string
	payload  []byte
	retained bool
	done     bool // acknowledged, now or in an attempt before
}

// key recognises a message that comes again.
func (m *message) key() string { return m.topic + "\x00" + string(m.payload) }

// Write publishes and waits for every acknowledgement. After a lost connection
// it connects again and publishes what was not acknowledged, in the same order.
func (s *Sink) Write(ctx context.Context, batches []sinks.Batch, upTo uint64) error {
	s.write.Lock()
	defer s.write.Unlock()
	list, err := s.messages(batches)
	if err != nil {
		return fmt.Errorf("mqtt: up to index %d: %w", upTo, err)
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("mqtt: up to index %d: %w", upTo, err)
	}
	if len(list) == 0 {
		return nil
	}
	if err := s.deliver(ctx, list); err != nil {
		return fmt.Errorf("mqtt: up to index %d: %w", upTo, err)
	}
	clear(s.acked)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.success = time.Now()
	return nil
}

// Remind publishes the retained states again, as their last transition did; from is not known any more and equals state.
func (s *Sink) Remind(ctx context.Context, states []alert.Active) error {
	s.write.Lock()
	defer s.write.Unlock()
	var list []message
	for i := range states {
		a := &states[i]
		t := alert.Transition{ID: a.ID, Episode: a.Episode, Seq: a.Seq, Group: a.Group, Rule: a.Rule, From: a.State, To: a.State, At: a.Since,
			Value: a.Value, Labels: a.Labels, Annotations: a.Annotations}
		if !s.selects(&t) {
			continue
		}
		payload, err := alertPayload(&t)
		if err != nil {
			continue // it was refused as a transition, and reported
		}
		list = append(list, message{topic: Topic(s.opt.Prefix, "state", a.Group, a.Rule, a.ID), payload: payload, retained: true})
	}
	if len(list) == 0 {
		return nil
	}
	err := s.deliver(ctx, list)
	clear(s.acked) // what is shown now may be forgotten again
	if err != nil {
		return fmt.Errorf("mqtt: remind of %d alerts: %w", len(list), err)
	}
	return nil
}

// deliver tries until everything is acknowledged, the context ends or MaxTry is over.
func (s *Sink) deliver(ctx context.Context, list []message) error {
	giveUp := time.Now().Add(s.opt.MaxTry)
	backoff := s.opt.BackoffMin
	for {
		if s.isClosed() {
			return errClosed
		}
		err := s.attempt(ctx, list)
		if err == nil {
			return nil
		}
		s.disconnect()
		s.count(func(st *Stats) { st.Retries++ })
		if ctx.Err() != nil || time.Now().After(giveUp) {
			return err
		}
		// half of the time is jitter: nodes that lost the broker together do not come back together
		pause := backoff/2 + time.Duration(s.opt.Rand.Int64N(int64(backoff/2)+1))
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return err
		}
		backoff = min(2*backoff, s.opt.BackoffMax)
	}
}

// flight is a message whose acknowledgement is awaited.
type flight struct {
	token paho.Token
	n     int
}

// attempt publishes what is not yet acknowledged over one connection. At most
// InFlight messages are on their way; acknowledgements are awaited in order.
func (s *Sink) attempt(ctx context.Context, list []message) error {
	if s.conn == nil {
		c, err := s.connect(ctx)
		if err != nil {
			return err
		}
		s.conn = c
	}
	var inFlight []flight
	for n := range list {
		if list[n].done {
			continue
		}
		if len(inFlight) >= s.opt.InFlight {
			if err := s.await(ctx, list, inFlight[0]); err != nil {
				return err
			}
			inFlight = inFlight[1:]
		}
		m := &list[n]
		inFlight = append(inFlight, flight{s.conn.client.Publish(m.topic, 1, m.retained, m.payload), n})
	}
	for _, f := range inFlight {
		if err := s.await(ctx, list, f); err != nil {
			return err
		}
	}
	return nil
}

// await waits for one PUBACK. A token that completed while the connection was
// being lost proves nothing, so the loss is looked at first.
func (s *Sink) await(ctx context.Context, list []message, f flight) error {
	m := &list[f.n]
	timeout := time.NewTimer(s.opt.AckTimeout)
	defer timeout.Stop()
	select {
	case <-f.token.Done():
	case <-s.conn.lost:
	case <-ctx.Done():
		return ctx.Err()
	case <-timeout.C:
		return fmt.Errorf("no acknowledgement of %s within %s", m.topic, s.opt.AckTimeout)
	}
	if err := f.token.Error(); err != nil {
		return fmt.Errorf("publish %s: %w", m.topic, err)
	}
	select {
	case <-s.conn.lost:
		return fmt.Errorf("connection lost before %s was acknowledged: %w", m.topic, s.conn.why)
	default:
	}
	m.done = true
	s.count(func(st *Stats) { st.Published++ })
	if len(s.acked) >= maxAcked {
		clear(s.acked)
	}
	s.acked[m.key()] = true
	return nil
}

// messages turns batches into publications, in order. Of several retained
// messages for one topic only the newest is published, at its own place:
// a repetition of old transitions never shows an old state as the newest.
func (s *Sink) messages(batches []sinks.Batch) ([]message, error) {
	var all []message
	unselected := 0
	for i := range batches {
		b := &batches[i]
		if err := row.Check(b); err != nil {
			return nil, err
		}
		for j := range b.Alerts {
			if !s.selects(&b.Alerts[j]) {
				unselected++
				continue
			}
			ms, err := s.alertMessages(&b.Alerts[j])
			if err != nil {
				return nil, err
			}
			all = append(all, ms...)
		}
		switch {
		case b.Rows == nil:
		case s.tables[b.Table.Name]:
			all = s.rowMessages(all, b)
		default:
			unselected += b.Rows.Len
		}
	}
	if unselected > 0 {
		s.count(func(st *Stats) { st.Unselected += uint64(unselected) })
	}
	newest := make(map[string]int, len(all))
	for i := range all {
		if all[i].retained {
			newest[all[i].topic] = i
		}
	}
	list := all[:0]
	for i, m := range all {
		if !m.retained || newest[m.topic] == i {
			m.done = s.acked[m.key()]
			list = append(list, m)
		}
	}
	return list, nil
}

// selects says whether a transition is told. A subscriber to the state topic
// that has seen firing or no-data also sees what ends it.
func (s *Sink) selects(a *alert.Transition) bool {
	switch a.To {
	case alert.Firing, alert.Resolved, alert.NoData:
		return true
	}
	return s.opt.Pending || a.From == alert.Firing || a.From == alert.NoData
}

func (s *Sink) alertMessages(a *alert.Transition) ([]message, error) {
	payload, err := alertPayload(a)
	if err != nil {
		return nil, fmt.Errorf("%w: alert %s: %w", sinks.ErrPermanent, a.ID, err)
	}
	if a.Historical {
		return []message{{topic: Topic(s.opt.Prefix, "history", a.Group, a.Rule, a.ID), payload: payload}}, nil
	}
	return []message{
		{topic: Topic(s.opt.Prefix, "state", a.Group, a.Rule, a.ID), payload: payload, retained: true},
		{topic: Topic(s.opt.Prefix, "event", a.Group, a.Rule, a.ID), payload: payload},
	}, nil
}

// rowMessages appends the rows of b. A deleted row clears its retained message.
func (s *Sink) rowMessages(list []message, b *sinks.Batch) []message {
	for i := range b.Rows.Len {
		m := message{topic: Topic(s.opt.Prefix, entityLevels(b, i)...), retained: true}
		if !row.Deleted(b, i) {
			m.payload = rowPayload(b, i)
		}
		list = append(list, m)
	}
	return list
}
