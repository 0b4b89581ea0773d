"""Signed notes and checkpoints against those that others published, and what is refused."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.adapters.signing import Ed25519Signer, verified
from interlock.change.checkpoints import (
    Key,
    checkpoint_in,
    checkpoint_text,
    opened,
    signed_note,
)
from interlock.errors import Refused, Unusable
from interlock.ports import Checkpoint

# Of the documentation of golang.org/x/mod/sumdb/note.
SKEY = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"
VKEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
TEXT = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
)
NOTE = (
    f"{TEXT}\n\u2014 PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZS"
    "NXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)
# The keys of sum.golang.org and of an example of c2sp.org/signed-note.
OTHERS = [
    "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8",
    "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
]
EXAMPLE = (
    "This is an example message.\n\n\u2014 example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfX"
    "ppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
)
# Of c2sp.org/tlog-checkpoint.
CHECKPOINT = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"

SIGNER = Ed25519Signer.parse(base64.b64encode(base64.b64decode(SKEY[-44:])[1:]).decode(), "here")
KEY = Key("PeterNeumann", SIGNER.public)
ROOT = Checkpoint(7, "ab" * 32)


@pytest.mark.parametrize("text", [VKEY, *OTHERS])
def test_keys_are_written_as_others_write_them(text: str) -> None:
    assert str(Key.parse(text)) == text


def test_notes_are_signed_and_opened_as_others_do() -> None:
    assert str(KEY) == VKEY
    assert signed_note(TEXT, KEY, SIGNER.sign) == NOTE
    assert opened(NOTE, Key.parse(VKEY), verified) == TEXT
    assert opened(EXAMPLE, Key.parse(OTHERS[1]), verified) == "This is an example message.\n"


def test_a_checkpoint_is_read_as_others_write_it() -> None:
    found = checkpoint_in(CHECKPOINT, "example.com/behind-the-sofa")
    assert found.size == 20852163
    assert checkpoint_text("example.com/behind-the-sofa", found) == CHECKPOINT


def test_what_others_add_is_passed_over() -> None:
    """Lines behind the third, and signatures of witnesses, belong to other tools."""
    text = checkpoint_text("PeterNeumann", ROOT) + "extension\n"
    note = signed_note(text, KEY, SIGNER.sign)
    witness = Ed25519Signer.parse("A" * 43 + "=", "here")
    other = signed_note(text, Key("witness.example", witness.public), witness.sign)
    both = note + other.rpartition("\n\n")[2]
    assert checkpoint_in(opened(both, KEY, verified), "PeterNeumann") == ROOT
    assert opened(both, Key("witness.example", witness.public), verified) == text


@settings(derandomize=True, max_examples=300)
@given(st.integers(0, len(NOTE.encode()) - 1), st.integers(0, 7))
def test_no_bit_of_a_note_may_differ(at: int, bit: int) -> None:
    data = bytearray(NOTE.encode())
    data[at] ^= 1 << bit
    with pytest.raises(Refused) as said:
        opened(data.decode("utf-8", "replace"), KEY, verified)
    assert said.value.objections


@pytest.mark.parametrize(
    ("note", "why"),
    [
        ("", "no signed note"),
        (NOTE.rstrip("\n"), "no signed note"),
        (NOTE.replace("\n\n", "\n"), "no signed note"),
        (EXAMPLE, "signed by example.com/foo, not by PeterNeumann"),
        (NOTE.replace("\u2014", "--"), "no line with a signature"),
        (NOTE.replace("cryptography", "cryptology"), "it was edited"),
        (signed_note(TEXT, Key("PeterNeumann", b"\0" * 32), SIGNER.sign), "signed by PeterNeumann"),
    ],
)
def test_what_does_not_count_says_why(note: str, why: str) -> None:
    with pytest.raises(Refused) as said:
        opened(note, KEY, verified)
    assert why in said.value.objections[0]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (checkpoint_text("another", ROOT), "another log"),
        ("PeterNeumann\n7\n", "three lines"),
        ("PeterNeumann\n7\n\nq=\n", "three lines"),
        ("PeterNeumann\n07\n" + "A" * 43 + "=\n", "not a number"),
        ("PeterNeumann\n-7\n" + "A" * 43 + "=\n", "not a number"),
        ("PeterNeumann\n7\nAAAA\n", "no SHA-256"),
        ("PeterNeumann\n7\n" + "A" * 42 + "B=\n", "not a root"),
    ],
)
def test_a_checkpoint_that_is_none_says_why(text: str, why: str) -> None:
    with pytest.raises(Refused) as said:
        checkpoint_in(text, "PeterNeumann")
    assert why in said.value.objections[0]


@pytest.mark.parametrize(
    "text", ["", "x", "a+b+c", VKEY.replace("c74f", "c74e"), "+" + VKEY, "a b" + VKEY, VKEY[:-4]]
)
def test_what_is_no_key_is_refused(text: str) -> None:
    with pytest.raises(Unusable, match="no public key"):
        Key.parse(text)
