"""ONNX models beside native ones: the same scores over the protocol, and what is refused."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import httpx
import numpy as np
import onnx
import orjson
import pyarrow as pa
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper
from serving_world import STABLE, World, body, model_spec, world
from sklearn.linear_model import LogisticRegression

from interlock.adapters.onnx import OnnxScorer, load
from interlock.adapters.trainer import SubprocessTrainer
from interlock.app import wary
from interlock.app.asked import Answered
from interlock.app.releases import ALLOWED, load_model
from interlock.app.wary import Wary
from interlock.define.refs import Ref
from interlock.errors import Corrupt, Unavailable, Unusable
from interlock.serve.spec import RequestInput, ServingSpec
from interlock.web import oip
from interlock.web.gateway import gateway_app

DOUBLE, FLOAT = TensorProto.DOUBLE, TensorProto.FLOAT


def model(
    nodes: Any, weights: Any, kind: int = DOUBLE, inputs: int = 5, out: Any = (None, 1)
) -> bytes:
    """A graph from `x` [rows, inputs] to `y`."""
    graph = helper.make_graph(
        nodes, "made", [helper.make_tensor_value_info("x", kind, [None, inputs])],
        [helper.make_tensor_value_info("y", kind, list(out))], weights,
    )  # fmt: skip
    opsets = [helper.make_opsetid("", 17)]
    data: bytes = helper.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString()
    return data


def logistic(weights: NDArray[np.float64], bias: float, kind: int = DOUBLE) -> bytes:
    tensors = [
        helper.make_tensor("w", kind, [len(weights), 1], weights.tolist()),
        helper.make_tensor("b", kind, [1], [bias]),
    ]
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["m"]),
        helper.make_node("Add", ["m", "b"], ["s"]),
        helper.make_node("Sigmoid", ["s"], ["y"]),
    ]
    return model(nodes, tensors, kind, len(weights))


def endless() -> bytes:
    """A graph that loops about for ever when its first number is above 13."""
    body_ = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["on"]),
            helper.make_node("Sin", ["a"], ["next"]),
        ],
        "step",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("a", DOUBLE, None),
        ],
        [
            helper.make_tensor_value_info("on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("next", DOUBLE, None),
        ],
    )
    tensors = [
        helper.make_tensor("most", TensorProto.INT64, [], [2**60]),
        helper.make_tensor("limit", DOUBLE, [], [13.0]),
        helper.make_tensor("axes", TensorProto.INT64, [1], [1]),
    ]
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["top"], keepdims=0),
        helper.make_node("Greater", ["top", "limit"], ["go0"]),
        helper.make_node("ReduceSum", ["x", "axes"], ["sum"], keepdims=1),
        helper.make_node("Loop", ["most", "go0", "sum"], ["y"], body=body_),
    ]
    return model(nodes, tensors)


@pytest.fixture(scope="module")
def trained() -> tuple[LogisticRegression, bytes, NDArray[np.float64]]:
    chance = np.random.default_rng(5)
    rows = chance.normal(size=(300, 5))
    made = LogisticRegression().fit(rows, rows[:, 0] + rows[:, 3] + chance.normal(size=300) > 0)
    return made, logistic(made.coef_[0], float(made.intercept_[0])), rows


def test_scores_are_those_of_the_library_that_trained_it(trained: Any) -> None:
    made, data, rows = trained
    np.testing.assert_allclose(load(data).score(rows), made.predict_proba(rows)[:, 1], rtol=1e-12)
    single = load(logistic(made.coef_[0], float(made.intercept_[0]), FLOAT))
    np.testing.assert_allclose(single.score(rows), made.predict_proba(rows)[:, 1], rtol=1e-4)


@pytest.fixture
def served(tmp_path: Path, trained: Any) -> Iterator[World]:
    """A release whose one model is a graph over five numbers that are sent."""
    made = world(tmp_path)
    names = [f"n{i}" for i in range(5)]
    columns = {"flight_id": "integer", **dict.fromkeys(names, "double")}
    spec = replace(
        model_spec(made.artifacts.put(trained[1]), "late@1"), format="onnx", lookups=(),
        inputs=tuple(RequestInput(name) for name in names), columns=columns,
    )  # fmt: skip
    release = ServingSpec(STABLE, ("flight_id",), {"late": spec}, ("crew",))
    made.record.put(Ref("serving", STABLE), release.to_json())
    yield made
    made.gateway.stop()


def test_the_protocol_gives_the_same_scores(served: World, trained: Any) -> None:
    made, _, rows = trained
    served.route()
    sent = {
        "inputs": [
            {"name": "flight_id", "shape": [20], "datatype": "INT64", "data": list(range(20))},
            *(
                {"name": f"n{i}", "shape": [20], "datatype": "FP64", "data": rows[:20, i].tolist()}
                for i in range(5)
            ),
        ],
        "parameters": body([1])["parameters"],
    }
    transport = httpx.ASGITransport(gateway_app(served.gateway))

    async def ask() -> httpx.Response:
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
            return await client.post("/v2/models/late/infer", json=sent)

    reply = anyio.run(ask)
    assert reply.status_code == 200, reply.text
    outputs = {one["name"]: one["data"] for one in reply.json()["outputs"]}
    np.testing.assert_allclose(outputs["score"], made.predict_proba(rows[:20])[:, 1], rtol=1e-12)
    assert set(outputs["reason"]) == {"live"}


def test_damaged_or_swapped_bytes_never_answer(served: World) -> None:
    spec = served.record.get(Ref("serving", STABLE))
    assert spec is not None
    for digest in served.artifacts.kept:
        served.artifacts.kept[digest] = served.artifacts.kept[digest][:-20]
    served.route()
    assert any("not what its digest says" in why for why in served.gateway.objections())


@pytest.mark.parametrize("cut", [0, 1, 40, -1])
def test_a_damaged_graph_is_corrupt(trained: Any, cut: int) -> None:
    with pytest.raises((Corrupt, Unusable)):
        load(trained[1][:cut])


def test_a_host_loads_only_what_it_allows(
    trained: Any, monkeypatch: pytest.MonkeyPatch, served: World
) -> None:
    assert load_model("onnx", trained[1])
    monkeypatch.setenv(ALLOWED, "lightgbm-text")
    with pytest.raises(Unusable, match="does not load onnx models") as refused:
        load_model("onnx", trained[1])
    assert "lightgbm-text" in str(refused.value.help)
    served.route()
    assert any("does not load onnx" in why for why in served.gateway.objections())
    with pytest.raises(Unusable, match="no loader"):
        load_model("pickle", b"")


def test_what_is_no_matrix_in_and_one_number_out_is_refused_with_what_it_is(trained: Any) -> None:
    wide = model([helper.make_node("Identity", ["x"], ["y"])], [], out=(None, 5))
    with pytest.raises(Unusable, match="one number a row is wanted"):
        load(wide)
    text = helper.make_tensor_value_info("x", TensorProto.STRING, [None, 5])
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])], "texts", [text],
        [helper.make_tensor_value_info("y", TensorProto.STRING, [None, 5])],
    )  # fmt: skip
    opsets = [helper.make_opsetid("", 17)]
    made = helper.make_model(graph, opset_imports=opsets, ir_version=9)
    with pytest.raises(Unusable, match="one matrix of floats"):
        load(made.SerializeToString())
    with pytest.raises(Unusable, match="takes 5 inputs, got 4"):
        load(trained[1]).score(np.zeros((2, 4)))


def test_a_row_that_would_never_end_is_an_error_of_that_row(trained: Any) -> None:
    scorer = OnnxScorer(endless(), patience=0.3)
    calm = np.array([[1.0, 2.0, 0.0, 0.0, 0.0]])
    assert scorer.score(calm).tolist() == [3.0]
    with pytest.raises(Unavailable, match=r"longer than 0\.3 s"):
        scorer.score(np.full((1, 5), 14.0))
    assert scorer.score(calm).tolist() == [3.0]


class Counted(OnnxScorer):
    """How often a run was begun."""

    runs = 0

    def score(self, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
        self.runs += 1
        return super().score(matrix)


def test_rows_that_would_never_end_do_not_end_the_gateway_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wary, "REST", 0.5)
    made = world(tmp_path)
    made.gateway.replay_clock = False
    made.route()
    inside = Counted(endless(), patience=0.3)
    scorers: Any = made.gateway.live().stable.scorers
    assert type(scorers["late"]) is Wary  # so it is with every model
    scorers["late"] = Wary(inside)

    sent = orjson.dumps({"inputs": body([1], distance=[500.0])["inputs"]})
    ask = oip.parse(oip.Door("late"), sent).ask
    found = made.gateway.answers([ask] * 12)
    assert [one.column("reasons")[0] for one in found if isinstance(one, Answered)] == (
        ["error"] * 12
    )
    assert inside.runs == wary.MOST
    assert "it rests" in made.gateway.answer(ask).column("errors")[0]
    assert inside.runs == wary.MOST
    time.sleep(wary.REST)
    assert "it rests" not in made.gateway.answer(ask).column("errors")[0]
    assert inside.runs == wary.MOST + 1  # and it rests again
    time.sleep(wary.REST)
    assert scorers["late"].score(np.array([[1.0, 2.0, 0.0, 0.0, 0.0]])).tolist() == [3.0]
    made.gateway.stop()


def test_an_operator_nobody_knows_is_refused() -> None:
    node = helper.make_node("RunAnything", ["x"], ["y"], domain="my.library")
    with pytest.raises(Corrupt, match="cannot be loaded"):
        load(model([node], []))


TRAIN = """
import numpy as np, onnx
from onnx import TensorProto, helper

def train(X, y, inputs, categorical, options):
    w = helper.make_tensor("w", TensorProto.DOUBLE, [X.shape[1], 1], [0.5] * X.shape[1])
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["m"]), helper.make_node("Sigmoid", ["m"], ["y"])],
        "made", [helper.make_tensor_value_info("x", TensorProto.DOUBLE, [None, X.shape[1]])],
        [helper.make_tensor_value_info("y", TensorProto.DOUBLE, [None, 1])], [w])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
"""


def test_a_train_function_may_give_a_graph(tmp_path: Path) -> None:
    rows = pa.table({"a": [1.0, 2.0], "b": [0.0, 1.0], "label": [0.0, 1.0]})
    found = SubprocessTrainer().train(TRAIN, "train.py:train", rows, {}, tmp_path)
    assert (found.format, found.inputs, found.importance) == ("onnx", ("a", "b"), {})
    assert onnx.load_from_string(found.model).graph.name == "made"
    scores = load_model(found.format, found.model).score(np.array([[1.0, 0.0]]))
    np.testing.assert_allclose(scores, [1 / (1 + np.exp(-0.5))])
