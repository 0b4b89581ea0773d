"""What a table holds, and whether it keeps its contract: one aggregate query each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from interlock.define.definitions import ColumnType, Table
from interlock.features.text import quoted


@dataclass(frozen=True)
class ColumnProfile:
    """One column: how much is missing, between what it lies, about how many values."""

    nulls: int
    low: Any
    high: Any
    distinct: int


@dataclass(frozen=True)
class TableProfile:
    """One table; the two instants are those of its newest row."""

    rows: int
    columns: Mapping[str, ColumnProfile]
    newest_event: datetime | None
    newest_available: datetime | None


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


def profile_sql(table: Table, built: str) -> str:
    """One row about the rows of `table`, stored in `built`."""
    parts = [f"count(*) AS {quoted('__rows')}"]
    for name in table.columns:
        column = quoted(name)
        parts.append(
            f"struct_pack(nulls := count(*) - count({column}), low := min({column}), "
            f"high := max({column}), distinct_ := approx_count_distinct({column})) AS {column}"
        )
    for label, stamp in (("__event", table.event_time), ("__available", table.available_at)):
        newest = f"CAST(max({quoted(stamp)}) AS TIMESTAMP)" if stamp else "NULL::TIMESTAMP"
        parts.append(f"{newest} AS {quoted(label)}")
    return f"SELECT {', '.join(parts)} FROM {built} AS t"


def read_profile(table: Table, row: Mapping[str, Any]) -> TableProfile:
    """The answer of `profile_sql`; its instants are UTC."""
    columns = {
        name: ColumnProfile(seen["nulls"], seen["low"], seen["high"], seen["distinct_"])
        for name in table.columns
        for seen in [row[name]]
    }
    return TableProfile(row["__rows"], columns, _utc(row["__event"]), _utc(row["__available"]))


def contract_sql(table: Table, built: str) -> str:
    """One row with what `judge_contract` needs: rows, NULLs, repeated keys, rows per failed check.

    As in a SQL CHECK, a condition that is NULL is not broken: whether values may be
    missing is said by `nullable`, once.
    """
    parts = [f"count(*) AS {quoted('__rows')}"]
    parts += [f"count(*) - count({quoted(n)}) AS {quoted(f'null:{n}')}" for n in _required(table)]
    if table.key:
        packed = ", ".join(f"{quoted(name)} := {quoted(name)}" for name in table.key)
        parts.append(f"count(*) - count(DISTINCT struct_pack({packed})) AS {quoted('__repeated')}")
    parts += [
        f"count({quoted(n)}) - count(DISTINCT {quoted(n)}) AS {quoted(f'repeated:{n}')}"
        for n in _unique(table)
    ]
    parts += [
        f"count(*) FILTER (WHERE NOT ({check.sql})) AS {quoted(f'check:{check.name}')}"
        for check in table.checks
    ]
    return f"SELECT {', '.join(parts)} FROM {built} AS t"


def judge_contract(
    table: Table, row: Mapping[str, Any], columns: Mapping[str, str]
) -> list[Finding]:
    """Every promise of the contract, kept or broken.

    `row` is the answer of `contract_sql`; `columns` are the stored names and engine types.
    When a column is not there, `contract_sql` cannot run: judge `judge_columns` first.
    """
    rows = int(row["__rows"])
    findings = judge_columns(table, columns)
    if not rows:
        return [*findings, Finding("rows", "unknown", f"{table.name} is empty", 0)]
    findings.append(Finding("rows", "pass", f"{table.name} has {rows} rows", rows))
    for name in _required(table):
        text = f"{table.name}.{name} is missing in {{n}} of {rows} rows"
        findings.append(_none_of(f"not_null:{name}", row[f"null:{name}"], rows, text))
    if table.key:
        text = f"{{n}} of {rows} rows repeat the key ({', '.join(table.key)}) of {table.name}"
        findings.append(_none_of("unique_key", row["__repeated"], rows, text))
    for name in _unique(table):
        text = f"{{n}} of {rows} rows repeat a value of {table.name}.{name}"
        findings.append(_none_of(f"unique:{name}", row[f"repeated:{name}"], rows, text))
    for check in table.checks:
        failed = int(row[f"check:{check.name}"])
        share = 1 - failed / rows
        text = f"{table.name}: {share:.2%} of rows satisfy {check.name} ({check.sql}), "
        kept = share >= check.at_least
        findings.append(
            Finding(
                f"check:{check.name}", "pass" if kept else "fail",
                f"{text}at least {check.at_least:.2%} must", share, check.at_least,
            )
        )  # fmt: skip
    return findings


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


def _plain(engine_type: str) -> str:
    return engine_type.partition("(")[0].strip().upper()


def _unique(table: Table) -> list[str]:
    """Columns that promise no repeats by themselves; the key is asked as a whole."""
    return [n for n, column in table.columns.items() if column.unique and table.key != (n,)]


def _required(table: Table) -> list[str]:
    needed = [name for name, column in table.columns.items() if not column.nullable]
    return list(dict.fromkeys([*table.key, *needed]))


def _none_of(check: str, count: int, rows: int, text: str) -> Finding:
    verdict: Literal["pass", "fail"] = "fail" if count else "pass"
    return Finding(check, verdict, text.format(n=count or "none"), count / rows, 0.0)


def _utc(value: datetime | None) -> datetime | None:
    return value.replace(tzinfo=UTC) if value else None
