"""Signed statements: in-toto Statements v1 in DSSE envelopes.

DSSE (github.com/secure-systems-lab/dsse) signs the type together with the bytes, in-toto
(in-toto.io/Statement/v1) says of which things, by digest, something is claimed. There is one way
to write an envelope here; one that is spelt otherwise is refused, so that no byte is free.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any

from interlock.change.checkpoints import Check, Key, Sign
from interlock.define.digest import canonical
from interlock.errors import Refused
from interlock.ports import Json

PAYLOAD = "application/vnd.in-toto+json"
STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATES = "urn:interlock:predicate:"
"""Before the name of what is claimed, with its version behind."""


def pae(kind: str, body: bytes) -> bytes:
    """The bytes that are signed: type and body with their lengths, so that nothing can slide."""
    named = kind.encode()
    return b"DSSEv1 %d %b %d %b" % (len(named), named, len(body), body)


def statement(subjects: Mapping[str, str], name: str, claim: Any) -> Json:
    """`claim` about `subjects`, name -> SHA-256 in hex."""
    return {
        "_type": STATEMENT,
        "subject": [{"name": n, "digest": {"sha256": d}} for n, d in sorted(subjects.items())],
        "predicateType": f"{PREDICATES}{name}/1",
        "predicate": claim,
    }


def sealed(said: Json, key: Key, sign: Sign) -> bytes:
    """The envelope of a statement."""
    body = canonical(said)
    signature = {"keyid": key.id.hex(), "sig": _base64(sign(pae(PAYLOAD, body)))}
    return canonical({"payload": _base64(body), "payloadType": PAYLOAD, "signatures": [signature]})


def unsealed(envelope: bytes, key: Key, check: Check) -> Json:
    """The statement; raises `Refused` unless `key` has sealed exactly these bytes."""
    try:
        said = json.loads(envelope)
        body = base64.b64decode(said["payload"], validate=True)
        signature = base64.b64decode(said["signatures"][0]["sig"], validate=True)
        statement = json.loads(body)
        again = canonical({
            "payload": _base64(body),
            "payloadType": PAYLOAD,
            "signatures": [{"keyid": key.id.hex(), "sig": _base64(signature)}],
        })  # fmt: skip
    except (ValueError, KeyError, IndexError, TypeError, binascii.Error) as error:
        raise _not(f"it cannot be read: {error}") from error
    if not check(key.public, signature, pae(PAYLOAD, body)):
        raise _not(f"it is not signed by {key.name} with key {key.id.hex()}, or was edited")
    if again != envelope or canonical(statement) != body or statement.get("_type") != STATEMENT:
        raise _not("it is not written as a seal is written")
    return dict(statement)


def _not(why: str) -> Refused:
    return Refused("a seal does not hold", "ask for the file again", objections=(why,))


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
