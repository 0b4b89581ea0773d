"""`python -m bench [name ...]`: every benchmark, or those named. Ratios only, never asserted."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

SHARED = {
    "estate",
    "peers",
}  # what benchmarks stand on; each other module has a main() with its table
BENCHMARKS = sorted({p.stem for p in Path(__file__).parent.glob("[a-z]*.py")} - SHARED)


def main(names: list[str]) -> None:
    """Run the named benchmarks one after the other, or all of them."""
    unknown = sorted(set(names) - set(BENCHMARKS))
    if unknown:
        sys.exit(f"no benchmark {', '.join(unknown)}; there are: {', '.join(BENCHMARKS)}")
    for name in names or BENCHMARKS:
        print(f"\n== {name}", flush=True)
        import_module(f"bench.{name}").main()


if __name__ == "__main__":
    main(sys.argv[1:])
