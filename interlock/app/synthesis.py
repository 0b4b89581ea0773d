"""`interlock synth`: a project of its own with made-up data, for staging and for laptops.

Tables are learnt from a sample and drawn table by table, those with a key first, so that who
refers to a key finds it. Rows that break the contract, repeat a key or equal a real row of a
classified table are thrown away and drawn again. The same seed gives the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from interlock.adapters.duckdb import DuckDBWarehouse
from interlock.app.atomic import replaced
from interlock.app.build import Builder, Say, quiet
from interlock.app.columns import Real, arrow, read_real
from interlock.app.engines import embedded_only
from interlock.app.workspace import Workspace
from interlock.define.definitions import Table
from interlock.define.refs import Ref
from interlock.define.schema import did_you_mean
from interlock.errors import NotFound, Refused
from interlock.features.compile import physical
from interlock.features.dialect import DUCKDB, POSTGRES, dialect_of
from interlock.features.resemblance import Closeness, Distance, closeness, correlation_difference
from interlock.features.resemblance import distance as remembered
from interlock.features.shapes import texts
from interlock.features.synth import NULLS, Floats, Learnt, Part, draw, learn
from interlock.features.text import SQL_TYPES, quoted
from interlock.features.text import text as literal_text
from interlock.ports import Warehouse

ROUNDS = 12
REPORT = "synth.json"
_MADE = "il.made"
_CONTAINED, _NAMED_ALIKE = 0.95, 0.5  # shares of values that make a column refer to a key


@dataclass(frozen=True)
class Asked:
    """Which tables (all that are read from files when empty), where to, how many rows each."""

    out: Path
    tables: tuple[str, ...] = ()
    rows: int | None = None
    seed: int = 1


@dataclass(frozen=True)
class Made:
    """One made-up table, and what it shares with the real one.

    `copied` counts made-up rows that equal a real one in every column. `correlation` is the
    mean and the largest difference between pairs of columns.
    """

    table: str
    file: str
    rows: int
    real_rows: int
    classified: tuple[str, ...]
    copied: int
    closeness: tuple[Closeness, ...]
    correlation: tuple[float, float]
    privacy: Distance
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "sentence": self.privacy.sentence}


@dataclass
class _Run:
    """One call of `synth`: the engines, and the keys made so far, real to made-up by table."""

    builder: Builder
    asked: Asked
    scratch: DuckDBWarehouse
    real: Warehouse
    keys: dict[str, dict[Any, Any]] = field(default_factory=dict)

    def built(self, name: str) -> str:
        """Where the real rows of a table are, in `real`: a copy where the warehouse is a server."""
        stored, warehouse = self.builder.table(name), self.builder.workspace.warehouse
        if warehouse is self.real:
            return stored
        here = physical(name, self.builder.facts.fingerprint(Ref("table", name)))
        if not self.real.has(here):
            self.real.load(here, warehouse.query(f"SELECT * FROM {stored} AS t"))
        return here


def synth(workspace: Workspace, asked: Asked, say: Say = quiet) -> list[Made]:
    """Write the tables and, into a new folder, the definitions; what was made of each."""
    project = workspace.project
    embedded_only(workspace.warehouse, "`interlock synth`", POSTGRES)
    tables = chosen(workspace, asked)
    _guard(workspace, asked, tables)
    builder = Builder(workspace, project, workspace.facts, say)
    drawn = DuckDBWarehouse(None, threads=1)
    try:
        drawn.execute("SET GLOBAL preserve_insertion_order = true")
        with _real(workspace) as real:
            run, found = _Run(builder, asked, drawn, real), []
            for table in sorted(tables, key=lambda t: (len(t.key) != 1, t.name)):
                say(f"making up {table.ref}")
                found.append(_make(run, table))
    finally:
        drawn.close()
    if not (asked.out / "interlock.yaml").exists():
        for name, text in project.texts.items():
            _write(asked.out / name, text)
    body = {"seed": asked.seed, "tables": [made.to_json() for made in found]}
    _write(asked.out / REPORT, json.dumps(body, indent=2) + "\n")
    return found


@contextmanager
def _real(workspace: Workspace) -> Iterator[Warehouse]:
    """The embedded engine that real rows are learnt from; beside a server one in memory.

    In memory, so that no kill leaves rows on this machine that were only on the server.
    """
    if dialect_of(workspace.warehouse) is DUCKDB:
        yield workspace.warehouse
        return
    opened = DuckDBWarehouse(None)
    try:
        yield opened
    finally:
        opened.close()


def chosen(workspace: Workspace, asked: Asked) -> list[Table]:
    """The tables asked for; without a name all that are read from files."""
    every = workspace.project.tables
    names = [name.removeprefix("table:") for name in asked.tables]
    for name in names:
        if name not in every:
            raise NotFound(f"no table {name}", help=did_you_mean(name, every))
    return [every[n] for n in names] or [t for t in every.values() if t.source]


def _file(table: Table) -> str:
    return table.source.csv if table.source else f"data/{table.name}.csv"


def _guard(workspace: Workspace, asked: Asked, tables: Iterable[Table]) -> None:
    """Nothing real is overwritten."""
    out = asked.out.resolve()
    if out == workspace.folder.resolve():
        raise Refused("this is the project with the real data", help="name another folder")
    there = [_file(t) for t in tables if (out / _file(t)).exists()]
    if there and not (out / REPORT).exists():
        raise Refused(f"{out} has {', '.join(there)}, not made here", help="name another folder")


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with replaced(file) as beside:
        beside.write_text(text)


# --- one table -------------------------------------------------------------------------


def _make(run: _Run, table: Table) -> Made:
    builder = run.builder
    hidden = frozenset(n for n in table.columns if _classified(builder, table, n))
    links = _links(run, table)
    key = table.key or _natural_key(run, table)
    identity = key[0] if len(key) == 1 and (hidden or key[0] in hidden) else None
    given = () if identity or hidden & set(key) else key
    real = read_real(run.real, table, run.built(table.name), hidden, given)
    wanted = run.asked.rows or real.count
    notes = []
    if given and wanted > real.count:
        notes.append(f"{real.count} rows, as there are no more of the key ({', '.join(given)})")
        wanted = real.count
    chance = np.random.default_rng([run.asked.seed, *table.name.encode()])
    event = table.event_time if table.event_time in real.parts else None
    learnable = [p for n, p in real.parts.items() if n != identity]
    learnt = learn(learnable, event, given)
    task = _Task(run, table, real, learnt, key, identity, links, chance)
    drawn = task.fill(wanted)
    made = int(run.scratch.query(f"SELECT count(*) AS n FROM {_MADE}").to_pylist()[0]["n"])
    if made < wanted:
        notes.append(f"{wanted - made} rows fewer than asked: the rest broke the contract or a key")
    if len(key) == 1:
        run.keys[table.name] = _key_map(run, table, key[0], real)
    held = [p for n, p in real.held.items() if n != identity]
    return Made(
        table.name, _copy_out(run, table, event), made, real.count, tuple(sorted(hidden)),
        task.copies(), tuple(closeness(learnable, drawn)),
        correlation_difference([p for p in learnable if p.name in drawn], drawn),
        remembered(_compared(learnable, given), _compared(held, given), drawn), tuple(notes),
    )  # fmt: skip


def _compared(parts: Sequence[Part], given: Sequence[str]) -> list[Part]:
    """Keys that are given are real on purpose, and say nothing about remembering."""
    return [p for p in parts if p.name not in given and not p.free_text]


def _classified(builder: Builder, table: Table, name: str) -> bool:
    sensitive = table.columns[name].classification == "sensitive"
    return sensitive or builder.masks.hides(table.ref, name)


def _natural_key(run: _Run, table: Table) -> tuple[str, ...]:
    """The columns by which the project joins this table, when no two rows share them."""
    prefix = f"column:{table.name}."
    names = sorted(
        {
            edge.source.removeprefix(prefix)
            for edge in run.builder.facts.edges
            if edge.kind == "join" and edge.source.startswith(prefix)
        }
        & set(table.columns)
    )
    if not names:
        return ()
    packed = ", ".join(f"{quoted(n)} := {quoted(n)}" for n in names)
    sql = f"SELECT count(*) - count(DISTINCT struct_pack({packed})) AS n FROM "
    found = run.real.query(sql + run.built(table.name))
    return () if found.to_pylist()[0]["n"] else tuple(names)


def _links(run: _Run, table: Table) -> dict[str, Mapping[Any, Any]]:
    """Columns that hold keys of a table made before; texts by their values, numbers by name too."""
    found: dict[str, Mapping[Any, Any]] = {}
    for parent, keys in run.keys.items():
        key = run.builder.project.tables[parent].key[0]
        for name, column in table.columns.items():
            if column.type not in ("string", "integer") or name in table.key:
                continue
            if column.type == "integer" and name != key:
                continue
            sql = f"SELECT DISTINCT {quoted(name)} AS v FROM {run.built(table.name)}"
            values = run.real.query(f"{sql} WHERE v IS NOT NULL")
            seen = values.column("v").to_pylist()
            inside = sum(value in keys for value in seen)
            share = _NAMED_ALIKE if name == key else _CONTAINED
            if len(seen) >= 3 and inside >= share * len(seen):
                found.setdefault(name, keys)
    return found


def _key_map(run: _Run, table: Table, key: str, real: Real) -> dict[Any, Any]:
    """Every real key with the made-up key that stands for it: itself where it was kept."""
    sql = f"SELECT {quoted(key)} AS k FROM {_MADE} ORDER BY il_row"
    made = run.scratch.query(sql).column("k").to_pylist()
    kept, built = set(made), run.built(table.name)
    listed = f"SELECT {quoted(key)} AS k FROM {built} ORDER BY hash({quoted(key)}), 1"
    every = run.real.query(listed).column("k").to_pylist()
    fresh = key in real.hidden or bool(real.hidden)
    return {k: k if k in kept and not fresh else made[at % len(made)] for at, k in enumerate(every)}


def _copy_out(run: _Run, table: Table, event: str | None) -> str:
    file = run.asked.out / _file(table)
    file.parent.mkdir(parents=True, exist_ok=True)
    nulls = table.source.nulls[0] if table.source and table.source.nulls else ""
    order = f"{quoted(event)}, il_row" if event else "il_row"
    columns = ", ".join(map(quoted, table.columns))
    with replaced(file) as beside:
        run.scratch.execute(
            f"COPY (SELECT {columns} FROM {_MADE} ORDER BY {order}) TO {literal_text(str(beside))} "
            f"(FORMAT csv, HEADER, DELIMITER ',', NULLSTR {literal_text(nulls)})"
        )
    return _file(table)


@dataclass
class _Task:
    """Drawing one table until it is full."""

    run: _Run
    table: Table
    real: Real
    learnt: Learnt
    key: tuple[str, ...]
    identity: str | None
    links: Mapping[str, Mapping[Any, Any]]
    chance: np.random.Generator

    def fill(self, wanted: int) -> dict[str, Floats]:
        """`wanted` rows in the scratch table; the accepted rows as numbers."""
        scratch, kept = self.run.scratch, list[dict[str, Floats]]()
        waiting = np.arange(wanted)  # rows of the given key that have no row yet
        start = have = 0
        for _ in range(ROUNDS):
            if have >= wanted:
                break
            rows = wanted - have if self.learnt.given else int((wanted - have) * 1.2) + 10
            given = {n: x[waiting[:rows]] for n, x in self.real.given.items()}
            drawn = draw(self.learnt, rows, self.chance, given)
            round_ = self._table(drawn, rows, start)
            scratch.load("il.round", round_)
            good = self._good(rows, start)[: wanted - have]
            waiting = np.delete(waiting, good) if self.learnt.given else waiting
            scratch.load(_MADE, round_.take(good), append=start > 0)
            kept.append({n: x[good] for n, x in drawn.items()})
            start, have = start + rows, have + len(good)
        return {n: np.concatenate([part[n] for part in kept]) for n in kept[0] if n != NULLS}

    def copies(self) -> int:
        """Rows that equal a real one; the table is full already."""
        sql = f"SELECT {_hash(self.table)} AS h FROM {_MADE}"
        made = self.run.scratch.query(sql).column("h").to_numpy()
        return int(np.isin(made, self._real_rows()).sum())

    def _good(self, rows: int, start: int) -> Any:
        """Places of the round's rows that keep the contract, are new, and are nobody's."""
        checks = [f"({c.sql}) IS NOT FALSE" for c in self.table.checks if c.at_least >= 1]
        needed = [n for n, c in self.table.columns.items() if not c.nullable or n in self.key]
        rules = [*checks, *(f"{quoted(n)} IS NOT NULL" for n in needed)]
        unique = [[n] for n, c in self.table.columns.items() if c.unique]
        for names in (*([list(self.key)] if self.key else []), *unique):
            listed = ", ".join(map(quoted, names))
            rules.append(f"row_number() OVER (PARTITION BY {listed} ORDER BY il_row) = 1")
            if start:
                same = " AND ".join(f"m.{quoted(n)} = t.{quoted(n)}" for n in names)
                rules.append(f"NOT EXISTS (SELECT 1 FROM {_MADE} m WHERE {same})")
        sql = (
            f"SELECT il_row - {start} AS i, {_hash(self.table)} AS h FROM il.round AS t "
            f"QUALIFY {' AND '.join(rules or ['true'])} ORDER BY i"
        )
        found = self.run.scratch.query(sql)
        places = found.column("i").to_numpy()
        if not self.real.hidden:
            return places
        return places[~np.isin(found.column("h").to_numpy(), self._real_rows())]

    def _real_rows(self) -> Any:
        built = self.run.built(self.table.name)
        sql = f"SELECT DISTINCT {_hash(self.table)} AS h FROM {built} AS t"
        return self.run.real.query(sql).column("h").to_numpy()

    def _table(self, drawn: Mapping[str, Floats], rows: int, start: int) -> Any:
        import pyarrow as pa

        columns: dict[str, Any] = {"il_row": pa.array(range(start, start + rows), pa.int64())}
        nulls = self.learnt.nulls[drawn[NULLS].astype(np.int64)]
        at = {name: i for i, name in enumerate(self.learnt.parts)}
        for name in self.table.columns:
            if name == self.identity:
                values = self._fresh(name, rows, start)
            elif name in drawn:
                values = self._values(name, drawn[name])
            else:
                values = self._texts(name, rows)
                values = [None if gone else v for v, gone in zip(values, nulls[:, at[name]],
                                                                strict=True)]  # fmt: skip
            columns[name] = arrow(values, self.table.columns[name].type)
        return pa.table(columns)

    def _values(self, name: str, x: Floats) -> Any:
        part, link = self.real.parts[name], self.links.get(name)
        if not part.labels:
            return x if link is None else [None if np.isnan(v) else link.get(int(v)) for v in x]
        labels: list[Any] = list(part.labels)
        if link is not None:
            others = [label for label in labels if label not in link]
            if part.classified:  # it refers to nobody, and still is somebody's
                new = texts(labels, len(others), self.chance, unique=True)
                link = {**link, **dict(zip(others, new, strict=True))}
            labels = [link.get(label, label) for label in labels]
        return [None if np.isnan(v) else labels[int(v)] for v in x]

    def _texts(self, name: str, rows: int) -> list[Any]:
        if name in self.links:
            made = sorted(set(self.links[name].values()))
            return [made[i] for i in self.chance.integers(0, len(made), rows)]
        return list(texts(self.real.parts[name].labels, rows, self.chance))

    def _fresh(self, name: str, rows: int, start: int) -> list[Any]:
        """New keys: numbers from 1, or texts of the same shape."""
        if self.table.columns[name].type == "integer":
            return list(range(start + 1, start + rows + 1))
        return list(texts(self.real.parts[name].labels, rows, self.chance, unique=True))


def _hash(table: Table) -> str:
    """A digest of a whole row, the same in every warehouse."""
    columns = [f"CAST({quoted(n)} AS {SQL_TYPES[c.type]})" for n, c in table.columns.items()]
    return f"hash(row({', '.join(columns)}))"
