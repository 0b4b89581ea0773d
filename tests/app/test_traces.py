"""From one answer back to its sources, and the same answer again."""

from __future__ import annotations

import json
import threading
from base64 import b64encode
from collections.abc import Iterator, Mapping
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, ClassVar

import app_world as world
import pyarrow.compute as pc
import pytest
from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from scoring_world import asked_for, rows_due, scored, shown

from interlock.app import reproduce as reproducing
from interlock.app.journeys import STAGES
from interlock.app.otlp import request, send
from interlock.app.predictions import Prediction, find
from interlock.app.refresh import refresh
from interlock.app.reproduce import reproduce
from interlock.app.tick import tick
from interlock.app.tracing import trace
from interlock.app.versions import stable
from interlock.app.workspace import Workspace
from interlock.define.keys import instant_text
from interlock.errors import NotFound, Unavailable, Unusable

CAME = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
WEATHER = "view:origin_weather@1"


@pytest.fixture
def played(stages: Mapping[str, Path], tmp_path: Path) -> Iterator[Workspace]:
    """CR-2 answers a quarter of the flights; two days of requests are in the log."""
    with world.opened(world.copied(stages["STEP"], tmp_path / "project")) as workspace:
        yield workspace


def logged(workspace: Workspace) -> list[dict[str, Any]]:
    return [row for row in workspace.predictions.read({})[0] if "inputs" in row]


# R-A10
def test_a_prediction_is_traced_from_its_sources_to_the_service(played: Workspace) -> None:
    row = next(row for row in reversed(logged(played)) if row["arm"] == "candidate")
    found = trace(played, f"prediction:{row['id']}")
    assert not found.why
    places = [STAGES.index(span.stage) for span in found.spans]
    assert places == sorted(places)
    assert set(places) == set(range(len(STAGES)))
    assert len(found.of("materialisation")) == len(found.of("lookup")) == 12
    sources = {span.name for span in found.of("extraction")}
    assert sources >= {"table:raw.flights", "table:raw.weather"}
    proven = (*found.of("extraction"), *found.of("materialisation"))
    assert {span.quality for span in proven} == {"pass"}
    for span in found.of("lookup"):
        if span.quality == "fresh":
            assert span.age is not None
            assert span.age >= 0
            assert span.details["event_time"] <= instant_text(found.prediction.at)
    (inference,), (service,) = found.of("inference"), found.of("service")
    assert inference.details["score"] == row["score"]
    assert service.took == row["latency_us"] / 1e6
    assert (service.details["release"], service.details["change"]) == (row["release"], "CR-2")
    oldest = max(span.age for span in found.of("lookup") if span.age is not None)
    assert inference.age == pytest.approx(oldest, abs=1e-6)


def test_a_journey_that_is_looked_at_closely_says_how_long_each_part_took(
    played: Workspace,
) -> None:
    asked_for(played, rows_due(played, days=1).slice(0, 3), {"traceparent": CAME})
    found = trace(played, logged(played)[-1]["id"])
    (lookup, *_), (inference,), (service,) = map(found.of, ("lookup", "inference", "service"))
    assert service.details["trace"].split("-")[1] == CAME.split("-")[1]
    assert service.details["parent"] == CAME.split("-")[2]
    assert lookup.took is not None
    assert inference.took is not None
    assert service.took is not None
    assert lookup.took + inference.took <= service.took
    assert lookup.ended == inference.started
    quiet = next(row for row in logged(played) if "took_us" not in row)
    assert trace(played, quiet["id"]).of("inference")[0].took is None  # unknown, not made up


