SELECT
  f.flight_id,
  f.carrier,
  f.origin,
  f.dest,
  r.tailnum,
  f.sched_dep,
  r.dep_delay,
  r.dep_time IS NULL AS cancelled,
  CASE
    WHEN r.dep_time IS NULL THEN f.sched_dep
    ELSE f.sched_dep + r.dep_delay * INTERVAL 1 MINUTE
  END AS available_at
FROM wh.flights AS f
JOIN raw.flights AS r
  ON r.carrier = f.carrier
  AND r.flight = f.flight
  AND r.origin = f.origin
  AND CAST(r.time_hour AS TIMESTAMP) + r.minute * INTERVAL 1 MINUTE = f.sched_dep
