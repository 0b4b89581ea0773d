SELECT
  f.flight_id,
  f.carrier,
  f.flight,
  f.origin,
  f.dest,
  f.tailnum,
  f.sched_dep,
  f.sched_dep - INTERVAL 2 HOUR AS cutoff,
  f.local_hour,
  CASE
    WHEN f.local_hour < 8 THEN '00-08'
    WHEN f.local_hour < 12 THEN '08-12'
    WHEN f.local_hour < 16 THEN '12-16'
    WHEN f.local_hour < 20 THEN '16-20'
    ELSE '20-24'
  END AS hour_band,
  f.dow,
  f.distance,
  date_diff('minute', f.sched_dep, f.sched_arr) AS block_min,
  CAST(extract(year FROM f.local_date) AS BIGINT) - p.built AS plane_age,
  p.seats AS plane_seats,
  f.local_date
FROM wh.flights AS f
LEFT JOIN wh.planes AS p ON p.tailnum = f.tailnum