def test_rows_that_a_refresh_brought_say_which_one(played: Workspace) -> None:
    weather = played.folder / "data/weather.csv"
    lines = weather.read_text().splitlines()
    weather.write_text("\n".join(lines[:-1]) + "\n")  # the last observation is withdrawn
    refresh(played, ["raw.weather"])
    asked_for(played, rows_due(played, days=1).slice(0, 3))
    found = trace(played, logged(played)[-1]["id"])
    (view,) = (span for span in found.of("materialisation") if span.name == WEATHER)
    (source,) = (span for span in found.of("extraction") if span.name == "table:raw.weather")
    assert view.took is not None
    assert view.ended is not None
    assert view.ended <= found.prediction.at
    assert " by " in view.details["refreshed"]
    assert source.details["read"] == view.details["refreshed"]
    others = [span for span in found.of("materialisation") if span.name != WEATHER]
    assert {span.details["refreshed"] for span in others} == {"built with its release"}


def test_it_opens_as_an_opentelemetry_trace(played: Workspace, tmp_path: Path) -> None:
    asked_for(played, rows_due(played, days=1).slice(0, 3), {"traceparent": CAME})
    found = trace(played, logged(played)[-1]["id"])
    out = tmp_path / "trace.json"
    assert send(found, str(out)) == str(out)
    said = json.loads(out.read_text())
    assert said == request(found)
    # The official messages: unknown names and wrong types are errors there.
    official = json_format.ParseDict(_in_base64(said), ExportTraceServiceRequest())
    spans = official.resource_spans[0].scope_spans[0].spans
    assert len(spans) == len(found.spans) == len({span.span_id for span in spans})
    _, journey, asker, _ = CAME.split("-")
    assert {span.trace_id.hex() for span in spans} == {journey}
    root = next(span for span in spans if span.name.startswith("service"))
    assert root.parent_span_id.hex() == asker
    assert {span.parent_span_id for span in spans if span is not root} - {
        root.span_id, root.parent_span_id
    } == set()  # fmt: skip
    assert all(0 < span.start_time_unix_nano <= span.end_time_unix_nano for span in spans)


def _in_base64(said: Any) -> Any:
    """OTLP writes ids in hex where protobuf's own JSON has base64."""
    ids = ("traceId", "spanId", "parentSpanId")
    if isinstance(said, dict):
        return {
            name: b64encode(bytes.fromhex(one)).decode() if name in ids else _in_base64(one)
            for name, one in said.items()
        }
    return list(map(_in_base64, said)) if isinstance(said, list) else said


