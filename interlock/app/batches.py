"""One release and the rows it scores in batch: is the spine fit, and what is each row's answer?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from interlock.app.asked import ids_of
from interlock.app.build import Builder, Say
from interlock.app.datasets import lacking
from interlock.app.prepare import serving_spec
from interlock.app.releases import load_release
from interlock.app.shown import ADDED, MADE
from interlock.app.spines import Spine, spine_of, stretches
from interlock.app.versions import stored
from interlock.app.workspace import Workspace
from interlock.define.definitions import Model
from interlock.define.environment import Stage
from interlock.define.refs import Ref
from interlock.define.schema import did_you_mean
from interlock.errors import NotFound, Unusable
from interlock.rollout.cohort import cohort_sql, key_sql, subject_sql
from interlock.serve.offline import Source, columns_of, found_in, looked_up_sql, unsendable
from interlock.serve.scoring import Loaded, score_found, without
from interlock.serve.spec import ModelSpec, ServingSpec

if TYPE_CHECKING:
    import pyarrow as pa

_SUBJECT, _COHORT = "il_subject", "il_cohort"


@dataclass(frozen=True)
class Side:
    """One release with everything it needs to score the rows.

    `asked` are columns that a stage of any release here may ask for.
    """

    release: str
    builder: Builder
    model: Model
    loaded: Loaded
    spine: Spine
    asked: tuple[str, ...] = ()

    @property
    def spec(self) -> ModelSpec:
        return self.loaded.spec.models[self.model.model]

    @property
    def keys(self) -> dict[str, str]:
        """The spine's columns that stay in the table, with their engine types."""
        names = (self.model.key, self.model.time, *self.loaded.spec.subject, *self.about)
        return {name: self.spine.columns[name] for name in dict.fromkeys(names)}

    @property
    def about(self) -> tuple[str, ...]:
        """Columns by which rows can be told to be inside of a stage or not."""
        types, dialect = self.spine.columns, self.builder.dialect
        there = (name for name in self.asked if name in types)
        return tuple(name for name in there if key_sql(dialect, name, types[name]))

    @property
    def stages(self) -> tuple[Stage, ...]:
        """As this release declares them."""
        return self.builder.project.environments[self.builder.workspace.environment].stages


Given = Path | str | Spine
"""A file of rows, a SELECT over the project's tables, or rows that were loaded before."""


def side_of(
    workspace: Workspace, model: str, given: Given, zone: str | None, release: str, say: Say
) -> Side:
    """`release`, ready to score the rows of `given` by `model`; loaded models, built views."""
    version = stored(workspace, release)
    builder = version.builder(workspace, say)
    models = builder.project.models
    if model not in models:
        raise NotFound(
            f"there is no model {model} in release {release[:12]}",
            help=did_you_mean(model, models),
        )
    entry = workspace.record.get(Ref("serving", release))
    # Before it is routed to, a release is described only once all of it is prepared.
    spec = ServingSpec.from_json(entry.body) if entry else serving_spec(workspace, version, release)
    loaded = load_release(spec, workspace.artifacts)
    loaded.scorer(model)  # a model that does not load scores nothing
    spine = given if isinstance(given, Spine) else spine_of(builder, models[model], given, zone)
    return Side(release, builder, models[model], loaded, spine)


def objections(side: Side) -> Iterator[str]:
    """Everything that keeps the rows from being scored."""
    columns, model = side.spine.columns, side.model
    yield from lacking(side.builder, model, side.spine)
    needed = (model.key, *side.loaded.spec.subject)
    missing = [name for name in dict.fromkeys(needed) if name not in columns]
    yield from (f"no column {name}, needed to tell subjects apart" for name in missing)
    for name in dict.fromkeys((model.key, model.time, *side.loaded.spec.subject, *side.about)):
        if name in (*MADE, *ADDED):
            yield f"{name} is a column of every table of scores; rename it"
    if not missing:
        try:
            _subject(side)
        except Unusable as error:
            yield error.message


def _subject(side: Side) -> str:
    """The subject of a row `s`, as text."""
    dialect, names = side.builder.dialect, side.loaded.spec.subject
    if not names:
        return dialect.cast("NULL", "string")
    return subject_sql(dialect, {f"s.{dialect.quoted(n)}": side.spine.columns[n] for n in names})


def scored_rows(side: Side, salt: str, now: datetime) -> Iterator[pa.Table]:
    """The scores of all rows, a batch at a time; first a table without rows.

    Cohorts are made in SQL, under `salt`.
    """
    import pyarrow as pa

    builder, model, spec = side.builder, side.model, side.spec
    warehouse, dialect = builder.workspace.warehouse, builder.dialect
    built = {f"{view.view}@{view.version}": table for view, table in builder.views(model)}
    sources = [
        Source(one, built[one.view], warehouse.columns(f"SELECT * FROM {built[one.view]} AS t"))
        for one in spec.lookups
    ]
    cohort = cohort_sql(dialect, dialect.text(salt), f"j.{_SUBJECT}")
    kept = dict.fromkeys([*side.keys, _SUBJECT, *columns_of(spec)])
    listed = ", ".join(f"j.{dialect.quoted(name)}" for name in kept)
    with stretches(warehouse, dialect, side.spine) as parts:
        for place, part in enumerate(parts):
            extra = {_SUBJECT: _subject(side)}
            sql = looked_up_sql(part, model.time, sources, extra, builder.join(part))
            reader = warehouse.batches(f"SELECT {listed}, {cohort} AS {_COHORT} FROM ({sql}) AS j")
            if not place:
                yield _table(side, reader.schema.empty_table(), salt, now)
            for batch in reader:
                yield _table(side, pa.Table.from_batches([batch]), salt, now)


def _table(side: Side, rows: pa.Table, salt: str, now: datetime) -> pa.Table:
    """One batch as it stands in the table: the keys of its rows, and the answers."""
    import pyarrow as pa

    spec = side.spec
    columns = {name: rows.column(name).to_pylist() for name in rows.column_names}
    asked = found_in(spec, columns)
    scored = score_found(side.loaded, spec.model, asked)
    if wrong := unsendable(spec, columns):
        scored = without(side.loaded, spec.model, scored, wrong)
    count, text, number = rows.num_rows, pa.string(), pa.float64()
    made = {
        "subject": rows.column(_SUBJECT), "cohort": rows.column(_COHORT),
        "salt": pa.array([salt] * count, text),
        "release": pa.array([scored.release] * count, text),
        "version": pa.array([scored.version] * count, text),
        "score": pa.array(scored.values, number), "reason": pa.array(scored.reasons, text),
        "stale": pa.array(scored.stale, pa.bool_()), "oldest_s": pa.array(scored.oldest, number),
        "fallbacks": pa.array([",".join(names) for names in scored.fallbacks], text),
        "error": pa.array(scored.errors, text),
        "inputs": pa.array(map(list, scored.inputs), pa.list_(number)),
        "id": pa.array(ids_of(count), text),
        "scored_at": pa.array([now.replace(tzinfo=None)] * count, pa.timestamp("us")),
    }  # fmt: skip
    return pa.table({**{name: rows.column(name) for name in side.keys}, **made})
