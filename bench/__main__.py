"""`python -m bench [name ...]`: every benchmark, or those named. Ratios only, never asserted."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path


def main(names: list[str]) -> None:
    """Run the named benchmarks one after the other, or all of them."""
    here = sorted(p.stem for p in Path(__file__).parent.glob("[a-z]*.py"))
    unknown = sorted(set(names) - set(here))
    if unknown:
        sys.exit(f"no benchmark {', '.join(unknown)}; there are: {', '.join(here)}")
    for name in names or here:
        print(f"\n== {name}", flush=True)
        import_module(f"bench.{name}").main()


if __name__ == "__main__":
    main(sys.argv[1:])
