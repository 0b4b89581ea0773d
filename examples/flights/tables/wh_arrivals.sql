SELECT
  f.flight_id,
  f.carrier,
  f.flight,
  f.origin,
  f.dest,
  f.sched_dep,
  r.arr_delay,
  r.dep_time IS NULL AS cancelled,
  r.dep_time IS NOT NULL AND r.arr_delay IS NULL AS diverted,
  CAST(CASE WHEN r.arr_delay IS NULL OR r.arr_delay > 15 THEN 1 ELSE 0 END AS BIGINT) AS late,
  CASE
    WHEN r.dep_time IS NULL THEN f.sched_dep
    WHEN r.arr_delay IS NULL THEN f.sched_arr + INTERVAL 3 HOUR
    ELSE f.sched_arr + r.arr_delay * INTERVAL 1 MINUTE
  END AS available_at
FROM wh.flights AS f
JOIN raw.flights AS r
  ON r.carrier = f.carrier
  AND r.flight = f.flight
  AND r.origin = f.origin
  AND CAST(r.time_hour AS TIMESTAMP) + r.minute * INTERVAL 1 MINUTE = f.sched_dep
