-- What is asked of the Helsinki streams. Load after schema.sql:
--   signalbox apply deploy/helsinki/schema.sql deploy/helsinki/pipeline.sql deploy/helsinki/rules.yaml vehicles=vehicles.csv
-- How to make vehicles.csv from HSL's fleet list is in README.md; it may stay empty.

CREATE TABLE vehicles (vehicle STRING, type STRING, capacity BIGINT);

-- The latest count of each vehicle with a counter, and what got on and off since we listen.
CREATE STREAMING TABLE vehicle_load OPTIONS (mode 'update') AS
SELECT vehicle, max(time) AS time, max_by(vehicle_load, time) AS load, max(vehicle_load) AS most,
       count(*) AS messages, sum(passengers_in) AS boarded, sum(passengers_out) AS alighted
FROM STREAM apc GROUP BY vehicle;

-- Each count beside the capacity of its vehicle, as far as that is known.
CREATE STREAMING TABLE crowding AS
SELECT a.time, a.vehicle, a.vehicle_load, v.type, v.capacity
FROM STREAM apc a LEFT JOIN vehicles v ON a.vehicle = v.vehicle;

-- Boardings per vehicle and five minutes. A counter may be a minute late (most are 4 to 6 s);
-- later ones still count for an hour, as revisions.
CREATE STREAMING TABLE boardings OPTIONS (allowed_lateness '1 hour') AS
SELECT window.start AS start, window.end AS end, vehicle, count(*) AS stops,
       sum(passengers_in) AS boarded, sum(passengers_out) AS alighted, max(vehicle_load) AS most
FROM STREAM apc WATERMARK time DELAY OF INTERVAL 10 SECONDS
GROUP BY window(time, '5 minutes'), vehicle;

-- Where each vehicle is. A quarter of the positions is null: the newest message need not have one.
CREATE STREAMING TABLE vehicle_now OPTIONS (mode 'update') AS
SELECT vehicle, max(time) AS time, max_by(route, time) AS route, max_by(lat, time) AS lat, max_by(lon, time) AS lon,
       max_by(delay, time) AS delay, count(*) AS messages, count(lat) AS with_position
FROM STREAM hfp GROUP BY vehicle;

-- How many messages of each kind came: a feed that misses one shows here.
CREATE STREAMING TABLE events OPTIONS (mode 'update') AS
SELECT event, count(*) AS messages FROM STREAM hfp GROUP BY event;
