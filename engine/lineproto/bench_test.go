package lineproto

import (
	"io"
	"testing"

	lp "github.com/influxdata/line-protocol/v2/lineprotocol"
)

func BenchmarkScan(b *testing.B) {
	for name, columns := range map[string][]int{"3cols": {0, 2, 3}, "all": nil} {
		b.Run(name, func(b *testing.B) {
			src := &repeat{text: w1Text(50_000)}
			r, err := NewReader(src, ReaderOptions{Streams: testStreams(columns)})
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			b.ResetTimer()
			for rows := 0; rows < b.N; {
				batches, err := r.Next()
				if err != nil {
					b.Fatal(err)
				}
				rows += batches[0].Len
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds()/1e6, "Mlines/s")
		})
	}
}

// BenchmarkLibrary is the loop the scanner is compared to: everything decoded, nothing stored.
func BenchmarkLibrary(b *testing.B) {
	d := lp.NewDecoder(io.LimitReader(&repeat{text: w1Text(50_000)}, 1<<50))
	b.ReportAllocs()
	var sum int64
	for range b.N {
		if !d.Next() {
			b.Fatal("end")
		}
		if _, err := d.Measurement(); err != nil {
			b.Fatal(err)
		}
		for {
			k, _, err := d.NextTag()
			if err != nil {
				b.Fatal(err)
			}
			if k == nil {
				break
			}
		}
		for {
			k, v, err := d.NextField()
			if err != nil {
				b.Fatal(err)
			}
			if k == nil {
				break
			}
			if v.Kind() == lp.Int {
				sum += v.IntV()
			}
		}
		if _, err := d.TimeBytes(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds()/1e6, "Mlines/s")
	_ = sum
}
