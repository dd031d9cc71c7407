package alert

import (
	"encoding/binary"
	"slices"
	"sync"
)

// Capture is the state of a Set at one moment. Taking it costs next to nothing,
// whatever the number of keys: they stay where they are and are read when they
// are wanted, and a key that is about to change is saved first, once, with the
// few around it. Reading may run while the set goes on: it holds the lock that
// was given to Capture for one slice of keys at a time, and whoever changes the
// set holds it meanwhile.
type Capture struct {
	lock  sync.Locker
	rules []*ruleCapture
}

const (
	blockKeys = 8    // keys that are saved at once
	sliceKeys = 1024 // keys that are read under one lock
	saveChunk = 128  // blocks that memory is taken for at once
)

// ruleCapture is the state of one rule at one moment.
type ruleCapture struct {
	state  *ruleState // whose list of captures it is on
	c      *compiled
	clock  int64
	packed []string
	keys   []key
	texts  []texts
	pasts  []past
	place  []int32 // per block: where it was saved + 1, 0 = not
	saved  [][]savedBlock
	used   int
}

type savedBlock [blockKeys]keyState

// keyState is all that is known of a key.
type keyState struct {
	key
	text texts
	past *past
}

// Capture remembers the set as it is now until Release; the caller holds the lock.
func (s *Set) Capture(lock sync.Locker) *Capture {
	c := &Capture{lock: lock}
	for _, r := range s.rules {
		x := &ruleCapture{state: r, c: r.c, clock: r.clock, packed: r.packed, keys: r.keys, texts: r.texts, pasts: r.pasts,
			place: make([]int32, (len(r.keys)+blockKeys-1)/blockKeys)}
		r.caps = append(r.caps, x)
		c.rules = append(c.rules, x)
	}
	return c
}

// Release ends the capture; the caller holds the lock.
func (c *Capture) Release() {
	for _, x := range c.rules {
		x.state.caps = slices.DeleteFunc(x.state.caps, func(y *ruleCapture) bool { return x == y })
	}
	c.rules = nil
}

// changing must be called with a key that is about to change.
func (r *ruleState) changing(k int32) {
	for _, c := range r.caps {
		c.save(k)
	}
}

func (c *ruleCapture) save(k int32) {
	b := int(k) / blockKeys
	if int(k) >= len(c.keys) || c.place[b] != 0 {
		return
	}
	if c.used == len(c.saved)*saveChunk {
		c.saved = append(c.saved, make([]savedBlock, saveChunk))
	}
	block := &c.saved[c.used/saveChunk][c.used%saveChunk]
	c.used++
	c.place[b] = int32(c.used)
	for i := range min(blockKeys, len(c.keys)-b*blockKeys) {
		block[i] = c.live(b*blockKeys + i)
	}
}

// live copies what the arrays say of a key.
func (c *ruleCapture) live(k int) keyState {
	out := keyState{key: c.keys[k]}
	if out.key.text >= 0 {
		out.text = c.texts[out.key.text].clone()
	}
	if out.key.past >= 0 {
		p := c.pasts[out.key.past]
		p.texts = p.texts.clone()
		out.past = &p
	}
	return out
}

func (t *texts) clone() texts { return texts{t.value, slices.Clone(t.extra)} }

// disown leaves the arrays to the captures that read them and goes on with copies: what follows renumbers keys.
func (r *ruleState) disown() {
	if len(r.caps) == 0 {
		return
	}
	r.caps = nil
	r.keys, r.packed = slices.Clone(r.keys), slices.Clone(r.packed)
	r.texts, r.pasts = slices.Clone(r.texts), slices.Clone(r.pasts)
	for i := range r.texts {
		r.texts[i] = r.texts[i].clone()
	}
	for i := range r.pasts {
		r.pasts[i].texts = r.pasts[i].texts.clone()
	}
}

// each calls f for the keys in order; f may not keep x.
func (c *ruleCapture) each(lock sync.Locker, f func(packed string, x *keyState)) {
	slice := make([]keyState, 0, min(sliceKeys, len(c.keys)))
	for from := 0; from < len(c.keys); from += sliceKeys {
		slice = c.slice(lock, slice[:0], from)
		for i := range slice {
			f(c.packed[from+i], &slice[i])
		}
	}
}

func (c *ruleCapture) slice(lock sync.Locker, out []keyState, from int) []keyState {
	lock.Lock()
	defer lock.Unlock()
	for k := from; k < min(len(c.keys), from+sliceKeys); k++ {
		if p := int(c.place[k/blockKeys]) - 1; p >= 0 {
			out = append(out, c.saved[p/saveChunk][p%saveChunk][k%blockKeys])
			continue
		}
		out = append(out, c.live(k))
	}
	return out
}

// Encode appends the rules and their state to dst. Equal states give equal bytes.
func (c *Capture) Encode(dst []byte) []byte {
	dst = append(dst, snapshotVersion)
	dst = binary.AppendUvarint(dst, uint64(len(c.rules)))
	for _, r := range c.rules {
		dst = appendRule(dst, r.c.Rule)
		dst = binary.AppendVarint(dst, r.clock)
		dst = binary.AppendUvarint(dst, uint64(len(r.keys)))
		r.each(c.lock, func(packed string, x *keyState) {
			dst = appendString(dst, packed)
			dst = appendMachine(dst, &x.machine)
			dst = binary.AppendUvarint(dst, x.seq)
			if dst = appendFlag(dst, x.key.text >= 0); x.key.text >= 0 {
				dst = appendTexts(dst, &x.text)
			}
			if dst = appendFlag(dst, x.past != nil); x.past != nil {
				dst = appendMachine(dst, &x.past.machine)
				dst = appendTexts(dst, &x.past.texts)
			}
		})
	}
	return dst
}

// noLock is for a capture that is read before anything changes.
type noLock struct{}

func (noLock) Lock()   {}
func (noLock) Unlock() {}

// now calls f with a capture of this moment.
func (s *Set) now(f func(c *Capture)) {
	c := s.Capture(noLock{})
	f(c)
	c.Release()
}
