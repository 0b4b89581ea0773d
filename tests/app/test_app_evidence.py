"""What was not shown does not pass: every gap in the evidence stands in the way, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import app_world as world
import pytest

from interlock.app import decide
from interlock.app.changes import describe, evidence_of, held, keep_evidence, save
from interlock.app.workspace import Workspace
from interlock.change.evidence import Evidence, Waiver
from interlock.errors import Refused
from interlock.plan.plan import Plan

ID = "CR-2"
COMPARISON = "model_comparison:late"
SPOILT = "Evidence is missing, failed, inconclusive or out of date, and not waived."
POLICIES = ("[not_in_a_freeze]", "[every_signature]", "[evidence_complete]")
Spoil = Callable[[Evidence], Evidence | None]


def missing(piece: Evidence) -> None:
    return None


def failed(piece: Evidence) -> Evidence:
    return replace(piece, verdict="fail", sentence="it got worse")


def inconclusive(piece: Evidence) -> Evidence:
    return replace(piece, verdict="inconclusive", sentence="too few rows")


def empty(piece: Evidence) -> Evidence:
    return replace(piece, n=0)


def outdated(piece: Evidence) -> Evidence:
    return replace(piece, subjects=dict.fromkeys(piece.subjects, "0" * 64))


def expired(piece: Evidence) -> Evidence:
    return replace(piece, expires_at=world.START)


GAPS: Mapping[str, tuple[Spoil, str]] = {
    "missing": (missing, "no evidence yet"),
    "failed": (failed, "failed: it got worse"),
    "inconclusive": (inconclusive, "is inconclusive: too few rows"),
    "empty": (empty, "is inconclusive: it measured nothing"),
    "outdated": (outdated, "made on other versions"),
    "expired": (expired, "expired at 26 Feb 00:00"),
}


def required(workspace: Workspace) -> tuple[str, ...]:
    return Plan.from_json(world.current(workspace, ID).plan or {}).evidence


def shown(workspace: Workspace, spoil: Mapping[str, Spoil]) -> None:
    """Every check of CR-2 passes and none is waived, but for those that `spoil` names."""
    before = held(workspace.record, ID)
    whole = [replace(p, verdict="pass") for p in evidence_of(workspace.record, before.change)]
    made = [spoil[piece.check](piece) if piece.check in spoil else piece for piece in whole]
    kept = [piece for piece in made if piece is not None]
    keep_evidence(workspace, kept, by="a test")
    digests = tuple(piece.digest for piece in kept)
    save(workspace, before, replace(before.change, evidence=digests, waivers=()), by="a test")


def test_a_change_whose_every_check_passes_may_start(ready: Workspace) -> None:
    assert COMPARISON in required(ready)
    shown(ready, {})
    assert decide.objections(ready, world.current(ready, ID)) == ()
    assert "being prepared" in decide.apply(ready, ID, by="sam")


@pytest.mark.parametrize("gap", GAPS)
def test_each_gap_in_the_evidence_stands_in_the_way(ready: Workspace, gap: str) -> None:
    spoil, said = GAPS[gap]
    shown(ready, {COMPARISON: spoil})
    evidence, policy = world.refused(ready, ID)
    assert evidence.startswith(COMPARISON)
    assert said in evidence
    assert SPOILT in policy


def test_a_refusal_says_everything_at_once(ready: Workspace) -> None:
    checks = required(ready)
    spoilt = dict(zip(checks, GAPS, strict=False))
    assert len(spoilt) >= 5
    shown(ready, {check: GAPS[gap][0] for check, gap in spoilt.items()})
    decide.sign(ready, ID, by="gina", role="service_owner", team="ops-gates", reject="not in March")
    before = held(ready.record, ID)
    kept = [s for s in before.change.signoffs if s.team != "data-science"]
    save(ready, before, replace(before.change, signoffs=tuple(kept), risks=""), by="a test")
    world.at(world.FREEZE[0] + timedelta(hours=1), ready)
    found = world.refused(ready, ID)
    wanted = [
        *((check, GAPS[gap][1]) for check, gap in spoilt.items()),
        ("rejected by gina", "(service_owner of ops-gates): not in March"),
        ("waiting for model_validator of data-science to sign: dana", ""),
        ("waiting for service_owner of ops-gates", ""),
        ("frozen by stocktaking until 09 Mar 2013 00:00 UTC", ""),
        *(("", policy) for policy in POLICIES),
    ]
    lacking = [
        one
        for one in wanted
        if not any(line.startswith(one[0]) and one[1] in line for line in found)
    ]
    assert not lacking, found
    # Asking where it stands says the same as trying.
    assert decide.objections(ready, world.current(ready, ID), "start", "sam") == found


def test_evidence_counts_up_to_the_moment_it_expires(ready: Workspace) -> None:
    ends = world.START + timedelta(hours=6)
    shown(ready, {COMPARISON: lambda piece: replace(piece, expires_at=ends)})
    world.at(ends - timedelta(seconds=1), ready)
    assert decide.objections(ready, world.current(ready, ID)) == ()
    world.at(ends, ready)
    assert any("expired at 26 Feb 06:00" in said for said in world.refused(ready, ID))


def test_evidence_of_another_change_is_no_evidence(ready: Workspace) -> None:
    before, other = held(ready.record, ID), world.current(ready, "CR-1")
    names = {piece.check for piece in evidence_of(ready.record, other)}
    assert set(required(ready)) <= names
    swapped = replace(before.change, evidence=other.evidence, waivers=())
    save(ready, before, swapped, by="a test")
    found = world.refused(ready, ID)
    for check in required(ready):
        assert any(said.startswith(f"{check}: made on other versions") for said in found), check


def test_evidence_that_is_named_and_not_kept_is_missing(ready: Workspace) -> None:
    before = held(ready.record, ID)
    lost = tuple("f" * 64 for _ in before.change.evidence)
    save(ready, before, replace(before.change, evidence=lost, waivers=()), by="a test")
    found = world.refused(ready, ID)
    assert [f"{check}: no evidence yet" for check in required(ready)] == list(found[:-1])


# --- waivers ------------------------------------------------------------------------

WAIVER: dict[str, Any] = {"by": "dana", "role": "model_validator", "reason": "known and accepted"}


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"by": "wei"}, ["wei is the author and cannot waive"]),
        ({"by": ""}, [" does not hold the role model_validator"]),
        ({"by": "nobody"}, ["nobody does not hold the role model_validator"]),
        ({"role": "data_steward"}, ["dana does not hold the role data_steward"]),
        ({"role": ""}, ["dana does not hold the role "]),
        ({"reason": "just do"}, ["a waiver needs a reason of 10 characters"]),
        ({"reason": "            "}, ["a waiver needs a reason of 10 characters"]),
        ({"by": "wei", "role": "sponsor", "reason": "x"}, ["author", "does not hold", "a reason"]),
    ],
)
def test_a_waiver_needs_somebody_who_may_and_says_why(
    ready: Workspace, wrong: Mapping[str, str], said: Sequence[str]
) -> None:
    shown(ready, {COMPARISON: failed})
    with pytest.raises(Refused) as caught:
        decide.waive(ready, ID, COMPARISON, **{**WAIVER, **wrong})
    found = caught.value.objections
    lacking = [text for text in said if not any(text in line for line in found)]
    assert not lacking, found
    assert len(found) >= len(said)
    assert world.current(ready, ID).waivers == ()
    assert any("it got worse" in line for line in world.refused(ready, ID))


def test_a_waiver_lifts_its_own_check_and_stays_to_be_seen(ready: Workspace) -> None:
    other = next(check for check in required(ready) if check != COMPARISON)
    shown(ready, {COMPARISON: failed, other: failed})
    decide.waive(ready, ID, COMPARISON, **WAIVER)
    evidence, _ = world.refused(ready, ID)
    assert evidence.startswith(other)
    decide.waive(ready, ID, other, **WAIVER)
    decide.apply(ready, ID, by="sam")
    told = describe(ready, ID).change
    assert told is not None
    assert [str(waiver) for waiver in told.waivers] == [
        f"{check} is waived by dana (model_validator): known and accepted"
        for check in (COMPARISON, other)
    ]


def test_only_what_a_change_needs_can_be_waived(ready: Workspace) -> None:
    with pytest.raises(Refused, match="does not need contract:wh") as caught:
        decide.waive(ready, ID, "contract:wh.flights", **WAIVER)
    assert COMPARISON in caught.value.help


def test_a_waiver_that_does_not_count_lifts_nothing_even_from_the_record(ready: Workspace) -> None:
    shown(ready, {COMPARISON: failed})
    before = held(ready.record, ID)
    own = Waiver(COMPARISON, "wei", "model_validator", "I know that it is fine", ready.now())
    save(ready, before, replace(before.change, waivers=(own,)), by="a test")
    found = world.refused(ready, ID)
    assert any("it got worse" in said for said in found)
    assert any("wei is the author and cannot waive" in said for said in found)
