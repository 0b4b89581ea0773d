"""Shipped with the product: generated data, a fixed clock, contract suites."""
