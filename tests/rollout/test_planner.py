"""What a rollout costs is said before it starts, and what cannot be shown in time is refused."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from math import inf, log

import numpy as np
import pytest
from rollout_story import ALPHA, BETA, ERRORS, STAGES

from interlock.define.environment import Stage
from interlock.rollout.defaults import DecisionPlan, KpiPlan, Planned, default_guardrails
from interlock.rollout.eprocess import Moments
from interlock.rollout.evidence import evidence
from interlock.rollout.metrics import Guardrail
from interlock.rollout.planner import Need, days_of, days_to_show, lasts, needs
from interlock.rollout.strata import Strata

DEFAULTS = default_guardrails(
    Planned(
        50, {"tenth": 0.1, "half": 0.5}, kpis=(KpiPlan("gates", 2.6, 4.0, 0.05, "lower", 50),),
        decisions=(DecisionPlan("desk", 0.5, 0.2, 0.05, 0.1),),
    )
)  # fmt: skip
DAILY = {g.metric: 938.0 for g in DEFAULTS} | {"kpi:gates": 54.0}
DAY = timedelta(days=1)


def named(found: tuple[Need, ...]) -> dict[tuple[str, str], Need]:
    return {(need.stage, need.guardrail): need for need in found}


def test_every_gate_of_every_stage_has_its_samples_and_its_time() -> None:
    found = needs(DEFAULTS, STAGES, DAILY)
    by = named(found)
    gates = {"shadow": "shadow", "tenth": "ramp", "half": "ramp", "soak": "soak"}
    assert set(by) == {(s, g.name) for s in gates for g in DEFAULTS if gates[s] in g.gate}
    paired = by["shadow", "log_loss_paired"]
    # Noise, and eight hours that it takes beside it.
    hours = 8 * 938 / 24
    assert paired.units == pytest.approx(8 * 0.03 / (0.02 * 0.5) ** 2 + hours)
    assert paired.days == pytest.approx(paired.units / 938 + 1), "labels come a day later"
    assert by["shadow", "decisions:desk"].units == pytest.approx(
        1.25 * 8 * 0.05 / 0.02**2 + hours
    ), "the slower of two sides"
    assert days_of(STAGES[0], found) == max(n.days for n in found if n.stage == "shadow")
    assert lasts(STAGES, found).days >= sum(days_of(s, found) for s in STAGES) - 1


def test_what_earlier_stages_show_is_not_asked_for_again() -> None:
    by = named(needs(DEFAULTS, STAGES, DAILY))
    alone = named(needs(DEFAULTS, STAGES[1:], DAILY))
    assert by["tenth", "errors"].units == ERRORS.min_units or by["tenth", "errors"].units < 50
    assert alone["tenth", "errors"].units > 4000
    assert by["tenth", "split"].units == alone["tenth", "split"].units, "a mirror splits nothing"


def test_a_rung_of_the_ladder_costs_less() -> None:
    early = STAGES[1].model_copy(update={"margins": 3.0})
    rungs = [replace(g, ladder={early.name: early.margins}) for g in DEFAULTS]
    cheap, dear = needs(rungs, [early], DAILY), needs(DEFAULTS, [STAGES[1]], DAILY)
    hours = 8 * 938 / 24  # what no margin changes
    little, much = (named(found)["tenth", "log_loss"].units - hours for found in (cheap, dear))
    assert little == pytest.approx(much / 9)


def test_a_gate_that_is_too_slow_for_its_stage_is_refused_with_every_way_out() -> None:
    short = Stage(name="tenth", weight=0.05, hold=DAY, deadline=2 * DAY)
    (need,) = needs([replace(ERRORS, margin=0.5, margin_absolute=0.0)], [short], 2e5)
    assert "past its deadline of 2d" in need.objection
    said = need.objection.split(": ", 1)[1].split(", or ")
    deadline, margins, weight = said
    assert deadline == f"give the stage a deadline of {int(need.days) + 1}d"
    # Each way out is one: what is named does pass.
    longer = short.model_copy(update={"deadline": (int(need.days) + 1) * DAY})
    factor = float(margins.split("`")[1].removeprefix("margins: "))
    share = float(weight.split("`")[1].removeprefix("weight: "))
    plain = replace(ERRORS, margin=0.5, margin_absolute=0.0)
    ways = [
        ([plain], longer),
        ([replace(plain, ladder={"tenth": factor})], short),
        ([plain], short.model_copy(update={"weight": share})),
    ]
    for guardrails, stage in ways:
        (again,) = needs(guardrails, [stage], 2e5)
        assert again.objection == ""


def test_what_can_never_be_shown_is_refused_and_no_deadline_waits_as_long_as_it_takes() -> None:
    assert "no units are expected" in needs(DEFAULTS, STAGES, 0.0)[0].objection
    blind = Guardrail("x", "x", "mean", margin=0.1)
    (need,) = needs([blind], [STAGES[1]], 100.0)
    assert need.days == inf
    assert "give it an absolute margin or baseline" in need.objection
    patient = STAGES[1].model_copy(update={"deadline": None})
    (slow,) = needs([replace(ERRORS, margin_absolute=0.0)], [patient], 1.0)
    assert slow.days > 1000
    assert slow.objection == ""


@pytest.mark.parametrize("units", [3.0, 1000.0, 1e6])
@pytest.mark.parametrize("unlike", [0.0, 0.3])
def test_a_kpi_that_hardly_moves_is_shown_in_the_days_that_were_planned(
    units: float, unlike: float
) -> None:
    """History says next to nothing of its variance; the evidence must not wait for more."""
    plan = KpiPlan("desk", 2.0, 1e-9, 0.05, "lower", units)
    guardrails = default_guardrails(Planned(50, {"half": 0.5}, kpis=(plan,)))
    (it,) = [one for one in guardrails if one.name == "kpi:desk"]
    soak = Stage(name="soak", weight=1, hold=3 * DAY)
    (need,) = needs([replace(it, labels=False)], [soak], units)
    assert need.days == pytest.approx(days_to_show(plan, units)) == pytest.approx(8.8)
    rng, days = np.random.default_rng(5), 40
    # A day's sum is off by `unlike` of what a day of the whole margin would be.
    off = rng.normal(0, unlike * units * plan.margin * plan.baseline, (200, days))
    sums = Moments(np.full(off.shape, units), off, off**2 / units)
    found = Strata(tuple((day, "soak") for day in range(days)), {"paired": sums})
    safe = evidence(it, found, ALPHA, BETA).safe
    through = np.argmax(safe >= log(1 / BETA), axis=1) + 1
    assert 8 <= np.median(through) <= 12
    assert not (safe[:, :7] >= log(1 / BETA)).any(), "fewer buckets can show nothing"


def test_planning_loads_no_numbers() -> None:
    code = "import sys, interlock.app.gating; sys.exit(len({'numpy', 'scipy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
