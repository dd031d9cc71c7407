package w1

// Schema declares the stream of W1.
const Schema = `CREATE STREAM bus (time TIMESTAMP, bus STRING, route STRING, passengers BIGINT, capacity BIGINT, speed DOUBLE, lat DOUBLE, lon DOUBLE);
`

// Query is one of the five, with the ratio to the library loop that is asked of it.
type Query struct {
	Name, What, SQL string
	Bar             float64
}

// Queries returns Q1 to Q5.
func Queries() []Query {
	return []Query{
		{"Q1", "window per route", `SELECT window.start AS start, route, sum(passengers) AS sum_pax, avg(passengers) AS avg_pax, max(passengers) AS max_pax, count(*) AS n
FROM STREAM bus WATERMARK time DELAY OF INTERVAL 10 SECONDS
GROUP BY window(time, '1 minute'), route`, 2.8},
		{"Q2", "filter", `SELECT bus, route, time, passengers, capacity FROM STREAM bus WHERE passengers >= capacity`, 3.4},
		{"Q3", "sliding window per bus", `SELECT window.start AS start, bus, avg(speed) AS avg_speed, max(speed) AS max_speed
FROM STREAM bus WATERMARK time DELAY OF INTERVAL 10 SECONDS
GROUP BY window(time, '5 minutes', '1 minute'), bus`, 1.7},
		{"Q4", "sum per second", `SELECT window.start AS start, sum(passengers) AS total
FROM STREAM bus WATERMARK time DELAY OF INTERVAL 10 SECONDS
GROUP BY window(time, '1 second')`, 2.3},
		{"Q5", "fleet total", `SELECT sum(p) AS passengers, count(*) AS buses
FROM (SELECT bus, max_by(passengers, time) AS p FROM STREAM bus GROUP BY bus)`, 1.7},
	}
}
