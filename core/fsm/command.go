package fsm

import (
	"encoding/binary"
	"fmt"
	"slices"

	"signalbox/core/codec"
	"signalbox/edge/wire"
)

// ItemKind says what an item of an entry is. Append, never renumber.
type ItemKind byte

// The kinds of item.
const (
	ItemBatch       ItemKind = iota + 1 // an agent's sealed batch
	ItemHeartbeat                       // an agent's frontiers
	ItemGrant                           // an agent's Hello: session and epoch
	ItemLeaderReady                     // first entry of a term
	ItemTick                            // only time passes
	ItemScript                          // pipeline SQL
	ItemRules                           // a rule file
	ItemChunk                           // a piece of a static table
	ItemActivate                        // a static table becomes active
	ItemSinkAck                         // cursors of sinks
	ItemRetire                          // an agent that will not come back is not expected any more
)

// Entry format and bounds.
const (
	entryVersion   = 1
	MaxItems       = 1024      // items in an entry
	MaxChunkBytes  = 512 << 10 // one piece of a static table
	MaxTableBytes  = 256 << 20 // a static table while it is uploaded
	MaxScriptBytes = 1 << 20   // one SQL script or rule file
	MaxUploads     = 16        // static tables being uploaded at a time; the oldest leaves
)

// Item is one command of an entry, encoded.
type Item struct {
	Kind ItemKind
	Data []byte
}

// Control reports whether the item changes the catalog: it gets an entry of its own.
func (i Item) Control() bool { return i.Kind >= ItemScript && i.Kind <= ItemActivate }

// Header is what every entry carries.
type Header struct {
	Group, Generation uint32
	Clock             int64 // µs, the proposing leader's clock: the tick
}

// EncodeEntry appends an entry.
func EncodeEntry(dst []byte, h Header, items []Item) []byte {
	size := 1 + 4*binary.MaxVarintLen64
	for _, it := range items {
		size += 1 + binary.MaxVarintLen64 + len(it.Data)
	}
	dst = slices.Grow(dst, size)
	dst = append(dst, entryVersion)
	dst = binary.AppendUvarint(dst, uint64(h.Group))
	dst = binary.AppendUvarint(dst, uint64(h.Generation))
	dst = binary.AppendVarint(dst, h.Clock)
	dst = binary.AppendUvarint(dst, uint64(len(items)))
	for _, it := range items {
		dst = codec.AppendBytes(append(dst, byte(it.Kind)), it.Data)
	}
	return dst
}

func decodeEntry(data []byte, items []Item) (Header, []Item, error) {
	r := codec.NewReader(data, "entry")
	if v := r.Byte(); v != entryVersion {
		r.Fail("version %d, this program reads %d", v, entryVersion)
	}
	h := Header{Group: uint32(r.Uvarint()), Generation: uint32(r.Uvarint()), Clock: r.Varint()}
	n := r.Count()
	if n > MaxItems {
		r.Fail("%d items, at most %d are allowed", n, MaxItems)
	}
	for range n {
		if r.Err() != nil {
			break
		}
		items = append(items, Item{Kind: ItemKind(r.Byte()), Data: r.Bytes()})
	}
	return h, items, r.End()
}

// BatchItem carries a batch's canonical body; the body is copied.
func BatchItem(id wire.BatchID, hash wire.Hash, body []byte) Item {
	d := make([]byte, 0, len(id.Agent)+40+len(body))
	d = codec.AppendString(d, id.Agent)
	d = binary.AppendUvarint(d, id.Epoch)
	d = binary.AppendUvarint(d, id.Seq)
	d = append(d, hash[:]...)
	return Item{Kind: ItemBatch, Data: append(d, body...)}
}

type batchItem struct {
	id   wire.BatchID
	hash wire.Hash
	body []byte
}

// agent names are looked up without allocating, so the name stays bytes here.
func decodeBatchItem(d []byte) (agent []byte, b batchItem, err error) {
	r := codec.NewReader(d, "batch item")
	agent = r.Bytes()
	b.id.Epoch, b.id.Seq = r.Uvarint(), r.Uvarint()
	b.hash = r.Hash()
	b.body = r.Take(r.Left())
	return agent, b, r.End()
}

// HeartbeatItem carries a heartbeat of an agent.
func HeartbeatItem(agent string, hb *wire.Heartbeat) Item {
	return Item{Kind: ItemHeartbeat, Data: wire.AppendMessage(codec.AppendString(nil, agent), hb)}
}

func decodeHeartbeatItem(d []byte) (string, *wire.Heartbeat, error) {
	r := codec.NewReader(d, "heartbeat item")
	agent := r.String()
	m, err := wire.DecodeMessage(r.Take(r.Left()))
	if err := r.End(); err != nil {
		return "", nil, err
	}
	hb, ok := m.(*wire.Heartbeat)
	if err == nil && !ok {
		err = fmt.Errorf("%w: not a heartbeat", codec.ErrCorrupt)
	}
	return agent, hb, err
}

