-- Streams that deploy/helsinki/edge.yaml sends.
CREATE STREAM hfp (time TIMESTAMP, vehicle STRING, number BIGINT, journey_type STRING, event STRING, mode STRING, route STRING, line STRING, direction STRING,
  lat DOUBLE, lon DOUBLE, speed DOUBLE, heading BIGINT, odo DOUBLE, delay BIGINT, door BIGINT, stop STRING, occupancy BIGINT, oday STRING, start STRING);

CREATE STREAM apc (time TIMESTAMP, vehicle STRING, mode STRING, vehicle_load BIGINT, load_ratio DOUBLE, quality STRING,
  passengers_in BIGINT, passengers_out BIGINT, lat DOUBLE, lon DOUBLE, message_id STRING);

CREATE STREAM apc_stop (time TIMESTAMP, vehicle STRING, route STRING, direction STRING, stop STRING, vehicle_load BIGINT, load_ratio DOUBLE, quality STRING,
  passengers_in BIGINT, passengers_out BIGINT);
