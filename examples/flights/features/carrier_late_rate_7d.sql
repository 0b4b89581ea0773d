/*
view: carrier_late_rate_7d
version: 1
owner: data-science
description: Share of the carrier's flights that ended late, over seven days.
entity: [carrier]
ttl: 7d
features:
  carrier_late_rate_7d:
    {unit: share, range: [0, 1], fallback: {value: 0.26}}
*/
SELECT
  carrier,
  available_at AS ts,
  sum(sum(late)) OVER recent / sum(count(late)) OVER recent AS carrier_late_rate_7d
FROM wh.arrivals
GROUP BY carrier, available_at
WINDOW recent AS (
  PARTITION BY carrier
  ORDER BY available_at
  RANGE BETWEEN INTERVAL 7 DAY PRECEDING AND CURRENT ROW
)
