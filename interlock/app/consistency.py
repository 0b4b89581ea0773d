"""What was served, against what training would have seen: logged requests replayed offline.

Gateways log the request columns of every key whose hash falls in the sample
(`serve.request.sampled`). Those requests, at their instants, are the spine of the same
point-in-time join that training uses. The same spine also compares two versions of a view.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from interlock.app.changes import keep_evidence
from interlock.app.masking import Masks
from interlock.app.versions import Version, stable, stored
from interlock.change.evidence import Evidence
from interlock.define.definitions import FeatureView, Model
from interlock.define.refs import Ref
from interlock.errors import NotFound, Refused, Unusable
from interlock.features.compile import Built, column_names, point_in_time_sql
from interlock.features.dialect import dialect_of
from interlock.features.join import Join
from interlock.ports import Json
from interlock.serve.request import sampled
from interlock.serve.spec import FeatureInput, ModelSpec, ServingSpec
from interlock.watch.consistency import Consistency, Number, compared, ordered

if TYPE_CHECKING:
    from interlock.app.workspace import Workspace

SPINE = "il.consistency_spine"
KEY, AT = "il_request", "il_at"


@dataclass(frozen=True)
class Asked:
    """How much is compared, and how strictly; `lag` and `since` in the environment's time."""

    sample: int = 1000
    since: datetime | None = None
    bound: float = 0.001
    tolerance: float = 1e-9
    lag: timedelta = timedelta(0)


def consistency(workspace: Workspace, asked: Asked) -> list[Consistency]:
    """Each model and release in the sampled log against the offline join; kept as evidence."""
    groups = _by_release(workspace, asked)
    if not groups:
        raise Refused(
            "no sampled request is in the prediction log",
            help="play or wait for traffic, or look further back with --since",
        )
    found = [_replayed(workspace, *which, rows, asked) for which, rows in groups.items()]
    keep_evidence(workspace, [_evidence(workspace, *one) for one in found], by="consistency")
    return [one for one, _ in found]


def compare_versions(workspace: Workspace, old: str, new: str, asked: Asked) -> Consistency:
    """Two versions of a view, as declared in the files now, on the sampled requests."""
    version = Version(workspace.project, workspace.facts, {})
    builder = version.builder(workspace)
    views = [_declared(version, text) for text in (old, new)]
    rows = [row for many in _by_release(workspace, asked).values() for row in many]
    needed = {name for view in views for name in view.entity}
    rows = [row for row in rows if needed <= set(row["asked"])]
    shared = [name for name in views[0].features if name in views[1].features]
    if not shared:
        raise Unusable(f"{old} and {new} share no feature", help="compare by the same names")
    types = _types(workspace, version)
    sides = []
    for view, text in zip(views, (old, new), strict=True):
        wanted = [f"{text}:{name}" for name in shared]
        sides.append(_offline(workspace, rows, types, [builder.view(view)], wanted, timedelta(0)))
    labels = [_label(row) for row in rows]
    features = [
        compared(name, sides[0][f"{old}:{name}"], sides[1][f"{new}:{name}"], None, labels,
                 asked.tolerance)
        for name in shared
    ]  # fmt: skip
    made = Consistency(
        f"{old} and {new}", len(rows), ordered(features), asked.bound, asked.tolerance, 0.0
    )
    if rows:
        model = version.project.models[rows[0]["model"]]
        made = _shown(made, builder.masks, model, f"{new}:")
    subjects = {str(view.ref): workspace.facts.fingerprint(view.ref) for view in views}
    keep_evidence(workspace, [_evidence(workspace, made, subjects)], by="consistency")
    return made


def _declared(version: Version, text: str) -> FeatureView:
    view = version.project.views.get(text)
    if view is None:
        known = ", ".join(sorted(version.project.views))
        raise NotFound(f"no view {text}", help=f"declared: {known}")
    return view


def _types(workspace: Workspace, version: Version) -> dict[str, str]:
    """Declared types of request columns: those of every spine."""
    running = stable(workspace) or version
    tables = [running.project.tables[m.spine] for m in running.project.models.values()]
    return {name: column.type for table in tables for name, column in table.columns.items()}


def _by_release(workspace: Workspace, asked: Asked) -> dict[tuple[str, str], list[Json]]:
    """Sampled requests by model and release; the newest `sample` of each."""
    groups: dict[tuple[str, str], list[Json]] = defaultdict(list)
    for row in workspace.predictions.read({})[0]:
        late = asked.since is None or datetime.fromisoformat(row["at"]) >= asked.since
        # Who flags a journey as sampled has its columns kept too: those are no fair sample.
        if row.get("asked") and sampled(row["key"]) and late:
            groups[row["model"], row["release"]].append(row)
    return {key: rows[-asked.sample :] for key, rows in groups.items()}


