"""What a gateway must know of one release: a plain value, built once, read at every start.

A `ServingSpec` is written into the record when a release is prepared, so that a
request-time process needs neither the definitions nor anything that understands SQL.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, Literal

from interlock.define.definitions import FeatureView, Model
from interlock.define.digest import digest
from interlock.define.project import Project
from interlock.define.refs import Ref
from interlock.errors import NotFound, Stale
from interlock.serve.push import PushSpec, pushes_of

# Times are whole microseconds, kept as doubles of seconds: at an edge, less than this is noise.
EDGE = 5e-7


@dataclass(frozen=True)
class Fallback:
    """What stands in for a missing or stale value; `serve_stale_for` is in seconds."""

    value: float | None = None
    serve_stale_for: float | None = None


@dataclass(frozen=True)
class Lookup:
    """One view version a model reads. `features` are in stored order; `ttl` is in seconds.

    `event_time`, `available_at` and `known` (from when on a row is the answer) are columns
    of the built rows. `remembered` are the places of features whose last value that is not
    NULL counts; their own event times are stored behind the values, in this order.
    """

    view: str
    fingerprint: str
    entity: tuple[str, ...]
    ttl: float | None
    features: tuple[str, ...]
    fallbacks: tuple[Fallback | None, ...]
    event_time: str = "ts"
    available_at: str | None = None
    known: str = "ts"
    remembered: tuple[int, ...] = ()

    @cached_property
    def width(self) -> int:
        """How many values a stored row has."""
        return len(self.features) + len(self.remembered)

    @cached_property
    def plain(self) -> int:
        """The width of rows whose values share one age; -1: remembered ones have their own."""
        return -1 if self.remembered else len(self.features)

    @cached_property
    def oldest(self) -> float:
        """The age in seconds up to which a row counts, inclusive."""
        return float("inf") if self.ttl is None else self.ttl + EDGE

    @cached_property
    def all_fresh(self) -> tuple[Literal["fresh"], ...]:
        """What is said of a row with nothing missing, as nearly all are."""
        fresh: Literal["fresh"] = "fresh"
        return (fresh,) * len(self.features)


@dataclass(frozen=True)
class FeatureInput:
    """A matrix column that comes from value `value` of lookup `lookup`."""

    name: str
    lookup: int
    value: int


@dataclass(frozen=True)
class RequestInput:
    """A matrix column sent with the request; with `categories` a value's code is its index."""

    name: str
    categories: tuple[str, ...] | None = None


Input = FeatureInput | RequestInput


@dataclass(frozen=True)
class ModelSpec:
    """One model of a release: `inputs` in matrix order, `columns` that a request may send."""

    model: str
    version: str
    artifact: str
    format: str
    key: str
    inputs: tuple[Input, ...]
    lookups: tuple[Lookup, ...]
    columns: Mapping[str, str]
    fallback_score: float | None = None

    def required(self, subject: Sequence[str] = ()) -> tuple[str, ...]:
        """The request columns without which a row cannot be answered, in a stable order."""
        sent = [i.name for i in self.inputs if isinstance(i, RequestInput)]
        keys = [name for lookup in self.lookups for name in lookup.entity]
        return tuple(dict.fromkeys([self.key, *subject, *keys, *sent]))


@dataclass(frozen=True)
class ServingSpec:
    """A release as gateways see it. `subject` are the columns whose values decide the cohort."""

    release: str
    subject: tuple[str, ...]
    models: Mapping[str, ModelSpec]
    services: tuple[str, ...] = field(default=())
    pushes: tuple[PushSpec, ...] = field(default=())

    @property
    def digest(self) -> str:
        return digest(self.to_json())

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> ServingSpec:
        return cls(
            release=body["release"],
            subject=tuple(body["subject"]),
            models={name: _model(said) for name, said in body["models"].items()},
            services=tuple(body.get("services", ())),
            pushes=tuple(PushSpec.from_json(said) for said in body.get("pushes", ())),
        )


@dataclass(frozen=True)
class ArtifactMeta:
    """A trained artifact as `Trained` described it, and the digest its bytes are stored under.

    `version` is what answers call the model; without it, the start of the release's
    component digest (or of the artifact's) is used.
    """

    digest: str
    format: str
    inputs: tuple[str, ...]
    categories: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    version: str = ""


def spec_for(
    project: Project,
    fingerprints: Mapping[str, str],
    artifacts: Mapping[str, ArtifactMeta],
    release_digest: str,
    subject: Sequence[str],
) -> ServingSpec:
    """The spec of a release: every model of `artifacts`, reading the view versions it pins.

    `fingerprints` are by Ref text (`view:origin_weather@1`). Raises `NotFound` for a
    model, view or fingerprint that is not there, and `Stale` when an artifact wants an
    input that its definition no longer declares.
    """
    models = {
        name: _spec_of(project, fingerprints, name, artifacts[name]) for name in sorted(artifacts)
    }
    return ServingSpec(
        release_digest, tuple(subject), models, tuple(sorted(project.services)),
        pushes_of(project, fingerprints),
    )  # fmt: skip


