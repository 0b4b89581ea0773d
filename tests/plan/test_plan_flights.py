"""The plans of the flights story, from its real definitions."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest

from interlock.define.load import read
from interlock.impact.facts import learn
from interlock.plan.make import Side, Where, make_plan
from interlock.plan.plan import Plan

FOLDER = Path(__file__).parent.parent.parent / "examples" / "flights"
WHERE = Where("prod", datetime(2013, 7, 1, tzinfo=UTC))


def _texts() -> dict[str, str]:
    files = (path for path in FOLDER.rglob("*") if path.is_file())
    known = {".yaml", ".sql", ".py", ".cedar"}
    return {str(p.relative_to(FOLDER)): p.read_text() for p in files if p.suffix in known}


TEXTS = _texts()


def _side(texts: Mapping[str, str], digest: str | None = None) -> Side:
    reading = read(texts)
    assert reading.project, reading.problems
    facts, problems = learn(reading.project)
    assert not problems
    return Side(reading.project, facts, digest)


@pytest.fixture(scope="module")
def stable() -> Side:
    return _side(TEXTS, "f" * 64)


def _planned(stable: Side, file: str, old: str, new: str) -> Plan:
    assert old in TEXTS[file]
    return make_plan(_side({**TEXTS, file: TEXTS[file].replace(old, new)}), stable, WHERE)


def test_the_flights_project_is_understood_whole(stable: Side) -> None:
    assert all(node.unknown is None for node in stable.facts.nodes.values())
    assert len(stable.facts.of_kind("view")) == 12


def test_delays_in_seconds_break_five_views_of_twelve_and_every_service(stable: Side) -> None:
    """R-C2: from one column of the warehouse to the services, with the filter edge."""
    plan = _planned(stable, "tables/wh_departures.yaml", "unit: min", "unit: s")
    broken = {r.ref.name for r in plan.reached if r.verdict == "breaks"}
    assert broken >= {
        "origin_dep_delay_2h", "origin_dep_delay_24h", "carrier_origin_delay_3h",
        "tail_last_delay", "origin_overdue", "late", "rebooking", "crew", "gates",
    }  # fmt: skip
    assert sum(r.ref.kind == "feature" for r in plan.reached) == 5
    assert len(plan.objections) == 5
    overdue = next(r for r in plan.reached if r.ref.name == "origin_overdue")
    assert "reads column:wh.departures.dep_delay (filter): unit min became s" in overdue.sentence


def test_a_description_is_nothing_to_do(stable: Side) -> None:
    plan = _planned(stable, "tables/wh_departures.yaml", "negative when early", "below zero: early")
    assert plan.empty


def test_another_weight_trains_and_asks_every_owner(stable: Side) -> None:
    plan = _planned(stable, "models/late.yaml", "seed: 1", "seed: 2")
    assert plan.trains == ("late",)
    teams = {r.team for r in plan.requirements if r.role == "service_owner"}
    assert teams == {"ops-rebooking", "ops-crew", "ops-gates"}
    assert "kpi:gates" in plan.evidence
    # Crew and gates decide on more than one flight; both wrote down why that is borne.
    assert not plan.objections
    assert len(plan.notes) == 2


def test_a_column_beside_the_label_moves_only_the_kpis_that_use_it(stable: Side) -> None:
    """`severe` is no label: nothing is trained again, yet two services measure another thing."""
    plan = _planned(stable, "models/late.yaml", "arr_delay > 60", "arr_delay > 45")
    moved = {str(r.ref) for r in plan.reached if r.verdict == "moves"}
    users = {f"service:{n}" for n, s in stable.project.services.items() if "severe" in s.kpi.sql}
    assert users
    assert moved == users
    assert not plan.trains
