/*
view: origin_weather
version: 1
owner: data-eng
description: The newest observation at the airport of departure that was published by then.
entity: [origin]
# An observation that is published late never hides a newer one.
available_at: available_at
ttl: 5h
freshness: {warn_after: 4h, error_after: 7h}
features:
  # These were never null in training, so a model reads null as nonsense (visibility 0 is fog).
  # A late feed is therefore bridged by the last observation, and after that by the median.
  wx_temp_f:
    {unit: degF, range: [-30, 125], fallback: {serve_stale_for: 6h, value: 55.4}}
  wx_wind_mph:
    {unit: mph, range: [0, 120], fallback: {serve_stale_for: 6h, value: 10.4}}
  wx_visib_mi:
    {unit: mi, range: [0, 10], fallback: {serve_stale_for: 6h, value: 10}}
  wx_precip_in:
    {unit: in, range: [0, 5], fallback: {serve_stale_for: 6h, value: 0}}
  wx_pressure_mb:
    {unit: mb, range: [940, 1060], fallback: {serve_stale_for: 6h, value: 1017.6}}
*/
SELECT
  origin,
  obs_hour AS ts,
  available_at,
  temp_f AS wx_temp_f,
  wind_mph AS wx_wind_mph,
  visib_mi AS wx_visib_mi,
  precip_in AS wx_precip_in,
  pressure_mb AS wx_pressure_mb
FROM wh.weather
