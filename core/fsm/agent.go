package fsm

import (
	"fmt"
	"slices"
	"strings"

	"signalbox/edge/wire"
)

// Replicated cursor of one agent.
type agent struct {
	name             string
	ord              int    // position in order of first contact
	round            uint64 // of captures: a copy of an earlier round may be read by one, and is never written
	install, session [16]byte
	version          string
	epoch, applied   uint64
	hashes           []wire.SeqHash // last applied batches of epoch, oldest first, at most wire.MaxHashes
	prevEpoch        uint64
	prevApplied      uint64
	prevHashes       []wire.SeqHash
	fronts           []front
	pending          *wire.Heartbeat // certifies what is still on its way
	seen             int64           // tick time of the last word from it
	retired          int64           // tick time when an operator retired it; 0 = it is expected once it named its streams
	lane             wire.Lane       // of its last batch
	live, back       wire.Queue
	counts           AgentCounts
	edge             edgeCounts
}

// AgentCounts is what the core did with an agent's readings:
// Received = Applied + Duplicate + Rejected, in readings.
type AgentCounts struct {
	Received, Applied, Duplicate, Rejected uint64
	Batches, Conflicts                     uint64
}

type edgeCounts struct{ received, rejected, dropped uint64 }

// front is what an agent certified for one stream.
type front struct {
	stream   int // position in state.streams
	max, low int64
}

func (s *state) agentNamed(name []byte) *agent { return s.writable(s.agents[string(name)]) }

// writable returns the agent that may be changed in this entry: a copy, when a capture may read the one that is there.
// Whatever changes an agent gets it here. Nil stays nil.
func (s *state) writable(a *agent) *agent {
	if a == nil || a.round == s.round {
		return a
	}
	c := *a
	c.round = s.round
	c.hashes, c.fronts = slices.Clone(a.hashes), slices.Clone(a.fronts) // written in place; all else is replaced
	s.agents[c.name], s.order[c.ord] = &c, &c
	return &c
}

func (s *state) newAgent(name string) *agent {
	name = strings.Clone(name)
	a := &agent{name: name, ord: len(s.order), round: s.round}
	s.agents[name] = a
	s.order = append(s.order, a)
	return a
}

// grant answers a Hello. The same Hello twice gives the same answer.
func (s *state) grant(h *wire.Hello) Result {
	if h.Agent == "" || len(h.Agent) > wire.MaxNameBytes {
		return Result{Verdict: Refused, Reason: "an agent needs a name of 1 to 256 bytes"}
	}
	a := s.writable(s.agents[h.Agent])
	switch {
	case a == nil:
		if len(s.order) >= s.maxAgents {
			return Result{Verdict: Refused, Reason: "too many agents: raise max_agents on every node"}
		}
		a = s.newAgent(h.Agent)
		a.epoch, a.prevEpoch = 1, 1
		a.install = h.Install
	case s.twin(a, h):
		a.counts.Conflicts++
		return Result{Verdict: Refused, Reason: fmt.Sprintf("two devices have the name %q: one that came later is connected and holds it. Give each its own name (agent), "+
			"or stop the other one: it loses the name %d s after its last word", h.Agent, s.idleTimeout/1_000_000)}
	case a.install == h.Install && h.Epoch == 0 && a.applied == 0:
		// Its Welcome was lost: the epoch is still unused.
	case a.install == h.Install && h.Epoch == a.epoch && a.consistent(h):
		a.prevEpoch, a.prevApplied, a.prevHashes = a.epoch, a.applied, nil
	default: // a new install, a restored old image, or sealed batches that contradict what was applied
		// An epoch that was granted and then not taken over (its Welcome was lost) must not hide what the one before applied.
		a.prevEpoch, a.prevApplied = a.epoch, a.applied
		a.prevHashes = slices.Concat(a.prevHashes, a.hashes)
		a.prevHashes = a.prevHashes[max(0, len(a.prevHashes)-wire.MaxHashes):]
		a.epoch, a.applied, a.hashes = a.epoch+1, 0, nil
		a.install, a.pending = h.Install, nil
	}
	a.session, a.version, a.seen = h.Session, h.Version, s.tick
	s.revive(a)
	w := &wire.Welcome{Epoch: a.epoch, Applied: a.applied, PrevEpoch: a.prevEpoch, Prev: a.prevApplied,
		Credit: wire.MaxInFlight, Generation: s.generation, Group: s.group}
	w.Hashes = slices.Clone(a.prevHashes)
	if a.prevEpoch == a.epoch {
		w.Prev, w.Hashes = a.applied, slices.Clone(a.hashes)
	}
	return Result{Verdict: Applied, Epoch: a.epoch, Seq: a.applied, Welcome: w}
}

