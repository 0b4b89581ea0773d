"""A parsed query as plain data, so that nothing but the parser's own module knows the parser."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

Value: TypeAlias = "Node | str | tuple[Value, ...]"


class NotUnderstood(Exception):
    """A construct beyond this room; whoever asked marks the whole query unknown."""


@dataclass(slots=True, eq=False)  # not frozen: half a million are made, and that doubles the cost
class Node:
    """One syntax node: its `kind`, what it holds, and the line (from 1) where it starts.

    Names and keywords are in lower case; only string literals keep theirs. `traits`
    may hold `aggregate`, `generator` (one row becomes many), `opaque` (a function
    nobody here knows), `volatile` (another value each time) and `string`. `at` counts the
    nodes of a query from its start, so that the text of this one can be found again.
    """

    kind: str
    args: Mapping[str, Value]
    traits: frozenset[str] = field(default=frozenset())
    line: int = 0
    at: int = 0

    def one(self, key: str) -> Node | None:
        """The single child `key`, if there is one."""
        found = self.args.get(key)
        return found if isinstance(found, Node) else None

    def need(self, key: str = "this") -> Node:
        """The single child `key`; `NotUnderstood` when the tree has another shape."""
        found = self.args.get(key)
        if not isinstance(found, Node):
            raise NotUnderstood(f"{self.kind.upper()} without {key} is not understood")
        return found

    def many(self, key: str) -> tuple[Node, ...]:
        """The list of children `key`; empty when absent."""
        found = self.args.get(key, ())
        return tuple(n for n in found if isinstance(n, Node)) if isinstance(found, tuple) else ()

    def text(self, key: str = "this") -> str:
        """The name or keyword `key`; `""` when absent. An identifier gives its own name."""
        found = self.args.get(key, "")
        if isinstance(found, Node):
            return found.text("this")
        return found if isinstance(found, str) else ""

    @property
    def children(self) -> list[Node]:
        found: list[Node] = []
        for value in self.args.values():
            if isinstance(value, Node):
                found.append(value)
            elif isinstance(value, tuple):
                found += [item for item in value if isinstance(item, Node)]
        return found

    def walk(self) -> Iterator[Node]:
        """This node and everything below it; a long chain is no reason to fail."""
        waiting = [self]
        while waiting:
            node = waiting.pop()
            yield node
            waiting += node.children[::-1]
