"""Metrics against scikit-learn, and intervals against simulation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss, roc_auc_score
from sklearn.metrics import log_loss as sklearn_log_loss

from interlock.models.metrics import (
    BINS,
    Floats,
    auc,
    auc_difference,
    benjamini_hochberg,
    bin_of,
    brier,
    calibration_line,
    clusters_of,
    ece,
    ece_difference,
    holm,
    log_loss,
    mean,
    ratio,
)


def sample(n: int, seed: int = 1) -> tuple[Floats, Floats]:
    rng = np.random.default_rng(seed)
    p = np.round(rng.beta(1.2, 3.0, n), 2)
    return (rng.random(n) < p**1.2).astype(np.float64), p


@given(st.integers(0, 10_000), st.integers(20, 300))
@settings(max_examples=25, derandomize=True, deadline=None)
def test_measures_agree_with_scikit_learn(seed: int, n: int) -> None:
    y, p = sample(n, seed)
    y[:2] = (0, 1)
    clipped = np.clip(p, 1e-4, 1 - 1e-4)
    assert log_loss(y, p).mean() == pytest.approx(sklearn_log_loss(y, clipped))
    assert auc(y, p) == pytest.approx(roc_auc_score(y, p))
    assert brier(y, p) == pytest.approx(brier_score_loss(y, p))


def test_ece_agrees_with_scikit_learns_calibration_curve() -> None:
    y, p = sample(5000)
    p = np.clip(p + 0.003, 0, 1)  # off the bin edges, whose side is a convention
    true, predicted = calibration_curve(y, p, n_bins=BINS)
    filled = np.bincount(bin_of(p), minlength=BINS)
    weights = filled[filled > 0] / len(y)
    assert ece(y, p) == pytest.approx(float(np.sum(weights * np.abs(true - predicted))))


def test_the_calibration_line_is_the_logistic_regression_on_the_logit() -> None:
    y, p = sample(3000)
    p = np.clip(p, 0.01, 0.99)
    logit = np.log(p / (1 - p))[:, None]
    oracle = LogisticRegression(C=1e9, tol=1e-10).fit(logit, y)
    assert calibration_line(y, p) == pytest.approx(
        (oracle.intercept_[0], oracle.coef_[0, 0]), abs=1e-4
    )


def test_what_cannot_be_fitted_is_not_a_number() -> None:
    assert np.isnan(calibration_line(np.ones(5), np.linspace(0.1, 0.9, 5))[1])
    assert np.isnan(auc(np.zeros(5), np.linspace(0.1, 0.9, 5)))


def test_delong_matches_the_spread_over_fresh_samples() -> None:
    rng = np.random.default_rng(3)
    found, ses = [], []
    for _ in range(200):
        signal = rng.normal(size=400)
        y = (signal + rng.normal(size=400) > 0.7).astype(np.float64)
        old, new = signal + rng.normal(size=400), signal + 1.3 * rng.normal(size=400)
        result = auc_difference(y, old, new, np.arange(400))
        found.append(result.value)
        ses.append(result.se)
    assert np.mean(ses) == pytest.approx(np.std(found), rel=0.15)


def test_delong_is_the_sum_over_all_pairs() -> None:
    y = np.array([1, 0, 1, 0, 0, 1, 0.0])
    old = np.array([0.9, 0.2, 0.4, 0.4, 0.1, 0.3, 0.8])
    new = np.array([0.8, 0.1, 0.7, 0.4, 0.2, 0.4, 0.4])

    def placed(p: Floats) -> tuple[Floats, Floats]:
        wins = (p[y == 1][:, None] > p[y == 0]) + 0.5 * (p[y == 1][:, None] == p[y == 0])
        return wins.mean(axis=1), wins.mean(axis=0)

    (a, b), (c, d) = placed(old), placed(new)
    variance = (
        np.sum((c - a - (c - a).mean()) ** 2) / 9 + np.sum((d - b - (d - b).mean()) ** 2) / 16
    )
    result = auc_difference(y, old, new, np.arange(7))
    assert result.value == pytest.approx(roc_auc_score(y, new) - roc_auc_score(y, old))
    # Rows are one sample here, where DeLong's textbook form corrects each class by itself.
    assert result.se == pytest.approx(np.sqrt(variance * 7 / 6))


def test_rows_of_one_day_do_not_count_as_many() -> None:
    rng = np.random.default_rng(5)
    day = np.repeat(np.arange(30), 100)
    values = rng.normal(size=30)[day] + 0.1 * rng.normal(size=3000)
    clustered = mean(values, clusters_of(day, 3000))
    assert clustered.clusters == 30
    assert clustered.se > 5 * mean(values, np.arange(3000)).se


def test_the_interval_of_clustered_means_covers_the_truth() -> None:
    rng = np.random.default_rng(8)
    cluster = np.repeat(np.arange(20), 15)
    hits = 0
    for _ in range(400):
        values = rng.normal(size=20)[cluster] + rng.normal(size=300)
        found = mean(values, cluster)
        hits += found.low <= 0 <= found.high
    assert 0.91 <= hits / 400 <= 0.98


def test_one_cluster_measures_nothing() -> None:
    found = ratio(np.array([1.0, 2.0]), np.array([1.0, 1.0]), np.zeros(2, dtype=np.intp))
    assert found.value == 1.5
    assert found.high == float("inf")
    assert found.p_positive == 1.0
    assert found.to_json()["high"] is None


def test_ece_difference_sees_a_miscalibrated_model_and_not_an_equal_one() -> None:
    rng = np.random.default_rng(2)
    p = rng.beta(1, 3, 6000)
    y = (rng.random(6000) < p).astype(np.float64)
    day = clusters_of(np.repeat(np.arange(30), 200), 6000)
    worse = ece_difference(y, p, np.clip(p * 1.6, 0, 1), day)
    same = ece_difference(y, p, np.clip(p + 0.001 * rng.normal(size=6000), 0, 1), day)
    assert worse.low > 0.05
    assert same.low < 0 < same.high
    assert ece_difference(y, p, np.clip(p * 1.6, 0, 1), day) == worse


def test_corrections_for_many_looks() -> None:
    p = np.array([0.001, 0.02, 0.03, 0.6])
    assert holm(p, 0.05).tolist() == [True, False, False, False]
    assert benjamini_hochberg(p, 0.05).tolist() == [True, True, True, False]
    assert holm(np.zeros(3), 0.05).all()
    assert not len(holm(np.zeros(0), 0.05))
    assert not len(benjamini_hochberg(np.zeros(0), 0.05))
