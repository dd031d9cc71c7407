package agg

import (
	"encoding/binary"
	"math"

	"signalbox/engine/column"
	"signalbox/engine/expr"
)

// hashValue hashes a value that is not NULL as Spark does before it counts distinct values.
func hashValue(c *column.Column, row int, seed uint64) uint64 {
	var b [16]byte
	switch c.Type.Kind.Storage() {
	case column.StoreI64:
		switch c.Type.Kind {
		case column.Boolean, column.TinyInt, column.SmallInt, column.Int, column.Date, column.IntervalYM:
			binary.LittleEndian.PutUint32(b[:], uint32(c.I64[row]))
			return expr.XXHash64(b[:4], seed)
		}
		binary.LittleEndian.PutUint64(b[:], uint64(c.I64[row]))
		return expr.XXHash64(b[:8], seed)
	case column.StoreF64:
		if c.Type.Kind == column.Float {
			binary.LittleEndian.PutUint32(b[:], math.Float32bits(float32(wordFloat(floatWord(c.F64[row])))))
			return expr.XXHash64(b[:4], seed)
		}
		binary.LittleEndian.PutUint64(b[:], floatWord(c.F64[row]))
		return expr.XXHash64(b[:8], seed)
	case column.StoreDict:
		return expr.XXHash64(stringBytes(c.Str(row)), seed)
	case column.StoreDec:
		if c.Type.Precision <= 18 {
			binary.LittleEndian.PutUint64(b[:], c.Dec[row].Lo)
			return expr.XXHash64(b[:8], seed)
		}
		return expr.XXHash64(appendCell(b[:0], c, row), seed)
	}
	return expr.XXHash64(appendCell(nil, c, row), seed)
}
