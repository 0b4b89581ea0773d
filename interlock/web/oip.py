"""Open Inference Protocol v2: a request's bytes in, an `Ask` out; answers in, bytes out.

https://github.com/open-inference/open-inference-protocol
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from types import MappingProxyType
from typing import Any, NamedTuple

import orjson

from interlock.app.asked import Answered, Ask
from interlock.errors import Unusable
from interlock.serve.assemble import Assembler
from interlock.serve.request import DATATYPES, Sent, instant
from interlock.serve.traced import Trace
from interlock.web import tensors

MOST_ROWS = 4096
# NamedTuple's own constructor is a Python function; this is the C function below it.
_sent: Callable[[tuple[str, list[object]]], Sent] = partial(tuple.__new__, Sent)
LABEL = 12  # characters


class Door(NamedTuple):
    """What the request line and headers say, beside the body.

    `arrived` is by `perf_counter`; `json_length` the length of the JSON part, where binary
    tensors stand behind it.
    """

    model: str
    version: str | None = None
    upstream: str | None = None
    arrived: float | None = None
    json_length: str | None = None
    trace: Trace | None = None


class Inquiry(NamedTuple):
    """A request, the caller's own id for it, and the outputs wanted.

    `wanted` says of each output whether as bytes (`""`: of every other); None: all, as JSON.
    """

    ask: Ask
    id: str | None = None
    wanted: Mapping[str, bool] | None = None


def parse(door: Door, body: bytes) -> Inquiry:
    """The request in `body`; raises `Unusable`."""
    text, tail = body, None
    if door.json_length is not None:
        text, tail = tensors.split(body, door.json_length)
    try:
        said = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise Unusable(f"the body is not JSON: {error}") from error
    if not isinstance(said, dict):
        raise Unusable("the body must be a JSON object with `inputs`")
    parameters = said.get("parameters") or {}
    if not isinstance(parameters, dict):
        raise Unusable("`parameters` must be an object")
    if tail is not None:
        tensors.fill(said.get("inputs"), tail)
    sent, count = _inputs(said.get("inputs"))
    at, service, mine = parameters.get("at"), parameters.get("service", ""), said.get("id")
    if not isinstance(service, str) or not isinstance(at, str | None):
        raise Unusable("`parameters.at` and `parameters.service` must be text")
    if not isinstance(mine, str | None):
        raise Unusable("`id` must be text")
    when = None if at is None else instant(at, "parameters.at")
    model, version, upstream, arrived, _, trace = door
    ask = Ask(model, sent, count, when, service, upstream, version, arrived, trace)
    return Inquiry(ask, mine, _wanted(tensors.wanted_binary(said, parameters)))


def _wanted(outputs: dict[str, bool] | None) -> dict[str, bool] | None:
    unknown = [name for name in outputs or () if name and name not in OUTPUTS]
    if unknown:
        raise Unusable(f"unknown output {unknown[0]!r}; known: {', '.join(OUTPUTS)}")
    return outputs


def _inputs(said: Any) -> tuple[dict[str, Sent], int]:
    if not isinstance(said, list) or not said:
        raise Unusable("`inputs` must be a list with one tensor per column")
    sent: dict[str, Sent] = {}
    count, flat = -1, [-1]
    for one in said:
        try:
            name, shape, datatype, data = one["name"], one["shape"], one["datatype"], one["data"]
        except (KeyError, TypeError) as error:
            raise Unusable("an input needs name, shape, datatype and data") from error
        rows = len(data) if type(data) is list else -1
        if rows != count or shape != flat or type(name) is not str:
            # The first of them, one of another shape, or a wrong one.
            data = _looked_at(name, shape, data, rows)
            if count < 0:
                count, flat = rows, [rows]
        if type(datatype) is not str or datatype not in DATATYPES:
            raise Unusable(f"input {name!r}: unknown datatype {datatype!r}")
        if name in sent:
            raise Unusable(f"input {name!r} was sent twice")
        if rows != count:
            raise Unusable(f"input {name!r} has {rows} rows, others have {count}")
        sent[name] = _sent((datatype, data))
    if not 1 <= count <= MOST_ROWS:
        raise Unusable(f"a request holds 1 to {MOST_ROWS} rows, not {count}")
    return sent, count


def _looked_at(name: Any, shape: Any, data: Any, rows: int) -> list[Any]:
    """The `rows` values of an input (-1: what it holds is no list); raises `Unusable`."""
    if shape == [rows, 1] and rows > 0 and type(data[0]) is list:
        data = _flat(data)
    if type(name) is not str or rows < 0:
        raise Unusable("an input's name must be text and its data a flat list")
    if shape != [rows] and shape != [rows, 1]:
        raise Unusable(f"input {name!r} has shape {shape} but {rows} values; send [rows]")
    found: list[Any] = data
    return found


def _flat(data: list[Any]) -> list[Any]:
    """Rows of one value each, as the protocol also lets them be written."""
    if not all(type(row) is list and len(row) == 1 for row in data):
        raise Unusable("data of shape [rows, 1] is a flat list, or a list of lists of one value")
    return [row[0] for row in data]


def reply(inquiry: Inquiry, answered: Answered) -> tuple[bytes, int | None]:
    """The response, and the length of its JSON part where tensors stand behind it.

    In JSON NaN never appears: a row without a score has null.
    """
    ask, mine, wanted = inquiry
    versions = {
        got.release: _version(got.version, got.features, share.loaded.assemblers.get(ask.model))
        for share, got in answered.shares
    }
    parameters: dict[str, Any] = {
        "epoch": answered.epoch, "at": answered.at, "releases": versions,
    }  # fmt: skip
    if len(versions) == 1:
        parameters["release"] = answered.shares[0][1].release
    if answered.store:
        parameters["store"] = answered.store
    outputs, tail = _outputs(answered, wanted)
    text = orjson.dumps(
        {
            "model_name": ask.model,
            "model_version": ",".join(dict.fromkeys(got.version for _, got in answered.shares)),
            "id": mine or answered.ids[0],
            "parameters": parameters,
            "outputs": outputs,
        }
    )
    return (text, None) if tail is None else (text + tail, len(text))


def _outputs(
    answered: Answered, wanted: Mapping[str, bool] | None
) -> tuple[list[dict[str, Any]], bytes | None]:
    """Every output wanted; the bytes of those that are wanted as bytes."""
    shape = [len(answered.ids)]
    if wanted is None:
        return [
            {"name": name, "shape": shape, "datatype": datatype, "data": column(answered)}
            for name, (datatype, column) in OUTPUTS.items()
        ], None
    outputs, parts = [], []
    names = wanted if "" not in wanted else OUTPUTS
    for name in names:
        datatype, column = OUTPUTS[name]
        said: dict[str, Any] = {"name": name, "shape": shape, "datatype": datatype}
        if wanted.get(name, wanted.get("", False)):
            parts.append(tensors.pack(datatype, column(answered)))
            said["parameters"] = {"binary_data_size": len(parts[-1])}
        else:
            said["data"] = column(answered)
        outputs.append(said)
    return outputs, b"".join(parts) if parts else None


def _names(rows: Sequence[tuple[str, ...]]) -> list[str]:
    return [",".join(names) if names else "" for names in rows]


OUTPUTS: Mapping[str, tuple[str, Callable[[Answered], Sequence[Any]]]] = MappingProxyType(
    {
        "score": ("FP64", lambda got: got.column("values")),
        "release": ("BYTES", Answered.releases),
        "oldest_input_seconds": ("FP64", lambda got: got.column("oldest")),
        "stale": ("BOOL", lambda got: got.column("stale")),
        "reason": ("BYTES", lambda got: got.column("reasons")),
        "prediction_id": ("BYTES", lambda got: got.ids),
        "fallbacks": ("BYTES", lambda got: _names(got.column("fallbacks"))),
        "missing": ("BYTES", lambda got: _names(got.column("absent"))),
        "error": ("BYTES", lambda got: [why or "" for why in got.column("errors")]),
    }
)


@lru_cache(maxsize=32)
def _version(version: str, views: tuple[str, ...], read: Assembler | None) -> orjson.Fragment:
    """What is said of a release: its model, view versions, and the label of each of those, as
    the catalog, the store and the datasets have it."""
    lookups = read.spec.lookups if read else ()
    labels = {one.view: one.fingerprint[:LABEL] for one in lookups}
    return orjson.Fragment(orjson.dumps({"model": version, "features": views, "labels": labels}))


def metadata(model: str, columns: dict[str, str], versions: Sequence[str]) -> dict[str, Any]:
    """`GET /v2/models/{m}`: what may be sent, what comes back."""
    types = {"integer": "INT64", "double": "FP64", "boolean": "BOOL"}
    return {
        "name": model,
        "versions": list(versions),
        "platform": "interlock",
        "inputs": [
            {"name": name, "datatype": types.get(said, "BYTES"), "shape": [-1]}
            for name, said in columns.items()
        ],
        "outputs": [
            {"name": name, "datatype": said, "shape": [-1]} for name, (said, _) in OUTPUTS.items()
        ],
    }
