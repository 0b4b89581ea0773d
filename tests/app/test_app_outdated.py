"""Evidence stands on rows: when a refresh moves them, that evidence is made anew, and only that."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import replace

import app_world as world
import pytest

from interlock.app import decide
from interlock.app.changes import evidence_of, held, save
from interlock.app.outdated import prove_again
from interlock.app.refresh import refresh
from interlock.app.weighing import objections as objections_of
from interlock.app.workspace import Workspace
from interlock.change.evidence import Evidence
from interlock.errors import Refused
from interlock.plan.plan import Plan

ID = "CR-2"  # another seed: its model is compared on 5 to 26 February
Row = dict[str, str]


@pytest.fixture
def proven(ready: Workspace) -> Workspace:
    """CR-2 with nothing waived; what made-up data cannot show is not asked for."""
    before = held(ready.record, ID)
    save(ready, before, replace(before.change, waivers=()), by="a test")
    refresh(ready)  # the first compares all of it, and finds that nothing has moved
    return ready


def moved(workspace: Workspace, change: Callable[[list[Row]], None]) -> None:
    """The weather file as `change` leaves it, refreshed."""
    path = workspace.folder / "data/weather.csv"
    with path.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    change(rows)
    with path.open("w", newline="") as lines:
        out = csv.DictWriter(lines, list(rows[0]))
        out.writeheader()
        out.writerows(rows)
    refresh(workspace, ["raw.weather"])


def warmer(day: str) -> Callable[[list[Row]], None]:
    def change(rows: list[Row]) -> None:
        for row in rows:
            if row["time_hour"].startswith(day):
                row["temp"] = str(float(row["temp"]) + 1)

    return change


def newer(rows: list[Row]) -> None:
    """The newest day, as a source grows."""
    rows.append({**rows[-1], "time_hour": "2013-05-01T00:00:00Z"})


def objections(workspace: Workspace) -> list[str]:
    """What is said about rows that were refreshed."""
    said = objections_of(workspace, world.current(workspace, ID))
    return [text for text in said if "refreshed since" in text]


def newest(workspace: Workspace) -> dict[str, Evidence]:
    made = evidence_of(workspace.record, world.current(workspace, ID))
    return {piece.check: piece for piece in made}


def test_evidence_says_which_rows_it_was_made_on(proven: Workspace) -> None:
    rows = newest(proven)["model_comparison:late"].rows
    named = {at["of"]: at["until"] for at in rows.values()}
    assert set(named) >= {"table:raw.weather", "table:raw.flights"}
    assert set(named.values()) == {"2013-02-27T00:00:00+00:00"}
    assert objections(proven) == []


# R-A6
def test_a_correction_in_its_range_outdates_it_and_only_that_is_made_anew(
    proven: Workspace,
) -> None:
    signed = world.current(proven, ID)
    before = newest(proven)
    moved(proven, warmer("2013-02-10"))
    said = objections(proven)
    assert {text.partition(": ")[0] for text in said} == {
        "model_comparison:late", "kpi:rebooking", "kpi:crew", "kpi:gates", "null_rehearsal:late",
    } & set(Plan.from_json(signed.plan or {}).evidence)  # fmt: skip
    assert all("table:raw.weather (2013-02-10" in text for text in said)
    prove_again(proven, ID, lambda _: None)
    # Seed 2 is no better on made-up data: what stands on the model is not run before somebody
    # has taken that upon himself, and then only that.
    held_up = {p.check for p in newest(proven).values() if p.not_run == "model"}
    assert held_up == {"kpi:rebooking", "kpi:crew", "kpi:gates"}
    lacks = objections_of(proven, world.current(proven, ID))
    assert sum("not run: model layer failed (" in text for text in lacks) == 3
    count = len(world.current(proven, ID).evidence)
    world.waived(proven, ID)
    prove_again(proven, ID, lambda _: None)
    assert len(world.current(proven, ID).evidence) == count + 3
    after = world.current(proven, ID)
    assert objections(proven) == []
    assert (after.state, after.signoffs, after.plan) == (signed.state, signed.signoffs, signed.plan)
    again = {check for check, piece in newest(proven).items() if piece != before[check]}
    assert again == {text.partition(": ")[0] for text in said}
    count = len(after.evidence)
    prove_again(proven, ID, lambda _: None)
    assert len(world.current(proven, ID).evidence) == count, "nothing is lost, nothing is made"


# R-A6
def test_the_newest_day_outdates_nothing(proven: Workspace) -> None:
    moved(proven, newer)
    assert objections(proven) == []


def test_a_change_that_ended_is_not_proven_again(proven: Workspace) -> None:
    decide.withdraw(proven, ID, by="wei", reason="a test")
    with pytest.raises(Refused, match="WITHDRAWN"):
        prove_again(proven, ID, lambda _: None)


# R-A6
def test_a_view_that_does_not_run_yet_follows_the_refresh(live: Workspace) -> None:
    """Its tables were built when it was proposed; made anew they hold the rows of today."""
    refresh(live)
    old, new = "temp_f AS wx_temp_f", "temp_f + 0 AS wx_temp_f"
    world.edit(live.folder, "features/origin_weather.sql", old, new)
    change = world.proposed(live, "The same, said otherwise")
    moved(live, warmer("2013-02-10"))
    prove_again(live, change.id, lambda _: None)
    said = objections_of(live, world.current(live, change.id))
    assert not [text for text in said if "refreshed since" in text]
    values = [
        piece
        for piece in evidence_of(live.record, world.current(live, change.id))
        if piece.check == "values:origin_weather@1"
    ]
    assert [piece.verdict for piece in values] == ["pass", "pass"]
