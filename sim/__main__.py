"""Run the acceptance simulations and say what the judge keeps of its promises.

`python -m sim [--profile quick|medium|long] [--runs N] [--seed 1] [--write FILE]`; exit code 1
if a promised bound is broken.
"""

from __future__ import annotations

import argparse
import sys
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from sim.cells import all_cells
from sim.delayed import delayed_cells
from sim.report import Found, Line, page, said
from sim.several import several_cells
from sim.whole import whole_cells

AT_ONCE = 100  # runs per call: larger arrays leave the cache and are slower
PROFILES = {"quick": 400, "medium": 2000, "long": 10000}


def share_of(cell: Line, runs: int, seed: int) -> float:
    """How often the cell's question was ever answered yes."""
    # A seed per cell: adding a line to the table moves no other line.
    rng = np.random.default_rng([seed, zlib.crc32(f"{cell.group} {cell.name} {cell.ask}".encode())])
    parts = (min(AT_ONCE, runs - start) for start in range(0, runs, AT_ONCE))
    return sum(cell.yes(rng, part) for part in parts) / runs


def every_cell() -> Iterator[Line]:
    yield from all_cells()
    yield from delayed_cells()
    yield from whole_cells()
    yield from several_cells()


def progress(text: str) -> None:
    """One line that is written over, where somebody is looking."""
    if sys.stderr.isatty():
        print(f"\r{text:<90}\r", end="", file=sys.stderr, flush=True)


def run(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m sim", description=__doc__)
    parser.add_argument("--profile", choices=PROFILES, default="quick")
    parser.add_argument("--runs", type=int, default=0, help="instead of those of the profile")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--write", type=Path, help="the page to write the table to")
    options = parser.parse_args(arguments)
    runs = options.runs or PROFILES[options.profile]
    cells, found = list(every_cell()), []
    for number, cell in enumerate(cells, 1):
        progress(f"{number}/{len(cells)} {cell.name}")
        found.append(Found(cell, share_of(cell, runs, options.seed), runs))
        progress("")
        print(said(found[-1]), flush=True)
    broken = sum(not one.kept for one in found)
    print(f"{len(cells)} cells, {runs} runs each, {broken} promises broken")
    if options.write:
        options.write.write_text(page(found, options.seed))
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
