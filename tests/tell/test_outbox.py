"""Telling: nothing is lost, nothing is told to the wrong place, and what fails is tried again."""

from __future__ import annotations

import base64
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import tell_world as world
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from listener import Heard, Listener, Said, listening
from standardwebhooks.webhooks import Webhook as Receiver
from standardwebhooks.webhooks import WebhookVerificationError

from interlock.app import outbox as telling
from interlock.change.outbox import MOST_ATTEMPTS, Outbox, pause
from interlock.define.refs import Ref
from interlock.errors import NotFound
from interlock.rollout.state import State

OLD, NEW = (f"whsec_{base64.b64encode(bytes([i]) * 32).decode()}" for i in (1, 2))
PLACES = """\
notifications:
  crm:
    webhook: ${TELL_CRM}
    secrets: ["${TELL_OLD}", "${TELL_NEW}"]
"""


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Any:
    with listening() as listener:
        monkeypatch.setenv("TELL_CRM", f"{listener.url}/in?token=s3cret")
        monkeypatch.setenv("TELL_OLD", OLD)
        monkeypatch.setenv("TELL_NEW", NEW)
        yield listener


class Wall:
    """Seconds that pass when told."""

    def __init__(self) -> None:
        self.now = time.time()

    def __call__(self) -> float:
        return self.now


def moments(listener: Listener) -> list[str]:
    return [json.loads(one.body)["type"].rpartition(".")[2] for one in listener.heard]


def kept(workspace: Any, id: str = "CR-1") -> Outbox:
    return Outbox.from_json(workspace.record.get(Ref("outbox", id)).body)


# --- what arrives ---------------------------------------------------------------------


def test_every_transition_arrives_once_in_order_and_signed(place: Listener, tmp_path: Path) -> None:
    with world.project(tmp_path, PLACES) as workspace:
        telling.deliver(workspace)
        change = world.Story(workspace).reviewed().approved()
        telling.deliver(workspace)
        change.ramped()
        telling.deliver(workspace)
        assert telling.deliver(workspace) == telling.Told()
        told = telling.story(workspace, "CR-1")
    assert moments(place) == [one.moment.lower() for one in told]
    assert moments(place)[0] == "draft"
    assert moments(place)[-2:] == ["shadow", "step"]
    assert len({one.headers["webhook-id"] for one in place.heard}) == len(place.heard)
    for heard in place.heard:
        for secret in (OLD, NEW):  # whoever knows either may check it
            event = Receiver(secret).verify(heard.body, dict(heard.headers))
        assert event["specversion"] == "1.0"
        assert {"id", "source", "type", "subject", "time", "data"} <= set(event)
        assert event["id"] == heard.headers["webhook-id"]
        assert event["subject"] == "change:CR-1"
        assert event["data"]["summary"] in event["data"]["text"]
        assert heard.headers["content-type"] == "application/cloudevents+json"


def test_a_forged_or_old_message_is_refused_by_the_receiver(
    place: Listener, tmp_path: Path
) -> None:
    with world.project(tmp_path, PLACES) as workspace:
        world.Story(workspace)
        telling.deliver(workspace)
    heard = place.heard[0]
    headers = dict(heard.headers)
    with pytest.raises(WebhookVerificationError):
        Receiver(OLD).verify(heard.body.replace(b"prod", b"prad"), headers)
    headers["webhook-timestamp"] = str(int(headers["webhook-timestamp"]) - 1000)
    with pytest.raises(WebhookVerificationError):
        Receiver(OLD).verify(heard.body, headers)


