package w1

import (
	"fmt"
	"sort"
	"strconv"
	"time"

	"github.com/influxdata/line-protocol/v2/lineprotocol"
)

// Answers computes the rows of Q1 to Q5 from the records themselves: no text,
// no engine, one record at a time. Rows are CSV lines without header, sorted.
func Answers(c Config) map[string][]string {
	vs, records := c.records()
	out := map[string][]string{}
	out["Q1"] = answerQ1(vs, records)
	for _, r := range records {
		if v := vs[r.bus]; int(r.pax) >= v.cap {
			out["Q2"] = append(out["Q2"], fmt.Sprintf("%s,%s,%s,%d,%d", v.name, v.route, stamp(r.ts), r.pax, v.cap))
		}
	}
	out["Q3"] = answerQ3(vs, records)
	totals := map[int64]int64{}
	for _, r := range records {
		totals[r.ts/1000*1000] += int64(r.pax)
	}
	for start, total := range totals {
		out["Q4"] = append(out["Q4"], fmt.Sprintf("%s,%d", stamp(start), total))
	}
	out["Q5"] = answerQ5(len(vs), records)
	for _, rows := range out {
		sort.Strings(rows)
	}
	return out
}

func answerQ1(vs []vehicle, records []record) (rows []string) {
	type key struct {
		start int64
		route string
	}
	type sums struct{ sum, max, n int64 }
	groups := map[key]*sums{}
	for _, r := range records {
		k := key{r.ts / 60000 * 60000, vs[r.bus].route}
		g := groups[k]
		if g == nil {
			g = &sums{max: int64(r.pax)}
			groups[k] = g
		}
		g.sum += int64(r.pax)
		g.n++
		g.max = max(g.max, int64(r.pax))
	}
	for k, g := range groups {
		rows = append(rows, fmt.Sprintf("%s,%s,%d,%s,%d,%d", stamp(k.start), k.route, g.sum, float(float64(g.sum)/float64(g.n)), g.max, g.n))
	}
	return rows
}

// answerQ3 leaves the average out: the order of additions decides its last digits.
func answerQ3(vs []vehicle, records []record) (rows []string) {
	type key struct {
		start int64
		bus   int32
	}
	fastest := map[key]int32{}
	for _, r := range records {
		last := r.ts / 60000 * 60000
		for i := range int64(5) {
			k := key{last - i*60000, r.bus}
			fastest[k] = max(fastest[k], r.speed)
		}
	}
	for k, s := range fastest {
		rows = append(rows, fmt.Sprintf("%s,%s,%s", stamp(k.start), vs[k.bus].name, float(float64(s)/100)))
	}
	return rows
}

func answerQ5(buses int, records []record) []string {
	newest := make([]int64, buses)
	load := make([]int64, buses)
	for _, r := range records {
		if r.ts >= newest[r.bus] {
			newest[r.bus], load[r.bus] = r.ts, int64(r.pax)
		}
	}
	var total int64
	for _, p := range load {
		total += p
	}
	return []string{fmt.Sprintf("%d,%d", total, buses)}
}

func stamp(ms int64) string { return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000000Z") }

// float writes a double the way Spark does at these magnitudes: always with a fraction.
func float(v float64) string {
	s := strconv.FormatFloat(v, 'f', -1, 64)
	for _, c := range s {
		if c == '.' {
			return s
		}
	}
	return s + ".0"
}

// LibraryLoop decodes every line with the line-protocol library and folds Q1
// into a Go map: the yardstick of the bars. It returns the lines and a checksum.
func LibraryLoop(text []byte) (lines int, checksum int64, err error) {
	type key struct {
		start int64
		route string
	}
	type sums struct{ sum, max, n int64 }
	groups := map[key]*sums{}
	d := lineprotocol.NewDecoderWithBytes(text)
	for d.Next() {
		if _, err := d.Measurement(); err != nil {
			return lines, 0, err
		}
		var route string
		for {
			k, v, err := d.NextTag()
			if err != nil {
				return lines, 0, err
			}
			if k == nil {
				break
			}
			if string(k) == "route" {
				route = string(v)
			}
		}
		var pax int64
		for {
			k, v, err := d.NextField()
			if err != nil {
				return lines, 0, err
			}
			if k == nil {
				break
			}
			if string(k) == "passengers" {
				pax = v.IntV()
			}
		}
		t, err := d.Time(lineprotocol.Nanosecond, time.Time{})
		if err != nil {
			return lines, 0, err
		}
		k := key{t.UnixMilli() / 60000, route}
		g := groups[k]
		if g == nil {
			g = &sums{max: pax}
			groups[k] = g
		}
		g.sum += pax
		g.n++
		g.max = max(g.max, pax)
		lines++
	}
	for _, g := range groups {
		checksum += g.sum*31 + g.max*7 + g.n
	}
	return lines, checksum, nil
}
