"""Blue/green on the flights: everybody at once, judged on mirrored answers, back in one move."""

from __future__ import annotations

import app_world as world
import pytest

from interlock.app import decide
from interlock.app.tick import tick
from interlock.app.workspace import Workspace
from interlock.errors import Refused
from interlock.rollout.state import HoldReason


def test_everybody_is_switched_at_once_and_back_at_once(live: Workspace) -> None:
    world.edit(live.folder, "models/late.yaml", "  seed: 1\n", "  seed: 2\n")
    stages = "    stages:\n"
    world.edit(live.folder, "interlock.yaml", stages, f"    strategy: blue_green\n{stages}")
    soak = "{name: soak, weight: 1, hold: 3d}"
    world.edit(live.folder, "interlock.yaml", soak, soak.replace("}", ", deadline: 60d}"))
    live.reread()
    world.waived(live, world.proposed(live, "All at once").id)
    change = world.current(live, "CR-2")
    assert {gate["stage"] for gate in (change.plan or {})["gates"]} == {"soak"}
    asked = {g["name"] for g in change.details["judge"]["guardrails"] if "soak" in g["gate"]}
    assert {"errors", "fallbacks", "score_shift", "log_loss_paired"} <= asked
    world.signed(live, change.id)
    decide.apply(live, change.id, by="sam")
    with pytest.raises(Refused, match="in no stage yet"):
        decide.retry(live, change.id, by="sam", reason="a second try")
    before = live.route()
    tick(live)
    route = live.route()
    assert (route.weight, route.stage, route.mirror) == (1.0, "soak", True)
    assert (route.stable, route.epoch) == (before.stable, before.epoch + 1)
    _more_time(live, change.id)
    decide.rollback(live, change.id, by="sam", reason="enough seen")
    back = live.route()
    assert (back.stable, back.candidate, back.weight) == (before.stable, None, 0.0)
    assert change.release in back.blocked


def _more_time(live: Workspace, id: str) -> None:
    """Past its deadline the owner decides; more time is one of the answers."""
    began = world.rollout(live, id).entered_at
    world.at(began.replace(year=began.year + 1), live)
    tick(live)
    assert world.rollout(live, id).hold is HoldReason.NO_DATA, "silence is not open: it is silence"
    done = world.command(
        live.folder, "retry", id, "--reason", "traffic returns tomorrow", "--by", "sam"
    )
    assert done.code == 0
    tick(live)
    again = world.rollout(live, id)
    assert again.entered_at > began
    assert "sam gives it more time: traffic returns tomorrow" in again.history[-1].sentence
