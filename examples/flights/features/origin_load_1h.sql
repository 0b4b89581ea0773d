/*
view: origin_load_1h
version: 1
owner: data-eng
description: >-
  Departures scheduled at the airport within half an hour of this one. Read by exact schedule
  time; known when the last flight it counts is published.
entity: [origin, sched_dep]
features:
  origin_load_1h:
    {type: integer, unit: flights, range: [1, 200], fallback: {value: 20}}
*/
SELECT
  origin,
  sched_dep,
  max(available_at) + INTERVAL 30 MINUTE AS ts,
  CAST(
    sum(count(*)) OVER (
      PARTITION BY origin
      ORDER BY sched_dep
      RANGE BETWEEN INTERVAL 30 MINUTE PRECEDING AND INTERVAL 30 MINUTE FOLLOWING
    ) AS BIGINT
  ) AS origin_load_1h
FROM wh.flights
GROUP BY origin, sched_dep
