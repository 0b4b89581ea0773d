"""The audit: a Merkle tree over every write, so that an edited past cannot be hidden.

Hashes, proofs and their checks are those of RFC 6962 section 2.1. Every put of the
record appends one leaf; `verify_audit` compares leaves with what the record holds now.
Leaves alone cannot show that the newest rows were cut off, nor that somebody rewrote
rows and leaves together: a `Checkpoint` kept elsewhere does.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC

from interlock.define.digest import canonical, digest
from interlock.define.refs import KINDS
from interlock.ports import Entry, Json, RecordReader

_FIELDS = ("seq", "ref", "version", "body_digest", "written_at", "by")


@dataclass(frozen=True)
class Checkpoint:
    """The root (hex) of the first `size` leaves. Keep it where the record's writers cannot."""

    size: int
    root: str


# --- the tree -----------------------------------------------------------------------


def leaf_hash(data: bytes) -> bytes:
    """The hash of one leaf; the prefix keeps a leaf from posing as a node."""
    return hashlib.sha256(b"\x00" + data).digest()


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def _split(size: int) -> int:
    """The largest power of two below `size`."""
    return 1 << (size - 1).bit_length() - 1


def root(hashes: Sequence[bytes]) -> bytes:
    """The tree head over leaf hashes, in linear time."""
    stack: list[bytes] = []
    for index, hashed in enumerate(hashes):
        stack.append(hashed)
        # Every trailing one bit of the index is a pair of equal subtrees now complete.
        for _ in range((index + 1 & -(index + 1)).bit_length() - 1):
            right = stack.pop()
            stack.append(_node(stack.pop(), right))
    if not stack:
        return hashlib.sha256(b"").digest()
    head = stack.pop()
    while stack:
        head = _node(stack.pop(), head)
    return head


def inclusion_proof(index: int, hashes: Sequence[bytes]) -> tuple[bytes, ...]:
    """The audit path that leads from leaf `index` to the root."""
    if not 0 <= index < len(hashes):
        raise ValueError(f"leaf {index} is not in a tree of {len(hashes)}")
    if len(hashes) == 1:
        return ()
    cut = _split(len(hashes))
    left, right = hashes[:cut], hashes[cut:]
    if index < cut:
        return (*inclusion_proof(index, left), root(right))
    return (*inclusion_proof(index - cut, right), root(left))


def consistency_proof(size: int, hashes: Sequence[bytes]) -> tuple[bytes, ...]:
    """Shows that the tree over the first `size` leaves is a beginning of this one."""
    if not 0 < size <= len(hashes):
        raise ValueError(f"a tree of {size} is no beginning of one of {len(hashes)}")
    return _subproof(size, hashes, True)


def _subproof(size: int, hashes: Sequence[bytes], whole: bool) -> tuple[bytes, ...]:
    if size == len(hashes):
        return () if whole else (root(hashes),)
    cut = _split(len(hashes))
    left, right = hashes[:cut], hashes[cut:]
    if size <= cut:
        return (*_subproof(size, left, whole), root(right))
    return (*_subproof(size - cut, right, False), root(left))


def verify_inclusion(
    hashed: bytes, index: int, size: int, proof: Sequence[bytes], head: bytes
) -> bool:
    """Is the leaf `hashed` number `index` of the tree of `size` leaves with root `head`?"""
    if not 0 <= index < size:
        return False
    at, last, got = index, size - 1, hashed
    for step in proof:
        if last == 0:
            return False
        if at & 1 or at == last:
            got = _node(step, got)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            got = _node(got, step)
        at, last = at >> 1, last >> 1
    return last == 0 and got == head


