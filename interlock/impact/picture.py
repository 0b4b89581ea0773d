"""The graph as a page draws it: four lanes, things with their columns, and lines between."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from interlock.define.refs import Ref
from interlock.impact.facts import Facts
from interlock.impact.nodes import NodeFacts

Lane = Literal["tables", "views", "models", "services"]
LANES: tuple[Lane, ...] = ("tables", "views", "models", "services")
_LANE: dict[str, Lane] = {
    "table": "tables", "view": "views", "model": "models", "service": "services",
}  # fmt: skip


@dataclass(frozen=True)
class GraphColumn:
    """A column or feature inside a thing."""

    id: str
    name: str
    type: str | None
    unit: str | None
    state: str


@dataclass(frozen=True)
class GraphNode:
    """A table, view, model or service. `state`: its verdict; `change`: added or changed or ""."""

    id: str
    label: str
    lane: Lane
    owner: str
    state: str
    change: str
    columns: tuple[GraphColumn, ...] = ()


@dataclass(frozen=True)
class GraphEdge:
    """From what is read to who reads it; ends are ids of nodes or of their columns."""

    source: str
    target: str
    kind: str
    state: str


@dataclass(frozen=True)
class GraphData:
    """Nodes in lane order; edges between columns where they are known."""

    nodes: tuple[GraphNode, ...]
    edges: tuple[GraphEdge, ...]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def mermaid(self) -> str:
        """The things and who reads whom, without columns, as a Mermaid flowchart."""
        ids = {node.id: f"n{at}" for at, node in enumerate(self.nodes)}
        owner = {c.id: node.id for node in self.nodes for c in node.columns}
        lines = [f'  {ids[node.id]}["{node.label}"]:::{node.state}' for node in self.nodes]
        pairs = {(owner.get(e.source, e.source), owner.get(e.target, e.target)) for e in self.edges}
        lines += [f"  {ids[a]} --> {ids[b]}" for a, b in sorted(pairs) if a != b]
        return "\n".join(["flowchart LR", *lines])


def picture(facts: Facts, touched: Mapping[str, str], changes: Mapping[str, str]) -> GraphData:
    """`facts` drawn, with the verdict of each name in `touched` (`untouched` otherwise)."""
    nodes = [
        _node(node, touched, changes.get(str(node.ref), ""))
        for kind in _LANE
        for node in facts.of_kind(kind)
    ]
    known = {node.id for node in nodes} | {c.id for node in nodes for c in node.columns}
    edges = [
        GraphEdge(e.source, e.reader, e.kind, touched.get(e.source, "untouched"))
        for e in sorted(facts.edges)
        # The row set of a thing reaches its own columns: true, and not worth a line.
        if {e.source, e.reader} <= known and not _within(e.source, e.reader)
    ]
    return GraphData(tuple(nodes), tuple(edges))


def _node(node: NodeFacts, touched: Mapping[str, str], change: str) -> GraphNode:
    ref = node.ref
    columns = tuple(
        GraphColumn(name_, c.name, c.type, c.unit, touched.get(name_, "untouched"))
        for c in node.columns.values()
        for name_ in [_column_id(ref, c.name)]
    )
    states = [touched.get(str(ref), "untouched"), *(column.state for column in columns)]
    worst = min(states, key=("breaks", "moves", "reached", "untouched").index)
    label = str(ref).partition(":")[2]
    return GraphNode(str(ref), label, _LANE[ref.kind], node.owner, worst, change, columns)


def _column_id(ref: Ref, name: str) -> str:
    if ref.kind == "view":
        return str(Ref("feature", ref.name, ref.version, name))
    return str(Ref("column", f"{ref.name}.{name}"))


def _within(source: str, reader: str) -> bool:
    """Whether `reader` is a column of `source`, or a feature of it."""
    kind, _, name = source.partition(":")
    if kind == "table":
        return reader.rpartition(".")[0] == f"column:{name}"
    return kind == "view" and reader.startswith(f"feature:{name}:")
