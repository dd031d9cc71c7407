// Package column holds the typed columns that every other part of Signalbox
// passes around: what the edge decodes a message into, what a frame encodes,
// what the engine computes on and what a sink writes.
//
// It promises a layout without pointers per row (slices of int64, float64,
// dictionary codes) and refuses to know SQL, files or the network.
package column

import (
	"fmt"
	"strings"
)

// Kind is the logical kind of a column, in the terms of Spark SQL.
type Kind uint8

// The kinds. Their numbers are part of the frame and snapshot formats: append, never renumber.
const (
	Void         Kind = iota // the type of an untyped NULL
	Boolean                  // stored in I64 as 0 or 1
	TinyInt                  // stored in I64
	SmallInt                 // stored in I64
	Int                      // stored in I64, 32-bit range
	BigInt                   // stored in I64
	Float                    // stored in F64, each value exactly a float32
	Double                   // stored in F64
	Decimal                  // stored in Dec: unscaled 128-bit value, scale in the type
	String                   // stored as Codes into Dict, UTF-8
	Binary                   // stored as Codes into Dict, any bytes
	Date                     // stored in I64, days since 1970-01-01
	Timestamp                // stored in I64, microseconds since the epoch, UTC
	TimestampNTZ             // stored in I64, microseconds of a local date-time
	IntervalDT               // stored in I64, microseconds; the type names its fields
	IntervalYM               // stored in I64, months; the type names its fields
	Array                    // stored in Any, each a Datum with L
	Struct                   // stored in Any, each a Datum with L in field order
	Map                      // stored in Any, each a Datum with L = key, value, key, value …
	TimestampNS              // stored in I64, nanoseconds since the epoch: edge and frames only, the engine never sees it
)

var kindNames = [...]string{"void", "boolean", "tinyint", "smallint", "int", "bigint", "float", "double", "decimal",
	"string", "binary", "date", "timestamp", "timestamp_ntz", "interval day to second", "interval year to month",
	"array", "struct", "map", "timestamp_ns"}

func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

// Type is a logical type. The zero Type is void.
type Type struct {
	Kind             Kind
	Precision, Scale uint8   // Decimal: 1..38 and 0..Precision; interval: see IntervalOf
	Elem             *Type   // Array: the element; Map: the value
	Key              *Type   // Map: the key
	Fields           []Field // Struct
}

// Field is a named, nullable column of a schema or member of a struct.
type Field struct {
	Name string
	Type Type
}

// DecimalType returns DECIMAL(precision, scale).
func DecimalType(precision, scale uint8) Type {
	return Type{Kind: Decimal, Precision: precision, Scale: scale}
}

// The fields of interval types, coarse to fine: YEAR and MONTH of IntervalYM, the others of IntervalDT.
const (
	FieldYear uint8 = iota
	FieldMonth
	FieldDay
	FieldHour
	FieldMinute
	FieldSecond
)

var intervalFields = [...]string{"year", "month", "day", "hour", "minute", "second"}

// IntervalOf returns INTERVAL from TO to. The full range of a kind is its zero type.
func IntervalOf(from, to uint8) Type {
	t := Type{Kind: IntervalDT, Precision: from + 1, Scale: to + 1}
	if to <= FieldMonth {
		t.Kind = IntervalYM
	}
	if to-from == 3 || t.Kind == IntervalYM && to > from {
		t.Precision, t.Scale = 0, 0
	}
	return t
}

// IntervalFields returns the first and last field of an interval type.
func (t Type) IntervalFields() (from, to uint8) {
	switch {
	case t.Precision > 0:
		return t.Precision - 1, t.Scale - 1
	case t.Kind == IntervalYM:
		return FieldYear, FieldMonth
	}
	return FieldDay, FieldSecond
}

// CalendarInterval is the type of intervals whose months, days and microseconds stand side by side: a struct of them that prints as interval.
func CalendarInterval() Type {
	return Type{Kind: Struct, Precision: 1, Fields: []Field{{"months", Of(Int)}, {"days", Of(Int)}, {"microseconds", Of(BigInt)}}}
}

// Of returns the type of a kind that needs no parameters.
func Of(k Kind) Type { return Type{Kind: k} }

// ArrayOf returns ARRAY<elem>.
func ArrayOf(elem Type) Type { return Type{Kind: Array, Elem: &elem} }

// StructOf returns STRUCT<fields>.
func StructOf(fields ...Field) Type { return Type{Kind: Struct, Fields: fields} }

// Equal reports whether two types are the same, struct field names included.
func (t Type) Equal(o Type) bool {
	if t.Kind != o.Kind || t.Precision != o.Precision || t.Scale != o.Scale || len(t.Fields) != len(o.Fields) {
		return false
	}
	if !equalPtr(t.Elem, o.Elem) || !equalPtr(t.Key, o.Key) {
		return false
	}
	for i := range t.Fields {
		if t.Fields[i].Name != o.Fields[i].Name || !t.Fields[i].Type.Equal(o.Fields[i].Type) {
			return false
		}
	}
	return true
}

func equalPtr(a, b *Type) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Equal(*b)
}

// Storage says which slice of a Column holds the values.
type Storage uint8

// The storages.
const (
	StoreNone Storage = iota // Void: no values, all NULL
	StoreI64
	StoreF64
	StoreDict
	StoreDec
	StoreAny
)

// Storage returns where a column of this kind keeps its values.
func (k Kind) Storage() Storage {
	switch k {
	case Void:
		return StoreNone
	case Float, Double:
		return StoreF64
	case String, Binary:
		return StoreDict
	case Decimal:
		return StoreDec
	case Array, Struct, Map:
		return StoreAny
	}
	return StoreI64
}

// IsIntegral reports whether the kind is one of the four integer kinds.
func (k Kind) IsIntegral() bool { return k >= TinyInt && k <= BigInt }

// IsNumeric reports whether the kind is integral, floating or decimal.
func (k Kind) IsNumeric() bool { return k >= TinyInt && k <= Decimal }

// String returns the type as Spark prints it, for example decimal(10,2) or struct<start:timestamp>.
func (t Type) String() string {
	switch t.Kind {
	case Decimal:
		return fmt.Sprintf("decimal(%d,%d)", t.Precision, t.Scale)
	case IntervalDT, IntervalYM:
		from, to := t.IntervalFields()
		if from == to {
			return "interval " + intervalFields[from]
		}
		return "interval " + intervalFields[from] + " to " + intervalFields[to]
	case Array:
		return "array<" + t.Elem.String() + ">"
	case Map:
		return "map<" + t.Key.String() + "," + t.Elem.String() + ">"
	case Struct:
		if t.Precision == 1 {
			return "interval"
		}
		var b strings.Builder
		b.WriteString("struct<")
		for i, f := range t.Fields {
			if i > 0 {
				b.WriteByte(',')
			}
			b.WriteString(f.Name + ":" + f.Type.String())
		}
		return b.String() + ">"
	}
	return t.Kind.String()
}