class _Collector(BaseHTTPRequestHandler):
    got: ClassVar[list[tuple[str, Any]]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.got.append((self.path, json.loads(body)))
        self.send_response(200 if self.path == "/v1/traces" else 404)
        self.end_headers()

    def log_message(self, *_: Any) -> None: ...


def test_a_collector_is_sent_the_trace_and_its_refusal_is_told(played: Workspace) -> None:
    found = trace(played, logged(played)[0]["id"])
    server = HTTPServer(("127.0.0.1", 0), _Collector)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    url = f"http://127.0.0.1:{server.server_port}"
    try:
        assert send(found, url) == f"{url}/v1/traces"
        assert _Collector.got == [("/v1/traces", request(found))]
        with pytest.raises(Unusable, match="404"):
            send(found, f"{url}/elsewhere")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    with pytest.raises(Unavailable, match="does not answer"):
        send(found, url)


# R-A10
def test_a_score_is_made_again_bit_for_bit_from_inputs_as_of_then(played: Workspace) -> None:
    rows = logged(played)
    some = rows[:3] + rows[-60::7]
    assert {row["arm"] for row in some} == {"stable", "candidate"}
    for row in some:
        found = reproduce(played, row["id"])
        assert (found.same, found.again) == (True, row["score"])
        assert (found.compared, found.moved, found.exit_code) == (16, (), 0)


def test_a_corrected_row_is_named_and_the_score_still_comes_out(played: Workspace) -> None:
    row = next(row for row in reversed(logged(played)) if row["arm"] == "stable")
    before = trace(played, row["id"])
    (table,) = (s.details["table"] for s in before.of("materialisation") if s.name == WEATHER)
    (met,) = (s.details for s in before.of("lookup") if s.name == WEATHER)
    stamp = met["event_time"].replace("T", " ").rstrip("Z")
    played.warehouse.execute(
        f"UPDATE {table} SET wx_temp_f = wx_temp_f + 1 WHERE ts = TIMESTAMP '{stamp}'"
    )
    found = reproduce(played, row["id"])
    assert (found.same, found.exit_code) == (True, 2)
    (moved,) = found.moved
    assert (moved.input, moved.view) == ("wx_temp_f", WEATHER.removeprefix("view:"))
    assert (moved.entity, moved.event_time) == (met["entity"], met["event_time"])
    assert moved.now == moved.logged + 1  # type: ignore[operator]  # numbers


def test_a_batch_score_is_traced_and_made_again_too(played: Workspace) -> None:
    tick(played)
    scored(played, days=1)
    for row in list(shown(played).values())[:5]:
        found = reproduce(played, row["id"])
        assert (found.same, found.again, found.moved) == (True, row["score"], ())
        journey = trace(played, row["id"])
        assert journey.prediction.door == "batch"
        assert len(journey.of("lookup")) == 12
        assert request(journey)["resourceSpans"]


def test_the_model_of_another_release_gives_another_score(
    played: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = {row["arm"]: row for row in logged(played)}

    def swapped(workspace: Workspace, id: str) -> Prediction:
        return replace(find(workspace, id), release=rows["candidate"]["release"])

    monkeypatch.setattr(reproducing, "find", swapped)
    found = reproduce(played, rows["stable"]["id"])
    assert (found.same, found.exit_code) == (False, 3)


def test_what_cannot_be_found_or_looked_up_is_said(played: Workspace) -> None:
    with pytest.raises(NotFound, match="no prediction"):
        find(played, "prediction:" + "0" * 32)
    row = next(row for row in logged(played) if "asked" not in row)
    version = stable(played)
    assert version
    spine = version.builder(played).table("wh.spine")
    played.warehouse.execute(f"DELETE FROM {spine} WHERE flight_id = {row['key']}")
    found = reproduce(played, row["id"])
    assert (found.same, found.compared, found.exit_code) == (True, 0, 2)
    assert "no row of wh.spine" in found.why
    assert trace(played, row["id"]).why == found.why
    other = next(r for r in logged(played) if "asked" not in r and r["key"] != row["key"])
    played.warehouse.execute(
        f"UPDATE {spine} SET distance = distance + 1, carrier = '??' "
        f"WHERE flight_id = {other['key']}"
    )
    found = reproduce(played, other["id"])
    assert (found.same, found.compared, found.exit_code) == (True, 0, 2)
    assert "another distance, carrier than was sent" in found.why
    assert trace(played, other["id"]).of("lookup") == ()


def test_what_was_sent_is_kept_for_a_journey_that_is_looked_at_closely(played: Workspace) -> None:
    due = rows_due(played, days=1).slice(0, 3)
    at = due.schema.get_field_index("distance")
    due = due.set_column(at, "distance", pc.add(due["distance"], 1000))
    asked_for(played, due, {"traceparent": CAME})
    row = logged(played)[-1]
    sent = dict(zip(*(due[name].to_pylist() for name in ("flight_id", "distance")), strict=True))
    assert row["asked"]["distance"] == sent[row["key"]]
    assert not trace(played, row["id"]).why


def test_the_commands_show_it(stages: Mapping[str, Path], tmp_path: Path) -> None:
    folder = world.copied(stages["STEP"], tmp_path / "project")
    with world.opened(folder) as workspace:
        row = logged(workspace)[-1]
    done = world.command(folder, "trace", row["id"], "--otlp", str(tmp_path / "t.json"))
    assert done.code == 0, done.err
    assert {one["stage"] for one in json.loads(done.out)["spans"]} == set(STAGES)
    assert (tmp_path / "t.json").exists()
    again = world.command(folder, "replay", f"prediction:{row['id']}")
    assert again.code == 0, again.err
    assert json.loads(again.out)["again"] == row["score"]
    gone = world.command(folder, "replay", "f" * 32)
    assert (gone.code, gone.error["error"]) == (3, "not-found")
