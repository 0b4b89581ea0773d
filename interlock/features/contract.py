"""What a table's contract promises, held against its profile: kept, broken or not measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from interlock.define.definitions import ColumnType, Table
from interlock.features.profile import TableProfile


@dataclass(frozen=True)
class Finding:
    """One check of a contract. `unknown` when there was nothing to measure; only `pass` passes."""

    check: str
    verdict: Literal["pass", "fail", "unknown"]
    sentence: str
    measured: float | None = None
    allowed: float | None = None


# Engine types (without precision) that hold every value of a declared type.
_WHOLE = frozenset(
    ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER")
)
_FITS: Mapping[ColumnType, frozenset[str]] = {
    "boolean": frozenset({"BOOLEAN"}),
    "integer": _WHOLE | {"UBIGINT"},
    "double": _WHOLE | {"DOUBLE", "FLOAT", "DECIMAL"},
    "string": frozenset({"VARCHAR", "ENUM", "UUID"}),
    "date": frozenset({"DATE"}),
    "timestamp": frozenset(
        ("TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS", "TIMESTAMP WITH TIME ZONE")
    ),
}


def judge_contract(table: Table, seen: TableProfile, columns: Mapping[str, str]) -> list[Finding]:
    """Every promise of the contract, kept or broken.

    `seen` is the profile of the whole table; `columns` are the stored names and engine types.
    When a column is not there, a profile cannot be made: judge `judge_columns` first.
    """
    findings = judge_columns(table, columns)
    rows = seen.rows
    if not rows:
        return [*findings, Finding("rows", "unknown", f"{table.name} is empty", 0)]
    findings.append(Finding("rows", "pass", f"{table.name} has {rows} rows", rows))
    for name in _required(table):
        text = f"{table.name}.{name} is missing in {{n}} of {rows} rows"
        findings.append(_none_of(f"not_null:{name}", seen.columns[name].nulls, rows, text))
    findings += _repeats(table, seen)
    return findings + _conditions(table, seen)


def _repeats(table: Table, seen: TableProfile) -> list[Finding]:
    found = []
    for name, rows in (seen.repeated or {}).items():
        if name == "key":
            text = f"repeat the key ({', '.join(table.key)}) of {table.name}"
        else:
            text = f"repeat a value of {table.name}.{name}"
        check = "unique_key" if name == "key" else f"unique:{name}"
        found.append(_none_of(check, rows, seen.rows, f"{{n}} of {seen.rows} rows {text}"))
    return found


def _conditions(table: Table, seen: TableProfile) -> list[Finding]:
    found = []
    for check in table.checks:
        share = 1 - seen.broken[check.name] / seen.rows
        said = (
            f"{table.name}: {share:.2%} of rows satisfy {check.name} ({check.sql}), "
            f"at least {check.at_least:.2%} must"
        )
        verdict: Literal["pass", "fail"] = "pass" if share >= check.at_least else "fail"
        found.append(Finding(f"check:{check.name}", verdict, said, share, check.at_least))
    return found


def judge_columns(table: Table, columns: Mapping[str, str]) -> list[Finding]:
    """Is every declared column there, in a type that holds its values?"""
    findings = []
    for name, column in table.columns.items():
        found = columns.get(name)
        where = f"{table.name}.{name}"
        if found is None:
            said = f"{where} is not there; {table.name} has {', '.join(columns)}"
            findings.append(Finding(f"column:{name}", "fail", said))
        elif column.type != "other" and _plain(found) not in _FITS[column.type]:
            said = f"{where} is {found}, the contract says {column.type}"
            findings.append(Finding(f"column:{name}", "fail", said))
        else:
            findings.append(Finding(f"column:{name}", "pass", f"{where} is {found}"))
    return findings


def declared_type(engine_type: str) -> ColumnType:
    """The type a contract would say for a column that is stored as `engine_type`."""
    plain = _plain(engine_type)
    return next((type for type, fits in _FITS.items() if plain in fits), "other")


def _plain(engine_type: str) -> str:
    return engine_type.partition("(")[0].strip().upper()


def _required(table: Table) -> list[str]:
    needed = [name for name, column in table.columns.items() if not column.nullable]
    return list(dict.fromkeys([*table.key, *needed]))


def _none_of(check: str, count: int, rows: int, text: str) -> Finding:
    verdict: Literal["pass", "fail"] = "fail" if count else "pass"
    return Finding(check, verdict, text.format(n=count or "none"), count / rows, 0.0)
