"""The pieces that facts are made of: nodes, their columns, and who reads what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from interlock.define.base import Declared
from interlock.define.refs import Ref
from interlock.impact.query import QueryFacts

RULES = "2"  # raised when digests change their meaning; both sides of a plan use the same one

Via = Literal["value", "filter", "join", "group", "window", "mask", "rows"]


class Edge(NamedTuple):
    """`reader` reads `source`. `rows`: the row set of a whole table or view."""

    reader: str
    source: str
    kind: Via


@dataclass(frozen=True)
class ColumnFacts:
    """One column or feature. `digest`: its own meaning; `deep`: with everything it reads.

    `serving` also covers what is answered when there is no row.
    """

    name: str
    type: str | None
    unit: str | None
    digest: str
    deep: str
    serving: str
    fallback: str = ""


@dataclass(frozen=True)
class NodeFacts:
    """One table, view, model or service.

    `meaning` holds the parts that move whoever reads it, `settings` those that must be
    released but move no value; both as name -> digest, to say which part changed.
    `trained` is all that a model's rows and their meaning rest on; `fitted` is that without
    what lies behind its features: an edited feature under the same version claims to be the
    same value, so the model is measured with it and not trained again. `query` is what the
    SQL says.
    """

    ref: Ref
    owner: str
    fingerprint: str
    meaning: Mapping[str, str]
    settings: Mapping[str, str]
    columns: Mapping[str, ColumnFacts] = field(default_factory=dict)
    rows: str = ""
    query: QueryFacts | None = None
    trained: str = ""
    fitted: str = ""
    unknown: str | None = None
    thing: Declared | None = field(default=None, compare=False)  # as it is written


def owner_node(name: str) -> str:
    """The thing a column, feature or row set belongs to."""
    ref = Ref.parse(name)
    if ref.kind == "feature":
        return str(Ref("view", ref.name, ref.version))
    if ref.kind == "column":
        return str(Ref("table", ref.name.rpartition(".")[0]))
    return name
