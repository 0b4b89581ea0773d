"""What a thing stands on, and what stands on it: edge by edge, with a path to each.

Every edge that can be reached is told once, at the end of the shortest path to it: the
number of all paths grows exponentially, the number of edges does not, and none is left out.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from interlock.define.refs import Ref
from interlock.define.schema import did_you_mean
from interlock.errors import NotFound
from interlock.impact.facts import Facts
from interlock.impact.graph import column_ref
from interlock.impact.nodes import owner_node

Direction = Literal["upstream", "downstream"]
_HOLDS = "holds"  # from a table to its own columns, when one asks for the table
_UNRESOLVED = "unresolved"


@dataclass(frozen=True, order=True)
class Step:
    """`reader` reads `source`, and what for. `unresolved`: its SQL is not understood, so it may."""

    reader: str
    source: str
    kind: str


@dataclass(frozen=True)
class Lineage:
    """`paths` start at `ref`, each ending with another edge; `unresolved` says why, by name."""

    ref: str
    direction: Direction
    nodes: tuple[str, ...]
    paths: tuple[tuple[Step, ...], ...]
    unresolved: Mapping[str, str]

    @property
    def edges(self) -> tuple[Step, ...]:
        return tuple(sorted({path[-1] for path in self.paths}))

    def to_json(self) -> dict[str, Any]:
        def said(step: Step) -> dict[str, str]:
            return {"reader": step.reader, "source": step.source, "kind": step.kind}

        nodes = [
            {"ref": n, "kind": n.partition(":")[0], "unresolved": self.unresolved.get(n)}
            for n in self.nodes
        ]
        return {
            "ref": self.ref, "direction": self.direction, "nodes": nodes,
            "edges": [said(step) for step in self.edges],
            "paths": [[said(step) for step in path] for path in self.paths],
        }  # fmt: skip

    def mermaid(self) -> str:
        """As a Mermaid flowchart, from what is read to who reads it."""
        ids = {name: f"n{at}" for at, name in enumerate(self.nodes)}
        lines = [f'  {ids[name]}["{name}"]{self._style(name)}' for name in self.nodes]
        lines += [f"  {ids[s.source]} -->|{s.kind}| {ids[s.reader]}" for s in self.edges]
        lines += ["  classDef unresolved stroke-dasharray: 4"] if self.unresolved else []
        return "\n".join(["flowchart LR", *lines])

    def _style(self, name: str) -> str:
        return ":::unresolved" if name in self.unresolved else ""

    def text(self) -> str:
        """For people: each path on a line, from the thing outwards."""
        word = "reads" if self.direction == "upstream" else "is read by"
        lines = [self.ref if self.paths else f"{self.ref}: nothing {self.direction}"]
        for path in self.paths:
            names = [self._far(step) + f" ({step.kind})" for step in path]
            lines.append(f"  {word} {' <- '.join(names)}" if self.direction == "upstream"
                         else f"  {word} {' -> '.join(names)}")  # fmt: skip
        lines += [f"unresolved: {name}: {why}" for name, why in sorted(self.unresolved.items())]
        return "\n".join(lines)

    def _far(self, step: Step) -> str:
        return step.source if self.direction == "upstream" else step.reader


def lineage(facts: Facts, text: str, direction: Direction) -> Lineage:
    """Everything upstream or downstream; raises `NotFound` for an address nobody declared."""
    ref = str(Ref.parse(text))
    strange = _unresolved(facts)
    known = _names(facts) | set(strange)
    if ref not in known:
        raise NotFound(f"{ref} is not declared", help=did_you_mean(ref, known))
    steps = _steps(facts, strange)
    around: dict[str, list[Step]] = {}
    for step in sorted(steps):
        around.setdefault(step.reader if direction == "upstream" else step.source, []).append(step)
    paths = _paths(ref, around, direction, _own(facts, ref))
    nodes = {ref} | {name for path in paths for s in path for name in (s.reader, s.source)}
    reasons = {name: strange[name] for name in sorted(nodes) if name in strange}
    return Lineage(ref, direction, tuple(sorted(nodes)), tuple(paths), reasons)


def _names(facts: Facts) -> set[str]:
    columns = {column_ref(node.ref, n) for node in facts.nodes.values() for n in node.columns}
    return set(facts.nodes) | columns


def _unresolved(facts: Facts) -> dict[str, str]:
    """What is not understood, and what is read but nobody declares."""
    found = {
        name: f"its SQL is not understood: {node.unknown}"
        for name, node in facts.nodes.items()
        if node.unknown
    }
    known = _names(facts)
    for edge in facts.edges:
        for name in (edge.source, edge.reader):
            if name not in known and name not in found:
                found[name] = "it is read, and declared nowhere"
    return found


def _steps(facts: Facts, strange: Mapping[str, str]) -> set[Step]:
    steps = {Step(e.reader, e.source, e.kind) for e in facts.edges}
    for name, node in facts.nodes.items():
        if name not in strange or node.query is None:
            continue
        readers = [name, *(column_ref(node.ref, column) for column in node.columns)]
        steps |= {
            Step(reader, source, _UNRESOLVED)
            for table in node.query.tables
            for source in (f"table:{table}", *_own(facts, f"table:{table}"))
            for reader in readers
        }
    return steps


def _own(facts: Facts, name: str) -> list[str]:
    node = facts.nodes.get(name)
    return [column_ref(node.ref, column) for column in node.columns] if node else []


def _paths(
    ref: str, around: Mapping[str, list[Step]], direction: Direction, own: Iterable[str]
) -> list[tuple[Step, ...]]:
    """Breadth first, so that the path to each edge is a shortest one."""
    found: list[tuple[Step, ...]] = []
    ways: dict[str, tuple[Step, ...]] = {ref: ()}
    waiting = deque([ref])
    if direction == "upstream":
        for column in own:
            if owner_node(column) == ref:
                ways[column] = (Step(ref, column, _HOLDS),)
                found.append(ways[column])
                waiting.append(column)
    while waiting:
        name = waiting.popleft()
        for step in around.get(name, ()):
            far = step.source if direction == "upstream" else step.reader
            path = (*ways[name], step)
            found.append(path)
            if far not in ways:
                ways[far] = path
                waiting.append(far)
    return found
