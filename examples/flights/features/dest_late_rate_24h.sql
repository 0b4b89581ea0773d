/*
view: dest_late_rate_24h
version: 1
owner: data-science
description: Share of flights to this airport that ended late, over 24 hours.
entity: [dest]
ttl: 24h
features:
  dest_late_rate_24h:
    {unit: share, range: [0, 1]}
*/
SELECT
  dest,
  available_at AS ts,
  sum(sum(late)) OVER recent / sum(count(late)) OVER recent AS dest_late_rate_24h
FROM wh.arrivals
GROUP BY dest, available_at
WINDOW recent AS (
  PARTITION BY dest
  ORDER BY available_at
  RANGE BETWEEN INTERVAL 24 HOUR PRECEDING AND CURRENT ROW
)
