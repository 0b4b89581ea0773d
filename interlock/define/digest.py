"""Digests: one canonical JSON, one hash, everywhere content is an address."""

from __future__ import annotations

import hashlib
import json
import json.encoder
from typing import Any

# Made once: a plan of a large estate asks for half a million digests. Nothing that holds
# itself has a digest: it ends in RecursionError, and looking for it would cost everybody.
_JSON = json.JSONEncoder(
    sort_keys=True,
    separators=(",", ":"),
    ensure_ascii=False,
    allow_nan=False,
    check_circular=False,
)
# What the encoder makes anew for every value, kept: a third of the time of a small one.
_MAKE: Any = getattr(json.encoder, "c_make_encoder", None)
_PARTS: Any = _MAKE and _MAKE(
    None, _JSON.default, json.encoder.encode_basestring, None, ":", ",", True, False, False
)


def canonical(value: Any) -> bytes:
    """`value` as the one JSON text that equal values share (sorted keys, no spaces, no NaN)."""
    text = "".join(_PARTS(value, 0)) if _PARTS else _JSON.encode(value)
    return text.encode()


def digest(value: Any) -> str:
    """SHA-256 of the canonical JSON of `value`, 64 hex digits."""
    return hashlib.sha256(canonical(value)).hexdigest()


def digest_texts(*texts: str) -> str:
    """SHA-256 of some texts in order, 64 hex digits; no two lists of texts share one."""
    lengths = ",".join([str(len(text)) for text in texts])
    return hashlib.sha256("\n".join((lengths, *texts)).encode("utf-8", "surrogatepass")).hexdigest()


def digest_bytes(*parts: bytes | memoryview) -> str:
    """SHA-256 of `parts` one after the other, 64 hex digits."""
    found = hashlib.sha256()
    for part in parts:
        found.update(part)
    return found.hexdigest()
