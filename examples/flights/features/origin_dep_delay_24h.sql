/*
view: origin_dep_delay_24h
version: 1
owner: data-science
description: Mean delay of the airport's departures in the 24 hours before the last of them.
entity: [origin]
ttl: 24h
features:
  origin_dep_delay_24h:
    {unit: min, range: [-60, 1440], fallback: {value: 12.5}}
*/
SELECT
  origin,
  available_at AS ts,
  sum(sum(dep_delay)) OVER recent / sum(count(dep_delay)) OVER recent AS origin_dep_delay_24h
FROM wh.departures
WHERE NOT cancelled
GROUP BY origin, available_at
WINDOW recent AS (
  PARTITION BY origin
  ORDER BY available_at
  RANGE BETWEEN INTERVAL 24 HOUR PRECEDING AND CURRENT ROW
)
