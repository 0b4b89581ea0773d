"""A made-up estate of real size: tables built by SQL on each other, views, models, services.

The same seed writes the same files. Queries are of the kinds people write: CTEs, joins of
two to four tables, aggregates, windows, CASE, unions, in chains a dozen deep. They run on
DuckDB, so that no text is only nearly SQL; the tests run a small estate.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

KEYS = {"id": "integer", "ts": "timestamp", "available_at": "timestamp", "region": "string",
        "kind": "string"}  # fmt: skip
ENGINE = {"integer": "BIGINT", "double": "DOUBLE", "string": "VARCHAR", "timestamp": "TIMESTAMP"}
_FACTOR = re.compile(r"\* 1\.(\d\d) AS")


@dataclass(frozen=True)
class Size:
    """How much of everything; `features` in each view."""

    sources: int = 60
    tables: int = 2000
    views: int = 125
    features: int = 4
    models: int = 100
    services: int = 50
    layers: int = 12


@dataclass(frozen=True)
class Relation:
    """A table: its columns by type, and the SQL that builds it (none for a source)."""

    name: str
    columns: Mapping[str, str]
    sql: str = ""
    layer: int = 0

    @property
    def measures(self) -> list[str]:
        return [name for name, kind in self.columns.items() if kind == "double"]


@dataclass
class Estate:
    """Everything by name; `views` hold the columns of a view with its features last."""

    size: Size
    seed: int
    tables: dict[str, Relation] = field(default_factory=dict)
    views: dict[str, Relation] = field(default_factory=dict)

    def queries(self) -> Iterator[Relation]:
        """Tables that are built and views, sources first."""
        yield from (table for table in self.tables.values() if table.sql)
        yield from self.views.values()


def make(size: Size | None = None, seed: int = 7) -> Estate:
    """The estate as values."""
    size = size or Size()
    estate, chance = Estate(size, seed), random.Random(seed)
    for at in range(size.sources):
        measures = {f"v{i}": "double" for i in range(chance.randint(5, 14))}
        name = f"raw.s{at:03d}"
        estate.tables[name] = Relation(name, {**KEYS, **measures})
    by_layer: dict[int, list[Relation]] = {0: list(estate.tables.values())}
    for at in range(size.tables):
        layer = 1 + at * size.layers // size.tables
        below = [r for n in range(layer) for r in by_layer[n]]
        # The first parent stands one layer below, so that chains grow as deep as the layers.
        parents = [chance.choice(by_layer[layer - 1]), *chance.sample(below, 3)]
        made = chance.choice(_WAYS)(f"wh.t{at:04d}", parents, chance)
        made = Relation(made.name, made.columns, made.sql, layer)
        by_layer.setdefault(layer, []).append(made)
        estate.tables[made.name] = made
    built = [table for table in estate.tables.values() if table.sql]
    for at in range(size.views):
        view = _view(f"f{at:03d}", chance.choice(built), size.features, chance)
        estate.views[view.name] = view
    return estate


# --- queries -------------------------------------------------------------------------


def _keys(alias: str) -> list[str]:
    return [f"{alias}.{name}" for name in KEYS]


def _select(columns: list[str], indent: str = "  ") -> str:
    return "SELECT\n" + ",\n".join(f"{indent}  {column}" for column in columns) + f"\n{indent}"


def _some(relation: Relation, most: int, chance: random.Random) -> list[str]:
    measures = relation.measures
    return sorted(chance.sample(measures, min(most, len(measures))))


def _factor(chance: random.Random) -> str:
    return f"1.{chance.randint(1, 98):02d}"


def _joined(name: str, parents: list[Relation], chance: random.Random) -> Relation:
    """Rows of one table, with aggregates of one to three others looked up."""
    first, others = parents[0], parents[1 : chance.randint(2, 4)]
    mine = _some(first, 6, chance)
    kept = f"region IS NOT NULL AND {mine[0]} > {chance.randint(-900, -1)}"
    ctes = [f"base AS (\n  {_select([*KEYS, *mine])}FROM {first.name}\n  WHERE {kept}\n)"]
    outputs = {f"m{i}": f"b.{column}" for i, column in enumerate(mine[1:])}
    joins = []
    for at, other in enumerate(others):
        theirs = _some(other, 3, chance)
        sums = [f"avg({column}) AS {column}_mean" for column in theirs]
        kinds = "'a', 'b', 'c'" if chance.random() < 0.5 else "'c', 'd'"
        ctes.append(
            f"look{at} AS (\n  {_select(['id', 'max(ts) AS last_ts', 'count(*) AS n', *sums])}"
            f"FROM {other.name}\n  WHERE kind IN ({kinds})\n  GROUP BY id\n)"
        )
        later = f" AND l{at}.last_ts <= b.ts" if chance.random() < 0.5 else ""
        joins.append(f"LEFT JOIN look{at} AS l{at}\n  ON l{at}.id = b.id{later}")
        outputs[f"mean{at}"] = f"coalesce(l{at}.{theirs[0]}_mean, 0.0)"
        outputs[f"gap{at}"] = f"b.{mine[0]} - l{at}.{theirs[-1]}_mean"
        outputs[f"rate{at}"] = f"CAST(l{at}.n AS DOUBLE) / nullif(b.{mine[-1]}, 0)"
    outputs["level"] = (
        f"CASE\n    WHEN b.{mine[0]} > {chance.randint(10, 99)} THEN b.{mine[-1]}\n"
        f"    WHEN b.kind = 'a' THEN l0.n * 0.5\n    ELSE 0.0\n  END * {_factor(chance)}"
    )
    columns = [*_keys("b"), *(f"{text} AS {column}" for column, text in outputs.items())]
    sql = (
        "WITH " + ",\n".join(ctes) + f"\n{_select(columns, '')}FROM base AS b\n"
        + "\n".join(joins) + "\nWHERE b.kind <> 'x'"
        f" AND (b.{mine[-1]} IS NULL OR b.{mine[-1]} >= 0)"
    )  # fmt: skip
    return Relation(name, {**KEYS, **dict.fromkeys(outputs, "double")}, sql)


def _ranked(name: str, parents: list[Relation], chance: random.Random) -> Relation:
    """Windows over a join of two, and the newest row of each day."""
    first, other = parents[:2]
    mine, theirs = _some(first, 5, chance), _some(other, 2, chance)
    over = "PARTITION BY a.id, a.kind ORDER BY a.ts, a.available_at"
    inner = [
        *_keys("a"), *(f"a.{column}" for column in mine),
        f"o.{theirs[0]} AS theirs",
        f"lag(a.{mine[0]}) OVER ({over}) AS before",
        f"sum(a.{mine[-1]}) OVER ({over} ROWS BETWEEN 9 PRECEDING AND CURRENT ROW) AS recent",
        "row_number() OVER (PARTITION BY a.id, date_trunc('day', a.ts) ORDER BY a.ts DESC) AS rn",
    ]  # fmt: skip
    outputs = {
        **{f"m{i}": f"w.{column}" for i, column in enumerate(mine)},
        "step": "w.m_0 - coalesce(w.before, w.m_0)".replace("m_0", mine[0]),
        "recent": "w.recent",
        "share": f"w.{mine[0]} / nullif(w.recent, 0)",
        "theirs": f"greatest(w.theirs, w.{mine[-1]}, 0.0) * {_factor(chance)}",
    }
    columns = [*_keys("w"), *(f"{text} AS {column}" for column, text in outputs.items())]
    sql = (
        f"WITH windowed AS (\n  {_select(inner)}FROM {first.name} AS a\n"
        f"  JOIN {other.name} AS o\n    ON o.id = a.id AND o.region = a.region\n"
        f"  WHERE o.{theirs[-1]} BETWEEN 0 AND {chance.randint(100, 900)}\n)\n"
        f"{_select(columns, '')}FROM windowed AS w\nWHERE w.rn = 1"
    )
    return Relation(name, {**KEYS, **dict.fromkeys(outputs, "double")}, sql)


def _grouped(name: str, parents: list[Relation], chance: random.Random) -> Relation:
    """Aggregates by day over a join of two or three, filtered again afterwards."""
    first, others = parents[0], parents[1 : chance.randint(2, 3)]
    mine = _some(first, 5, chance)
    outputs: dict[str, str] = {}
    for at, column in enumerate(mine):
        outputs[f"sum{at}"] = f"sum(a.{column})"
        outputs[f"top{at}"] = f"max(CASE WHEN a.kind = 'a' THEN a.{column} END)"
    joins = []
    for at, other in enumerate(others):
        column = _some(other, 1, chance)[0]
        joins.append(f"LEFT JOIN {other.name} AS o{at}\n  ON o{at}.id = a.id AND o{at}.ts = a.ts")
        outputs[f"part{at}"] = f"avg(o{at}.{column}) FILTER (WHERE o{at}.kind <> 'x')"
    outputs["spread"] = f"(max(a.{mine[0]}) - min(a.{mine[0]})) * {_factor(chance)}"
    columns = [
        "a.id", "date_trunc('day', a.ts) AS ts", "max(a.available_at) AS available_at",
        "a.region", "a.kind", *(f"{text} AS {column}" for column, text in outputs.items()),
    ]  # fmt: skip
    sql = (
        f"{_select(columns, '')}FROM {first.name} AS a\n" + "\n".join(joins)
        + f"\nWHERE a.region IN ('n', 's', 'e') AND NOT a.{mine[-1]} IS NULL\n"
        f"GROUP BY a.id, date_trunc('day', a.ts), a.region, a.kind\n"
        f"HAVING count(*) > {chance.randint(1, 9)}"
    )  # fmt: skip
    return Relation(name, {**KEYS, **dict.fromkeys(outputs, "double")}, sql)


def _stacked(name: str, parents: list[Relation], chance: random.Random) -> Relation:
    """Two or three tables under each other, then one more looked up by a subquery."""
    stacked, other = parents[: chance.randint(2, 3)], parents[3]
    many = min(5, *(len(parent.measures) for parent in stacked))
    branches = []
    for parent in stacked:
        mine = _some(parent, many, chance)
        columns = [*KEYS, *(f"{column} AS u{i}" for i, column in enumerate(mine))]
        branches.append(f"{_select(columns)}FROM {parent.name}\n  WHERE {mine[0]} IS NOT NULL")
    outputs = {f"u{i}": f"s.u{i}" for i in range(many)}
    outputs["total"] = " + ".join(f"coalesce(s.u{i}, 0.0)" for i in range(many))
    outputs["scaled"] = f"s.u0 * {_factor(chance)}"
    columns = [*_keys("s"), *(f"{text} AS {column}" for column, text in outputs.items())]
    sql = (
        "WITH stacked AS (\n  " + "\n  UNION ALL\n  ".join(branches) + "\n)\n"
        f"{_select(columns, '')}FROM stacked AS s\n"
        f"WHERE s.id IN (SELECT id FROM {other.name} WHERE {_some(other, 1, chance)[0]} > 0)"
    )
    return Relation(name, {**KEYS, **dict.fromkeys(outputs, "double")}, sql)


Way = Callable[[str, list[Relation], random.Random], Relation]
_WAYS: tuple[Way, ...] = (_joined, _joined, _ranked, _grouped, _stacked)


def _view(name: str, source: Relation, features: int, chance: random.Random) -> Relation:
    measures = [chance.choice(source.measures) for _ in range(features)]
    made = [
        f"sum(sum({column})) OVER recent / sum(count({column})) OVER recent AS {name}_{at}"
        for at, column in enumerate(measures)
    ]
    days = chance.choice((1, 7, 28))
    sql = (
        f"{_select(['id', 'available_at AS ts', *made], '')}FROM {source.name}\n"
        f"WHERE kind <> 'x'\nGROUP BY id, available_at\n"
        f"WINDOW recent AS (\n  PARTITION BY id\n  ORDER BY available_at\n"
        f"  RANGE BETWEEN INTERVAL {days} DAY PRECEDING AND CURRENT ROW\n)"
    )
    columns = {"id": "integer", "ts": "timestamp"}
    columns |= {f"{name}_{at}": "double" for at in range(features)}
    return Relation(name, columns, sql, source.layer + 1)


# --- files ---------------------------------------------------------------------------


def write(estate: Estate, folder: Path) -> None:
    """The project folder, as `interlock` reads it."""
    chance = random.Random(estate.seed + 1)
    for inside in ("tables", "features", "models", "services"):
        (folder / inside).mkdir(parents=True, exist_ok=True)
    (folder / "interlock.yaml").write_text(_MAIN)
    for table in estate.tables.values():
        stem = folder / "tables" / table.name.replace(".", "_")
        stem.with_suffix(".yaml").write_text(_contract(table))
        if table.sql:
            stem.with_suffix(".sql").write_text(table.sql + "\n")
    for view in estate.views.values():
        (folder / "features" / f"{view.name}.sql").write_text(_header(view) + view.sql + "\n")
    (folder / "models" / "train.py").write_text(_TRAIN)
    for at in range(estate.size.models):
        (folder / "models" / f"model{at:03d}.yaml").write_text(_model(estate, at, chance))
    for at in range(estate.size.services):
        (folder / "services" / f"service{at:02d}.yaml").write_text(_service(estate, at, chance))


def edit(folder: Path, name: str) -> None:
    """Another factor in the SQL of one table: a column changes, the rows stay."""
    file = folder / "tables" / f"{name.replace('.', '_')}.sql"
    file.write_text(edited(file.read_text()))


def edited(sql: str) -> str:
    """The query with one factor changed; ValueError when it has none."""
    made, count = _FACTOR.subn(lambda hit: f"* 1.{(int(hit[1]) + 1) % 100:02d} AS", sql, count=1)
    if not count:
        raise ValueError("there is no factor to change")
    return made


def _contract(table: Relation) -> str:
    columns = "".join(
        f"  {name}: {{type: {kind}{', nullable: false' if name == 'id' else ''}}}\n"
        for name, kind in table.columns.items()
    )
    stem = table.name.replace(".", "_")
    rows = f"sql_file: {stem}.sql" if table.sql else f"source:\n  csv: data/{stem}.csv"
    return (
        f"name: {table.name}\nowner: data-eng\n"
        f"description: Layer {table.layer} of a made-up estate.\n{rows}\n"
        f"event_time: ts\navailable_at: available_at\n"
        f"freshness: {{warn_after: 3h, error_after: 6h}}\ncolumns:\n{columns}"
    )


def _header(view: Relation) -> str:
    features = "".join(
        f"  {name}:\n    {{unit: share, range: [0, 1], fallback: {{value: 0.5}}}}\n"
        for name in view.columns
        if name not in ("id", "ts")
    )
    return (
        f"/*\nview: {view.name}\nversion: 1\nowner: data-science\n"
        f"description: Means of what was recent.\nentity: [id]\nttl: 7d\n"
        f"features:\n{features}*/\n"
    )


def _model(estate: Estate, at: int, chance: random.Random) -> str:
    built = [table for table in estate.tables.values() if table.sql]
    spine, label = chance.choice(built), chance.choice(built)
    views = chance.sample(sorted(estate.views), min(8, len(estate.views)))
    features = [
        f"{view}@1:{view}_{chance.randrange(estate.size.features)}" for view in sorted(views)
    ]
    listed = "".join(f"  - {feature}\n" for feature in features)
    return _MODEL.format(
        at=at, spine=spine.name, features=listed, request=spine.measures[0],
        measure=label.measures[0], label=label.name,
    )  # fmt: skip


def _service(estate: Estate, at: int, chance: random.Random) -> str:
    models = chance.sample(range(estate.size.models), min(3, estate.size.models))
    names = ", ".join(f"model{model:03d}" for model in sorted(models))
    return _SERVICE.format(at=at, models=names)


_MAIN = """name: estate
owners:
  data-eng: {ada: [data_steward]}
  data-science: {ben: [model_validator]}
  ops: {cas: [service_owner]}
  product: {dia: [change_sponsor]}
