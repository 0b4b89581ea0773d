/*
view: route_late_rate_28d
version: 1
owner: data-science
description: Share of flights that ended late on this pair of airports, over four weeks.
entity: [origin, dest]
ttl: 28d
features:
  route_late_rate_28d:
    {unit: share, range: [0, 1], fallback: {value: 0.26}}
*/
SELECT
  origin,
  dest,
  available_at AS ts,
  sum(sum(late)) OVER recent / sum(count(late)) OVER recent AS route_late_rate_28d
FROM wh.arrivals
GROUP BY origin, dest, available_at
WINDOW recent AS (
  PARTITION BY origin, dest
  ORDER BY available_at
  RANGE BETWEEN INTERVAL 28 DAY PRECEDING AND CURRENT ROW
)
