"""How `late` is trained: gradient boosted trees, one thread, the same bytes every time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import lightgbm
import numpy as np

# What is not the booster's business but the experiment's.
_OURS = {"class_weight", "num_trees", "rows_limit", "seed", "shuffle_labels"}


def train(
    X: np.ndarray,
    y: np.ndarray,
    inputs: Sequence[str],
    categorical: Sequence[int],
    options: Mapping[str, Any],
) -> lightgbm.Booster:
    """`X` [rows, inputs] in time order, NaN where missing; `y` 0 or 1.

    `class_weight` counts each late flight that many times; `rows_limit` keeps the newest
    rows; `shuffle_labels` is for drills: a model that has learnt nothing.
    """
    keep = int(options.get("rows_limit") or len(y))
    X, y = X[-keep:], y[-keep:]
    if options.get("shuffle_labels"):
        y = np.random.default_rng(int(options.get("seed", 1))).permutation(y)
    weight = np.where(y == 1, float(options.get("class_weight", 1.0)), 1.0)
    rows = lightgbm.Dataset(
        X, y, weight=weight, feature_name=list(inputs), categorical_feature=list(categorical)
    )
    return lightgbm.train(_booster(options), rows, int(options.get("num_trees", 150)))


def _booster(options: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "objective": "binary",
        "verbosity": -1,
        # Same bytes on every machine with this version: one thread, no racing sums.
        "num_threads": 1,
        "deterministic": True,
        "force_row_wise": True,
        "seed": int(options.get("seed", 1)),
        **{name: value for name, value in options.items() if name not in _OURS},
    }
