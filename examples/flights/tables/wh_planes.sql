SELECT tailnum, year AS built, seats
FROM raw.planes
