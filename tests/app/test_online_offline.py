"""What a gateway answers is what training would have seen; what is broken is never answered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import app_world as world
import numpy as np
import orjson
import pyarrow as pa
import pytest

from interlock.app import decide
from interlock.app.asked import Ask
from interlock.app.prepare import prepare
from interlock.app.serving import Gateway
from interlock.app.tick import tick
from interlock.app.training import column_values, input_columns, scorer
from interlock.app.versions import Version, stable, stored
from interlock.app.workspace import Workspace
from interlock.errors import Corrupt
from interlock.features.compile import point_in_time_sql
from interlock.models.dataset import Floats, matrix
from interlock.serve.request import Sent

Row = Mapping[str, Any]


def logged(workspace: Workspace, folder: str = "predictions") -> list[Row]:
    files = sorted((workspace.state / folder).glob("*.jsonl"))
    return [orjson.loads(line) for file in files for line in file.read_bytes().splitlines()]


def offline(workspace: Workspace, version: Version, rows: Sequence[Row]) -> tuple[Floats, Floats]:
    """Inputs and scores of the same keys, joined point in time at the instants of the answers."""
    builder, model = version.builder(workspace), version.project.models[world.MODEL]
    instants = [datetime.fromisoformat(row["at"]).replace(tzinfo=None) for row in rows]
    asked = {"key": [int(row["key"]) for row in rows], "at": pa.array(instants, pa.timestamp("us"))}
    workspace.warehouse.load("il.asked", pa.table({**asked, "place": range(len(rows))}))
    spine = (
        f"(SELECT s.* REPLACE (a.at AS {model.time}) "
        f"FROM {builder.table(model.spine)} s JOIN il.asked a ON a.key = s.{model.key})"
    )
    sql = point_in_time_sql(spine, model.key, model.time, builder.views(model), model.features)
    table = workspace.warehouse.query(
        f"SELECT j.* FROM ({sql}) j JOIN il.asked a ON a.key = j.{model.key} ORDER BY a.place"
    )
    trained = version.models[world.MODEL]
    assert trained.inputs == input_columns(model)
    columns = {name: column_values(table.column(name)) for name in trained.inputs}
    x = matrix(columns, trained.inputs, trained.categories)
    return x, np.asarray(scorer(builder, trained).score(x))


def bits(values: Any) -> list[bytes]:
    """Bit for bit; a NULL online is a NaN offline, and any NaN is like another."""
    found = np.array([np.nan if v is None else v for v in values], dtype=np.float64)
    found[np.isnan(found)] = np.nan
    return [one.tobytes() for one in found]


# R-B3
def test_a_replayed_answer_is_the_offline_score_at_the_same_instant(live: Workspace) -> None:
    played = world.play(live, timedelta(days=2))
    rows = logged(live)
    assert len(rows) == played.rows > 200
    assert len({row["key"] for row in rows}) == len(rows)
    version = stable(live)
    assert version is not None
    inputs, scores = offline(live, version, rows)
    names = list(version.models[world.MODEL].inputs)
    counted = {"live": 0, "fallback": 0}
    for row, expected, score in zip(rows, inputs, scores, strict=True):
        counted[row["reason"]] += 1
        stood_in = [names.index(name) for name in row["fallbacks"]]
        known = [i for i in range(len(names)) if i not in stood_in]
        got = bits(row["inputs"])
        assert [got[i] for i in known] == [bits(expected)[i] for i in known], row["key"]
        # A stand-in is only given where training would have seen NULL.
        assert np.isnan(expected[stood_in]).all()
        assert (row["reason"] == "fallback") == bool(stood_in)
        if row["reason"] == "live":
            assert bits([row["score"]]) == bits([score]), row["key"]
    assert counted["live"] > 100, counted


# R-B3
def test_mirrored_answers_are_those_of_the_candidate_offline(
    stages: Mapping[str, Path], tmp_path: Path
) -> None:
    with world.opened(world.copied(stages["SHADOW"], tmp_path / "project")) as workspace:
        rows = [row for row in logged(workspace) if row["reason"] == "live"]
        release = world.current(workspace, "CR-2").release
        mirrored = {row["id"]: row for row in logged(workspace, "mirrored")}
        mirrors = [mirrored[row["id"]] for row in rows]
        assert {mirror["release"] for mirror in mirrors} == {release}
        _, scores = offline(workspace, stored(workspace, release), rows)
        assert bits([mirror["score"] for mirror in mirrors]) == bits(scores)
        assert bits([row["score"] for row in rows]) != bits(scores), "the two models are one"


# R-A14
def test_an_entity_nobody_has_seen_gets_what_was_declared_and_is_told_so(live: Workspace) -> None:
    with world.serving(live) as (gateway, _):
        answer = gateway.answer(ask(live, gateway, origin="XXX", dest="XXX", tailnum="N0")).answer(
            0
        )
    assert answer.reason == "fallback"
    assert answer.error is None
    assert answer.value is not None
    assert 0 < answer.value < 1
    assert {"wx_temp_f", "origin_overdue"} <= set(answer.fallbacks)
    views = stable_views(live)
    declared = {name: f.fallback for view in views for name, f in view.features.items()}
    assert all(declared[name] for name in answer.fallbacks)
    assert all(not declared[name] or declared[name].value is None for name in answer.absent)


def stable_views(workspace: Workspace) -> list[Any]:
    version = stable(workspace)
    assert version is not None
    return list(version.project.views.values())


def ask(workspace: Workspace, gateway: Gateway, **instead: object) -> Ask:
    """One flight of the day, with some columns replaced."""
    takes = gateway.live().takes[world.MODEL]
    row = workspace.warehouse.query(
        f"SELECT {', '.join(takes.required)} FROM wh.spine WHERE cutoff >= "
        f"TIMESTAMP '{workspace.now():%Y-%m-%d %H:%M:%S}' ORDER BY cutoff, flight_id LIMIT 1"
    ).to_pylist()[0]
    kinds = {"integer": "INT64", "double": "FP64", "boolean": "BOOL"}
    sent = {
        name: Sent(kinds.get(takes.types[name], "BYTES"), [_plain(instead.get(name, row[name]))])
        for name in takes.required
    }
    return Ask(world.MODEL, sent, 1, at=workspace.now())


def _plain(value: Any) -> Any:
    return value.strftime("%Y-%m-%dT%H:%M:%SZ") if isinstance(value, datetime) else value


# --- artifacts that are not what their digest says ----------------------------------


def damage(workspace: Workspace, digest: str) -> None:
    """One bit of a stored artifact, flipped."""
    file = next(
        f for f in (workspace.state / "artifacts").rglob("*") if f.name.endswith(digest[2:])
    )
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.chmod(0o644)
    file.write_bytes(data)


# R-B9
def test_a_damaged_model_is_not_prepared_and_the_release_before_goes_on(ready: Workspace) -> None:
    decide.apply(ready, "CR-2", by="sam")
    release = world.current(ready, "CR-2").release
    version = stored(ready, release)
    damage(ready, version.models[world.MODEL].artifact)
    before = ready.route()
    with pytest.raises(Corrupt):
        prepare(ready, version, release)
    with pytest.raises(Corrupt):
        tick(ready)
    assert ready.route() == before
    assert world.current(ready, "CR-2").state == "PREPARING"
    with world.serving(ready) as (gateway, _):
        assert gateway.answer(ask(ready, gateway)).releases() == [before.stable]
    assert "everybody is on" in decide.rollback(ready, "CR-2", by="sam", reason="a broken file")
    tick(ready)
    assert world.current(ready, "CR-2").state == "ABORTED"


def test_a_gateway_says_that_its_model_is_damaged_and_answers_what_was_declared(
    live: Workspace,
) -> None:
    version = stable(live)
    assert version is not None
    damage(live, version.models[world.MODEL].artifact)
    with world.serving(live) as (gateway, _):
        assert not gateway.ready
        assert "is not loaded" in (gateway.releases.stable_error or "")
        answer = gateway.answer(ask(live, gateway)).answer(0)
    declared = version.project.models[world.MODEL].fallback_score
    assert (answer.reason, answer.value) == ("fallback", declared)
    assert "is not loaded" in (answer.error or "")
