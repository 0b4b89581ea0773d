"""What is left of an error budget: from what was promised and what callers got."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from interlock.watch.reliability import Reliability, Spent

NOON = datetime(2013, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("promised", "answers", "bad", "left"),
    [
        (0.999, 10_000, 0, 1.0),
        (0.999, 10_000, 5, 0.5),
        (0.999, 10_000, 10, 0.0),
        (0.999, 10_000, 900, 0.0),  # never less than nothing
        (1.0, 10_000, 0, 1.0),
        (1.0, 10_000, 1, 0.0),  # who promises everything has nothing to lose
        (0.9, 10, 1, 0.0),
        (0.999, 0, 0, None),  # silence is not health
    ],
)
def test_what_is_left(promised: float, answers: int, bad: int, left: float | None) -> None:
    found = Spent("gates", promised, answers, bad).left
    assert found == (None if left is None else pytest.approx(left))


def test_a_service_nobody_asked_has_no_known_budget() -> None:
    found = Reliability(NOON, (Spent("gates", 0.999, 0, 0), Spent("crew", 0.999, 10_000, 5)))
    assert found.left == {"service:crew": pytest.approx(0.5)}
    assert Reliability.from_json(found.to_json()) == found
    assert "unknown" in found.services[0].sentence
    assert found.services[1].sentence == (
        "crew: promises 99.9 %; 5 of 10000 answers failed or were late: "
        "50% of its error budget is left"
    )
