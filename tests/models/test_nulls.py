"""The rehearsal's verdicts, on a scorer that is one line."""

from __future__ import annotations

import numpy as np
import pytest

from interlock.errors import Unusable
from interlock.models.metrics import Floats
from interlock.models.nulls import NullReport, Rows, rehearse

RNG = np.random.default_rng(0)
X = RNG.uniform(0.1, 0.9, (2000, 2))
ROWS = Rows(X, (RNG.random(2000) < X[:, 0]).astype(np.float64), ("a", "b"))


def first(matrix: Floats) -> Floats:
    """Reads a missing value as 0, as a tree does that never saw one."""
    return np.clip(np.nan_to_num(matrix[:, 0]), 0.01, 0.99)


def run(
    nulls: dict[str, int], views: dict[str, dict[str, float | None]], tolerance: float = 0.3
) -> NullReport:
    return rehearse(first, ROWS, nulls, views, tolerance)


def test_a_feature_never_null_in_training_needs_a_fallback() -> None:
    found = run({"a": 0, "b": 0}, {"view:w@1": {"b": None}})
    assert found.verdict == "fail"
    assert found.sentences[0].startswith("b can be NULL at serving and never was in training")
    assert run({"a": 0, "b": 0}, {"view:w@1": {"b": 0.5}}).verdict == "pass"


def test_harm_fails_even_where_training_had_nulls() -> None:
    found = run({"a": 50, "b": 0}, {"view:w@1": {"a": None}, "view:v@1": {"b": 0.5}})
    assert [one.verdict for one in found.rehearsals] == ["fail", "pass"]
    assert found.verdict == "fail"
    assert found.rehearsals[0].mean_after < found.rehearsals[0].mean_before - 0.3


def test_a_bad_fallback_value_fails() -> None:
    assert run({"a": 0}, {"view:w@1": {"a": 0.5}}).verdict == "pass"
    assert run({"a": 0}, {"view:w@1": {"a": 0.99}}).verdict == "fail"


def test_uncounted_nulls_are_inconclusive() -> None:
    found = run({"a": 0}, {"view:w@1": {"b": None}})
    assert found.verdict == "inconclusive"
    assert "were not counted" in found.sentences[0]


def test_no_rows_are_inconclusive_and_no_view_has_nothing_to_lose() -> None:
    empty = Rows(np.empty((0, 2)), np.empty(0), ("a", "b"))
    assert rehearse(first, empty, {"a": 0}, {"view:w@1": {"a": 0.5}}).verdict == "inconclusive"
    assert run({}, {}).verdict == "pass"


def test_a_score_that_is_not_a_number_fails() -> None:
    broken = rehearse(lambda m: m[:, 0], ROWS, {"a": 1}, {"view:w@1": {"a": None}}, 1e9)
    assert broken.verdict == "fail"


def test_an_unknown_input_is_refused() -> None:
    with pytest.raises(Unusable, match="no inputs c"):
        run({}, {"view:w@1": {"c": None}})
