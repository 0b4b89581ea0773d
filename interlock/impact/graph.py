"""What a change reaches, and the path that explains it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from interlock.define.refs import Ref
from interlock.impact.difference import Difference, differences
from interlock.impact.facts import Facts
from interlock.impact.nodes import Edge, Via, owner_node
from interlock.impact.picture import GraphData, GraphEdge, GraphNode, picture
from interlock.impact.query import Verdict

__all__ = [
    "Difference", "GraphData", "GraphEdge", "GraphNode", "Hop", "Reached", "Touch",
    "above", "by_source", "causes", "differences", "graph", "reach", "spread", "verdicts",
]  # fmt: skip

Reading = Callable[[str], Iterable[Edge]]
Touch = Literal["breaks", "moves", "reached", "untouched"]
_SHOWN = ("feature", "model", "service")
_ORDER: tuple[Touch, ...] = ("breaks", "moves", "reached")


@dataclass(frozen=True)
class Hop:
    """One step of a path: `reader` reads `source`, and what for."""

    reader: str
    source: str
    kind: Via


@dataclass(frozen=True)
class Reached:
    """A feature, model or service that a change touches.

    `breaks`: what it reads is gone or means another thing. `moves`: its values may differ.
    `reached`: something it reads changed in a way that moves no value. `path` leads from
    the thing itself down to `cause`; empty when it was changed itself.
    """

    ref: Ref
    verdict: Touch
    cause: str
    path: tuple[Hop, ...]
    why: str = ""

    @property
    def sentence(self) -> str:
        """`model:late moves because feature:x@1:f reads column:wh.t.c (value)`."""
        if not self.path:
            return f"{self.ref} {self.verdict}: {self.why}"
        said = f"{self.ref} {self.verdict} because {self._reading}"
        return f"{said}: {self.why}" if self.why else said

    @property
    def _reading(self) -> str:
        *before, last = self.path
        if last.kind == "rows" and last.source.startswith("view:"):
            return f"{last.source} changed"
        if last.kind == "rows" and before and owner_node(last.reader) == last.source:
            last = before.pop()  # that a column stands on its own table goes without saying
        reader = last.reader
        if reader.startswith("view:") and before:
            # A view's row set is no name that people know: say the feature instead.
            reader = before[-1].reader
        who = "it" if reader == str(self.ref) else reader
        return f"{who} reads {last.source} ({last.kind})"

    def to_json(self) -> dict[str, Any]:
        """As plain data; `from_json` reads it back."""
        path = [[hop.reader, hop.source, hop.kind] for hop in self.path]
        return {
            "ref": str(self.ref), "verdict": self.verdict, "cause": self.cause,
            "path": path, "why": self.why, "sentence": self.sentence,
        }  # fmt: skip

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Reached:
        path = tuple(Hop(*hop) for hop in body["path"])
        return cls(Ref.parse(body["ref"]), body["verdict"], body["cause"], path, body["why"])


def reach(old: Facts | None, new: Facts) -> tuple[Reached, ...]:
    """Every feature, model and service that is touched, worst first, nearest first."""
    found = differences(old, new)
    seeds, why = _seeds(found)
    touched = spread(seeds, _reading(old, new, found), _stops(found))
    reached = []
    for name, (verdict, path) in touched.items():
        ref = Ref.parse(name)
        if ref.kind in _SHOWN and (name in new.nodes or ref.kind == "feature"):
            cause = path[-1].source if path else name
            reached.append(Reached(ref, verdict, cause, path, why.get(cause, "")))
    return tuple(sorted(reached, key=_rank))


def _rank(found: Reached) -> tuple[int, int, int, str]:
    kind = _SHOWN.index(found.ref.kind)
    return (kind, _ORDER.index(found.verdict), len(found.path), str(found.ref))


def spread(
    seeds: Mapping[str, Touch],
    reading: Reading,
    stops: frozenset[str] = frozenset(),
) -> dict[str, tuple[Touch, tuple[Hop, ...]]]:
    """What `seeds` reach, given what is `reading` each: the worst verdict, by its shortest path.

    A break does not pass through `stops`, which were themselves changed and may have been
    mended: behind them it is a move.
    """
    found: dict[str, tuple[Touch, tuple[Hop, ...]]] = {}
    start: dict[Touch, list[tuple[str, tuple[Hop, ...]]]] = {touch: [] for touch in _ORDER}
    for name in sorted(seeds):
        if seeds[name] in start:
            start[seeds[name]].append((name, ()))
    for touch in _ORDER:
        queue = deque(sorted(start[touch], key=lambda entry: len(entry[1])))
        while queue:
            name, path = queue.popleft()
            if name in found:
                continue
            if touch == "breaks" and path and name in stops:
                start["moves"].append((name, path))
                continue
            found[name] = (touch, path)
            for edge in sorted(reading(name)):
                if edge.reader not in found:
                    hop = Hop(edge.reader, edge.source, edge.kind)
                    queue.append((edge.reader, (hop, *path)))
    return found


def _seeds(found: Iterable[Difference]) -> tuple[dict[str, Touch], dict[str, str]]:
    """Where the change starts, and why, in words."""
    seeds: dict[str, Touch] = {}
    why: dict[str, str] = {}
    for difference in found:
        for name, touch, reason in _starts(difference):
            seeds[name], why[name] = touch, reason
    return seeds, why


def _starts(difference: Difference) -> Iterable[tuple[str, Touch, str]]:
    ref, name = difference.ref, str(difference.ref)
    if difference.change == "removed":
        yield name, "breaks", "removed"
        return
    if difference.change == "added":
        if ref.kind in ("model", "service"):
            yield name, "moves", "new"
        return
    own = "; ".join([*difference.reasons, *(f"{s} changed" for s in difference.settings)])
    if difference.broken:
        yield name, "breaks", "; ".join(difference.broken)
    elif difference.row_set != "same":
        unknown = difference.row_set == "unknown"
        rows = "its rows are not understood" if unknown else "its rows changed"
        yield name, "moves", "; ".join(filter(None, (", ".join(difference.reasons), rows)))
    elif difference.reasons:
        yield name, "moves", own
    elif difference.settings:
        yield name, "reached", own
    for column, verdict in difference.columns.items():
        touch = _touch(verdict)
        # With other rows every column moves already, and that is the better reason.
        if touch == "breaks" or (touch == "moves" and difference.row_set == "same"):
            yield column_ref(ref, column), touch, verdict.reason


def _touch(verdict: Verdict) -> Touch:
    if verdict.verdict in ("removed", "retyped"):
        return "breaks"
    return "moves" if verdict.verdict in ("changed", "unknown") else "untouched"


def column_ref(ref: Ref, column: str) -> str:
    """The address of a column of a table, or a feature of a view."""
    if ref.kind == "view":
        return str(Ref("feature", ref.name, ref.version, column))
    return str(Ref("column", f"{ref.name}.{column}"))


def _stops(found: Iterable[Difference]) -> frozenset[str]:
    """What was changed itself, in what it says and not only in its settings."""
    names: set[str] = set()
    for difference in found:
        ref = difference.ref
        if difference.change == "changed" and (difference.reasons or difference.row_set != "same"):
            names.add(str(ref))
        for column, verdict in difference.columns.items():
            if verdict.verdict in ("changed", "unknown"):
                names.add(column_ref(ref, column))
    return frozenset(names)


def by_source(edges: Iterable[Edge]) -> Reading:
    """Who reads what, for edges that are all at hand."""
    readers: dict[str, list[Edge]] = {}
    for edge in edges:
        readers.setdefault(edge.source, []).append(edge)
    return lambda source: readers.get(source, ())


def _reading(old: Facts | None, new: Facts, found: Iterable[Difference]) -> Reading:
    """What reads what now; and for things not changed themselves also what they read before."""
    changed = {str(difference.ref) for difference in found}

    def reading(source: str) -> set[Edge]:
        return {*new.nodes.reading(source), *(edge for edge in before(source) if still(edge))}

    def before(source: str) -> Iterable[Edge]:
        return old.nodes.reading(source) if old else ()

    def still(edge: Edge) -> bool:
        owner = owner_node(edge.reader)
        return owner in new.nodes and owner not in changed

    return reading


def verdicts(old: Facts | None, new: Facts) -> dict[str, Touch]:
    """Every touched column, row set, feature, model and service with its verdict."""
    found = differences(old, new)
    seeds, _ = _seeds(found)
    touched = spread(seeds, _reading(old, new, found), _stops(found))
    return {name: touch for name, (touch, _) in touched.items()}


def causes(old: Facts | None, new: Facts, *names: str) -> tuple[Reached, ...]:
    """Every place where the change starts and that reaches one of `names`, worst first.

    `reach` gives the one path that decides; this gives a path for each start and name.
    """
    found = differences(old, new)
    seeds, why = _seeds(found)
    reading, stops = _reading(old, new, found), _stops(found)
    behind = {seed: spread({seed: seeds[seed]}, reading, stops) for seed in seeds}
    reached = [
        Reached(Ref.parse(name), hit[0], seed, hit[1], why[seed])
        for name in names
        for seed in seeds
        if (hit := behind[seed].get(name)) is not None
    ]
    return tuple(sorted(reached, key=lambda r: (_ORDER.index(r.verdict), len(r.path), r.cause)))


def above(name: str, edges: Iterable[Edge]) -> set[str]:
    """`name` and all that it stands on."""
    sources: dict[str, list[str]] = {}
    for edge in edges:
        sources.setdefault(edge.reader, []).append(edge.source)
    found, waiting = {name}, [name]
    while waiting:
        for source in sources.get(waiting.pop(), ()):
            if source not in found:
                found.add(source)
                waiting.append(source)
    return found


def graph(old: Facts | None, new: Facts) -> GraphData:
    """The picture of `new` with the state of everything in it, for a page."""
    return picture(new, verdicts(old, new), {str(d.ref): d.change for d in differences(old, new)})