// GrantItem asks for the agent's place in the sequence; the result carries a Welcome.
func GrantItem(h *wire.Hello) Item {
	return Item{Kind: ItemGrant, Data: wire.AppendMessage(nil, h)}
}

// LeaderReady begins a term.
type LeaderReady struct {
	Term  uint64
	Node  string
	Sinks []string // cursors to keep: leader sinks by name, others as name@node
}

// LeaderReadyItem encodes l.
func LeaderReadyItem(l LeaderReady) Item {
	d := binary.AppendUvarint(nil, l.Term)
	d = codec.AppendString(d, l.Node)
	d = binary.AppendUvarint(d, uint64(len(l.Sinks)))
	for _, s := range l.Sinks {
		d = codec.AppendString(d, s)
	}
	return Item{Kind: ItemLeaderReady, Data: d}
}

func decodeLeaderReady(d []byte) (l LeaderReady, err error) {
	r := codec.NewReader(d, "leader-ready item")
	l.Term, l.Node = r.Uvarint(), r.String()
	for range r.Count() {
		l.Sinks = append(l.Sinks, r.String())
	}
	return l, r.End()
}

// TickItem lets only time pass.
func TickItem() Item { return Item{Kind: ItemTick} }

// CheckItem is a tick that also says what the proposing node's chain was after an entry: every node compares its own.
func CheckItem(index, chain uint64) Item {
	return Item{Kind: ItemTick, Data: binary.AppendUvarint(binary.AppendUvarint(nil, index), chain)}
}

// ScriptItem executes pipeline SQL, all of it or nothing. name is the file it came from.
func ScriptItem(name, text string) Item {
	return Item{Kind: ItemScript, Data: codec.AppendString(codec.AppendString(nil, name), text)}
}

// RulesItem replaces the rule file of that name; an empty text removes it.
func RulesItem(name, text string) Item {
	return Item{Kind: ItemRules, Data: codec.AppendString(codec.AppendString(nil, name), text)}
}

func decodeText(d []byte) (name, text string, err error) {
	r := codec.NewReader(d, "catalog item")
	name, text = r.String(), r.String()
	return name, text, r.End()
}

// RetireItem says that an agent will not come back; when it speaks all the same it is expected again.
func RetireItem(agent string) Item {
	return Item{Kind: ItemRetire, Data: codec.AppendString(nil, agent)}
}

func decodeRetire(d []byte) (string, error) {
	r := codec.NewReader(d, "retire item")
	name := r.String()
	return name, r.End()
}

// Upload names one upload of a static table. Rows of its chunks are of the table's declared schema.
type Upload struct {
	Table string
	ID    [16]byte
	Parts int
}

// ChunkItem carries rows (codec.AppendRows) of part 0 <= part < Parts.
func ChunkItem(u Upload, part int, rows []byte) Item {
	d := appendUpload(nil, u)
	d = binary.AppendUvarint(d, uint64(part))
	return Item{Kind: ItemChunk, Data: append(d, rows...)}
}

// ActivateItem makes a complete upload the table's content from the next entry on.
func ActivateItem(u Upload) Item { return Item{Kind: ItemActivate, Data: appendUpload(nil, u)} }

func appendUpload(d []byte, u Upload) []byte {
	d = append(codec.AppendString(d, u.Table), u.ID[:]...)
	return binary.AppendUvarint(d, uint64(u.Parts))
}

func readUpload(r *codec.Reader) Upload {
	return Upload{Table: r.String(), ID: r.Hash(), Parts: int(min(r.Uvarint(), 1<<20))}
}

// SinkAck moves cursors and reports rows that a sink refused for good.
type SinkAck struct {
	Cursors []SinkCursor
	Refused []SinkRefusal
}

// SinkCursor is a cursor's new position.
type SinkCursor struct {
	Name string
	UpTo uint64
}

// SinkRefusal is a row that a sink will never take.
type SinkRefusal struct {
	Sink, Table, Detail, Row string
	Time                     int64 // µs
}

// SinkAckItem encodes a.
func SinkAckItem(a SinkAck) Item {
	d := binary.AppendUvarint(nil, uint64(len(a.Cursors)))
	for _, c := range a.Cursors {
		d = binary.AppendUvarint(codec.AppendString(d, c.Name), c.UpTo)
	}
	d = binary.AppendUvarint(d, uint64(len(a.Refused)))
	for _, f := range a.Refused {
		for _, s := range []string{f.Sink, f.Table, f.Detail, f.Row} {
			d = codec.AppendString(d, s)
		}
		d = binary.AppendVarint(d, f.Time)
	}
	return Item{Kind: ItemSinkAck, Data: d}
}

func decodeSinkAck(d []byte) (a SinkAck, err error) {
	r := codec.NewReader(d, "sink-ack item")
	for range r.Count() {
		a.Cursors = append(a.Cursors, SinkCursor{Name: r.String(), UpTo: r.Uvarint()})
	}
	for range r.Count() {
		a.Refused = append(a.Refused, SinkRefusal{Sink: r.String(), Table: r.String(), Detail: r.String(), Row: r.String(), Time: r.Varint()})
	}
	return a, r.End()
}
