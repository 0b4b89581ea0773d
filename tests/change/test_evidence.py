"""The gate: only evidence that passed, on these inputs, still valid, lets a change through."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.change.evidence import Evidence, Verdict, Waiver, gate

NOON = datetime(2013, 4, 1, 12, tzinfo=UTC)
VIEW, MODEL = "view:origin_weather@2", "model:late"
CURRENT = {VIEW: "a" * 64, MODEL: "b" * 64}


def _piece(check: str = "replay", verdict: Verdict = "pass", **more: Any) -> Evidence:
    known = {"subjects": {VIEW: "a" * 64}, "sentence": "0 of 900 rows differ", "made_at": NOON}
    return Evidence(check, verdict=verdict, **{**known, **more})


def _gate(*pieces: Evidence, waivers: tuple[Waiver, ...] = (), at: datetime = NOON) -> list[str]:
    return list(gate(["replay"], pieces, waivers, at, CURRENT))


def test_what_passed_on_these_inputs_lets_it_through() -> None:
    assert _gate(_piece(n=900)) == []


def test_what_is_missing_blocks() -> None:
    assert _gate() == ["replay: no evidence yet"]
    assert _gate(_piece("compare")) == ["replay: no evidence yet"]


def test_failed_and_inconclusive_block_in_their_own_words() -> None:
    assert _gate(_piece(verdict="fail", sentence="3 rows differ", slice="EWR")) == [
        "replay (EWR) failed: 3 rows differ"
    ]
    assert _gate(_piece(verdict="inconclusive", sentence="7 rows"))[0].startswith(
        "replay is inconclusive"
    )


def test_a_pass_that_measured_nothing_blocks() -> None:
    assert _gate(_piece(n=0)) == ["replay is inconclusive: it measured nothing"]


def test_evidence_dies_with_its_inputs() -> None:
    old = _piece(subjects={VIEW: "c" * 64})
    assert _gate(old) == [f"replay: made on other versions: {VIEW} changed since"]
    # The newest of the same question counts, old ones are history.
    assert _gate(old, _piece()) == []


def test_fresh_evidence_of_one_thing_does_not_cover_another() -> None:
    old = _piece(subjects={MODEL: "c" * 64})
    assert _gate(_piece(), old) == [f"replay: made on other versions: {MODEL} changed since"]


def test_evidence_of_what_left_the_change_is_no_obstacle_and_no_help() -> None:
    gone = _piece(subjects={"view:other@1": "d" * 64}, verdict="fail")
    assert _gate(_piece(), gone) == []
    assert _gate(gone) == ["replay: no evidence yet"]


def test_evidence_that_names_nothing_proves_nothing() -> None:
    assert "names nothing" in _gate(_piece(subjects={}))[0]


def test_the_last_measurement_of_a_question_counts() -> None:
    failed = _piece(verdict="fail")
    again = _piece(made_at=NOON + timedelta(hours=1))
    assert _gate(again, failed) == []
    assert _gate(_piece(), replace(failed, made_at=NOON + timedelta(hours=1))) != []
    # Another slice is another question.
    assert _gate(again, replace(failed, slice="JFK")) != []


def test_it_expires_at_its_hour() -> None:
    piece = _piece(expires_at=NOON + timedelta(hours=1))
    assert _gate(piece, at=NOON + timedelta(minutes=59)) == []
    assert "expired" in _gate(piece, at=NOON + timedelta(hours=1))[0]


def test_a_waiver_with_a_reason_lifts_one_check() -> None:
    waiver = Waiver("replay", "rita", "service_owner", "no arrivals are recorded yet", NOON)
    bad = _piece(verdict="fail")
    assert _gate(bad, waivers=(waiver,)) == []
    assert list(gate(["replay", "compare"], [bad], [waiver], NOON, CURRENT)) == [
        "compare: no evidence yet"
    ]
    assert "rita" in str(waiver)
    assert Waiver.from_json(json.loads(json.dumps(waiver.to_json()))) == waiver


def test_a_waiver_without_a_reason_lifts_nothing_and_is_said() -> None:
    said = _gate(waivers=(Waiver("replay", "rita", "service_owner", " ok      ", NOON),))
    assert said[0] == "replay: no evidence yet"
    assert "10 characters" in said[1]


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("place", ["value", "baseline", "interval"])
def test_a_number_that_is_none_was_not_measured(place: str, number: float) -> None:
    more: dict[str, Any] = {place: (0.1, number) if place == "interval" else number}
    piece = _piece(**more)
    assert piece.verdict == "inconclusive"
    assert getattr(piece, place) is None
    assert _gate(piece) != []
    assert _piece(verdict="fail", **more).verdict == "fail"


def test_details_of_any_shape_become_json() -> None:
    piece = _piece(details={"by": {"EWR": np.float64("nan"), "n": np.int64(3)}, "t": (1, 2.5)})
    assert piece.details == {"by": {"EWR": None, "n": 3}, "t": [1, 2.5]}
    assert len(piece.digest) == 64


numbers = st.none() | st.floats(allow_nan=False, allow_infinity=False)
pieces = st.builds(
    Evidence,
    check=st.sampled_from(["replay", "compare"]),
    subjects=st.dictionaries(st.sampled_from([VIEW, MODEL]), st.sampled_from(["a" * 64, "b" * 64])),
    verdict=st.sampled_from(["pass", "fail", "inconclusive"]),
    sentence=st.text(max_size=20),
    made_at=st.datetimes(datetime(2013, 1, 1), datetime(2014, 1, 1), timezones=st.just(UTC)),
    metric=st.text(max_size=5),
    slice=st.sampled_from(["", "EWR", "JFK"]),
    n=st.none() | st.integers(0, 10**9),
    value=numbers,
    interval=st.none() | st.tuples(st.floats(-1, 0), st.floats(0, 1)),
    baseline=numbers,
    details=st.dictionaries(st.text(max_size=3), numbers),
    expires_at=st.none() | st.just(NOON),
)


@settings(derandomize=True, max_examples=80)
@given(pieces)
def test_evidence_survives_json_and_keeps_its_address(piece: Evidence) -> None:
    back = Evidence.from_json(json.loads(json.dumps(piece.to_json())))
    assert back == piece
    assert back.digest == piece.digest
    assert replace(piece, made_at=NOON).digest == piece.digest
    assert replace(piece, sentence=piece.sentence + "!").digest != piece.digest


@settings(derandomize=True, max_examples=150)
@given(st.lists(pieces, max_size=6))
def test_the_gate_opens_only_for_a_current_pass(found: list[Evidence]) -> None:
    if not gate(["replay"], found, (), NOON, CURRENT):
        current = [
            piece
            for piece in found
            if piece.check == "replay"
            and piece.subjects
            and all(CURRENT.get(ref) == made for ref, made in piece.subjects.items())
        ]
        assert any(piece.verdict == "pass" and piece.n != 0 for piece in current)
