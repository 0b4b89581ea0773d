/*
view: tail_last_delay
version: 1
owner: data-science
description: How late this aircraft left New York the last time.
entity: [tailnum]
ttl: 36h
features:
  tail_last_delay:
    {type: integer, unit: min, range: [-60, 1440]}
*/
SELECT tailnum, available_at AS ts, max(dep_delay) AS tail_last_delay
FROM wh.departures
WHERE NOT cancelled AND tailnum IS NOT NULL
GROUP BY tailnum, available_at
