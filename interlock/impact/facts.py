"""Facts of a project: what each thing means, as fingerprints, and what reads what.

A fingerprint is a Merkle hash: the version of these rules, the thing's own meaning, and
the fingerprints of exactly the columns and row sets it reads. So a column added to a
table moves nobody who does not read it. Owner, description and freshness never count.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from interlock.define.project import Project
from interlock.define.refs import Ref
from interlock.errors import NotFound, Problem
from interlock.impact.check import check
from interlock.impact.kept import Kept
from interlock.impact.meaning import meaning_of
from interlock.impact.nodes import RULES, Edge, NodeFacts
from interlock.impact.outside import completed
from interlock.impact.promises import scheduled
from interlock.impact.understood import understand_all


@dataclass(frozen=True)
class Facts:
    """Everything that is known of a project, by text of Ref."""

    project: str
    rules: str
    nodes: Mapping[str, NodeFacts]
    edges: frozenset[Edge]

    def fingerprint(self, ref: Ref | str) -> str:
        """The version digest of a table, view, model or service."""
        return self.node(ref).fingerprint

    def node(self, ref: Ref | str) -> NodeFacts:
        found = self.nodes.get(str(ref))
        if found is None:
            raise NotFound(f"{ref} is not declared", help=f"known: {', '.join(sorted(self.nodes))}")
        return found

    def of_kind(self, kind: str) -> tuple[NodeFacts, ...]:
        """All nodes of a kind, in order of their text."""
        return tuple(self.nodes[name] for name in sorted(self.nodes) if name.startswith(kind + ":"))


def learn(project: Project, kept: Kept | None = None) -> tuple[Facts, tuple[Problem, ...]]:
    """What `project` means, and every problem in its SQL and between its definitions.

    Facts are given even when there are problems, so that impact can still be shown. Queries
    that `kept` knows are not read again.
    """
    project, kept = completed(project), Kept() if kept is None else kept
    understood = understand_all(project, kept)
    nodes, edges = meaning_of(project, understood, kept)
    return Facts(project.name, RULES, scheduled(project, nodes), edges), check(
        project, understood, kept
    )