def test_a_receiver_may_know_the_public_key_only(
    place: Listener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = Ed25519PrivateKey.from_private_bytes(b"s" * 32)
    for kept in (b"s" * 32, b"s" * 32 + key.public_key().public_bytes_raw()):
        monkeypatch.setenv("TELL_NEW", f"whsk_{base64.b64encode(kept).decode()}")
        with world.project(tmp_path / str(len(kept)), PLACES) as workspace:
            world.Story(workspace)
            telling.deliver(workspace)
        heard = place.heard[-1]
        Receiver(OLD).verify(heard.body, dict(heard.headers))  # the old secret still does too
        signed = heard.headers["webhook-signature"].split(" ")
        assert [one.partition(",")[0] for one in signed] == ["v1", "v1a"]
        content = f"{heard.headers['webhook-id']}.{heard.headers['webhook-timestamp']}."
        signature = base64.b64decode(signed[1].partition(",")[2])
        key.public_key().verify(signature, content.encode() + heard.body)
        with pytest.raises(InvalidSignature):
            key.public_key().verify(signature, content.encode() + heard.body + b" ")


def test_a_place_hears_what_it_asked_for_only(place: Listener, tmp_path: Path) -> None:
    more = PLACES + "    transitions: [REVIEW, HOLD]\n    owners: [ops-crew]\n"
    with world.project(tmp_path, more) as workspace:
        telling.deliver(workspace)
        world.Story(workspace).reviewed().approved().ramped()
        telling.deliver(workspace)
        assert moments(place) == ["review"]
    other = more.replace("ops-crew", "ops-gates").replace("REVIEW", "APPROVED")
    main = world.MAIN.replace("  ops-crew:", "  ops-gates:\n    gina: [service_owner]\n  ops-crew:")
    with world.project(tmp_path, other, main) as workspace:
        world.Story(workspace, world.replace(world.draft(), id="CR-2")).reviewed().approved()
        telling.deliver(workspace)
    assert moments(place) == ["review"]


def test_the_audience_decides_the_words(place: Listener, tmp_path: Path) -> None:
    with world.project(tmp_path, PLACES + "    audience: executive\n") as workspace:
        telling.deliver(workspace)
        world.Story(workspace).reviewed()
        telling.deliver(workspace)
    texts = [json.loads(one.body)["data"]["text"] for one in place.heard]
    assert texts
    assert not any("plan " in text or "release " in text for text in texts)


def test_of_what_was_there_before_only_what_is_open_is_told(
    place: Listener, tmp_path: Path
) -> None:
    with world.project(tmp_path) as workspace:
        world.Story(workspace).reviewed().approved().committed()
        second = world.Story(workspace, world.replace(world.draft(), id="CR-2")).reviewed()
        telling.deliver(workspace)
    with world.project(tmp_path, PLACES) as workspace:
        telling.deliver(workspace)
        telling.deliver(workspace)
        assert [json.loads(h.body)["subject"] for h in place.heard] == ["change:CR-2"]
        assert moments(place) == ["review"]
        second.workspace = workspace
        second.approved()
        telling.deliver(workspace)
    assert moments(place) == ["review", "approved"]


# --- what does not arrive -------------------------------------------------------------


def test_what_fails_is_tried_again_later_each_time_and_then_given_up(
    place: Listener, tmp_path: Path
) -> None:
    place.answer = lambda _: Said(500)
    wall, waited = Wall(), []
    with world.project(tmp_path, PLACES) as workspace:
        world.Story(workspace)
        for _ in range(MOST_ATTEMPTS):
            assert telling.deliver(workspace, wall).failed == 1
            assert telling.deliver(workspace, wall) == telling.Told()  # not before its time
            due = [one.due for one in kept(workspace).waiting]
            waited += [at - wall.now for at in due]
            wall.now = max([wall.now, *due])
        (line,) = telling.outbox_lines(workspace)
        assert (line.state, line.delivery.attempts) == ("dead", MOST_ATTEMPTS)
        assert line.delivery.said == "crm answered 500"
        wall.now += 1e9
        assert telling.deliver(workspace, wall) == telling.Told()
        assert len({h.headers["webhook-id"] for h in place.heard}) == 1
        assert len(place.heard) == MOST_ATTEMPTS
        place.answer = lambda _: Said(204)
        telling.retry(workspace, line.delivery.id, by="sam")
        assert telling.outbox_lines(workspace) == []
        assert kept(workspace).delivered == 1
        with pytest.raises(NotFound):
            telling.retry(workspace, line.delivery.id, by="sam")
    assert all(later > sooner for sooner, later in pairwise(waited))


@given(st.text(min_size=1), st.integers(1, 20))
def test_a_pause_grows_is_spread_and_is_the_same_when_asked_again(id: str, attempts: int) -> None:
    longest = min(5.0 * 3.0 ** (attempts - 1), 6 * 3600.0)
    assert longest / 2 <= pause(id, attempts) <= longest
    assert pause(id, attempts) == pause(id, attempts)
    assert len({pause(f"{id}{i}", attempts) for i in range(20)}) == 20


def test_a_redirect_is_not_followed(place: Listener, tmp_path: Path) -> None:
    with listening() as other, world.project(tmp_path, PLACES) as workspace:
        place.answer = lambda _: Said(307, headers={"Location": other.url})
        world.Story(workspace)
        assert telling.deliver(workspace).failed == 1
        assert other.heard == []
        assert telling.outbox_lines(workspace)[0].delivery.said == "crm answered 307"


def test_who_answers_too_slowly_is_left(place: Listener, tmp_path: Path) -> None:
    def slow(_: Heard) -> Said:
        time.sleep(2.0)
        return Said()

    place.answer = slow
    with world.project(tmp_path, PLACES + "    timeout: 1s\n") as workspace:
        world.Story(workspace)
        assert telling.deliver(workspace).failed == 1
        assert "did not answer within 1 s" in telling.outbox_lines(workspace)[0].delivery.said


def test_who_answers_a_byte_at_a_time_is_left_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: Listener
) -> None:
    """Each byte is in time, and the answer never ends."""
    over = threading.Event()

    def drip(door: socket.socket) -> None:
        held, _ = door.accept()
        with held, suppress(OSError):
            while not over.wait(0.1):
                held.sendall(b"H")

    with socket.create_server(("127.0.0.1", 0)) as door:
        thread = threading.Thread(target=drip, args=(door,))
        thread.start()
        monkeypatch.setenv("TELL_CRM", f"http://127.0.0.1:{door.getsockname()[1]}/")
        with world.project(tmp_path, PLACES + "    timeout: 1s\n") as workspace:
            world.Story(workspace)
            stop = threading.Timer(20, over.set)  # should it never give up, the test must end
            stop.start()
            assert telling.deliver(workspace).failed == 1
            assert not over.is_set()
            assert "did not answer within 1 s" in telling.outbox_lines(workspace)[0].delivery.said
        stop.cancel()
        over.set()
        thread.join()


