"""Feature SQL compiled: point in time, materialised, compared, replayed."""