def verify_consistency(first: Checkpoint, second: Checkpoint, proof: Sequence[bytes]) -> bool:
    """Is the tree of `first` a beginning of the tree of `second`?"""
    if first.size == second.size:
        return first.root == second.root and not proof
    if not 0 < first.size < second.size or not proof:
        return False
    at, last = first.size - 1, second.size - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    # A complete left subtree is its own first step, and is left out of the proof.
    steps = [*([] if at else [bytes.fromhex(first.root)]), *proof]
    old = new = steps[0]
    for step in steps[1:]:
        if last == 0:
            return False
        if at & 1 or at == last:
            old, new = _node(step, old), _node(step, new)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            new = _node(new, step)
        at, last = at >> 1, last >> 1
    return last == 0 and old.hex() == first.root and new.hex() == second.root


# --- the record's leaves ------------------------------------------------------------


def leaf_of(seq: int, entry: Entry) -> Json:
    """The audit row of `entry`, which was write number `seq` (from 1) of its record."""
    row: Json = {
        "seq": seq,
        "ref": str(entry.ref),
        "version": entry.version,
        "body_digest": digest(entry.body),
        "written_at": entry.written_at.astimezone(UTC).isoformat(),
        "by": entry.by,
    }
    return {**row, "leaf": _hash_row(row)}


def _hash_row(row: Json) -> str:
    return leaf_hash(canonical({field: row.get(field) for field in _FIELDS})).hex()


def checkpoint(leaves: Sequence[Json]) -> Checkpoint:
    """What to keep elsewhere: the number of leaves and their root."""
    return Checkpoint(len(leaves), root([bytes.fromhex(row["leaf"]) for row in leaves]).hex())


def entries_of(record: RecordReader) -> Iterator[Entry]:
    """Every version of everything the record holds."""
    for kind in sorted(KINDS):
        for newest in record.list(kind):  # type: ignore[arg-type]  # KINDS holds exactly the kinds
            yield from record.history(newest.ref)


def verify_audit(
    leaves: Sequence[Json], entries: Iterable[Entry], kept: Checkpoint | None = None
) -> list[str]:
    """Everything that does not add up, one sentence each; empty when the past is intact."""
    entry_at = {(str(entry.ref), entry.version): entry for entry in entries}
    leaf_at = {(row["ref"], row["version"]): row for row in leaves}
    return [
        *_order_objections(leaves),
        *(said for row in leaves for said in _leaf_objections(row, entry_at)),
        *(
            f"{ref} version {version} was written without an audit leaf"
            for ref, version in entry_at
            if (ref, version) not in leaf_at
        ),
        *_checkpoint_objections(leaves, kept),
    ]


def _order_objections(leaves: Sequence[Json]) -> Iterator[str]:
    newest: dict[str, int] = {}
    for expected, row in enumerate(leaves, 1):
        if row["seq"] != expected:
            yield f"audit leaf {expected} is missing or moved: found number {row['seq']} there"
            return
        before = newest.get(row["ref"], 0)
        if row["version"] != before + 1:
            yield f"audit leaf {expected}: {row['ref']} goes from {before} to {row['version']}"
        newest[row["ref"]] = row["version"]


def _leaf_objections(row: Json, entry_at: dict[tuple[str, int], Entry]) -> Iterator[str]:
    name = f"{row['ref']} version {row['version']}"
    if _hash_row(row) != row["leaf"]:
        yield f"audit leaf {row['seq']} ({name}) was edited: its hash is another"
    entry = entry_at.get((row["ref"], row["version"]))
    if entry is None:
        yield f"{name} is in the audit and gone from the record"
        return
    for field, value in leaf_of(row["seq"], entry).items():
        if field != "leaf" and value != row[field]:
            what = "body" if field == "body_digest" else field
            yield f"{name} was edited: its {what} is not what the audit holds"


def _checkpoint_objections(leaves: Sequence[Json], kept: Checkpoint | None) -> Iterator[str]:
    if kept is None:
        return
    if len(leaves) < kept.size:
        yield f"the audit was cut: {len(leaves)} leaves, {kept.size} at the checkpoint"
    elif checkpoint(leaves[: kept.size]).root != kept.root:
        yield f"the first {kept.size} audit leaves are not those of the checkpoint"
