"""Seals and archives: the published vectors, and that no byte of them is free."""

from __future__ import annotations

import base64
import io
import json
import zipfile
from itertools import product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.adapters.signing import Ed25519Signer, verified
from interlock.change.archive import packed, unpacked
from interlock.change.checkpoints import Key
from interlock.change.envelope import PAYLOAD, pae, sealed, statement, unsealed
from interlock.define.digest import canonical
from interlock.errors import Refused

SIGNER = Ed25519Signer.parse("A" * 43 + "=", "here")
KEY = Key("interlock/test", SIGNER.public)
SAID = statement({"plan": "ab" * 32}, "request", {"id": "CR-1", "n": 0.1})
SEAL = sealed(SAID, KEY, SIGNER.sign)
FILES = {"a.json": b"{}", "b/c.txt": b"text\n" * 20, "empty": b""}
PACKED = packed(FILES)


def test_what_is_signed_is_what_the_specification_says() -> None:
    """The vector of DSSE's protocol.md."""
    expected = b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    assert pae("http://example.com/HelloWorld", b"hello world") == expected
    assert pae("\u00e4", b"") == b"DSSEv1 2 \xc3\xa4 0 "


def test_a_seal_holds_a_statement_of_in_toto() -> None:
    assert unsealed(SEAL, KEY, verified) == SAID
    envelope = json.loads(SEAL)
    assert envelope["payloadType"] == PAYLOAD == "application/vnd.in-toto+json"
    body = base64.b64decode(envelope["payload"])
    assert json.loads(body) == {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "plan", "digest": {"sha256": "ab" * 32}}],
        "predicateType": "urn:interlock:predicate:request/1",
        "predicate": {"id": "CR-1", "n": 0.1},
    }
    signature = base64.b64decode(envelope["signatures"][0]["sig"])
    assert verified(SIGNER.public, signature, pae(PAYLOAD, body))


def test_no_byte_of_a_seal_is_free() -> None:
    for at, bit in product(range(len(SEAL)), (1, 4, 64)):
        data = bytearray(SEAL)
        data[at] ^= bit
        with pytest.raises(Refused):
            unsealed(bytes(data), KEY, verified)


def test_another_key_and_another_spelling_are_refused() -> None:
    with pytest.raises(Refused) as said:
        unsealed(SEAL, Key("interlock/other", b"\1" * 32), verified)
    assert "not signed by interlock/other" in said.value.objections[0]
    for other in (SEAL + b"\n", json.dumps(json.loads(SEAL)).encode(), b"[]", b"{}", b"\xff"):
        with pytest.raises(Refused):
            unsealed(other, KEY, verified)
    body = b'{ "_type": "https://in-toto.io/Statement/v1" }'
    signed = base64.b64encode(SIGNER.sign(pae(PAYLOAD, body))).decode()
    loose = {
        "payload": base64.b64encode(body).decode(),
        "payloadType": PAYLOAD,
        "signatures": [{"keyid": KEY.id.hex(), "sig": signed}],
    }
    with pytest.raises(Refused, match="seal"):
        unsealed(canonical(loose), KEY, verified)


# --- archives ---


def test_an_archive_is_a_zip_and_the_same_each_time() -> None:
    assert packed(dict(reversed(FILES.items()))) == PACKED
    assert unpacked(PACKED) == FILES
    with zipfile.ZipFile(io.BytesIO(PACKED)) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == sorted(FILES)


def test_no_byte_of_an_archive_is_free() -> None:
    """Names and contents may differ: those are other files. Nothing else may."""
    for at, bit in product(range(len(PACKED)), (1, 2, 32, 128)):
        data = bytearray(PACKED)
        data[at] ^= bit
        try:
            files = unpacked(bytes(data))
        except Refused:
            continue
        assert files != FILES
        assert packed(files) == bytes(data)


@settings(derandomize=True, max_examples=100, deadline=None)
@given(st.integers(0, len(PACKED) - 1))
def test_a_truncated_archive_is_refused(size: int) -> None:
    with pytest.raises(Refused):
        unpacked(PACKED[:size])


def _zip(*files: tuple[str, bytes], **options: Any) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", **options) as archive:
        for name, data in files:
            archive.writestr(zipfile.ZipInfo(name) if not options else name, data)
    return out.getvalue()


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (_zip(("../etc/passwd", b"x")), "outside"),
        (_zip(("/etc/passwd", b"x")), "outside"),
        (_zip(("a/../../b", b"x")), "outside"),
        (_zip(("C:\\b", b"x")), "outside"),
        (_zip(("a", b"0" * 10**6), compression=zipfile.ZIP_DEFLATED), "larger than the archive"),
        (_zip(("a", b"x")), "bytes are not those"),
        (PACKED + b"x", "bytes are not those"),
        (b"x" + PACKED, "bytes are not those"),
        (b"", "no whole archive"),
        (b"PK", "no whole archive"),
    ],
)
def test_archives_that_are_not_ours_are_refused_with_the_reason(data: bytes, why: str) -> None:
    with pytest.raises(Refused) as said:
        unpacked(data)
    assert any(why in one for one in said.value.objections)


def test_two_files_of_one_name_are_refused() -> None:
    with pytest.warns(UserWarning, match="Duplicate name"):
        data = _zip(("a", b"x"), ("a", b"y"))
    with pytest.raises(Refused) as said:
        unpacked(data)
    assert any("twice" in one for one in said.value.objections)
