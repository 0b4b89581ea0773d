"""In which order things stand on each other, and where they do so in a ring."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence


def sources_first(below: Mapping[str, Sequence[str]]) -> tuple[list[str], list[tuple[str, ...]]]:
    """Every name after all that it stands on, and each ring once, from its first name round.

    A ring is cut where it is entered. Without calls of itself: chains may be thousands long.
    """
    done: dict[str, None] = {}
    rings: dict[frozenset[str], tuple[str, ...]] = {}
    for start in sorted(below):
        path: dict[str, Iterator[str]] = {}
        name: str | None = None if start in done else start
        while name is not None:
            if name in path:
                ring = _turned([*path][[*path].index(name) :])
                rings.setdefault(frozenset(ring), ring)
            elif name not in done and name in below:
                path[name] = iter(below[name])
            name = _next(path, done)
    return list(done), sorted(rings.values())


def _next(path: dict[str, Iterator[str]], done: dict[str, None]) -> str | None:
    """The next name to look at; those with nothing left below them are done."""
    while path:
        last = next(reversed(path))
        found = next(path[last], None)
        if found is not None:
            return found
        del path[last]
        done[last] = None
    return None


def _turned(ring: list[str]) -> tuple[str, ...]:
    start = ring.index(min(ring))
    return (*ring[start:], *ring[:start], ring[start])
