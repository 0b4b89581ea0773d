"""What a service holds to act on the release that everybody else acts on. Light to import."""
