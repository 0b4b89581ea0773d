"""What an output carries of single rows: lineage that does not pass through an aggregate.

A count or a mean over groups is no longer anybody's value. A minimum, a first or a list is,
and so is what a window says of each row.
"""

from __future__ import annotations

from collections.abc import Mapping

from interlock.impact.query import Source
from interlock.impact.source import Known, Schema
from interlock.impact.sql import parsed
from interlock.impact.tree import Node, NotUnderstood, Value
from interlock.impact.walk import walk

_AGGREGATES = frozenset(
    [
        "count", "countif", "sum", "avg", "stddev", "stddevpop", "stddevsamp", "variance",
        "variancepop", "corr", "covarpop", "covarsamp", "approxdistinct",
    ]
)  # fmt: skip


def carried(sql: str, schema: Schema) -> Mapping[str, frozenset[Source]] | None:
    """Per output, the columns whose single values it may show; None when that is not known."""
    tree = parsed(sql)
    if tree is None:
        return None
    try:
        facts = walk(_without_aggregates(tree), Known(schema), frozenset(), "")
    except (NotUnderstood, RecursionError):
        return None
    return {column.name: column.reads for column in facts.columns}


def _without_aggregates(node: Node) -> Node:
    inner = node.one("this") if node.kind == "filter" else node
    if inner is not None and inner.kind in _AGGREGATES:
        return Node("literal", {"this": "0"}, frozenset(), node.line, node.at)
    if node.kind == "window":
        return node
    args = {key: _each(value) for key, value in node.args.items()}
    return Node(node.kind, args, node.traits, node.line, node.at)


def _each(value: Value) -> Value:
    if isinstance(value, Node):
        return _without_aggregates(value)
    return value if isinstance(value, str) else tuple(_each(item) for item in value)
