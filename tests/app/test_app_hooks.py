"""Systems outside are asked before a rollout goes on, never about a way back; real HTTP."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import app_world as world
import pytest
from listener import Listener, Said, listening
from standardwebhooks.webhooks import Webhook as Receiver

from interlock.app import decide
from interlock.app.hooks import chosen, hooks_before, objections
from interlock.app.tick import tick
from interlock.app.workspace import Workspace
from interlock.define.environment import Environment
from interlock.errors import Invalid
from interlock.rollout.state import HoldReason

SECRET = f"whsec_{base64.b64encode(b'k' * 32).decode()}"
HOOKS = """\
    hooks:
      - {before: commit, url: "${GATE_URL}", secrets: ["${GATE_SECRET}"], timeout: 1s}
      - {before: quarter, url: "${GATE_URL}/quarter", secrets: ["${GATE_SECRET}"]}
"""


@pytest.fixture(scope="module")
def gated(small_flights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """CR-1, a first release with hooks, is approved."""
    folder = world.copied(small_flights, tmp_path_factory.mktemp("gated") / "project")
    world.configure(folder)
    world.edit(folder, "interlock.yaml", "    rollback_window", f"{HOOKS}    rollback_window")
    with world.opened(folder) as workspace:
        world.proposed(workspace, "First release, with hooks")
        world.signed(workspace, "CR-1")
    return folder


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Listener:
    with listening(lambda _: Said(409, b'{"reason": "the desk is\\n closed"}')) as listener:
        monkeypatch.setenv("GATE_URL", listener.url)
        monkeypatch.setenv("GATE_SECRET", SECRET)
        yield listener  # type: ignore[misc]


def test_a_rollout_waits_for_yes_and_goes_on_by_itself(
    gated: Path, gate: Listener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with world.opened(world.copied(gated, tmp_path / "project")) as workspace:
        decide.apply(workspace, "CR-1", by="sam")
        said = tick(workspace)
        assert "the hook ${GATE_URL} before commit answered 409: the desk is closed" in said
        state = world.rollout(workspace, "CR-1")
        assert (state.state.name, state.hold) == ("PREPARING", HoldReason.HOOK)
        assert workspace.route().stable is None
        written = len(workspace.record.audit())
        tick(workspace)
        assert len(workspace.record.audit()) == written  # asked again, and nothing new to say
        asked = [Receiver(SECRET).verify(h.body, dict(h.headers)) for h in gate.heard]
        assert asked[0]["change"]["plan_digest"] == asked[1]["change"]["plan_digest"]
        assert len({h.headers["webhook-id"] for h in gate.heard}) == 1
        assert (asked[0]["before"], asked[0]["change"]["id"]) == ("commit", "CR-1")

        monkeypatch.setenv("GATE_URL", "http://127.0.0.1:1")
        assert "could not be reached" in tick(workspace)
        monkeypatch.delenv("GATE_URL")
        assert "is not set" in tick(workspace)
        assert world.rollout(workspace, "CR-1").hold is HoldReason.HOOK

        monkeypatch.setenv("GATE_URL", gate.url)
        gate.answer = lambda _: Said(204)  # well meant, but the one yes is 200
        tick(workspace)
        assert workspace.route().stable is None
        gate.answer = lambda _: Said(200)
        tick(workspace)
        assert world.current(workspace, "CR-1").state == "COMMITTED"


def test_the_way_back_is_not_asked(gated: Path, gate: Listener, tmp_path: Path) -> None:
    with world.opened(world.copied(gated, tmp_path / "project")) as workspace:
        gate.answer = lambda _: Said(200)
        decide.apply(workspace, "CR-1", by="sam")
        tick(workspace)
        gate.answer, before = (lambda _: Said(500)), len(gate.heard)
        tick(workspace)
        assert world.current(workspace, "CR-1").state == "COMMITTED"
        assert len(gate.heard) == before


def test_a_person_may_promote_past_a_hook_under_their_name(
    gated: Path, gate: Listener, tmp_path: Path
) -> None:
    with world.opened(world.copied(gated, tmp_path / "project")) as workspace:
        decide.apply(workspace, "CR-1", by="sam")
        tick(workspace)
        decide.promote(workspace, "CR-1", by="sam", reason="the gate was switched off for good")
        tick(workspace)
        change = world.current(workspace, "CR-1")
        assert change.state == "COMMITTED"
        assert "; WAIVED by sam: the hook ${GATE_URL} before commit" in change.said


def test_every_hook_of_a_stage_is_heard_and_no_other(
    gated: Path, gate: Listener, tmp_path: Path
) -> None:
    with world.opened(world.copied(gated, tmp_path / "project")) as workspace:
        change = world.current(workspace, "CR-1")
        assert [h.before for h in hooks_before(workspace, change, "quarter")] == ["quarter"]
        assert objections(workspace, [(change, "mirror"), (change, "")]) == {}
        assert gate.heard == []


def environment(workspace: Workspace, text: str) -> Environment:
    texts = dict(workspace.project.texts)
    texts["interlock.yaml"] = texts["interlock.yaml"].replace(HOOKS, text)
    return workspace.learn(texts)[0].environments["prod"]


def test_a_change_cannot_remove_the_hook_that_would_hold_it(gated: Path, tmp_path: Path) -> None:
    with world.opened(world.copied(gated, tmp_path / "project")) as workspace:
        old, new = workspace.settings, environment(workspace, "")
        assert (new.hooks, len(old.hooks)) == ((), 2)
        assert [h.before for h in chosen(new, old, "quarter")] == ["quarter"]
        renamed = [s.model_copy(update={"name": f"{s.name}_2"}) for s in old.stages]
        other = new.model_copy(update={"stages": tuple(renamed)})
        for stage in ("mirror_2", "quarter_2", "soak_2"):
            # The stage it names is gone: better asked too often than never.
            assert [h.before for h in chosen(other, old, stage)] == ["quarter"]
        with pytest.raises(Invalid, match="no stage quarters"):
            environment(workspace, HOOKS.replace("before: quarter", "before: quarters"))


def test_what_is_sent_is_the_change(gated: Path, gate: Listener, tmp_path: Path) -> None:
    with world.opened(world.copied(gated, tmp_path / "project")) as workspace:
        change = world.current(workspace, "CR-1")
        assert "answered 409" in objections(workspace, [(change, "quarter")])[change.id]
        assert gate.heard[0].path == "/quarter"
        body = json.loads(gate.heard[0].body)
        assert body["change"] == json.loads(json.dumps(change.to_json()))
        assert SECRET not in gate.heard[0].body.decode()
