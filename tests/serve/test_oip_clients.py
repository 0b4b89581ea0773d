"""The Open Inference Protocol as its own clients speak it: JSON and binary tensors, by Triton's."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest
import tritonclient.http as triton
from client_world import serving
from hypothesis import given
from hypothesis import strategies as st
from serving_world import World, body, world

from interlock.errors import Unusable
from interlock.web import tensors
from interlock.web.gateway import gateway_app
from interlock.web.wire import protocol_of

FLIGHTS = [1, 2, 3, 4]
INFER = "/v2/models/late/infer"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = world(tmp_path_factory.mktemp("oip"))
    made.route()
    yield made
    made.gateway.stop()


@pytest.fixture(scope="module")
def address(served: World) -> Iterator[str]:
    plane = gateway_app(served.gateway)
    with serving(plane, protocol_of(plane)) as url:
        yield url.removeprefix("http://")


@pytest.fixture(scope="module")
def client(address: str) -> Iterator[Any]:
    made = triton.InferenceServerClient(address)
    yield made
    made.close()


def inputs(binary: bool, **instead: Any) -> list[Any]:
    columns = {
        "flight_id": ("INT64", np.array(FLIGHTS)),
        "carrier": ("BYTES", np.array(["UA", "DL", "Ü|\\", ""], dtype=object)),
        "origin": ("BYTES", np.array(["EWR"] * 4, dtype=object)),
        "distance": ("FP64", np.array([500.0, 1.5, -2.0, np.nan if binary else 0.0])),
        **instead,
    }
    made = []
    for name, (datatype, values) in columns.items():
        one = triton.InferInput(name, [len(values)], datatype)
        one.set_data_from_numpy(values, binary_data=binary)
        made.append(one)
    return made


def ask(client: Any, binary: bool, outputs: list[Any] | None = None, **instead: Any) -> Any:
    at = {"at": "2013-04-01T12:00:00Z"}
    sent = inputs(binary, **instead)
    return client.infer("late", sent, outputs=outputs, request_id="mine", parameters=at)


def test_a_client_finds_out_what_is_here(client: Any) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("late")
    assert client.is_model_ready("late", "late@1")
    assert not client.is_model_ready("late", "late@9")
    assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
    said = client.get_model_metadata("late", "late@1")
    assert said["versions"] == ["late@1"]
    assert {one["name"]: one["datatype"] for one in said["inputs"]}["distance"] == "FP64"


def test_bytes_and_json_get_the_same_answers(client: Any) -> None:
    plain = ("FP64", np.array([500.0, 1.5, -2.0, 0.0]))
    as_bytes, as_json = ask(client, True, distance=plain), ask(client, False)
    assert as_bytes.get_response()["id"] == "mine"
    scores = as_bytes.as_numpy("score")
    assert scores.dtype == np.float64
    assert scores.shape == (4,)
    assert np.isfinite(scores).all()
    assert (scores == as_json.as_numpy("score")).all()
    assert as_bytes.as_numpy("release").tolist() == as_json.as_numpy("release").tolist()


def test_not_a_number_in_bytes_is_the_null_of_json(client: Any, address: str) -> None:
    scores = ask(client, True).as_numpy("score")
    columns = {"carrier": ["UA", "DL", "Ü|\\", ""], "distance": [500.0, 1.5, -2.0, None]}
    reply = httpx.post(f"http://{address}{INFER}", json=body(FLIGHTS, **columns)).json()
    assert scores.tolist() == reply["outputs"][0]["data"]


def test_only_the_outputs_wanted_come_as_they_are_wanted(client: Any) -> None:
    wanted = [
        triton.InferRequestedOutput("score", binary_data=True),
        triton.InferRequestedOutput("reason", binary_data=False),
    ]
    got = ask(client, True, wanted)
    assert [one["name"] for one in got.get_response()["outputs"]] == ["score", "reason"]
    assert "data" not in got.get_output("score")
    assert "data" in got.get_output("reason")
    assert list(map(str, got.as_numpy("reason"))) == ["live"] * 4
    with pytest.raises(triton.InferenceServerException, match="unknown output"):
        ask(client, True, [triton.InferRequestedOutput("price")])


def test_a_client_is_told_what_was_wrong(client: Any) -> None:
    with pytest.raises(triton.InferenceServerException, match="send datatype FP64, not BYTES"):
        ask(client, True, distance=("BYTES", np.array(["far"] * 4, dtype=object)))
    with pytest.raises(triton.InferenceServerException, match="not finite"):
        ask(client, True, distance=("FP64", np.array([np.inf] * 4)))


def wire(said: dict[str, Any], tail: bytes, length: str | None = None) -> dict[str, Any]:
    text = json.dumps(said).encode()
    header = tensors.HEADER.decode()
    return {"content": text + tail, "headers": {header: length or str(len(text))}}


def binary(size: Any, **more: Any) -> dict[str, Any]:
    one = {"name": "distance", "shape": [2], "datatype": "FP64", **more}
    return {"inputs": [{**one, "parameters": {"binary_data_size": size}}]}


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (wire(binary(16), b"\0" * 15), "15 are left"),
        (wire(binary(16), b"\0" * 17), "1 bytes behind the JSON belong to no input"),
        (wire(binary(15), b"\0" * 15), "no whole number of FP64"),
        (wire(binary(-1), b""), "a whole number of bytes"),
        (wire(binary(True), b"\0"), "a whole number of bytes"),
        (wire(binary(16, data=[1.0, 2.0]), b"\0" * 16), "both data and binary_data_size"),
        (wire(binary(16, datatype="FP8"), b"\0" * 16), "unknown datatype"),
        (wire(binary(5, datatype="BYTES"), b"\xff\0\0\0a"), "over the end"),
        (wire(binary(5, datatype="BYTES"), b"\1\0\0\0\xff"), "not UTF-8"),
        (wire(binary(8, shape=[2]), b"\0" * 8), "has shape [2] but 1 values"),
        (wire(binary(16), b"", "99999"), "inference-header-content-length"),
        (wire(binary(16), b"", "0"), "inference-header-content-length"),
        (wire(binary(16), b"", "²"), "inference-header-content-length"),
        ({"content": b"\x1f\x8b", "headers": {"content-encoding": "gzip"}}, "compressed"),
    ],
)
def test_wrong_bytes_are_refused_with_words(address: str, sent: dict[str, Any], said: str) -> None:
    headers = {k: v.encode() for k, v in sent["headers"].items()}
    reply = httpx.post(f"http://{address}{INFER}", content=sent["content"], headers=headers)
    assert reply.status_code == 400
    assert said in reply.json()["error"]


@given(st.binary(max_size=200), st.sampled_from(["FP64", "BYTES", "INT32", "BOOL"]))
def test_whatever_bytes_come_they_are_values_or_a_refusal(data: bytes, datatype: str) -> None:
    try:
        values = tensors.unpack(datatype, memoryview(data), "x")
    except Unusable:
        return
    if None not in values:
        assert tensors.unpack(datatype, memoryview(tensors.pack(datatype, values)), "x") == values
