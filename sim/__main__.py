"""Run the acceptance simulations and print what the judge keeps of its promises.

`python -m sim [--runs 1000] [--seed 1]`; exit code 1 if a promised bound is broken.
"""

from __future__ import annotations

import argparse
import sys
import zlib
from collections.abc import Sequence
from math import sqrt

import numpy as np

from interlock.rollout.evidence import evidence
from sim.cells import Cell, all_cells

AT_ONCE = 100  # runs per call: larger arrays leave the cache and are slower


def share_of(cell: Cell, runs: int, seed: int) -> float:
    """How often the cell's question was ever answered yes."""
    # A seed per cell: adding a line to the table moves no other line.
    rng = np.random.default_rng([seed, zlib.crc32(f"{cell.group} {cell.name}".encode())])
    yes = 0
    for start in range(0, runs, AT_ONCE):
        found = cell.draw(rng, min(AT_ONCE, runs - start))
        paths = evidence(cell.guardrail, found, 0.05, 0.05)
        path = paths.fail if cell.ask == "fail" else paths.safe
        yes += int((path.max(axis=-1) >= np.log(20 / cell.weight)).sum())
    return yes / runs


def kept(cell: Cell, share: float, runs: int) -> bool:
    """Within the bound, give or take three standard errors of the simulation itself."""
    error = 3 * sqrt(cell.bound * (1 - cell.bound) / runs)
    if cell.promise == "at most":
        return share <= cell.bound + error
    return cell.promise == "outside" or share >= cell.bound - error


def line(cell: Cell, share: float, runs: int) -> str:
    promise = "no promise" if cell.promise == "outside" else f"{cell.promise} {cell.bound:.0%}"
    verdict = "outside" if cell.promise == "outside" else "kept"
    said = verdict if kept(cell, share, runs) else "BROKEN"
    asked = "rolled back" if cell.ask == "fail" else "let through"
    return f"{cell.group:<10} {cell.name:<58} {asked:<12} {share:>7.1%}  {promise:<13} {said}"


def progress(text: str) -> None:
    """One line that is written over, where somebody is looking."""
    if sys.stderr.isatty():
        print(f"\r{text:<90}\r", end="", file=sys.stderr, flush=True)


def run(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m sim", description=__doc__)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    cells, broken = list(all_cells()), 0
    for number, cell in enumerate(cells, 1):
        progress(f"{number}/{len(cells)} {cell.name}")
        share = share_of(cell, options.runs, options.seed)
        broken += not kept(cell, share, options.runs)
        progress("")
        print(line(cell, share, options.runs), flush=True)
    print(f"{len(cells)} cells, {options.runs} runs each, {broken} promises broken")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
