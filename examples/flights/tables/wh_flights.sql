WITH schedule AS (
  SELECT
    row_number() OVER (
      ORDER BY r.time_hour, r.origin, r.carrier, r.flight, r.sched_dep_time
    ) AS flight_id,
    r.carrier,
    r.flight,
    r.origin,
    r.dest,
    r.tailnum,
    CAST(r.time_hour AS TIMESTAMP) + r.minute * INTERVAL 1 MINUTE AS sched_dep,
    -- Four Caribbean airports are not in the list; they keep Atlantic time all year.
    coalesce(a.tzone, 'America/Puerto_Rico') AS dest_zone,
    make_date(r.year, r.month, r.day) AS local_date,
    CAST(floor(r.sched_arr_time / 100) AS BIGINT) * 60 + r.sched_arr_time % 100
      AS arrival_minute,
    r.distance,
    r.hour AS local_hour
  FROM raw.flights AS r
  LEFT JOIN raw.airports AS a ON a.faa = r.dest
),
arrivals AS (
  SELECT
    *,
    CAST(
      timezone(dest_zone, CAST(local_date AS TIMESTAMP) + arrival_minute * INTERVAL 1 MINUTE)
      AS TIMESTAMP
    ) AS arrival,
    -- Tails seen so far on the flight number: flights without one stand beside the last of them.
    count(tailnum) OVER (PARTITION BY carrier, flight, origin ORDER BY sched_dep) AS tails_seen
  FROM schedule
)
SELECT
  flight_id,
  carrier,
  flight,
  origin,
  dest,
  coalesce(
    tailnum,
    max(tailnum) OVER (PARTITION BY carrier, flight, origin, tails_seen)
  ) AS tailnum,
  sched_dep,
  -- The file gives a time of day only: an arrival before the departure is the next day's.
  CASE WHEN arrival <= sched_dep THEN arrival + INTERVAL 24 HOUR ELSE arrival END AS sched_arr,
  distance,
  local_hour,
  CAST(extract(isodow FROM local_date) AS BIGINT) AS dow,
  local_date,
  sched_dep - INTERVAL 30 DAY AS available_at
FROM arrivals
