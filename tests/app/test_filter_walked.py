"""A stage for flights from one airport: both doors agree on who is in, and only they are judged."""

from __future__ import annotations

from datetime import timedelta

import app_world as world
from scoring_world import asked_for, rows_due, same, scored, shown

from interlock.app import decide
from interlock.app.ingest import LOG
from interlock.app.tick import tick
from interlock.app.workspace import Workspace
from interlock.define.refs import Ref
from interlock.define.release import Route
from interlock.plan.plan import Plan
from interlock.rollout.cohort import arm

QUARTER = "{name: quarter, weight: 0.25, hold: 2d}"


def ramping(live: Workspace) -> Route:
    """CR-2 answers half of the flights from JFK, and nobody else; a day of traffic has come."""
    world.edit(live.folder, "models/late.yaml", "  seed: 1\n", "  seed: 2\n")
    world.edit(live.folder, "interlock.yaml", "      - {name: mirror, weight: 0, hold: 2d}\n", "")
    half = "{name: quarter, weight: 0.5, hold: 2d, only: {origin: [JFK]}}"
    world.edit(live.folder, "interlock.yaml", QUARTER, half)
    critical = "  slices: [origin, carrier, hour_band]\n"
    world.edit(
        live.folder, "models/late.yaml", critical,
        f"{critical}  critical: {{carrier: [UA, B6], origin: [EWR]}}\n",
    )  # fmt: skip
    world.proposed(live, "Only from JFK")
    world.signed(live, "CR-2")
    decide.apply(live, "CR-2", by="sam")
    tick(live)
    world.play(live, timedelta(days=1))
    tick(live)
    return live.route()


def test_both_doors_let_in_the_same_flights_and_only_those_are_judged(live: Workspace) -> None:
    route = ramping(live)
    assert route.filter == (("origin", ("JFK",)),)
    plan = Plan.from_json(world.current(live, "CR-2").plan or {})
    assert any("only origin JFK" in line for line in map(str, plan.steps))
    inside = world.current(live, "CR-2").details["judge"]["inside"]
    assert 0.2 < inside["quarter"] < 0.5, "one of three airports"

    rows = {row["flight_id"]: row["origin"] for row in rows_due(live).to_pylist()}
    done, batch = scored(live), shown(live)
    assert same(batch, asked_for(live, rows_due(live))) == 2
    for key, origin in rows.items():
        assert batch[key]["arm"] == arm(route, str(key), {"origin": origin})
        assert batch[key]["origin"] == origin
    assert {row["arm"] for row in batch.values()} == {"stable", "candidate", "outside"}
    assert done.counted == len(rows)

    tick(live)
    logged = live.warehouse.query(
        f"SELECT l.arm, s.origin, count(DISTINCT l.key) AS n FROM {LOG} AS l JOIN wh.spine AS s "
        "ON s.flight_id = l.key WHERE l.change = 'CR-2' GROUP BY ALL"
    ).to_pylist()
    assert {row["arm"] for row in logged if row["origin"] != "JFK"} == {"outside"}
    assert {row["arm"] for row in logged if row["origin"] == "JFK"} == {"stable", "candidate"}
    every = [b for b in live.record.buckets("CR-2") if b.metric == "errors" and not b.slice]
    judged = sum(b.n for b in every)
    assert judged == sum(row["n"] for row in logged if row["arm"] != "outside")

    _critical_slices_are_counted(live)
    decide.rollback(live, "CR-2", by="sam", reason="enough seen")
    tick(live)
    assert {row["release"] for row in shown(live).values()} == {route.stable}
    assert {row["arm"] for row in shown(live).values()} == {"stable"}


def _critical_slices_are_counted(live: Workspace) -> None:
    """Those of each carrier who are within; of EWR nobody is, and in this stage nobody asks."""
    agreed = world.current(live, "CR-2").details["judge"]
    apart = {one["slice"]: one.get("apart", []) for one in agreed["guardrails"] if one["slice"]}
    assert apart == {"carrier=UA": [], "carrier=B6": [], "origin=EWR": ["quarter"]}
    assert agreed["inside"]["origin=EWR"] > 0.2
    told = live.warehouse.query(
        f"SELECT s.carrier, count(DISTINCT l.key) AS n FROM {LOG} AS l JOIN wh.spine AS s "
        "ON s.flight_id = l.key WHERE l.change = 'CR-2' AND l.arm <> 'outside' GROUP BY ALL"
    ).to_pylist()
    buckets = live.record.buckets("CR-2")
    for carrier in ("UA", "B6"):
        mine = [b for b in buckets if b.slice == f"carrier={carrier}"]
        assert {b.metric for b in mine} <= {"errors", "fallbacks", "log_loss_paired"}
        seen = sum(b.n for b in mine if b.metric == "errors")
        assert seen == sum(row["n"] for row in told if row["carrier"] == carrier) > 0
    assert not [b for b in buckets if b.slice == "origin=EWR"]
    judged = live.record.get(Ref("judgement", "CR-2"))
    assert judged is not None
    required = {one["name"]: one["required"] for one in judged.body["per_guardrail"]}
    assert required["errors at carrier=UA"]
    assert not required["errors at origin=EWR"]
