"""A table as an Open Data Contract Standard 3.1 document."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from interlock.define.definitions import Column, Table
from interlock.define.durations import format_duration
from interlock.define.odcs_checks import check_query
from interlock.define.widening import contract_type

VERSION = "v3.1.0"
_LOGICAL = {
    "boolean": "boolean", "integer": "integer", "double": "number", "string": "string",
    "date": "date", "timestamp": "timestamp",
}  # fmt: skip
_UNITS = {"s": "s", "m": "min", "h": "h", "d": "d"}


def contract_of(table: Table) -> dict[str, Any]:
    """The document. One that was read from ODCS comes back as it was, with its own table only."""
    if table.odcs:
        at = table.within[-1]
        schema = [one for i, one in enumerate(table.odcs["schema"]) if i == at]
        return {**table.odcs, "apiVersion": VERSION, "schema": schema}
    document: dict[str, Any] = {
        "apiVersion": VERSION,
        "kind": "DataContract",
        "id": table.name.replace(".", "-"),
        "name": table.name,
        "version": "1.0.0",
        "status": "active",
        "team": {"name": table.owner},
        "schema": [_object(table)],
    }
    if table.source:
        nulls = [_custom("nulls", list(table.source.nulls))]
        document["servers"] = [
            {"server": "files", "type": "local", "path": table.source.csv, "format": "csv",
             "customProperties": nulls}
        ]  # fmt: skip
    if table.freshness:
        limits = (("freshness", "error_after"), ("freshnessWarning", "warn_after"))
        document["slaProperties"] = [
            {"property": name, **_level(format_duration(getattr(table.freshness, ours)))}
            for name, ours in limits
        ]
    return document


def as_yaml(document: Mapping[str, Any], kept: list[str]) -> str:
    """The document as text; what Interlock carries without using it is named on top."""
    lines = [f"# carried, not used by Interlock: {', '.join(kept)}\n"] if kept else []
    text = yaml.safe_dump(dict(document), sort_keys=False, allow_unicode=True, width=100)
    return "".join([*lines, text])


def _object(table: Table) -> dict[str, Any]:
    made: dict[str, Any] = {"name": table.name, "logicalType": "object"}
    if table.description:
        made["description"] = table.description
    made["properties"] = [_property(table, name, column) for name, column in table.columns.items()]
    made["quality"] = [check_query(check) for check in table.checks]
    made["customProperties"] = list(_customs(table))
    return {key: value for key, value in made.items() if value}


def _customs(table: Table) -> Iterator[dict[str, Any]]:
    for name, value in (
        ("eventTime", table.event_time), ("availableAt", table.available_at),
        ("sqlFile", table.sql_file), ("sql", None if table.sql_file else table.sql),
        ("arrival", table.arrival and table.arrival.model_dump(mode="json", exclude_defaults=True)),
    ):  # fmt: skip
        if value:
            yield _custom(name, value)


def _property(table: Table, name: str, column: Column) -> dict[str, Any]:
    made: dict[str, Any] = {"name": name}
    # A type the standard has no word for is left to its engine's name, when that says so much.
    if column.type != "other" or contract_type(column.physical or "text") != "other":
        made["logicalType"] = _LOGICAL.get(column.type, "object")
    made["physicalType"] = column.physical
    if name in table.key:
        made |= {"primaryKey": True, "primaryKeyPosition": table.key.index(name) + 1}
    made["required"] = not column.nullable or None
    made["unique"] = column.unique or None
    made["classification"] = column.classification
    made["description"] = column.description or None
    made["customProperties"] = [_custom("unit", column.unit)] if column.unit is not None else None
    return {key: value for key, value in made.items() if value is not None}


def _custom(name: str, value: Any) -> dict[str, Any]:
    return {"property": name, "value": value}


def _level(text: str) -> dict[str, Any]:
    number = float(text[:-1])
    return {"value": int(number) if number.is_integer() else number, "unit": _UNITS[text[-1]]}