environments:
  prod:
    subject: [id]
    stages:
      - {name: shadow, weight: 0, hold: 1d}
      - {name: half, weight: 0.5, hold: 1d}
      - {name: soak, weight: 1, hold: 1d}
    rollback_window: 7d
"""
_TRAIN = '''"""Never run: the estate is only planned."""


def train(X, y, inputs, categorical, options):
    raise NotImplementedError
'''
_MODEL = """model: model{at:03d}
owner: data-science
description: Chance that a thing happens.
spine: {spine}
key: id
time: ts
features:
{features}request: [{request}]
label:
  column: hit
  available_at: available_at
  sql: |
    SELECT
      id,
      CASE WHEN {measure} > 10 THEN 1 ELSE 0 END AS hit,
      available_at
    FROM {label}
    WHERE region IS NOT NULL
training:
  entry: train.py:train
  start: 2024-01-01
  end: 2024-06-01
  parameters: {{num_trees: 100, num_leaves: 31}}
evaluation:
  start: 2024-06-01
  end: 2024-07-01
fallback_score: 0.5
card:
  intended_use: To measure how fast a plan is made.
"""
_SERVICE = """service: service{at:02d}
owner: ops
description: Acts on what models say.
models: [{models}]
decision_unit: [id]
tier: 2
slo: {{latency: 0.25s, availability: 0.999}}
kpi:
  name: cost
  better: lower
  sql: |
    SELECT
      id AS unit,
      CAST(ts AS DATE) AS day,
      CASE WHEN p >= 0.5 THEN 1.0 - hit WHEN hit = 1 THEN 4.0 ELSE 0.0 END AS value
    FROM scored
"""
