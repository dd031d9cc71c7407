package wire

import (
	"testing"

	"signalbox/engine/column"
)

func BenchmarkEncode1000(b *testing.B) {
	for _, buses := range []int{1, 50} {
		b.Run(map[int]string{1: "bus", 50: "gateway"}[buses], func(b *testing.B) {
			rows := busBatch(1000, buses, 1)
			var e Encoder
			var dst []byte
			for b.Loop() {
				dst, _ = e.Encode(dst[:0], rows)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/reading")
		})
	}
}

func BenchmarkDecode1000(b *testing.B) {
	for _, buses := range []int{1, 50} {
		b.Run(map[int]string{1: "bus", 50: "gateway"}[buses], func(b *testing.B) {
			f, _ := EncodeFrame(nil, busBatch(1000, buses, 1))
			d := Decoder{SharedDict: 4096}
			var out *column.Batch
			b.ReportAllocs()
			for b.Loop() {
				out, _ = d.Decode(f, DecodeOptions{Reuse: out})
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/reading")
		})
	}
}
