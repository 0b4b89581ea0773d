/*
view: carrier_origin_delay_3h
version: 1
owner: data-science
description: Mean delay of one carrier's departures from one airport over three hours.
entity: [carrier, origin]
ttl: 3h
features:
  carrier_origin_delay_3h:
    {unit: min, range: [-60, 1440]}
*/
SELECT
  carrier,
  origin,
  available_at AS ts,
  sum(sum(dep_delay)) OVER recent / sum(count(dep_delay)) OVER recent AS carrier_origin_delay_3h
FROM wh.departures
WHERE NOT cancelled
GROUP BY carrier, origin, available_at
WINDOW recent AS (
  PARTITION BY carrier, origin
  ORDER BY available_at
  RANGE BETWEEN INTERVAL 3 HOUR PRECEDING AND CURRENT ROW
)
