SELECT
  origin,
  CAST(time_hour AS TIMESTAMP) AS obs_hour,
  temp AS temp_f,
  wind_speed AS wind_mph,
  visib AS visib_mi,
  precip AS precip_in,
  pressure AS pressure_mb,
  CAST(time_hour AS TIMESTAMP) + INTERVAL 1 HOUR AS available_at
FROM raw.weather
