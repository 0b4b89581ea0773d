"""`python -m bench [name ...]`: those named, or every short one. Ratios only, never asserted."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

SHARED = {
    "estate",
    "peers",
}  # what benchmarks stand on; each other module has a main() with its table
LONG = {"soak"}  # only when it is named
BENCHMARKS = sorted({p.stem for p in Path(__file__).parent.glob("[a-z]*.py")} - SHARED)


def main(names: list[str]) -> None:
    """Run the named benchmarks one after the other, or all but the long ones."""
    unknown = sorted(set(names) - set(BENCHMARKS))
    if unknown:
        sys.exit(f"no benchmark {', '.join(unknown)}; there are: {', '.join(BENCHMARKS)}")
    for name in names or [one for one in BENCHMARKS if one not in LONG]:
        print(f"\n== {name}", flush=True)
        import_module(f"bench.{name}").main()


if __name__ == "__main__":
    main(sys.argv[1:])