def test_no_secret_and_no_address_is_kept_or_said(
    place: Listener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    caplog.set_level(0)
    said = []
    with world.project(tmp_path, PLACES) as workspace:
        change = world.Story(workspace)
        for wrong in ("http://127.0.0.1:1/s3cret", "http://no-such-host.invalid/s3cret", "s3cret"):
            monkeypatch.setenv("TELL_CRM", wrong)
            assert telling.deliver(workspace, lambda: time.time() + 3600 * len(said)).failed
            said.append(telling.outbox_lines(workspace)[0].delivery.said)
        monkeypatch.setenv("TELL_NEW", "whsec_s3cret")
        assert telling.deliver(workspace, lambda: time.time() + 1e6).failed
        monkeypatch.delenv("TELL_NEW")
        assert telling.deliver(workspace, lambda: time.time() + 2e6).failed
        said.append(telling.outbox_lines(workspace)[0].delivery.said)
        change.workspace.record.close()
    held = b"".join(file.read_bytes() for file in (tmp_path / ".interlock").glob("record.db*"))
    for secret in ("s3cret", OLD, NEW, OLD[6:]):
        assert secret.encode() not in held
        assert secret not in caplog.text + "".join(said)


def test_a_place_that_is_not_declared_any_more_is_not_told(place: Listener, tmp_path: Path) -> None:
    place.answer = lambda _: Said(503)
    with world.project(tmp_path, PLACES) as workspace:
        world.Story(workspace)
        telling.deliver(workspace)
        (tmp_path / "interlock.yaml").write_text(world.MAIN + PLACES.replace("crm", "other"))
        telling.deliver(workspace, lambda: time.time() + 60)
        assert len(place.heard) == 1
        assert "not declared any more" in telling.outbox_lines(workspace)[0].delivery.said


# --- killed, and several at once ------------------------------------------------------

PASS = """
import sys
from pathlib import Path
from interlock.app.outbox import deliver
from interlock.app.workspace import Workspace
deliver(Workspace(Path(sys.argv[1])))
"""


def a_pass(folder: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", PASS, str(folder)])


def test_a_kill_after_sending_repeats_that_one_under_its_id_and_no_other(
    place: Listener, tmp_path: Path
) -> None:
    """The third message is heard, and whoever sent it dies before it hears the answer."""
    with world.project(tmp_path, PLACES) as workspace:
        telling.deliver(workspace)
        world.Story(workspace).reviewed()
    running: list[int] = []

    def answer(_: Heard) -> Said:
        if len(place.heard) == 3:
            os.kill(running[0], signal.SIGKILL)
        return Said()

    place.answer = answer
    first = a_pass(tmp_path)
    running.append(first.pid)
    assert first.wait(30) == -signal.SIGKILL
    with world.project(tmp_path, PLACES) as workspace:
        assert [one.attempts for one in kept(workspace).waiting] == [1, 1, 1, 1]
        later = lambda: time.time() + 60  # noqa: E731
        deadline = time.monotonic() + 30
        while kept(workspace).waiting and time.monotonic() < deadline:  # until its lease is over
            telling.deliver(workspace, later)
            time.sleep(0.1)
        assert kept(workspace).delivered == 4
    ids = [heard.headers["webhook-id"] for heard in place.heard]
    assert ids == [*ids[:3], *ids[:3], ids[6]]
    assert len(set(ids)) == 4


def test_two_that_tell_at_once_tell_once(place: Listener, tmp_path: Path) -> None:
    with world.project(tmp_path, PLACES) as workspace:
        telling.deliver(workspace)
        world.Story(workspace).reviewed().approved().committed()
    both = [a_pass(tmp_path), a_pass(tmp_path)]
    assert [one.wait(30) for one in both] == [0, 0]
    ids = [heard.headers["webhook-id"] for heard in place.heard]
    assert len(ids) == len(set(ids)) == 10


def test_a_silent_place_holds_nobody_up(place: Listener, tmp_path: Path) -> None:
    """The controller's thread tells beside it: a transition never waits for an answer."""
    answered: list[bool] = []

    def slow(_: Heard) -> Said:
        time.sleep(0.5)
        answered.append(True)
        return Said()

    place.answer = slow
    with world.project(tmp_path, PLACES) as workspace:
        change = world.Story(workspace)
        with telling.telling(workspace, every=0.01):
            while not place.heard:
                time.sleep(0.01)
            change.reviewed().approved().ramped().rolled(State.ABORTING, 1, "sam asked")
            assert world.again(workspace).state == "ABORTING"
            assert not answered
        assert kept(workspace).waiting == ()
        assert kept(workspace).delivered == len(telling.story(workspace, "CR-1"))


# --- chat and mail --------------------------------------------------------------------


def test_people_are_told_through_apprise(
    place: Listener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = place.url.replace("http://", "json://") + "/chat"
    monkeypatch.setenv("TELL_CHAT", address)
    more = "notifications:\n  chat: {url: '${TELL_CHAT}', audience: executive}\n"
    with world.project(tmp_path, more) as workspace:
        telling.deliver(workspace)
        change = world.Story(workspace).reviewed()
        assert telling.deliver(workspace).delivered == 4
        said = json.loads(place.heard[-1].body)
        assert said["title"] == "CR-1 Weather in Celsius: waits for agreement"
        assert said["message"].startswith("What: The results are there")
        place.answer = lambda _: Said(302, headers={"Location": f"{place.url}/elsewhere"})
        change.approved()
        assert telling.deliver(workspace).failed == 1
        assert {heard.path for heard in place.heard} == {"/chat"}
        monkeypatch.setenv("TELL_CHAT", "nonsense")
        assert telling.deliver(workspace, lambda: time.time() + 60).failed == 1
        assert "is not one of Apprise" in telling.outbox_lines(workspace)[0].delivery.said
