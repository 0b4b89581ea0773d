/*
view: origin_overdue
version: 1
owner: data-science
description: >-
  Flights at the airport that should have left 15 minutes ago or more and have not. A cancelled
  flight counts for three hours.
entity: [origin]
ttl: 24h
features:
  origin_overdue:
    {type: integer, unit: flights, range: [0, 500], fallback: {value: 2}}
*/
WITH moves AS (
  -- From the schedule, not from the departures: a flight that has not left yet has no row
  -- there, and would only be counted overdue once it no longer is.
  SELECT f.origin, f.sched_dep + INTERVAL 15 MINUTE AS ts, 1 AS step
  FROM wh.flights AS f
  LEFT JOIN wh.departures AS d ON d.flight_id = f.flight_id
  WHERE d.flight_id IS NULL OR d.cancelled OR d.dep_delay > 15
  UNION ALL
  SELECT
    origin,
    CASE WHEN cancelled THEN sched_dep + INTERVAL 3 HOUR ELSE available_at END AS ts,
    -1 AS step
  FROM wh.departures
  WHERE cancelled OR dep_delay > 15
)
SELECT
  origin,
  ts,
  CAST(sum(sum(step)) OVER (PARTITION BY origin ORDER BY ts) AS BIGINT) AS origin_overdue
FROM moves
GROUP BY origin, ts
