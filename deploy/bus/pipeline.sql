-- The model case: how many passengers are on all buses right now, and which
-- buses are at capacity. Load it with: signalbox apply deploy/bus/pipeline.sql deploy/bus/rules.yaml vehicle_types=deploy/bus/vehicle_types.csv

CREATE STREAM bus (
  time TIMESTAMP, bus_id STRING, route STRING, vehicle_type STRING,
  passengers BIGINT, capacity BIGINT, speed DOUBLE, lat DOUBLE, lon DOUBLE, seq BIGINT
);

-- A static table, filled from a file; a result carries the version it was joined with.
CREATE TABLE vehicle_types (vehicle_type STRING, seats BIGINT, capacity BIGINT, description STRING);

-- One row per route and window, final when the window is over.
CREATE STREAMING TABLE route_load AS
SELECT window.start AS start, window.end AS end, route,
       count(*) AS readings, max(passengers) AS passengers_max, avg(passengers) AS passengers_avg,
       max(passengers / capacity) AS peak
FROM STREAM bus WATERMARK time DELAY OF INTERVAL 2 SECONDS
GROUP BY window(time, '10 seconds'), route;

-- The latest reading of each bus.
CREATE STREAMING TABLE bus_now OPTIONS (mode 'update', state_ttl '15 minutes') AS
SELECT bus_id, max(time) AS time, max_by(route, time) AS route, max_by(vehicle_type, time) AS vehicle_type,
       max_by(passengers, time) AS passengers, max_by(capacity, time) AS capacity,
       max_by(lat, time) AS lat, max_by(lon, time) AS lon
FROM STREAM bus WATERMARK time DELAY OF INTERVAL 2 SECONDS
GROUP BY bus_id;

-- The fleet total: the latest value of each bus, summed. One row, always current.
CREATE STREAMING TABLE fleet_now OPTIONS (mode 'update', state_ttl '15 minutes') AS
SELECT sum(p) AS passengers, count(*) AS buses
FROM (SELECT bus_id, max_by(passengers, time) AS p FROM STREAM bus WATERMARK time DELAY OF INTERVAL 2 SECONDS GROUP BY bus_id);

-- Every reading of a full bus, with what its vehicle type says.
CREATE STREAMING TABLE full_bus AS
SELECT b.time, b.bus_id, b.route, b.passengers, b.capacity, v.description
FROM STREAM bus b LEFT JOIN vehicle_types v ON b.vehicle_type = v.vehicle_type
WHERE b.passengers >= b.capacity;

-- How many readings of each bus were counted: what a reconciliation compares.
CREATE STREAMING TABLE bus_count OPTIONS (mode 'update') AS
SELECT bus_id, count(*) AS readings, max(seq) AS last_seq FROM STREAM bus GROUP BY bus_id;
