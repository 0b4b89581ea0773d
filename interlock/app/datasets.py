"""The training set alone: a model's features for anybody's rows, each as it was known then.

from interlock.app.datasets import Ask, read_dataset
table = read_dataset(workspace, Ask("late", "SELECT * FROM wh.spine WHERE dow = 1"))
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from hashlib import file_digest
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interlock.app.atomic import replaced
from interlock.app.build import Builder, Say, quiet
from interlock.app.planning import wanted
from interlock.app.sample import Asked as Look
from interlock.app.sample import clear_or_refuse
from interlock.app.spines import ROW, Spine, spine_of, stretches
from interlock.app.stored import as_promised
from interlock.app.training import bound_label_sql, refuse_several_labels, sources_of
from interlock.app.workspace import Workspace
from interlock.define.definitions import Model
from interlock.define.digest import canonical
from interlock.define.schema import did_you_mean
from interlock.errors import NotFound, Refused, Unusable
from interlock.features.compile import column_names, point_in_time_sql
from interlock.features.masking import reads_functions
from interlock.impact.sql import tables_read
from interlock.models.dataset import Source
from interlock.ports import Json

if TYPE_CHECKING:
    import pyarrow as pa

LABEL, LABEL_KNOWN = "label", "label_available_at"
FORMATS = (".parquet", ".csv", ".arrow")


@dataclass(frozen=True)
class Ask:
    """Which rows of which model. `spine`: a file, a SELECT over the project's tables, an Arrow
    table, or None for the model's own training rows. `zone` says what times without an offset
    mean. With `label`, what had become known of each row's outcome is joined by the key. `by`
    must be cleared when the rows carry values of masked columns.
    """

    model: str
    spine: Path | str | pa.Table | None = None
    zone: str | None = None
    label: bool = True
    by: str = ""


@dataclass(frozen=True)
class Written:
    """A dataset on disk, said completely enough to be recognised.

    `columns` in order, each with `name`, Arrow's `type` and `nulls`: its rows without a value.
    `maturity` is the share
    of rows whose label was known by `known_by` (ISO, UTC); None where no label was asked for.
    """

    file: Path
    model: str
    rows: int
    columns: tuple[Json, ...]
    maturity: float | None
    sources: tuple[Source, ...]
    spine: str
    known_by: str
    sha256: str

    def to_json(self) -> dict[str, Any]:
        return {
            **self.__dict__,
            "file": self.file.name,
            "columns": list(self.columns),
            "sources": [source.__dict__ for source in self.sources],
        }


def read_dataset(workspace: Workspace, ask: Ask, say: Say = quiet) -> pa.Table:
    """The dataset in memory: every row of the spine once, in its order, with the features."""
    with as_promised(workspace.project, workspace.warehouse):
        checked = _checked(workspace, ask, say)
        return workspace.warehouse.query(checked.sql(checked.spine.relation))


def write_dataset(workspace: Workspace, ask: Ask, out: Path, say: Say = quiet) -> Written:
    """The dataset as `out` (Parquet, CSV or Arrow by its ending), and a manifest beside it.

    Joined in stretches and streamed, so that memory does not grow with the rows; all of the
    file or none.
    """
    if out.suffix not in FORMATS:
        raise Unusable(f"{out.name} has no known ending", help=f"end it in {', '.join(FORMATS)}")
    with as_promised(workspace.project, workspace.warehouse):
        return _written(workspace, _checked(workspace, ask, say), ask, out)


def _written(workspace: Workspace, checked: _Checked, ask: Ask, out: Path) -> Written:
    with stretches(workspace.warehouse, checked.builder.dialect, checked.spine) as parts:
        rows, columns = _streamed(checked, parts, out)
    with out.open("rb") as data:
        sha256 = file_digest(data, "sha256").hexdigest()
    unknown = sum(one["nulls"] for one in columns if one["name"] == LABEL)
    maturity = (rows - unknown) / max(rows, 1) if checked.label else None
    sources = sources_of(checked.builder, checked.model)
    found = Written(
        out, ask.model, rows, columns, maturity, sources, checked.spine.digest,
        checked.known.isoformat(), sha256,
    )  # fmt: skip
    with replaced(out.with_name(f"{out.name}.manifest.json")) as manifest:
        manifest.write_bytes(canonical(found.to_json()) + b"\n")
    return found


def _streamed(checked: _Checked, parts: list[str], out: Path) -> tuple[int, tuple[Json, ...]]:
    """The rows of all `parts` in the file `out`: how many, and what is said of each column."""
    warehouse, say = checked.builder.workspace.warehouse, checked.builder.say
    rows, nulls = 0, Counter[str]()
    say(f"joining features of {checked.model.ref} point in time")
    readers = (warehouse.batches(checked.sql(part)) for part in parts)
    first = next(readers)
    with replaced(out) as temporary, _writer(temporary, out.suffix, first.schema) as write:
        for batch in chain(first, chain.from_iterable(readers)):
            write(batch)
            rows += batch.num_rows
            nulls.update(dict(zip(batch.schema.names, _nulls(batch), strict=True)))
            say(f"{rows} rows written")
    return rows, tuple(
        {"name": one.name, "type": str(one.type), "nulls": nulls[one.name]} for one in first.schema
    )


def _nulls(batch: pa.RecordBatch) -> list[int]:
    return [column.null_count for column in batch.columns]


@dataclass(frozen=True)
class _Checked:
    """A spine that the model's features can be joined to, and how."""

    builder: Builder
    model: Model
    spine: Spine
    label: bool
    known: datetime

    def sql(self, relation: str) -> str:
        """The rows of `relation`, a part of the spine, with features and label, in order."""
        model, builder = self.model, self.builder
        joined = point_in_time_sql(
            relation, ROW, model.time, builder.views(model), list(model.features),
            builder.join(relation),
        )  # fmt: skip
        columns = [*self.spine.columns, *column_names(model.features).values()]
        return _in_order(builder, model, joined, columns, self.known if self.label else None)


