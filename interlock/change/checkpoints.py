"""Signed checkpoints of the audit, in the public formats of C2SP.

A signed note (c2sp.org/signed-note) is text, an empty line, and lines with signatures. A
checkpoint (c2sp.org/tlog-checkpoint) is a note of three lines: which log, how many leaves,
their root. Any tool for transparency logs can read, keep and countersign them. Signing and
checking themselves are handed in: this room computes nothing with keys.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from interlock.change.tree import WIDTH
from interlock.errors import Refused, Unusable
from interlock.ports import Checkpoint

Sign = Callable[[bytes], bytes]
"""The Ed25519 signature of some bytes."""
Check = Callable[[bytes, bytes, bytes], bool]
"""Is this public key's signature the one of these bytes? (public, signature, bytes)"""

_ED25519 = b"\x01"
_KEY_BYTES, _ID_BYTES = 32, 4
_DASH = "\u2014 "
_MOST_LINES = 100


@dataclass(frozen=True)
class Key:
    """A public Ed25519 key with its name, which is that of its log."""

    name: str
    public: bytes

    @property
    def id(self) -> bytes:
        return hashlib.sha256(self.name.encode() + b"\n" + _ED25519 + self.public).digest()[
            :_ID_BYTES
        ]

    def __str__(self) -> str:
        """`name+id+key`, as other tools take it."""
        return f"{self.name}+{self.id.hex()}+{_base64(_ED25519 + self.public)}"

    @classmethod
    def parse(cls, text: str) -> Key:
        """The inverse of `str`; raises `Unusable` naming what was expected."""
        name, _, rest = text.strip().partition("+")
        id, _, packed = rest.partition("+")
        data = _bytes(packed)
        if data is not None and len(data) == 1 + _KEY_BYTES and data[:1] == _ED25519:
            found = cls(name, data[1:])
            if _is_name(name) and found.id.hex() == id:
                return found
        raise Unusable(
            f"{text.strip()[:80]!r} is no public key",
            help="write NAME+ID+KEY as `interlock audit checkpoint --key` prints it",
        )


def _is_name(text: str) -> bool:
    return bool(text) and "+" not in text and not any(c.isspace() for c in text)


def signed_note(text: str, key: Key, sign: Sign) -> str:
    """`text`, which ends with a line break, with one signature under it."""
    line = f"{_DASH}{key.name} {_base64(key.id + sign(text.encode()))}\n"
    return f"{text}\n{line}"


def opened(note: str, key: Key, check: Check) -> str:
    """The text of `note`; raises `Refused` unless `key` has signed exactly this."""
    text, between, rest = note.rpartition("\n\n")
    lines = rest.split("\n")
    if not between or lines.pop() or not lines or len(lines) > _MOST_LINES:
        raise _not(note, "it is no signed note: text, an empty line, lines with signatures")
    text += "\n"
    for line in lines:
        name, id, signature = _signature(note, line)
        if (name, id) == (key.name, key.id):
            if not check(key.public, signature, text.encode()):
                raise _not(note, f"it was edited: the signature of {key.name} is not of this text")
            return text
    said = ", ".join(line.removeprefix(_DASH).split(" ")[0] for line in lines)
    raise _not(note, f"it is signed by {said}, not by {key.name} with key {key.id.hex()}")


def _signature(note: str, line: str) -> tuple[str, bytes, bytes]:
    name, _, packed = line.removeprefix(_DASH).partition(" ")
    data = _bytes(packed)
    if not line.startswith(_DASH) or not _is_name(name) or data is None or len(data) < _ID_BYTES:
        raise _not(note, f"{line[:60]!r} is no line with a signature")
    return name, data[:_ID_BYTES], data[_ID_BYTES:]


def _not(note: str, why: str) -> Refused:
    first = note.partition("\n")[0][:60]
    return Refused(
        f"the checkpoint of {first!r} does not count",
        help="keep checkpoints as they were printed, each with the key of its own log",
        objections=(why,),
    )


def checkpoint_text(origin: str, point: Checkpoint) -> str:
    """The three lines that are signed."""
    return f"{origin}\n{point.size}\n{_base64(bytes.fromhex(point.root))}\n"


def checkpoint_in(text: str, origin: str) -> Checkpoint:
    """The inverse, for the log `origin`; lines behind the third are other tools' extensions."""
    lines = text.split("\n")
    if len(lines) < 4 or not all(lines[:-1]) or lines[-1]:
        raise _not(text, "it has not three lines: log, number of leaves, root")
    root = _bytes(lines[2])
    if not lines[1].isdecimal() or str(int(lines[1])) != lines[1] or root is None:
        raise _not(text, "its second line is not a number, or its third is not a root")
    if len(root) != WIDTH:
        raise _not(text, "its root is no SHA-256")
    if lines[0] != origin:
        raise _not(text, f"it is of another log: this one is {origin}")
    return Checkpoint(int(lines[1]), root.hex())


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _bytes(text: str) -> bytes | None:
    """What `text` stands for; None when it is not the one way to write it."""
    try:
        data = base64.b64decode(text.encode("ascii"), validate=True)
    except (UnicodeEncodeError, binascii.Error):
        return None
    return data if _base64(data) == text else None