// retire takes an agent out of those that are expected: nothing waits for what it has not sent, and windows that
// lacked only its readings become final. Its cursor stays, so that nothing counts twice if it comes back after all.
func (s *state) retire(name string) Result {
	a := s.writable(s.agents[name])
	switch {
	case a == nil:
		return Result{Verdict: Refused, Reason: fmt.Sprintf("there is no agent %q: signalbox agents lists them", name)}
	case a.retired != 0:
		return Result{Verdict: Applied, Epoch: a.epoch, Seq: a.applied, Reason: "it was retired already"}
	}
	r := Result{Verdict: Applied, Epoch: a.epoch, Seq: a.applied}
	if s.standing(a) != "offline" {
		r.Reason = fmt.Sprintf("it spoke %d s ago: when it speaks again it is expected again", (s.tick-a.seen)/1_000_000)
	}
	for _, f := range a.fronts {
		s.streams[f.stream].dirty = true
	}
	a.retired, a.fronts, a.pending = max(s.tick, 1), nil, nil
	s.tell("agent %s is retired (log index %d): nothing waits for it any more", a.name, s.index)
	return r
}

// revive makes an agent that speaks one that is expected, from the next time it names its streams.
func (s *state) revive(a *agent) {
	if a.retired != 0 {
		a.retired = 0
		s.tell("agent %s, which was retired, speaks again (log index %d): it is expected again", a.name, s.index)
	}
}

// tell writes a line for the operator of this node.
func (s *state) tell(format string, args ...any) {
	if s.notice != nil {
		s.notice(fmt.Sprintf(format, args...))
	}
}

// twin reports whether an agent that lost its epoch to another process of its name asks for it back while that one is alive:
// without an answer other than a new epoch the two would take it from each other for ever. A process that starts anew either
// knows the epoch, or has none.
func (s *state) twin(a *agent, h *wire.Hello) bool {
	return h.Epoch != 0 && h.Epoch < a.epoch && h.Session != a.session && s.tick-a.seen < s.idleTimeout
}

// consistent reports whether the agent's spool continues what was applied: no sequence is sealed anew, and what
// both sides know has the same content.
func (a *agent) consistent(h *wire.Hello) bool {
	if h.NextSeq <= a.applied {
		return false
	}
	for _, sealed := range h.Sealed {
		if known, ok := a.hashOf(sealed.Seq); ok && known != sealed.Hash {
			return false
		}
	}
	return true
}

func (a *agent) hashOf(seq uint64) (wire.Hash, bool) {
	if n := len(a.hashes); n > 0 && seq <= a.applied && a.applied-seq < uint64(n) {
		return a.hashes[n-1-int(a.applied-seq)].Hash, true
	}
	return wire.Hash{}, false
}

// judge says what to do with a batch; Applied means: apply it, then advance.
func (a *agent) judge(b *batchItem) Result {
	r := Result{Epoch: a.epoch, Seq: a.applied}
	switch {
	case b.id.Epoch != a.epoch:
		r.Verdict, r.Reason = Fenced, "the batch is of an epoch that is not the current one: say Hello again"
	case b.id.Seq == a.applied+1:
		r.Verdict = Applied
	case b.id.Seq > a.applied+1:
		r.Verdict, r.Seq = Gap, a.applied+1
	default:
		known, ok := a.hashOf(b.id.Seq)
		switch {
		case !ok:
			r.Verdict, r.Reason = Conflict, "the sequence is older than the hashes kept: it cannot be told from another batch"
		case known != b.hash:
			r.Verdict, r.Reason = Conflict, "the sequence was applied with another content"
		default:
			r.Verdict = Duplicate
		}
	}
	return r
}

// applied in the epoch before: a batch that the agent sealed anew although it was told not to.
func (a *agent) knownBefore(h wire.Hash) bool {
	return slices.ContainsFunc(a.prevHashes, func(s wire.SeqHash) bool { return s.Hash == h })
}

func (a *agent) advance(seq uint64, h wire.Hash) {
	a.applied = seq
	if len(a.hashes) == wire.MaxHashes {
		copy(a.hashes, a.hashes[1:])
		a.hashes = a.hashes[:wire.MaxHashes-1]
	}
	a.hashes = append(a.hashes, wire.SeqHash{Seq: seq, Hash: h})
}
