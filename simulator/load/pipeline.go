package load

import "signalbox/core/catalog"

// The pipeline that a load measures: the stream, a window per route, every
// reading of a full bus, and a count per bus that the reconciliation compares.
const pipelineSQL = `CREATE STREAM bus (
  time TIMESTAMP, bus_id STRING, route STRING, vehicle_type STRING,
  passengers BIGINT, capacity BIGINT, speed DOUBLE, lat DOUBLE, lon DOUBLE, seq BIGINT
);

CREATE STREAMING TABLE route_load AS
SELECT window.start AS start, route, sum(passengers) AS sum_pax, avg(passengers) AS avg_pax, max(passengers) AS max_pax, count(*) AS n
FROM STREAM bus WATERMARK time DELAY OF INTERVAL 10 SECONDS
GROUP BY window(time, '1 minute'), route;

CREATE STREAMING TABLE full_bus AS
SELECT time, bus_id, route, passengers, capacity FROM STREAM bus WHERE passengers >= capacity;

CREATE STREAMING TABLE bus_count OPTIONS (mode 'update') AS
SELECT bus_id, count(*) AS readings FROM STREAM bus GROUP BY bus_id;
`

// onceSQL counts each reading once; it is there only when the buses send some twice, because it remembers a minute of them.
const onceSQL = `CREATE STREAMING TABLE bus_once OPTIONS (mode 'update') AS
SELECT bus_id, count(*) AS readings
FROM STREAM bus WATERMARK time DELAY OF INTERVAL 1 MINUTE DEDUP BY (bus_id, time) WITHIN WATERMARK
GROUP BY bus_id;
`

// rulesYAML fires on the first reading at capacity and resolves on the first below it: each probe causes one transition.
const rulesYAML = `groups:
  - name: load
    rules:
      - alert: BusFull
        from: bus
        expr: passengers >= capacity
        value: passengers
        by: [bus_id]
`

// pipeline is what is applied before a load.
func pipeline(duplicates bool) []catalog.Document {
	docs := []catalog.Document{{Name: "load.sql", Kind: catalog.SQL, Text: pipelineSQL}, {Name: "load.yaml", Kind: catalog.Rules, Text: rulesYAML}}
	if duplicates {
		docs = append(docs, catalog.Document{Name: "load-once.sql", Kind: catalog.SQL, Text: onceSQL})
	}
	return docs
}