def _spec_of(
    project: Project, fingerprints: Mapping[str, str], name: str, meta: ArtifactMeta
) -> ModelSpec:
    model = project.models.get(name)
    if model is None:
        raise NotFound(f"model:{name} has an artifact but no definition")
    views = [_view(project, ref) for ref in model.view_refs]
    component = fingerprints.get(str(model.ref), meta.digest)
    return ModelSpec(
        model=name,
        version=meta.version or component[:12],
        artifact=meta.digest,
        format=meta.format,
        key=model.key,
        inputs=_inputs(project, model, views, meta),
        lookups=tuple(lookup_of(view, fingerprints) for view in views),
        columns={c: said.type for c, said in project.tables[model.spine].columns.items()},
        fallback_score=model.fallback_score,
    )


def _view(project: Project, ref: Ref) -> FeatureView:
    view = project.views.get(f"{ref.name}@{ref.version}")
    if view is None:
        raise NotFound(f"{ref} is read by a model but nothing declares it")
    return view


def lookup_of(view: FeatureView, fingerprints: Mapping[str, str]) -> Lookup:
    """What serving must know of one view; `NotFound` without a fingerprint for it."""
    from interlock.features.timeline import known_column  # a gateway only reads what was made

    fingerprint = fingerprints.get(str(view.ref))
    if fingerprint is None:
        raise NotFound(f"{view.ref} has no fingerprint in this release")
    return Lookup(
        view=f"{view.view}@{view.version}",
        fingerprint=fingerprint,
        entity=tuple(view.entity),
        ttl=view.ttl.total_seconds() if view.ttl is not None else None,
        features=tuple(view.features),
        fallbacks=tuple(_fallback(said.fallback) for said in view.features.values()),
        event_time=view.event_time,
        available_at=view.available_at,
        known=known_column(view),
        remembered=tuple(at for at, said in enumerate(view.features.values()) if said.last_known),
    )


def _fallback(said: Any) -> Fallback | None:
    if said is None:
        return None
    late = said.serve_stale_for
    return Fallback(said.value, None if late is None else late.total_seconds())


def _inputs(
    project: Project, model: Model, views: Sequence[FeatureView], meta: ArtifactMeta
) -> tuple[Input, ...]:
    """The artifact's own order: what the model was trained on, not what the file says today."""
    known: dict[str, Input] = {}
    parts = [ref.part for ref in model.feature_refs]
    for ref in model.feature_refs:
        at = next(i for i, v in enumerate(views) if v.ref == Ref("view", ref.name, ref.version))
        if ref.part not in views[at].features:
            raise NotFound(f"{ref} is read by {model.ref} but its view does not declare it")
        found = FeatureInput(str(ref.part), at, list(views[at].features).index(str(ref.part)))
        known[f"{ref.name}@{ref.version}:{ref.part}"] = found
        if parts.count(ref.part) == 1:  # a bare name must not choose between two views
            known[found.name] = found
    for name in model.request:
        codes = meta.categories.get(name)
        known[name] = RequestInput(name, tuple(codes) if codes is not None else None)
    unknown = [name for name in meta.inputs if name not in known]
    if unknown:
        raise Stale(
            f"{model.ref} was trained on inputs its definition does not declare: {unknown}",
            help="train the model again from this definition",
        )
    inputs = tuple(known[name] for name in meta.inputs)
    types = project.tables[model.spine].columns
    coded = [
        i.name
        for i in inputs
        if isinstance(i, RequestInput)
        and i.categories is None
        and types[i.name].type not in ("double", "integer", "boolean")
    ]
    if coded:
        raise Stale(
            f"{model.ref} takes {coded} as numbers, but they are not",
            help=f"declare them under `categories:` of {model.ref} and train again",
        )
    return inputs


def _model(body: Mapping[str, Any]) -> ModelSpec:
    return ModelSpec(
        **{
            **body,
            "inputs": tuple(_input(said) for said in body["inputs"]),
            "lookups": tuple(_lookup_of(said) for said in body["lookups"]),
        }
    )


def _input(body: Mapping[str, Any]) -> Input:
    if "lookup" in body:
        return FeatureInput(**body)
    codes = body["categories"]
    return RequestInput(body["name"], None if codes is None else tuple(codes))


def _lookup_of(body: Mapping[str, Any]) -> Lookup:
    return Lookup(
        **{
            **body,
            "entity": tuple(body["entity"]),
            "features": tuple(body["features"]),
            "fallbacks": tuple(Fallback(**f) if f else None for f in body["fallbacks"]),
            "remembered": tuple(body.get("remembered", ())),
        }
    )
