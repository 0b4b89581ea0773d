"""Benchmarks: ratios measured in one run, against the engine's own limit and against peers."""