def _checked(workspace: Workspace, ask: Ask, say: Say) -> _Checked:
    """What is asked for, understood; every objection to the spine at once."""
    builder = wanted(workspace).builder(workspace, say)
    models = builder.project.models
    if ask.model not in models:
        raise NotFound(f"there is no model {ask.model}", help=did_you_mean(ask.model, models))
    model = models[ask.model]
    spine = spine_of(builder, model, ask.spine, ask.zone)
    look = Look(ask.by, f"dataset of {model.ref}")
    clear_or_refuse(workspace, look, _carried(builder, model, ask.spine))
    label = ask.label and model.key in spine.columns
    made = [*column_names(model.features).values(), *([LABEL, LABEL_KNOWN] if label else [])]
    objections = [*lacking(builder, model, spine), *_taken(spine, made)]
    if objections:
        raise Refused(
            f"these rows cannot be given the features of {model.ref}",
            help=f"the spine has {', '.join(spine.columns)}",
            objections=objections,
        )
    if label:
        refuse_several_labels(builder, model)
    return _Checked(builder, model, spine, label, workspace.now())


def _carried(builder: Builder, model: Model, spine: object) -> Iterator[str]:
    """Addresses of all columns and features whose values may stand in the rows."""
    yield from (str(ref) for ref in model.feature_refs)
    label = builder.facts.node(model.ref).query
    for output in label.columns if label else ():
        yield from (f"column:{read.table}.{read.column}" for read in output.reads)
    if isinstance(spine, str) and reads_functions(spine):
        yield from builder.masks.covers  # a function may read anything
    names = tables_read(spine) if isinstance(spine, str) else [model.spine] if spine is None else []
    for name in names:
        table = builder.project.tables.get(name)
        yield from (f"column:{name}.{column}" for column in (table.columns if table else ()))


def _in_order(
    builder: Builder, model: Model, joined: str, columns: list[str], known_by: datetime | None
) -> str:
    """As the spine had them, with what was known of their outcome at that instant, if any."""
    q = builder.dialect.quoted
    chosen = ", ".join(f"p.{q(name)}" for name in columns)
    if known_by is None:
        return f"SELECT {chosen} FROM ({joined}) AS p ORDER BY p.{q(ROW)}"
    key, known = q(model.key), q(model.label.available_at)
    outcome = f"l.{q(model.label.column)} AS {q(LABEL)}, l.{known} AS {q(LABEL_KNOWN)}"
    return (
        f"SELECT {chosen}, {outcome} FROM ({joined}) AS p "
        f"LEFT JOIN (SELECT * FROM ({bound_label_sql(builder, model)}) AS k "
        f"WHERE k.{known} <= {builder.dialect.instant(known_by)}) AS l "
        f"ON l.{key} = p.{key} ORDER BY p.{q(ROW)}"
    )


def lacking(builder: Builder, model: Model, spine: Spine) -> Iterator[str]:
    """Columns that are needed and are not there, or are of another kind."""
    readers: dict[str, list[str]] = {model.time: ["the time of each row"]}
    for ref in model.view_refs:
        for name in builder.project.views[f"{ref.name}@{ref.version}"].entity:
            readers.setdefault(name, []).append(str(ref))
    for name in model.request:
        readers.setdefault(name, []).append("the model itself")
    for name, why in readers.items():
        if name not in spine.columns:
            yield f"no column {name}, needed for {', '.join(why[:3])}"
    if (kind := spine.columns.get(model.time, "TIMESTAMP")) and "TIMESTAMP" not in kind.upper():
        yield f"{model.time} is {kind}, and should be a timestamp"
    yield from _other_kinds(builder, model, spine)


def _other_kinds(builder: Builder, model: Model, spine: Spine) -> Iterator[str]:
    for view, built in builder.views(model):
        have = builder.workspace.warehouse.columns(f"SELECT * FROM {built}")
        for name in view.entity:
            if name in spine.columns and _kind(spine.columns[name]) != _kind(have[name]):
                yield (
                    f"{name} is {spine.columns[name]} in the spine and {have[name]} in {view.ref}"
                )


def _kind(engine_type: str) -> str:
    """Text, number or time: an engine that casts one into another finds nothing, silently."""
    base = engine_type.upper()
    if "CHAR" in base or base in ("TEXT", "STRING", "UUID") or base.startswith("ENUM"):
        return "text"
    return "time" if "TIME" in base or base == "DATE" else base if base == "BOOLEAN" else "number"


def _taken(spine: Spine, made: list[str]) -> Iterator[str]:
    for name in made:
        if name in spine.columns:
            yield f"the spine already has a column {name}; rename it or leave it out"


@contextmanager
def _writer(file: Path, suffix: str, schema: pa.Schema) -> Iterator[Callable[[Any], None]]:
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet

    made: Mapping[str, Callable[[], Any]] = {
        ".parquet": lambda: pa.parquet.ParquetWriter(file, schema),
        ".csv": lambda: pa.csv.CSVWriter(file, schema),
        ".arrow": lambda: pa.ipc.new_file(file, schema),
    }
    with made[suffix]() as writer:
        yield getattr(writer, "write_batch", writer.write)
