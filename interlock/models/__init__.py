"""Datasets, evaluation and comparison with the incumbent."""
