"""What a gateway is told of a release: built from definitions, the same after a round trip."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date, timedelta

import pytest

from interlock.define.definitions import (
    Column,
    Evaluation,
    Fallback,
    FeatureValue,
    FeatureView,
    Label,
    Model,
    Table,
    Training,
)
from interlock.define.environment import Environment
from interlock.define.project import Project
from interlock.errors import NotFound, Stale
from interlock.serve import spec as spec_module
from interlock.serve.spec import ArtifactMeta, FeatureInput, RequestInput, ServingSpec, spec_for

VIEW = FeatureView(
    owner="ops", view="weather", version=1, entity=("origin",), ttl=timedelta(hours=4), sql="-",
    features={
        "temp": FeatureValue(fallback=Fallback(value=5.0)),
        "wind": FeatureValue(fallback=Fallback(serve_stale_for=timedelta(hours=1))),
    },
)  # fmt: skip
MODEL = Model(
    owner="ml", model="late", spine="wh.spine", key="flight_id", time="cutoff",
    features=("weather@1:wind", "weather@1:temp"), request=("carrier", "distance"),
    categories=("carrier",), label=Label(sql="-", column="late"),
    training=Training(entry="t.py:train", start=date(2013, 1, 1), end=date(2013, 3, 1)),
    evaluation=Evaluation(start=date(2013, 3, 1), end=date(2013, 4, 1)), fallback_score=0.25,
)  # fmt: skip
SPINE = Table(
    owner="ops", name="wh.spine",
    columns={
        "flight_id": Column(type="integer"), "carrier": Column(type="string"),
        "origin": Column(type="string"), "distance": Column(type="double"),
        "cutoff": Column(type="timestamp"),
    },
)  # fmt: skip
PROJECT = Project(
    name="flights", environments={"flights": Environment(subject=("flight_id",), stages=())},
    tables={"wh.spine": SPINE}, views={"weather@1": VIEW}, models={"late": MODEL},
)  # fmt: skip
PRINTS = {"view:weather@1": "f" * 64, "model:late": "e" * 64}
META = ArtifactMeta(
    "d" * 64, "lightgbm-text", ("distance", "temp", "carrier", "weather@1:wind"),
    {"carrier": ("UA", "DL")},
)  # fmt: skip


def build(meta: ArtifactMeta = META, project: Project = PROJECT) -> ServingSpec:
    return spec_for(project, PRINTS, {"late": meta}, "a" * 64, ("flight_id",))


def test_inputs_stand_in_the_order_of_training() -> None:
    late = build().models["late"]
    assert late.inputs == (
        RequestInput("distance"),
        FeatureInput("temp", 0, 0),
        RequestInput("carrier", ("UA", "DL")),
        FeatureInput("wind", 0, 1),
    )
    (lookup,) = late.lookups
    assert (lookup.fingerprint, lookup.ttl, lookup.features) == (
        "f" * 64,
        14400.0,
        ("temp", "wind"),
    )
    assert lookup.fallbacks == (
        spec_module.Fallback(5.0, None),
        spec_module.Fallback(None, 3600.0),
    )
    assert late.required(("flight_id",)) == ("flight_id", "origin", "distance", "carrier")
    assert (late.version, late.fallback_score) == ("e" * 12, 0.25)


def test_a_spec_survives_its_json_and_keeps_its_digest() -> None:
    spec = build()
    again = ServingSpec.from_json(json.loads(json.dumps(spec.to_json())))
    assert again == spec
    assert again.digest == spec.digest


def test_what_does_not_fit_together_is_refused_by_name() -> None:
    with pytest.raises(Stale, match="gusts"):
        build(replace(META, inputs=(*META.inputs, "gusts")))
    with pytest.raises(Stale, match="carrier"):
        build(replace(META, categories={}))
    with pytest.raises(NotFound, match="view:weather@1"):
        spec_for(PROJECT, {}, {"late": META}, "a" * 64, ())
    with pytest.raises(NotFound, match="model:other"):
        spec_for(PROJECT, PRINTS, {"other": META}, "a" * 64, ())


def test_a_bare_name_never_chooses_between_two_views() -> None:
    second = VIEW.model_copy(update={"version": 2})
    model = MODEL.model_copy(update={"features": ("weather@1:temp", "weather@2:temp")})
    project = PROJECT.model_copy(
        update={"views": {"weather@1": VIEW, "weather@2": second}, "models": {"late": model}}
    )
    prints = {**PRINTS, "view:weather@2": "0" * 64}
    meta = replace(META, inputs=("weather@2:temp", "weather@1:temp"))
    inputs = spec_for(project, prints, {"late": meta}, "a" * 64, ()).models["late"].inputs
    assert inputs == (FeatureInput("temp", 1, 0), FeatureInput("temp", 0, 0))
    with pytest.raises(Stale, match="temp"):
        spec_for(project, prints, {"late": replace(META, inputs=("temp",))}, "a" * 64, ())