def _replayed(
    workspace: Workspace, model: str, release: str, rows: Sequence[Json], asked: Asked
) -> tuple[Consistency, dict[str, str]]:
    version = stored(workspace, release)
    entry = workspace.record.get(Ref("serving", release))
    if entry is None:
        raise NotFound(f"release {release[:12]} has no serving spec in the record")
    spec = ServingSpec.from_json(entry.body).models[model]
    answered = [row for row in rows if len(row["inputs"]) == len(spec.inputs)]
    built = version.builder(workspace).views(version.project.models[model])
    wanted = list(dict.fromkeys(text for _, _, text in _features(spec)))
    offline = _offline(workspace, answered, spec.columns, built, wanted, timedelta(0))
    earlier = (
        _offline(workspace, answered, spec.columns, built, wanted, asked.lag) if asked.lag else None
    )
    labels = [_label(row) for row in answered]
    features = [
        compared(
            text, [_online(row, at, name) for row in answered], offline[text],
            earlier[text] if earlier else None, labels, asked.tolerance,
        )
        for at, name, text in _features(spec)
    ]  # fmt: skip
    made = Consistency(
        f"online and offline of model:{model} in {release[:12]}", len(answered),
        ordered(features), asked.bound, asked.tolerance, asked.lag.total_seconds(),
        len(rows) - len(answered),
    )  # fmt: skip
    subjects = {f"view:{one.view}": one.fingerprint for one in spec.lookups}
    masks = version.builder(workspace).masks
    made = _shown(made, masks, version.project.models[model])
    return made, {f"release:{release}": release, **subjects}


def _features(spec: ModelSpec) -> Iterator[tuple[int, str, str]]:
    """(place in the matrix, name, `view@version:feature`) of every feature a model reads."""
    for at, one in enumerate(spec.inputs):
        if isinstance(one, FeatureInput):
            lookup = spec.lookups[one.lookup]
            yield at, one.name, f"{lookup.view}:{lookup.features[one.value]}"


def _online(row: Json, at: int, name: str) -> Number:
    """What the store gave; a declared stand-in is not a value of the feature."""
    value: Number = None if name in row["fallbacks"] else row["inputs"][at]
    return value


def _label(row: Json) -> dict[str, Any]:
    return {"id": row["id"], "key": row["key"], "at": row["at"]}


def _offline(
    workspace: Workspace,
    rows: Sequence[Json],
    types: Mapping[str, str],
    built: Sequence[Built],
    wanted: Sequence[str],
    lag: timedelta,
) -> dict[str, list[Number]]:
    """The values of `wanted`, in the order of `rows`, known `lag` before each was asked."""
    import pyarrow as pa

    instants = [_naive(row["at"]) - lag for row in rows]
    columns: dict[str, Any] = {
        KEY: pa.array(range(len(rows)), pa.int64()), AT: pa.array(instants, pa.timestamp("us")),
    }  # fmt: skip
    for name in dict.fromkeys(name for view, _ in built for name in view.entity):
        values = [typed(row["asked"].get(name), types[name]) for row in rows]
        columns[name] = pa.array(values, _arrow(types[name]))
    workspace.warehouse.load(SPINE, pa.table(columns))
    how = Join(dialect_of(workspace.warehouse), tuple(columns))
    joined = workspace.warehouse.query(point_in_time_sql(SPINE, KEY, AT, built, wanted, how))
    joined = joined.sort_by(KEY)
    names = column_names(wanted)
    return {text: [_number(v) for v in joined.column(names[text]).to_pylist()] for text in wanted}


def typed(value: Any, declared: str) -> Any:
    """A logged request value as its column's type; instants travelled as text."""
    if value is None:
        return None
    if declared == "timestamp":
        return _naive(value)
    return date.fromisoformat(value) if declared == "date" else value


def _arrow(declared: str) -> Any:
    import pyarrow as pa

    return {
        "integer": pa.int64(), "double": pa.float64(), "boolean": pa.bool_(),
        "date": pa.date32(), "timestamp": pa.timestamp("us"),
    }.get(declared, pa.string())  # fmt: skip


def _naive(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC).replace(tzinfo=None)


def _number(value: Any) -> Number:
    """As it stands in a matrix: days and instants in seconds since 1970."""
    if isinstance(value, datetime):
        return (value.replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds()
    if isinstance(value, date):
        return (value - date(1970, 1, 1)).days * 86400.0
    return None if value is None or isinstance(value, str) else float(value)


def _shown(made: Consistency, masks: Masks, model: Model, view: str = "") -> Consistency:
    """Examples as everybody may see them: they are kept, and read by anybody."""
    spine = (Ref("table", model.spine), model.key)
    features = tuple(
        replace(f, example=masks.example(view + f.feature, spine, f.example)) if f.example else f
        for f in made.features
    )
    return replace(made, features=features)


def _evidence(workspace: Workspace, made: Consistency, subjects: Mapping[str, str]) -> Evidence:
    return Evidence(
        "consistency", dict(subjects), made.verdict, made.sentence, workspace.now(),
        metric="share of requests that differ, worst feature", n=made.requests,
        value=made.worst if made.verdict != "inconclusive" else None, baseline=made.bound,
        details=made.to_json(),
    )  # fmt: skip
