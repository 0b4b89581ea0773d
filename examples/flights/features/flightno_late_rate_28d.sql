/*
view: flightno_late_rate_28d
version: 1
owner: data-science
description: Share of this flight number's flights that ended late, over four weeks.
entity: [carrier, flight, origin]
ttl: 28d
features:
  flightno_late_rate_28d:
    {unit: share, range: [0, 1]}
*/
SELECT
  carrier,
  flight,
  origin,
  available_at AS ts,
  sum(sum(late)) OVER recent / sum(count(late)) OVER recent AS flightno_late_rate_28d
FROM wh.arrivals
GROUP BY carrier, flight, origin, available_at
WINDOW recent AS (
  PARTITION BY carrier, flight, origin
  ORDER BY available_at
  RANGE BETWEEN INTERVAL 28 DAY PRECEDING AND CURRENT ROW
)
