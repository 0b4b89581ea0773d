SELECT
  origin,
  CAST(time_hour AS TIMESTAMP) AS obs_hour,
  temp AS temp_f,
  -- One anemometer said 1048 mph on 12 February.
  CASE WHEN wind_speed <= 200 THEN wind_speed END AS wind_mph,
  visib AS visib_mi,
  precip AS precip_in,
  pressure AS pressure_mb,
  CAST(time_hour AS TIMESTAMP) + INTERVAL 1 HOUR AS available_at
FROM raw.weather
