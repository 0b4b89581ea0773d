"""Every state of a rollout and everything that can happen there: one table, as it was designed.

Forward moves wait for evidence, holds, freezes and approvals. Backward moves wait for nothing.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from rollout_story import HOUR, NEW, OLD, STAGES, idle_route, started

from interlock.define.release import Route
from interlock.rollout.judge import Judgement
from interlock.rollout.machine import Abort, Advance, Facts, Request, advance, after
from interlock.rollout.routes import route_after
from interlock.rollout.state import ENDED, HoldReason, RolloutState, State

SAFE = Judgement("safe", (), 1.0, 100.0, False, "all was shown", started().registered)
HARM = replace(SAFE, verdict="harm", sentence="errors are worse")
OPEN = replace(SAFE, verdict="needs_data", sentence="errors need data")
NOTHING = replace(OPEN, measured=0.0)
UNREADABLE = replace(SAFE, verdict="error", sentence="a count is negative")
BROKEN = replace(UNREADABLE, split_broken=True)
OTHERS = replace(SAFE, registered="others")

SOON, LATER, OVERDUE = timedelta(minutes=1), 2 * HOUR, 25 * HOUR
AFTER_WINDOW = timedelta(days=8)


def asked(kind: str, reason: str = "because") -> Facts:
    return Facts(request=Request(kind, "ada", reason))  # type: ignore[arg-type]  # Request.kind


PROMOTED = asked("promote")
EVENTS: dict[str, tuple[Judgement | None, Facts, timedelta]] = {
    "all shown": (SAFE, Facts(), LATER),
    "too soon": (SAFE, Facts(), SOON),
    "being built": (SAFE, Facts(prepared=False), LATER),
    "not judged": (None, Facts(), LATER),
    "no units": (NOTHING, Facts(), LATER),
    "no units, promoted": (NOTHING, PROMOTED, LATER),
    "open": (OPEN, Facts(), LATER),
    "open too long": (OPEN, Facts(), OVERDUE),
    "open, promoted": (OPEN, PROMOTED, LATER),
    "open, chosen": (OPEN, asked("choose"), LATER),
    "open, promoted without reason": (OPEN, asked("promote", " "), LATER),
    "promoted too soon": (OPEN, PROMOTED, SOON),
    "labels on their way": (SAFE, Facts(labels_matured=False), LATER),
    "unreadable": (UNREADABLE, Facts(), LATER),
    "not to be judged": (SAFE, Facts(unsound="two labels"), LATER),
    "not to be judged, promoted": (SAFE, replace(PROMOTED, unsound="two labels"), LATER),
    "split broken": (BROKEN, Facts(), LATER),
    "split broken, promoted": (BROKEN, PROMOTED, LATER),
    "by other guardrails": (OTHERS, Facts(), LATER),
    "harm": (HARM, Facts(), LATER),
    "harm at once": (HARM, Facts(), SOON),
    "harm, promoted": (HARM, PROMOTED, LATER),
    "harm, held": (HARM, asked("hold"), LATER),
    "harm in a freeze, ill fallback": (HARM, Facts(freeze="closed", fallback="ill"), LATER),
    "freeze": (SAFE, Facts(freeze="closed"), LATER),
    "freeze, promoted": (OPEN, replace(PROMOTED, freeze="closed"), LATER),
    "signatures too old": (SAFE, Facts(approvals="expired"), LATER),
    "late data": (SAFE, Facts(late_data="weather"), LATER),
    "another change": (SAFE, Facts(dependency="CR-7"), LATER),
    "ill fallback": (SAFE, Facts(fallback="ill"), LATER),
    "hook says no": (SAFE, Facts(hook="no"), LATER),
    "hook says no, promoted": (SAFE, replace(PROMOTED, hook="no"), LATER),
    "monitored": (SAFE, Facts(series="queues"), LATER),
    "held": (SAFE, asked("hold"), LATER),
    "more time": (OPEN, asked("retry"), LATER),
    "rollback": (SAFE, asked("rollback"), LATER),
    "rollback in a freeze": (SAFE, replace(asked("rollback"), freeze="closed"), LATER),
    "rollback, ill fallback": (SAFE, replace(asked("rollback"), fallback="ill"), LATER),
    "rollback after the window": (None, asked("rollback"), AFTER_WINDOW),
    "the window is over": (SAFE, Facts(), AFTER_WINDOW),
}
# on: one stage further; back: ABORTING, or REVERTING after a commit; gone: ABORTED; `-`: it stays
# and nobody need act; again: the same stage from its beginning; anything else is a hold.
TABLE = """
event                          | preparing    | stage        | committed | going back
all shown                      | on           | on           | -         | gone
too soon                       | on           | -            | -         | gone
being built                    | -            | on           | -         | gone
not judged                     | on           | no_data      | -         | gone
no units                       | on           | no_data      | -         | gone
no units, promoted             | on           | no_data      | -         | gone
open                           | on           | -            | -         | gone
open too long                  | on           | inconclusive | -         | gone
open, promoted                 | on           | on           | -         | gone
open, chosen                   | on           | on           | -         | gone
open, promoted without reason  | on           | -            | -         | gone
promoted too soon              | on           | -            | -         | gone
labels on their way            | on           | -            | -         | gone
unreadable                     | on           | no_data      | -         | gone
not to be judged               | on           | no_data      | -         | gone
not to be judged, promoted     | on           | on           | -         | gone
split broken                   | on           | srm          | -         | gone
split broken, promoted         | on           | srm          | -         | gone
by other guardrails            | on           | inconclusive | -         | gone
harm                           | back         | back         | back      | gone
harm at once                   | back         | back         | back      | gone
harm, promoted                 | back         | back         | back      | gone
harm, held                     | back         | back         | back      | gone
harm in a freeze, ill fallback | back         | back         | back      | fallback_unhealthy
freeze                         | freeze       | freeze       | -         | gone
freeze, promoted               | freeze       | freeze       | -         | gone
signatures too old             | approval_expired | approval_expired | - | gone
late data                      | dependency   | dependency   | -         | gone
another change                 | dependency   | dependency   | -         | gone
ill fallback                   | fallback_unhealthy | fallback_unhealthy | - | fallback_unhealthy
hook says no                   | hook         | hook         | -         | gone
hook says no, promoted         | on           | on           | -         | gone
monitored                      | series       | series       | -         | gone
held                           | manual       | manual       | -         | gone
more time                      | on           | again        | -         | gone
rollback                       | back         | back         | back      | gone
rollback in a freeze           | back         | back         | back      | gone
rollback, ill fallback         | back         | back         | back      | fallback_unhealthy
rollback after the window      | back         | back         | retired   | gone
the window is over             | on           | on           | retired   | gone
"""
_ROWS = [[cell.strip() for cell in row.split("|")] for row in TABLE.strip().splitlines()]
WANTED = {row[0]: dict(zip(_ROWS[0][1:], row[1:], strict=True)) for row in _ROWS[1:]}
STANDS = {"preparing": -1, "shadow": 0, "tenth": 1, "half": 2, "soak": 3, "committed": 3,
          "aborting": 2, "reverting": 3}  # fmt: skip
IN_STAGE = {"shadow": State.SHADOW, "tenth": State.STEP, "half": State.STEP, "soak": State.SOAKING}
ORDER = [State.PREPARING, State.SHADOW, State.STEP, State.STEP, State.SOAKING, State.COMMITTED]


def standing(where: str) -> tuple[RolloutState, Route, datetime]:
    """A rollout that came to `where`, the Route it has there, and when it came."""
    state, index = started(), STANDS[where]
    now, route = state.entered_at, idle_route()
    for place, stage in enumerate(STAGES[: index + 1]):
        decision = advance(state, SAFE, Facts(), now)
        state, route = after(state, decision, now), route_after(route, decision)
        assert (state.index, state.stage) == (place, stage)
        now += LATER
    if where in ("committed", "reverting"):
        decision = advance(state, SAFE, Facts(), now)
        state, route = after(state, decision, now), route_after(route, decision)
    if where in ("aborting", "reverting"):
        decision = advance(state, SAFE, asked("rollback"), now)
        state, route = after(state, decision, now), route_after(route, decision)
    return state, route, state.entered_at


def column(where: str) -> str:
    return "stage" if where in IN_STAGE else where if where in _ROWS[0] else "going back"


@pytest.mark.parametrize("where", STANDS)
def test_whatever_happens_in_a_state_leads_where_it_was_designed_to(where: str) -> None:
    assert set(WANTED) == set(EVENTS)
    state, route, since = standing(where)
    for event, (judgement, facts, passed) in EVENTS.items():
        decision = advance(state, judgement, facts, since + passed)
        to = after(state, decision, since + passed)
        moved = route_after(route, decision)
        wanted = WANTED[event][column(where)]
        told = f"{where}, {event}: {decision}"
        if wanted == "on":
            assert to.state is ORDER[state.index + 2], told
            assert (moved.epoch, to.hold) == (route.epoch + 1, None), told
        elif wanted == "back":
            committed = where == "committed"
            assert to.state is (State.REVERTING if committed else State.ABORTING), told
            assert (moved.stable, moved.candidate, moved.weight) == (OLD, None, 0.0), told
            assert NEW in moved.blocked, told
        elif wanted in ("gone", "retired"):
            assert to.state is {"gone": State.ABORTED, "retired": State.RETIRED}[wanted], told
            assert moved == route, told
        elif wanted == "again":
            assert isinstance(decision, Advance), told
            assert (to.index, to.entered_at, moved) == (state.index, since + passed, route), told
        else:
            assert (to.state, to.index, moved) == (state.state, state.index, route), told
            assert to.hold is (None if wanted == "-" else HoldReason(wanted)), told


@pytest.mark.parametrize("ended", sorted(ENDED, key=lambda state: state.value))
def test_what_has_ended_is_moved_by_nothing(ended: State) -> None:
    state, route, since = standing("half")
    over = state.moved(ended, 2, since, "it is over")
    for judgement, facts, passed in EVENTS.values():
        decision = advance(over, judgement, facts, since + passed)
        assert after(over, decision, since + passed) == over
        assert route_after(route, decision) == route


def test_the_table_reaches_every_state_and_every_hold_of_one_candidate() -> None:
    holds = {cell for row in WANTED.values() for cell in row.values()}
    alone = {hold.value for hold in HoldReason} - {HoldReason.CHOICE.value}  # that takes several
    assert alone <= holds
    states = {standing(where)[0].state for where in STANDS}
    assert states | ENDED == set(State)


def test_a_person_who_goes_on_is_named_with_all_that_was_open() -> None:
    state, _, since = standing("half")
    facts = replace(PROMOTED, hook="no", series="queues", unsound="two labels")
    decision = advance(state, OPEN, facts, since + LATER)
    assert isinstance(decision, Advance)
    said = "WAIVED by ada: because (open: errors need data; two labels; queues; no)"
    assert decision.sentence == said
    assert not isinstance(advance(state, OPEN, Facts(), since + LATER), Advance | Abort)
