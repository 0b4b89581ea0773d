"""X11 over a budget that was measured: what callers got decides how much may be put at risk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import app_world as world

from interlock.app import booking, reliability
from interlock.app.answers import standing_of, status_json
from interlock.app.changes import describe
from interlock.app.ingest import LOG
from interlock.app.lookback import scorecard
from interlock.app.loop import look_after
from interlock.app.versions import calendar_over, stored
from interlock.app.workspace import Workspace
from interlock.change.calendar import Agenda, conflicts
from interlock.change.conflicts import Booking, Conflict
from interlock.cli import views
from interlock.cli.lookback import scored
from interlock.features.dialect import dialect_of
from interlock.ports import Replacement

Stages = Mapping[str, Path]
GATES = "service:gates"


def failing(workspace: Workspace, answers: int) -> None:
    """`answers` of the log came back with an error, and all of them in no time."""
    warehouse = workspace.warehouse
    now = {"error": f"place_ <= {answers} AS error", "latency_us": "1.0 AS latency_us"}
    columns = warehouse.columns(f"SELECT * FROM {LOG}")
    quoted = dialect_of(warehouse).quoted
    said = ", ".join(now.get(one, quoted(one)) for one in columns)
    rows = f"SELECT {said} FROM (SELECT *, row_number() OVER (ORDER BY id) AS place_ FROM {LOG})"
    warehouse.load("il.failing", warehouse.query(rows))
    warehouse.replace([Replacement(LOG, "TRUE", "SELECT * FROM il.failing")])


def reaching(workspace: Workspace, exposed: float) -> list[Conflict]:
    """X11 between two changes that reach gates through other things, each at `exposed`."""
    version = stored(workspace, workspace.route().stable or "")
    mine = booking.starting(workspace, world.current(workspace, "CR-2"), version)
    only = replace(
        mine.footprint, writes=frozenset({"table:a"}), reads=frozenset(), evidence=frozenset(),
        breaking=frozenset(), measures=(), impact=frozenset({GATES}), exposed=exposed,
    )  # fmt: skip
    other = replace(only, writes=frozenset({"table:b"}))
    one = Booking("CR-8", only, mine.phases, "one", "wei")
    two = Booking("CR-9", other, mine.phases, "another", "wei")
    there = booking.world_of(workspace, calendar_over(workspace, version))
    return [c for c in conflicts(Agenda([two]), one, there) if c.rule == "X11"]


# R-C3
def test_what_callers_got_decides_whether_two_changes_may_share_a_service(
    stages: Stages, tmp_path: Path
) -> None:
    with world.opened(world.copied(stages["COMMITTED"], tmp_path / "project")) as workspace:
        version = stored(workspace, workspace.route().stable or "")
        # The looks of the rollout have measured it, from the requests that were played.
        kept = reliability.kept(workspace.record, "prod")
        assert kept is not None
        assert {one.service for one in kept.services} == {"rebooking", "crew", "gates"}
        asked = next(one.answers for one in kept.services if one.service == "gates")
        assert asked > 100
        # No answer failed: half of the requests may be put at risk, and it is only a warning.
        failing(workspace, 0)
        whole = reliability.keep(workspace, version)
        gates = next(one for one in whole.services if one.service == "gates")
        (said,) = reaching(workspace, exposed=0.25)
        assert (gates.bad, gates.left) == (0, 1.0)
        assert (said.action, "shown to 44% of requests" in said.sentence) == ("warn", True)
        # More than one of a thousand: nothing is left.
        failing(workspace, bad := int(gates.allowed) + 1)
        spent = reliability.keep(workspace, version)
        gates = next(one for one in spent.services if one.service == "gates")
        assert (gates.bad, gates.left) == (bad, 0.0)
        (said,) = reaching(workspace, exposed=0.25)
        assert said.action == "block"
        # A near miss: what two mirrored candidates show to nobody is over no budget.
        (said,) = reaching(workspace, exposed=0.0)
        assert said.action == "warn"
        # What nobody asked for four weeks is not known, and unknown is said as a warning.
        workspace.advance(workspace.now() + timedelta(days=40))
        assert reliability.keep(workspace, version).left == {}
        (said,) = reaching(workspace, exposed=0.25)
        assert said.action == "warn"


# R-C13
def test_budgets_are_in_the_status_and_the_scorecard(stages: Stages, tmp_path: Path) -> None:
    with world.opened(world.copied(stages["COMMITTED"], tmp_path / "project")) as workspace:
        found = describe(workspace, None)
        assert any(said.startswith("gates: promises 99.9 %; ") for said in found.budgets)
        assert "error budgets" in views.status(found)
        assert standing_of(status_json(found)).budgets == found.budgets
        look_after(workspace)
        card = scorecard(workspace)
        assert {one.service for one in card.budgets} == {"rebooking", "crew", "gates"}
        release = workspace.route().stable
        before, now = card.models
        assert (before.model, now.model, now.release) == ("late", "late", release)
        assert before.release != release
        assert min(before.n, now.n) > 0
        assert {one.service for one in card.services} == {"rebooking", "crew", "gates"}
        assert all(one.n > 0 for one in card.services)
        shown = scored(card)
        told = [one.sentence for one in card.models]
        told += [one.sentence for one in card.services]
        told += [one.sentence for one in card.budgets]
        assert all(said.split(":")[0] in shown for said in told)
        none = scorecard(workspace, since="2012-01-01", until="2012-02-01")
        assert (none.models, none.services) == ((), ())
