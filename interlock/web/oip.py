"""Open Inference Protocol v2 as JSON: text in, an `Ask` out; answers in, text out.

https://github.com/open-inference/open-inference-protocol
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import orjson

from interlock.app.asked import Answered, Ask
from interlock.errors import Unusable
from interlock.serve.request import DATATYPES, Sent, instant
from interlock.serve.spec import ModelSpec

MOST_ROWS = 4096
LABEL = 12  # characters


class Door(NamedTuple):
    """What the request line and headers say, beside the body; `arrived` by `perf_counter`."""

    model: str
    version: str | None = None
    upstream: str | None = None
    arrived: float | None = None


def parse(door: Door, body: bytes) -> tuple[Ask, str | None]:
    """The request in `body`, and the caller's own id for it."""
    try:
        said = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Unusable(f"the body is not JSON: {error}") from error
    if not isinstance(said, dict):
        raise Unusable("the body must be a JSON object with `inputs`")
    sent, count = _inputs(said.get("inputs"))
    parameters = said.get("parameters") or {}
    if not isinstance(parameters, dict):
        raise Unusable("`parameters` must be an object")
    at, service, mine = parameters.get("at"), parameters.get("service", ""), said.get("id")
    if not isinstance(service, str) or not isinstance(at, str | None):
        raise Unusable("`parameters.at` and `parameters.service` must be text")
    if not isinstance(mine, str | None):
        raise Unusable("`id` must be text")
    when = None if at is None else instant(at, "parameters.at")
    model, version, upstream, arrived = door
    return Ask(model, sent, count, when, service, upstream, version, arrived), mine


def _inputs(said: Any) -> tuple[dict[str, Sent], int]:
    if not isinstance(said, list) or not said:
        raise Unusable("`inputs` must be a list with one tensor per column")
    sent: dict[str, Sent] = {}
    count = -1
    for one in said:
        try:
            name, shape, datatype, data = one["name"], one["shape"], one["datatype"], one["data"]
        except (KeyError, TypeError) as error:
            raise Unusable("an input needs name, shape, datatype and data") from error
        rows = len(data) if type(data) is list else -1
        if type(name) is not str or rows < 0:
            raise Unusable("an input's name must be text and its data a flat list")
        if shape != [rows] and shape != [rows, 1]:
            raise Unusable(f"input {name!r} has shape {shape} but {rows} values; send [rows]")
        if datatype not in DATATYPES:
            raise Unusable(f"input {name!r}: unknown datatype {datatype!r}")
        if name in sent:
            raise Unusable(f"input {name!r} was sent twice")
        count = rows if count < 0 else count
        if rows != count:
            raise Unusable(f"input {name!r} has {rows} rows, others have {count}")
        sent[name] = Sent(datatype, data)
    if not 1 <= count <= MOST_ROWS:
        raise Unusable(f"a request holds 1 to {MOST_ROWS} rows, not {count}")
    return sent, count


def reply(ask: Ask, answered: Answered, mine: str | None) -> bytes:
    """The response's text. NaN never appears: a row without a score has null."""
    count = len(answered.ids)
    releases = answered.releases()

    def output(name: str, datatype: str, data: Sequence[Any]) -> dict[str, Any]:
        return {"name": name, "shape": [count], "datatype": datatype, "data": data}

    versions = {
        got.release: {
            "model": got.version, "features": got.features,
            "labels": _labels(share.loaded.spec.models.get(ask.model)),
        }
        for share, got in answered.shares
    }  # fmt: skip
    parameters: dict[str, Any] = {
        "epoch": answered.epoch, "at": answered.at, "releases": versions,
    }  # fmt: skip
    if len(versions) == 1:
        parameters["release"] = releases[0]
    if answered.store:
        parameters["store"] = answered.store
    return orjson.dumps(
        {
            "model_name": ask.model,
            "model_version": ",".join(dict.fromkeys(got.version for _, got in answered.shares)),
            "id": mine or answered.ids[0],
            "parameters": parameters,
            "outputs": [
                output("score", "FP64", answered.column("values")),
                output("release", "BYTES", releases),
                output("oldest_input_seconds", "FP64", answered.column("oldest")),
                output("stale", "BOOL", answered.column("stale")),
                output("reason", "BYTES", answered.column("reasons")),
                output("prediction_id", "BYTES", answered.ids),
                output("fallbacks", "BYTES", _names(answered.column("fallbacks"))),
                output("missing", "BYTES", _names(answered.column("absent"))),
                output("error", "BYTES", [why or "" for why in answered.column("errors")]),
            ],
        }
    )


def _labels(model: ModelSpec | None) -> dict[str, str]:
    """The label of each view version read, as the catalog, the store and the datasets have it."""
    return {one.view: one.fingerprint[:LABEL] for one in model.lookups} if model else {}


def _names(rows: Sequence[tuple[str, ...]]) -> list[str]:
    return [",".join(names) if names else "" for names in rows]


def metadata(model: str, columns: dict[str, str], versions: Sequence[str]) -> dict[str, Any]:
    """`GET /v2/models/{m}`: what may be sent, what comes back."""
    types = {"integer": "INT64", "double": "FP64", "boolean": "BOOL"}
    outputs = {
        "score": "FP64", "release": "BYTES", "oldest_input_seconds": "FP64", "stale": "BOOL",
        "reason": "BYTES", "prediction_id": "BYTES", "fallbacks": "BYTES", "missing": "BYTES",
        "error": "BYTES",
    }  # fmt: skip
    return {
        "name": model,
        "versions": list(versions),
        "platform": "interlock",
        "inputs": [
            {"name": name, "datatype": types.get(said, "BYTES"), "shape": [-1]}
            for name, said in columns.items()
        ],
        "outputs": [
            {"name": name, "datatype": said, "shape": [-1]} for name, said in outputs.items()
        ],
    }
