"""Acceptance simulations of the judge: `python -m sim`."""
