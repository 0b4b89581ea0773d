"""The binary tensor extension of the Open Inference Protocol: values as bytes behind the JSON.

Little-endian numbers in row order; BYTES as a length of four bytes and then the text, value
by value. What stands where is said in the JSON part, whose length is in a header.
https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from interlock.errors import Unusable

HEADER = b"inference-header-content-length"
_NUMBERS = {
    "BOOL": "?", "INT8": "i1", "INT16": "<i2", "INT32": "<i4", "INT64": "<i8", "UINT8": "u1",
    "UINT16": "<u2", "UINT32": "<u4", "UINT64": "<u8", "FP32": "<f4", "FP64": "<f8",
}  # fmt: skip


def split(body: bytes, length: str) -> tuple[bytes, memoryview]:
    """The JSON part of `body`, `length` bytes of it, and the tensors behind it."""
    size = int(length) if length.isascii() and length.isdigit() else -1
    if not 0 < size <= len(body):
        raise Unusable(f"{HEADER.decode()} is {length!r}, but the body has {len(body)} bytes")
    return body[:size], memoryview(body)[size:]


def fill(inputs: Any, tail: memoryview) -> None:
    """Give each tensor of `inputs` that stands in `tail` its `data`, as JSON would have."""
    at = 0
    for one in inputs if isinstance(inputs, list) else ():
        size = _said_size(one)
        if size is None:
            continue
        if "data" in one:
            raise Unusable(f"input {one.get('name')!r} has both data and binary_data_size")
        if at + size > len(tail):
            raise Unusable(
                f"input {one.get('name')!r} says {size} bytes, but {len(tail) - at} are left"
            )
        one["data"] = unpack(one.get("datatype"), tail[at : at + size], str(one.get("name")))
        at += size
    if at != len(tail):
        raise Unusable(f"{len(tail) - at} bytes behind the JSON belong to no input")


def _said_size(one: Any) -> int | None:
    parameters = one.get("parameters") if isinstance(one, dict) else None
    size = parameters.get("binary_data_size") if isinstance(parameters, dict) else None
    if size is not None and (type(size) is not int or size < 0):
        raise Unusable("binary_data_size must be a whole number of bytes")
    return size


def unpack(datatype: Any, data: memoryview, name: str) -> list[Any]:
    """The values in `data`; a number that is NaN is a missing value, as there is no null here."""
    if datatype == "BYTES":
        return _texts(data, name)
    kind = _NUMBERS.get(datatype) if isinstance(datatype, str) else None
    if kind is None:
        raise Unusable(f"input {name!r}: unknown datatype {datatype!r}")
    width = np.dtype(kind).itemsize
    if len(data) % width:
        raise Unusable(f"input {name!r}: {len(data)} bytes are no whole number of {datatype}")
    values = np.frombuffer(data, dtype=kind)
    found: list[Any] = values.tolist()
    if values.dtype.kind == "f" and np.isnan(values).any():
        return [None if value != value else value for value in found]
    return found


def _texts(data: memoryview, name: str) -> list[str]:
    found, at = [], 0
    while at < len(data):
        end = at + 4 + int.from_bytes(data[at : at + 4], "little")
        if at + 4 > len(data) or end > len(data):
            raise Unusable(f"input {name!r}: a text reaches over the end of its tensor")
        try:
            found.append(str(data[at + 4 : end], "utf-8"))
        except UnicodeDecodeError as error:
            raise Unusable(f"input {name!r}: a text is not UTF-8: {error}") from error
        at = end
    return found


def pack(datatype: str, values: Sequence[Any]) -> bytes:
    """`values` as bytes; a missing number is NaN."""
    if datatype == "BYTES":
        texts = [str(value).encode() for value in values]
        return b"".join(len(text).to_bytes(4, "little") + text for text in texts)
    if datatype.startswith("FP"):
        values = [np.nan if value is None else value for value in values]
    return np.array(values, dtype=_NUMBERS[datatype]).tobytes()


def wanted_binary(said: Mapping[str, Any], parameters: Mapping[str, Any]) -> dict[str, bool] | None:
    """Which outputs are wanted (None: all, as JSON), and whether as bytes.

    An empty name stands for every output that is not named.
    """
    every = parameters.get("binary_data_output", False)
    named = said.get("outputs")
    if named is None:
        return {"": True} if every is True else None
    if not isinstance(named, list) or not named:
        raise Unusable("`outputs` must be a list of the outputs wanted")
    wanted = {}
    for one in named:
        name = one.get("name") if isinstance(one, dict) else None
        if not isinstance(name, str) or name in wanted:
            raise Unusable("an output wanted needs a name of its own")
        own = one.get("parameters") or {}
        wanted[name] = bool(own.get("binary_data", every)) if isinstance(own, dict) else every
    return wanted
