"""A small shop whose sensitive values are canaries, and random queries over it."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

from interlock.define.definitions import Column, CsvSource, Table
from interlock.define.environment import Owner
from interlock.define.privacy import Mask, Privacy
from interlock.define.project import Project
from interlock.features.covers import covers
from interlock.features.masking import Relation
from interlock.impact.facts import learn
from interlock.impact.graph import column_ref
from interlock.ports import Warehouse

KEY = b"a key of the test"
PEOPLE = 12
COLUMNS = {
    "wh.people": {"id": "integer", "ssn": "string", "mail": "string", "salary": "integer",
                  "born": "date", "town": "string"},
    "wh.orders": {"id": "integer", "person": "integer", "note": "string", "amount": "double"},
}  # fmt: skip
HIDDEN = {
    "wh.people": ("ssn", "mail", "salary", "born"),
    "wh.orders": ("note",),
}
MASKS = {
    "wh.people.ssn": Mask(mask="hash"),
    "wh.people.salary": Mask(mask="bucket", width=1000),
    "wh.people.born": Mask(mask="null"),
}
_WORDS = ("ssnquokka", "mailnarwhal", "noteaxolotl")
CANARIES = (
    *(f"{word}{i:02}" for word in _WORDS for i in range(PEOPLE)),
    *(f"{700137 + 1009 * i}" for i in range(PEOPLE)),
    *(f"1971-{1 + i:02}-17" for i in range(PEOPLE)),
)


def table(name: str, columns: dict[str, str], sql: str | None = None) -> Table:
    made: dict[str, Any] = {
        column: Column.model_validate(
            {"type": kind, "classification": _class(name, column) if sql is None else "internal"}
        )
        for column, kind in columns.items()
    }
    source = None if sql else CsvSource(csv="x.csv")
    return Table(name=name, owner="eng", columns=made, sql=sql, source=source, file=f"{name}.yaml")


def _class(name: str, column: str) -> str:
    return "sensitive" if column in HIDDEN.get(name, ()) else "internal"


def project(built: dict[str, Table] | None = None, **masks: Any) -> Project:
    # Readers first: the order of declarations must not matter.
    tables = dict(reversed(list((built or {}).items())))
    tables |= {name: table(name, columns) for name, columns in COLUMNS.items()}
    privacy = Privacy(key="${KEY}", columns={**MASKS, **masks})
    eng = Owner(name="eng", people={"ada": ("data_steward",)})
    return Project(name="shop", owners=(eng,), environments={}, tables=tables,
                   privacy=privacy)  # fmt: skip


def fill(warehouse: Warehouse) -> None:
    """One row per person and order; every hidden value is a canary."""
    people = ", ".join(
        f"({i}, 'ssnquokka{i:02}', 'mailnarwhal{i:02}', {700137 + 1009 * i}, "
        f"DATE '1971-{1 + i:02}-17', 'town{i % 3}')"
        for i in range(PEOPLE)
    )
    orders = ", ".join(f"({i}, {i % 7}, 'noteaxolotl{i:02}', {i * 1.5})" for i in range(PEOPLE))
    for name, rows in (("wh.people", people), ("wh.orders", orders)):
        names = ", ".join(COLUMNS[name])
        warehouse.build(name, f"SELECT * FROM (VALUES {rows}) t({names})")


def relations(project: Project) -> dict[str, Relation]:
    """Every table of the project, stored under its own name."""
    facts, problems = learn(project)
    assert not problems, problems
    hidden = covers(project, facts)
    return {
        t.name: Relation(
            t.name,
            tuple(t.columns),
            {c: hidden[n] for c in t.columns if (n := column_ref(t.ref, c)) in hidden},
        )
        for t in project.tables.values()
    }


def canaries_in(rows: list[dict[str, Any]]) -> list[str]:
    """Clear values that can be read in the rows, in any case, forwards or backwards."""
    text = repr([[_text(v) for v in row.values()] for row in rows]).lower()
    return [c for c in CANARIES if c in text or c[::-1] in text]


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return " ".join(map(_text, value))
    if isinstance(value, dict):
        return " ".join(map(_text, value.values()))
    return str(value)


@dataclass
class Maker:
    """Random SELECTs: CTEs, unions, joins, groups, windows, texts put together, CASE."""

    chance: random.Random
    tables: dict[str, dict[str, str]] = field(default_factory=lambda: dict(COLUMNS))
    named: int = 0

    def query(self, depth: int = 2) -> tuple[str, list[str]]:
        """A query and the names of its columns."""
        if depth and self.chance.random() < 0.25:
            (a, names), (b, other) = self.query(depth - 1), self.query(depth - 1)
            width = min(len(names), len(other))
            sides = [
                f"SELECT {', '.join(f'CAST({n} AS VARCHAR) AS u{i}' for i, n in enumerate(held[:width]))} FROM ({sql}) s"  # noqa: E501  # one side
                for sql, held in ((a, names), (b, other))
            ]
            word = self.chance.choice(["UNION ALL", "UNION", "EXCEPT"])
            return f" {word} ".join(sides), [f"u{i}" for i in range(width)]
        return self.select(depth)

    def select(self, depth: int) -> tuple[str, list[str]]:
        above, (source, columns) = "", self.source(depth)
        if depth and self.chance.random() < 0.4:
            inner, names = self.query(depth - 1)
            cte = self.name("w")
            above, source = f"WITH {cte} AS ({inner}) ", f"{cte} AS c"
            columns = [f"c.{n}" for n in names]
        count = self.chance.randint(1, 4)
        outputs = [self.name("c") for _ in range(count)]
        grouped = self.chance.random() < 0.3
        if grouped:
            by = self.chance.choice(columns)
            made = [by, *(self.aggregate(columns) for _ in outputs[1:])]
        else:
            made = [self.expression(columns) for _ in outputs]
        listed = ", ".join(f"{e} AS {n}" for e, n in zip(made, outputs, strict=True))
        where = (
            f" WHERE {self.chance.choice(columns)} IS NOT NULL"
            if self.chance.random() < 0.3
            else ""
        )  # one clause
        tail = f" GROUP BY {by}" if grouped else ""
        return f"{above}SELECT {listed} FROM {source}{where}{tail}", outputs

    def source(self, depth: int) -> tuple[str, list[str]]:
        roll = self.chance.random()
        if roll < 0.3:
            on = self.chance.choice(["a.id = b.person", "a.town <> b.note", "a.id < b.id"])
            left = [f"a.{n}" for n in COLUMNS["wh.people"]]
            return f"wh.people a JOIN wh.orders b ON {on}", left + [f"b.{n}" for n in COLUMNS["wh.orders"]]  # fmt: skip  # noqa: E501
        if roll < 0.5 and depth:
            inner, names = self.query(depth - 1)
            return f"({inner}) AS q", [f"q.{n}" for n in names]
        name = self.chance.choice(sorted(self.tables))
        return f"{name} AS t", [f"t.{n}" for n in self.tables[name]]

    def expression(self, columns: list[str]) -> str:
        a, b = self.chance.choice(columns), self.chance.choice(columns)
        return self.chance.choice(
            [
                a, a, f"CAST({a} AS VARCHAR) || '-' || CAST({b} AS VARCHAR)",
                f"CASE WHEN {a} IS NULL THEN 'none' ELSE CAST({b} AS VARCHAR) END",
                f"upper(CAST({a} AS VARCHAR))", f"reverse(CAST({a} AS VARCHAR))",
                f"coalesce(CAST({a} AS VARCHAR), CAST({b} AS VARCHAR))",
                f"concat('<', CAST({a} AS VARCHAR), '>')", f"[CAST({a} AS VARCHAR)]",
                f"first_value({a}) OVER (ORDER BY {b})", f"lag({a}) OVER (ORDER BY {b})",
                "(SELECT max(o.note) FROM wh.orders o WHERE o.id < 9)",
                f"(SELECT min(p.ssn) FROM wh.people p WHERE p.town > CAST({a} AS VARCHAR))",
            ]
        )  # fmt: skip

    def aggregate(self, columns: list[str]) -> str:
        a = self.chance.choice(columns)
        return self.chance.choice(
            [f"min({a})", f"max({a})", f"string_agg(CAST({a} AS VARCHAR), ',')",
             f"count({a})", f"list({a})", f"any_value({a})"]
        )  # fmt: skip

    def name(self, prefix: str) -> str:
        self.named += 1
        return f"{prefix}{self.named}"
