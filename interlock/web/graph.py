"""The impact graph: lanes from tables to services, curved edges, few crossings.

A lane whose nodes read each other is widened into several columns. An edge that jumps
over columns is led through a narrow place of its own there, so that it never runs
behind a box it has nothing to do with.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import get_args

from markupsafe import Markup

from interlock.web.figures import Edge, Graph, Lane, Node
from interlock.web.svg import drawing, el, label
from interlock.web.words import cut

# A box is addressed by its ref; a passage by (source ref, hot, column).
Place = str | tuple[str, bool, int]

_BOX, _GAP, _PASS, _BETWEEN, _TOP = 34.0, 12.0, 8.0, 66.0, 36.0
_MOST = 26


def impact_graph(graph: Graph) -> Markup:
    """The drawing; an empty graph says so."""
    if not graph.nodes:
        empty = label(8, 24, "Nothing is reached.", "muted")
        return drawing("Impact graph", "Nothing is reached.", [empty], "impact", (400, 40))
    layout = _Layout.of(graph)
    parts = [*_headings(graph, layout), *_edges(graph, layout), *_boxes(graph, layout)]
    return drawing("Impact graph", _said(graph), parts, "impact", (layout.width, layout.height))


def _said(graph: Graph) -> str:
    def names(mark: str) -> str:
        return ", ".join(node.label for node in graph.nodes if node.mark == mark) or "nothing"

    return f"Changed: {names('changed')}. Reached: {names('reached')}."


@dataclass
class _Layout:
    """Columns of places with their left edge, width and the vertical centre of each place."""

    columns: list[list[Place]]
    column_of: Mapping[str, int]
    x: list[float] = field(default_factory=list)
    wide: list[float] = field(default_factory=list)
    y: dict[Place, float] = field(default_factory=dict)
    height: float = 0.0
    width: float = 0.0

    @classmethod
    def of(cls, graph: Graph) -> _Layout:
        column_of = _columns(graph)
        columns: list[list[Place]] = [[] for _ in range(max(column_of.values()) + 1)]
        for node in graph.nodes:
            columns[column_of[node.ref]].append(node.ref)
        layout = cls(columns, column_of)
        links = [pair for edge in _known(graph) for pair in layout.links(edge)]
        for place in dict.fromkeys(p for pair in links for p in pair):
            if isinstance(place, tuple):
                columns[place[2]].append(place)
        layout._measure(graph)
        layout._untangle(links)
        return layout

    def route(self, edge: Edge) -> list[Place]:
        """The places an edge passes, from source to target."""
        start, end = self.column_of[edge.source], self.column_of[edge.target]
        between = [(edge.source, edge.hot, column) for column in range(start + 1, end)]
        return [edge.source, *between, edge.target]

    def links(self, edge: Edge) -> list[tuple[Place, Place]]:
        places = self.route(edge)
        return list(pairwise(places))

    def _measure(self, graph: Graph) -> None:
        names = {node.ref: cut(node.label, _MOST) for node in graph.nodes}
        at = 4.0
        for column in self.columns:
            longest = max((len(names[p]) for p in column if isinstance(p, str)), default=10)
            self.x.append(at)
            self.wide.append(max(110.0, 26 + 7.1 * longest))
            at += self.wide[-1] + _BETWEEN
        self.width = at - _BETWEEN + 4
        self.height = _TOP + max(_tall(column) for column in self.columns) + 8
        for column in self.columns:
            self._stack(column)

    def _stack(self, column: list[Place]) -> None:
        at = _TOP + (self.height - _TOP - 8 - _tall(column)) / 2
        for place in column:
            size = _size(place)
            self.y[place] = at + size / 2
            at += size + _GAP

    def _untangle(self, links: list[tuple[Place, Place]]) -> None:
        """Each place moves to the mean of its neighbours, left to right and back, four times."""
        before, after = defaultdict(list), defaultdict(list)
        for left, right in links:
            before[right].append(left)
            after[left].append(right)
        for _ in range(4):
            for near, columns in ((before, self.columns), (after, self.columns[::-1])):
                for column in columns:
                    self._sort(column, near)

    def _sort(self, column: list[Place], near: Mapping[Place, list[Place]]) -> None:
        def middle(place: Place) -> float:
            ys = [self.y[n] for n in near.get(place, ())]
            return sum(ys) / len(ys) if ys else self.y[place]

        column.sort(key=middle)
        self._stack(column)


def _size(place: Place) -> float:
    return _BOX if isinstance(place, str) else _PASS


def _tall(column: list[Place]) -> float:
    return sum(_size(place) + _GAP for place in column) - _GAP


def _known(graph: Graph) -> list[Edge]:
    """Edges whose two ends are drawn, and that do not start where they end."""
    refs = {node.ref for node in graph.nodes}
    return [e for e in graph.edges if {e.source, e.target} <= refs and e.source != e.target]


def _columns(graph: Graph) -> dict[str, int]:
    """The column of each node: its lane, then how deep it stands inside the lane."""
    lane = {node.ref: node.lane for node in graph.nodes}
    inside = [e for e in _known(graph) if lane[e.source] == lane[e.target]]
    depth = dict.fromkeys(lane, 0)
    # Three rounds: deeper chains share the last column, and a cycle cannot run for ever.
    for _ in range(3):
        for edge in inside:
            depth[edge.target] = max(depth[edge.target], min(3, depth[edge.source] + 1))
    keys = sorted({(_lanes().index(lane[ref]), depth[ref]) for ref in lane})
    return {ref: keys.index((_lanes().index(lane[ref]), depth[ref])) for ref in lane}


def _lanes() -> tuple[Lane, ...]:
    return get_args(Lane)


def _headings(graph: Graph, layout: _Layout) -> Iterator[Markup]:
    first: dict[Lane, int] = {}
    for node in graph.nodes:
        column = layout.column_of[node.ref]
        first[node.lane] = min(column, first.get(node.lane, column))
    for lane, column in first.items():
        yield label(layout.x[column], 14, lane, "small")


def _edges(graph: Graph, layout: _Layout) -> Iterator[Markup]:
    """Cold edges first, so that the way the change travels lies on top."""
    for edge in sorted(_known(graph), key=lambda e: e.hot):
        css = "edge hot" if edge.hot else "edge"
        x, y = layout.x[layout.column_of[edge.target]], layout.y[edge.target]
        yield el("path", d=_curve(layout.route(edge), layout), class_=css)
        yield el("path", d=f"M{x - 9:.1f},{y - 5:.1f} L{x:.1f},{y:.1f} L{x - 9:.1f},{y + 5:.1f} z",
                 class_="arrow hot" if edge.hot else "arrow")  # fmt: skip


def _curve(route: list[Place], layout: _Layout) -> str:
    drawn = ""
    for start, end in pairwise(route):
        x1, x2 = layout.x[_column(start, layout)], layout.x[_column(end, layout)]
        x1 += layout.wide[_column(start, layout)]
        y1, y2 = layout.y[start], layout.y[end]
        bend = max(28.0, (x2 - x1) / 2)
        drawn += f"M{x1:.1f},{y1:.1f} " if not drawn else f"H{x1:.1f} "
        drawn += f"C{x1 + bend:.1f},{y1:.1f} {x2 - bend:.1f},{y2:.1f} {x2:.1f},{y2:.1f} "
    return drawn.strip()


def _column(place: Place, layout: _Layout) -> int:
    return layout.column_of[place] if isinstance(place, str) else place[2]


def _boxes(graph: Graph, layout: _Layout) -> Iterator[Markup]:
    for node in graph.nodes:
        column = layout.column_of[node.ref]
        yield _box(node, layout.x[column], layout.y[node.ref], layout.wide[column])


def _box(node: Node, x: float, y: float, wide: float) -> Markup:
    said = el("title", f"{node.ref}: {node.mark}")
    rect = el("rect", x=x, y=y - _BOX / 2, width=wide, height=_BOX, rx=5)
    name = label(x + 11, y + 4.5, cut(node.label, _MOST))
    return el("g", said, rect, name, class_=f"box {node.mark}")
