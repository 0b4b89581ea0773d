"""A proof that an entry is in the log, checked by anybody, without the project.

It holds the leaf, the entry as it was stored, the path to the root of a signed checkpoint,
and for the people in it what their pseudonyms stand for, as far as they are still known.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from interlock.change.audit import FIELDS, hash_of
from interlock.change.checkpoints import Check, Key, checkpoint_in, opened
from interlock.change.names import true
from interlock.change.tree import verify_inclusion
from interlock.define.digest import digest_bytes
from interlock.errors import InterlockError
from interlock.ports import Checkpoint, Json, Named

PROOF = "interlock-proof/1"


@dataclass(frozen=True)
class Proven:
    """One write: its leaf, its stored body (None where it is not told), the path in hex."""

    leaf: Json
    body: str | None
    path: tuple[str, ...]

    def to_json(self) -> Json:
        return {"leaf": self.leaf, "body": self.body, "path": list(self.path)}

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Proven:
        return cls(dict(body["leaf"]), body["body"], tuple(body["path"]))

    @property
    def name(self) -> str:
        return f"{self.leaf['ref']} version {self.leaf['version']}"


def proof_json(row: Proven, checkpoint: str, names: Sequence[Named], key: Key) -> Json:
    """What `interlock audit prove` writes."""
    return {
        "type": PROOF,
        "key": str(key),
        "checkpoint": checkpoint,
        "names": [dict(named.__dict__) for named in names],
        "row": row.to_json(),
    }


def against(row: Proven, head: Checkpoint) -> Iterator[str]:
    """Why `row` is not shown to be in the log with this head."""
    leaf = row.leaf
    rules = leaf.get("rules")
    if rules not in FIELDS or set(leaf) != {*FIELDS[2], "leaf"}:
        yield f"{row.name}: its leaf has other fields than a leaf has"
        return
    hashed = hash_of(leaf)
    if hashed.hex() != leaf["leaf"]:
        yield f"{row.name}: its leaf was edited"
    if row.body is not None and digest_bytes(row.body.encode()) != leaf["body_digest"]:
        yield f"{row.name}: its body is not the one that was written"
    path = [bytes.fromhex(node) for node in row.path]
    if not verify_inclusion(hashed, leaf["seq"] - 1, head.size, path, bytes.fromhex(head.root)):
        yield f"{row.name}: the path does not lead to the checkpoint"


def names_against(names: Sequence[Named]) -> Iterator[str]:
    """Pseudonyms that do not stand for the name beside them."""
    for named in names:
        if not true(named):
            yield f"{named.pseudonym} does not stand for {named.name!r}"


def proof_against(body: Mapping[str, Any], key: Key | None, check: Check) -> list[str]:
    """Everything against a proof; `key` is whose word counts, without it the one it names."""
    try:
        signer = key or Key.parse(str(body["key"]))
        note = str(body["checkpoint"])
        head = checkpoint_in(opened(note, signer, check), note.partition("\n")[0])
        row = Proven.from_json(body["row"])
        names = [Named(**named) for named in body["names"]]
        return [*against(row, head), *names_against(names)]
    except InterlockError as error:
        return [*(error.objections or (error.message,))]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        return [f"it cannot be read: {error!r}"]
