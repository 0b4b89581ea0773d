/*
view: origin_cancel_rate_6h
version: 1
owner: data-science
description: Share of the airport's departures that were cancelled, over six hours.
entity: [origin]
ttl: 6h
features:
  origin_cancel_rate_6h:
    {unit: share, range: [0, 1]}
*/
SELECT
  origin,
  available_at AS ts,
  sum(sum(CAST(cancelled AS INTEGER))) OVER recent / sum(count(*)) OVER recent
    AS origin_cancel_rate_6h
FROM wh.departures
GROUP BY origin, available_at
WINDOW recent AS (
  PARTITION BY origin
  ORDER BY available_at
  RANGE BETWEEN INTERVAL 6 HOUR PRECEDING AND CURRENT ROW
)
