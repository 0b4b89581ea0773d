"""An edit of policies, calendar, owners or stages alone: signed, released, taken back."""

from __future__ import annotations

import app_world as world
import pytest

from interlock.app import decide
from interlock.app.planning import plan_now
from interlock.app.tick import tick
from interlock.app.versions import stable
from interlock.app.workspace import Workspace
from interlock.change.change import Change

HOLDS = "    gina: [service_owner]\n"
EDITS = {
    "policies": ("policies/change.cedar", "soak_hours >= 24", "soak_hours >= 48"),
    "calendar": ("calendar.yaml", "2013-03-09T00:00:00", "2013-03-10T00:00:00"),
    "environments": ("interlock.yaml", "rollback_window: 7d", "rollback_window: 8d"),
    "owners": ("interlock.yaml", HOLDS, HOLDS.replace("gina", "max") + HOLDS),
}


@pytest.mark.parametrize("kind", EDITS)
def test_an_edit_of_the_rules_alone_makes_a_plan(live: Workspace, kind: str) -> None:
    assert plan_now(live).empty
    world.edit(live.folder, *EDITS[kind])
    live.reread()
    plan = plan_now(live)
    assert (plan.kind, plan.rules, plan.only_rules) == ("change", (kind,), True)
    assert [one.role for one in plan.requirements] == ["change_sponsor"]
    assert (plan.steps, plan.evidence, plan.differences) == ((), (), ())
    assert any("in force once this is released" in note for note in plan.notes)
    assert plan.slot is not None


def signed(workspace: Workspace) -> Change:
    world.edit(workspace.folder, *EDITS["policies"])
    change = world.proposed(workspace, "Tier one soaks for two days")
    world.signed(workspace, change.id)
    return world.current(workspace, change.id)


def test_it_is_in_force_once_it_is_released_and_no_longer_when_taken_back(live: Workspace) -> None:
    change = signed(live)
    assert change.state == "SCHEDULED"
    before = live.route().stable
    assert change.release != before
    assert ">= 24" in rules(live)
    for _ in range(2):  # it starts by itself in its slot, and has no stages to walk
        tick(live)
    assert world.current(live, change.id).state == "COMMITTED"
    assert "nothing that answers differs" in world.rollout(live, change.id).history[-1].sentence
    assert live.route().stable == change.release
    assert ">= 48" in rules(live)
    live.reread()
    assert plan_now(live).empty
    decide.rollback(live, change.id, by="sam", reason="too long")
    assert live.route().stable == before
    assert ">= 24" in rules(live)


def rules(workspace: Workspace) -> str:
    running = stable(workspace)
    assert running is not None
    return running.project.policies["policies/change.cedar"].partition("soak_hours")[2]
