"""XGBoost models beside LightGBM's: the same scores, and no damaged model reaches the library."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pytest
import xgboost
from numpy.typing import NDArray
from serving_world import STABLE, body, model_spec, world

from interlock.adapters.trainer import SubprocessTrainer
from interlock.adapters.xgboost import load
from interlock.app.releases import load_model
from interlock.define.refs import Ref
from interlock.errors import Corrupt, Unusable
from interlock.serve.spec import RequestInput, ServingSpec
from interlock.web import oip

OPTIONS = {"objective": "binary:logistic", "max_depth": 4, "nthread": 1, "seed": 1}


def rows(count: int, seed: int) -> NDArray[np.float64]:
    """Five inputs, the last one a category; some are missing."""
    chance = np.random.default_rng(seed)
    made = chance.normal(size=(count, 5))
    made[:, 4] = chance.integers(0, 6, count)
    made[chance.random(made.shape) < 0.05] = np.nan
    return made


def trained(**options: Any) -> xgboost.Booster:
    x = rows(800, 1)
    y = np.nan_to_num(x[:, 0]) + (x[:, 4] == 3) + np.random.default_rng(2).normal(size=800) > 0
    types = ["q"] * 4 + ["c"]
    data = xgboost.DMatrix(x, y, feature_types=types, enable_categorical=True, nthread=1)
    return xgboost.train({**OPTIONS, **options}, data, 10)


def saved(booster: xgboost.Booster) -> bytes:
    return bytes(booster.save_raw("json"))


BOOSTER = trained()
MODEL = saved(BOOSTER)
SAID = orjson.loads(MODEL)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"tree_method": "approx", "num_parallel_tree": 3},
        {"grow_policy": "lossguide", "max_leaves": 6, "gamma": 3},
        {"objective": "reg:squarederror"},
    ],
)
def test_scores_are_those_of_the_library_bit_for_bit(options: dict[str, Any]) -> None:
    booster, asked = trained(**options), rows(300, 7)
    asked[3, 4] = 77  # a category that no training row had
    expected = booster.inplace_predict(asked, missing=np.nan).astype(np.float64)
    scorer = load(saved(booster))
    assert np.array_equal(scorer.score(asked), expected)
    assert np.array_equal([scorer.score(row[None])[0] for row in asked], expected)
    with pytest.raises(Unusable, match="5 inputs"):
        scorer.score(asked[:, :4])


def test_what_was_pruned_away_is_left_out() -> None:
    x = np.random.default_rng(3).normal(size=(800, 4))
    data = xgboost.DMatrix(x, x[:, 0] + x[:, 1] > 0, nthread=1)
    booster = xgboost.train({**OPTIONS, "tree_method": "exact", "gamma": 5}, data, 5)
    trees = orjson.loads(saved(booster))["learner"]["gradient_booster"]["model"]["trees"]
    assert any(tree["tree_param"]["num_deleted"] != "0" for tree in trees)
    expected = booster.inplace_predict(x).astype(np.float64)
    assert np.array_equal(load(saved(booster)).score(x), expected)


def damaged(**said: Any) -> bytes:
    """The model with these values in its first tree."""
    whole = orjson.loads(MODEL)
    whole["learner"]["gradient_booster"]["model"]["trees"][0] |= said
    return orjson.dumps(whole)


TREE = SAID["learner"]["gradient_booster"]["model"]["trees"][0]


@pytest.mark.parametrize(
    "model",
    [
        b"",
        b"pickle\x80",
        b"[]",
        MODEL[: len(MODEL) // 2],
        damaged(left_children=[9999, *TREE["left_children"][1:]]),
        damaged(left_children=[0, *TREE["left_children"][1:]]),
        damaged(right_children=TREE["left_children"]),
        damaged(split_indices=[5, *TREE["split_indices"][1:]]),
        damaged(split_type=[2, *TREE["split_type"][1:]]),
        damaged(default_left=TREE["default_left"][1:]),
        damaged(split_conditions=["x", *TREE["split_conditions"][1:]]),
        damaged(categories_nodes=[]),
        damaged(categories_sizes=[9999 for _ in TREE["categories_sizes"]]),
        damaged(categories=[-1 for _ in TREE["categories"]]),
    ],
)
def test_a_damaged_model_is_corrupt(model: bytes) -> None:
    with pytest.raises(Corrupt):
        load(model)


def test_no_flipped_byte_ends_the_process() -> None:
    # R-B9. Some of these end the process inside the library when they are not refused before.
    chance, loaded = random.Random(1), 0
    for _ in range(400):
        at = chance.randrange(len(MODEL))
        other = MODEL[:at] + bytes([chance.randrange(32, 127)]) + MODEL[at + 1 :]
        try:
            load(other).score(np.zeros((2, 5)))
            loaded += 1  # a digit of a number: another model, as its digest would say
        except Corrupt:
            pass
    assert 0 < loaded < 400


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"booster": "dart"}, "only gbtree"),
        ({"objective": "count:poisson"}, "objective 'count:poisson'"),
        ({"objective": "multi:softprob", "num_class": 2}, "more than one number"),
    ],
)
def test_a_kind_that_is_not_served_is_named(options: dict[str, Any], why: str) -> None:
    with pytest.raises(Unusable, match=why):
        load(saved(trained(**options)))


TRAIN = """
import xgboost

def train(X, y, inputs, categorical, options):
    data = xgboost.DMatrix(X, y, feature_names=inputs, nthread=1)
    return xgboost.train({"objective": "binary:logistic", "max_depth": 2, "nthread": 1}, data, 5)
"""


def test_a_train_function_may_give_a_booster_that_a_gateway_then_asks(tmp_path: Path) -> None:
    chance = np.random.default_rng(4)
    columns = {"view@1:a": chance.normal(size=400), "b": chance.normal(size=400)}
    table = pa.table({**columns, "label": (columns["b"] > 0.3).astype(float)})
    found = SubprocessTrainer().train(TRAIN, "train.py:train", table, {}, tmp_path / "work")
    assert (found.format, found.inputs) == ("xgboost-json", ("view@1:a", "b"))
    assert found.importance["b"] > 0.9
    assert sum(found.importance.values()) == pytest.approx(1)
    again = SubprocessTrainer().train(TRAIN, "train.py:train", table, {}, tmp_path / "work")
    assert again.model == found.model  # one thread: byte for byte

    made = world(tmp_path)
    spec = replace(
        model_spec(made.artifacts.put(found.model), "late@1"), format=found.format, lookups=(),
        inputs=(RequestInput("a"), RequestInput("b")),
        columns={"flight_id": "integer", "a": "double", "b": "double"},
    )  # fmt: skip
    release = ServingSpec(STABLE, ("flight_id",), {"late": spec}, ("crew",))
    made.record.put(Ref("serving", STABLE), release.to_json())
    made.route()
    sent = [{"name": "flight_id", "shape": [3], "datatype": "INT64", "data": [1, 2, 3]}]
    sent += [
        {"name": name, "shape": [3], "datatype": "FP64", "data": [0.1, 0.5, -2.0]} for name in "ab"
    ]
    said = {"inputs": sent, "parameters": body([1])["parameters"]}
    answered = made.gateway.answer(oip.parse(oip.Door("late"), orjson.dumps(said)).ask)
    made.gateway.stop()
    matrix = np.array([[0.1, 0.1], [0.5, 0.5], [-2.0, -2.0]])
    expected = load_model(found.format, found.model).score(matrix)
    assert answered.column("values") == expected.tolist()
