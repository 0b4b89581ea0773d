"""Triggers and alerts are told as changes are: once, signed, and to whom they concern."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import pytest
import tell_world as world
from listener import Listener, Said, listening
from standardwebhooks.webhooks import Webhook as Receiver

from interlock.app import alerts
from interlock.app import outbox as telling
from interlock.app.alerts import Wrong
from interlock.app.workspace import Workspace
from interlock.define.refs import Ref
from interlock.ports import Put

SECRET = f"whsec_{base64.b64encode(bytes(32)).decode()}"
PLACES = """\
notifications:
  crm:
    webhook: ${TELL_CRM}
    secrets: ["${TELL_SECRET}"]
"""
LATE = Wrong("old table:wh.weather", "wh.weather is 5 h old; at risk: model:late", "data-eng")
LOST = Wrong("lost table:wh.flights 2026-05-02", "wh.flights has 0 rows; at risk: nothing")
TRIGGER = Ref("trigger", "late-0123456789ab")


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Listener]:
    with listening() as listener:
        monkeypatch.setenv("TELL_CRM", listener.url)
        monkeypatch.setenv("TELL_SECRET", SECRET)
        yield listener


@pytest.fixture
def project(place: Listener, tmp_path: Any) -> Iterator[Workspace]:
    with world.project(tmp_path, PLACES) as workspace:
        telling.deliver(workspace)  # telling has begun: what comes now is news
        yield workspace


def heard(place: Listener) -> list[dict[str, Any]]:
    return [Receiver(SECRET).verify(one.body, dict(one.headers)) for one in place.heard]


def fire(workspace: Workspace, version: int = 0, **more: Any) -> None:
    body = {"model": "late", "environment": "prod", "teams": ["data-eng"], "change": None,
            "sentence": "calibration error 0.16 is over 0.05", "facts": {"ece": 0.16}}  # fmt: skip
    put = Put(TRIGGER, {**body, **more}, version)
    workspace.record.write([put], by="retraining", at=workspace.now())


def test_a_trigger_is_told_once_whatever_is_added_to_it(
    place: Listener, project: Workspace
) -> None:
    fire(project)
    telling.deliver(project)
    fire(project, 1, change="CR-4")
    telling.deliver(project)
    (event,) = heard(place)
    assert (event["type"], event["subject"]) == ("interlock.trigger", str(TRIGGER))
    assert "calibration error 0.16 is over 0.05" in event["data"]["summary"]
    assert "ece: 0.16" in event["data"]["detail"]


def test_an_alert_is_told_when_it_begins_and_when_it_is_over(
    place: Listener, project: Workspace
) -> None:
    for wrong in ([LATE], [Wrong(LATE.name, "wh.weather is 6 h old")], [LATE, LOST], [LOST], []):
        alerts.keep(project, wrong)
        telling.deliver(project)
        telling.deliver(project)
    told = [event["data"]["summary"] for event in heard(place)]
    assert told == [
        f"Now: {LATE.sentence}.",
        f"Now: {LOST.sentence}.",
        f"No longer seen: {LATE.sentence}.",
        f"No longer seen: {LOST.sentence}.",
    ]
    assert {event["type"] for event in heard(place)} == {"interlock.alert"}


def test_only_places_that_it_concerns_hear_of_it(place: Listener, project: Workspace) -> None:
    file = project.folder / "interlock.yaml"
    file.write_text(world.MAIN + PLACES + "    transitions: [ALERT]\n    owners: [data-eng]\n")
    fire(project)  # no place wants triggers
    alerts.keep(project, [LOST])  # nobody's table
    telling.deliver(project)
    assert place.heard == []
    alerts.keep(project, [LOST, LATE])
    telling.deliver(project)
    (event,) = heard(place)
    assert LATE.sentence in event["data"]["summary"]


def test_what_was_not_taken_is_listed_and_tried_again_under_its_id(
    place: Listener, project: Workspace
) -> None:
    place.answer = lambda _: Said(500)
    alerts.keep(project, [LATE])
    assert telling.deliver(project).failed == 1
    (line,) = telling.outbox_lines(project)
    assert (line.change, line.delivery.moment) == ("note-alerts-prod", "ALERT")
    place.answer = lambda _: Said(204)
    alerts.keep(project, [])  # it is over meanwhile, and still is told that it was
    telling.retry(project, line.delivery.id, by="sam")
    ids = [one.headers["webhook-id"] for one in place.heard]
    assert ids[0] == line.delivery.id
    assert ids.count(line.delivery.id) == 2
    assert telling.outbox_lines(project) == []


def test_of_another_environment_and_of_before_nothing_is_told(
    place: Listener, tmp_path: Any
) -> None:
    with world.project(tmp_path, PLACES) as workspace:
        fire(workspace)
        alerts.keep(workspace, [LATE])
        telling.deliver(workspace)
        other = Put(Ref("trigger", "late-else"), {"environment": "staging", "model": "late"}, 0)
        workspace.record.write([other], by="retraining", at=workspace.now())
        telling.deliver(workspace)
    assert place.heard == []
