"""Facts of a project: what each thing means, as fingerprints, and what reads what.

A fingerprint is a Merkle hash: the version of these rules, the thing's own meaning, and
the fingerprints of exactly the columns and row sets it reads. So a column added to a
table moves nobody who does not read it. Owner, description and freshness never count.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from interlock.define.memory import Memory
from interlock.define.project import Project
from interlock.define.refs import Ref
from interlock.errors import NotFound, Problem
from interlock.impact.check import check
from interlock.impact.kept import keep_node
from interlock.impact.known import Known
from interlock.impact.nodes import RULES, Edge, NodeFacts
from interlock.impact.outside import completed


@dataclass(frozen=True)
class Facts:
    """Everything that is known of a project, by text of Ref."""

    project: str
    rules: str
    nodes: Known

    def fingerprint(self, ref: Ref | str) -> str:
        """The version digest of a table, view, model or service."""
        return self.node(ref).fingerprint

    def node(self, ref: Ref | str) -> NodeFacts:
        if str(ref) not in self.nodes:
            raise NotFound(f"{ref} is not declared", help=f"known: {', '.join(self.nodes)}")
        return self.nodes[str(ref)]

    def of_kind(self, kind: str) -> tuple[NodeFacts, ...]:
        """All nodes of a kind, in order of their text."""
        return tuple(self.nodes[str(ref)] for ref in self.refs(kind))

    # ---- asked without making nodes

    def refs(self, kind: str) -> tuple[Ref, ...]:
        """What is declared of a kind, in order of its text."""
        return tuple(Ref.parse(name) for name in self.nodes if name.startswith(kind + ":"))

    def same(self, other: Facts | None, name: str) -> bool:
        """Whether it is sure, before anything is compared, that `name` means the same there."""
        there = other.nodes.key_of.get(name) if other else None
        return there is not None and there == self.nodes.key_of.get(name)

    def sources_first(self, kind: str) -> Iterator[str]:
        """Names of a kind, each after those that it stands on."""
        return (name for name in self.nodes.order if name.startswith(kind + ":"))

    @cached_property
    def edges(self) -> frozenset[Edge]:
        """Every edge there is; who looks for a few asks `nodes.reading`."""
        return frozenset(edge for name in self.nodes for edge in self.nodes.edges(name))


def learn(project: Project, kept: Memory | None = None) -> tuple[Facts, tuple[Problem, ...]]:
    """What `project` means, and every problem in its SQL and between its definitions.

    Facts are given even when there are problems, so that impact can still be shown. What
    `kept` knows is not worked out again.
    """
    kept = Memory() if kept is None else kept
    project = completed(project, kept)
    known = Known(project, kept)
    problems = check(known, kept)
    if not problems:
        for name in known.fresh:
            keep_node(kept, known.key_of[name], known[name], known.understood.place(name))
    return Facts(project.name, RULES, known), problems
