"""The promises of an ODCS document beyond types: quality rules, options of types, service levels.

A rule becomes a check only when it says exactly what a check says: a condition that each row
keeps. Every other rule stays in the document, untouched and named.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from interlock.define.definitions import Check
from interlock.define.yaml import Document, Path

_BAD_ROWS = re.compile(
    r"\s*select\s+count\(\s*\*\s*\)\s+from\s+([\w.${}\"]+)\s+where\s+(.+?)\s*;?\s*", re.I | re.S
)
_SHARE = re.compile(
    r"SELECT avg\(CASE WHEN NOT \((.+)\) THEN 0\.0 ELSE 1\.0 END\) FROM \$\{object\}", re.S
)
_MORE = re.compile(r"\b(group|having|join|limit|union|order|window|qualify)\b", re.I)
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_WORD = re.compile(r"[^a-z0-9]+")
_UNITS = {
    "s": "s", "sec": "s", "second": "s", "seconds": "s", "m": "m", "min": "m", "minute": "m",
    "minutes": "m", "h": "h", "hr": "h", "hour": "h", "hours": "h", "d": "d", "day": "d",
    "days": "d", "w": "w", "week": "w", "weeks": "w",
}  # fmt: skip
_BOUNDS = {"minimum": ">=", "maximum": "<=", "exclusiveMinimum": ">", "exclusiveMaximum": "<"}


@dataclass
class Promises:
    """What was understood: columns, checks with where they stand, and every path that was used."""

    required: list[str] = field(default_factory=list)
    unique: list[str] = field(default_factory=list)
    checks: list[tuple[dict[str, Any], Path]] = field(default_factory=list)
    used: set[Path] = field(default_factory=set)


def check_query(check: Check) -> dict[str, Any]:
    """A check as a quality rule of the standard; `table_promises` reads it back."""
    rule: dict[str, Any] = {"name": check.name, "type": "sql"}
    if check.at_least == 1.0:
        query = f"SELECT COUNT(*) FROM ${{object}} WHERE NOT ({check.sql})"
        return {**rule, "query": query, "mustBe": 0}
    query = f"SELECT avg(CASE WHEN NOT ({check.sql}) THEN 0.0 ELSE 1.0 END) FROM ${{object}}"
    return {**rule, "query": query, "mustBeGreaterOrEqualTo": check.at_least}


def table_promises(document: Document, path: Path) -> Promises:
    """The quality rules of a schema object."""
    found = Promises()
    for at, rule in _rules(document, path):
        if rule.get("type") == "sql":
            _sql(found, rule, at, "", "rule")
    return found


def column_promises(document: Document, path: Path, name: str) -> Promises:
    """The quality rules of a column, and what the options of its type say of every value."""
    found = Promises()
    for at, rule in _rules(document, path):
        kind = rule.get("type", "library")
        if kind == "sql":
            _sql(found, rule, at, name, f"{name}_rule")
        elif kind == "library":
            _library(found, rule, at, name)
    held = _at(document.value, path)
    options = held.get("logicalTypeOptions")
    if isinstance(options, dict):
        for key, value in options.items():
            sql = _option(key, value, name, str(held.get("logicalType")))
            if sql:
                _keep(found, f"{name}_{key}", sql, 1.0, (*path, "logicalTypeOptions", key))
    return found


def freshness(document: Document, names: Collection[str]) -> dict[str, tuple[str, Path]]:
    """`warn_after` and `error_after` with where they stand; empty when nothing is promised.

    The standard has one number. `freshnessWarning` is ours for the first of two.
    """
    levels: dict[str, tuple[str, Path]] = {}
    held = document.value.get("slaProperties")
    for i, one in enumerate(held if isinstance(held, list) else ()):
        if isinstance(one, dict) and _meant(one, names):
            unit = _UNITS.get(str(one.get("unit")).lower())
            if unit and isinstance(one.get("value"), int | float):
                at: Path = ("slaProperties", i)
                levels.setdefault(str(one["property"]), (f"{one['value']}{unit}", at))
    error = levels.get("freshness") or levels.get("latency")
    if error is None:
        return {}
    return {"warn_after": levels.get("freshnessWarning", error), "error_after": error}


def _meant(level: Mapping[str, Any], names: Collection[str]) -> bool:
    """Whether a service level is for the table with these names, or for every one."""
    element = level.get("element")
    return element is None or any(f"{element}.".startswith(f"{name}.") for name in names)


def _rules(document: Document, path: Path) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    rules = _at(document.value, path).get("quality")
    for i, rule in enumerate(rules if isinstance(rules, list) else ()):
        if isinstance(rule, dict):
            yield (*path, "quality", i), rule


def _at(value: Any, path: Path) -> Any:
    for step in path:
        value = value[step]
    return value


def _keep(found: Promises, name: str, sql: str, at_least: float, path: Path) -> None:
    word = name
    if not _NAME.fullmatch(name):
        word = _WORD.sub("_", name.lower()).strip("_") or "rule"
        word = word if "a" <= word[0] <= "z" else f"rule_{word}"
    found.checks.append(({"name": word, "sql": sql, "at_least": at_least}, path))
    found.used.add(path)


def _sql(found: Promises, rule: Mapping[str, Any], at: Path, column: str, otherwise: str) -> None:
    query = str(rule.get("query", ""))
    for text in ("${property}", "{property}"):
        query = query.replace(text, column or text)
    name = str(rule.get("name") or otherwise)
    share = _SHARE.fullmatch(query)
    if share and isinstance(rule.get("mustBeGreaterOrEqualTo"), int | float):
        _keep(found, name, share[1], float(rule["mustBeGreaterOrEqualTo"]), at)
        return
    bad = _BAD_ROWS.fullmatch(query)
    if bad and rule.get("mustBe") == 0 and not _MORE.search(_without_texts(bad[2])):
        _keep(found, name, _kept_where_not(bad[2]), 1.0, at)


def _kept_where_not(condition: str) -> str:
    """The condition that a row keeps exactly when it is not among those that `condition` finds."""
    inner = re.fullmatch(r"not\s*\((.*)\)", condition, re.I | re.S)
    if inner and _closed(inner[1]):
        return inner[1]
    return f"NOT ({condition})"


def _closed(text: str) -> bool:
    """Whether no parenthesis of `text` closes one that stands before it."""
    depth = 0
    for letter in _without_texts(text):
        depth += {"(": 1, ")": -1}.get(letter, 0)
        if depth < 0:
            return False
    return depth == 0


def _without_texts(sql: str) -> str:
    return re.sub(r"'[^']*'", "''", sql)


def _library(found: Promises, rule: Mapping[str, Any], at: Path, name: str) -> None:
    share = _at_most(rule)
    arguments = rule.get("arguments")
    listed = arguments if isinstance(arguments, dict) else {}
    said = str(rule.get("name") or f"{name}_{rule.get('metric')}")
    match rule.get("metric"):
        case "nullValues" if share == 0:
            found.required.append(name)
            found.used.add(at)
        case "nullValues" if share is not None:
            _keep(found, said, f"{name} IS NOT NULL", 1 - share, at)
        case "duplicateValues" if share == 0 and not listed:
            found.unique.append(name)
            found.used.add(at)
        case "invalidValues" if share is not None and set(listed) == {"validValues"}:
            if texts := _texts(listed["validValues"]):
                _keep(found, said, f"{name} IS NULL OR {name} IN ({texts})", 1 - share, at)
        case "missingValues" if share is not None and set(listed) == {"missingValues"}:
            if texts := _texts(listed["missingValues"]):
                _keep(found, said, f"{name} NOT IN ({texts})", 1 - share, at)


def _at_most(rule: Mapping[str, Any]) -> float | None:
    """The share of rows that may break a rule, when it is said as a share; 0 for none at all."""
    if rule.get("mustBe") == 0 or rule.get("mustBeLessOrEqualTo") == 0:
        return 0.0
    limit = rule.get("mustBeLessOrEqualTo")
    if rule.get("unit") == "percent" and isinstance(limit, int | float) and 0 <= limit < 100:
        return float(limit) / 100
    return None


def _texts(values: Any) -> str:
    if not isinstance(values, list) or not values:
        return ""
    return ", ".join(literal for value in values if (literal := _literal(value)))


def _literal(value: Any) -> str:
    if isinstance(value, bool | int | float):
        return str(value).upper() if isinstance(value, bool) else str(value)
    return "'" + str(value).replace("'", "''") + "'" if value is not None else ""


def _option(key: str, value: Any, name: str, logical: str) -> str:
    """What an option of a type promises of every value; `""` for one that promises nothing."""
    bound = _bound(value, logical) if key in _BOUNDS else ""
    if bound:
        return f"{name} IS NULL OR {name} {_BOUNDS[key]} {bound}"
    if logical == "string" and key in ("minLength", "maxLength") and isinstance(value, int):
        return f"{name} IS NULL OR length({name}) {'>=' if key == 'minLength' else '<='} {value}"
    if logical == "string" and key == "pattern":
        return f"{name} IS NULL OR regexp_matches({name}, {_literal(value)})"
    if logical == "integer" and key == "multipleOf" and isinstance(value, int):
        return f"{name} IS NULL OR {name} % {value} = 0"
    return ""


def _bound(value: Any, logical: str) -> str:
    if logical in ("integer", "number") and isinstance(value, int | float):
        return str(value)
    if logical == "date" and _reads(date, value):
        return f"DATE '{value}'"
    if logical == "timestamp" and _reads(datetime, value) and not _zoned(str(value)):
        return f"TIMESTAMP '{value}'"
    return ""


def _reads(kind: type[date], value: Any) -> bool:
    try:
        kind.fromisoformat(str(value))
    except ValueError:
        return False
    return True


def _zoned(text: str) -> bool:
    return datetime.fromisoformat(text).tzinfo is not None
