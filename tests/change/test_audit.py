"""The Merkle tree against published vectors, and what the audit finds."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.adapters.memory import MemoryRecord
from interlock.change.audit import (
    Checkpoint,
    checkpoint,
    consistency_proof,
    entries_of,
    inclusion_proof,
    leaf_hash,
    leaf_of,
    root,
    verify_audit,
    verify_consistency,
    verify_inclusion,
)
from interlock.define.refs import Ref
from interlock.ports import Entry, Put

NOON = datetime(2013, 4, 1, 12, tzinfo=UTC)

# The reference inputs of Certificate Transparency, and the roots of their first n.
INPUTS = [
    "", "00", "10", "2021", "3031", "40414243", "5051525354555657",
    "606162636465666768696a6b6c6d6e6f",
]  # fmt: skip
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
LEAVES = [leaf_hash(bytes.fromhex(text)) for text in INPUTS]
N1 = "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7"
N23 = "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e"
N4567 = "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4"
N4 = "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b"
N45 = "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a"
N67 = "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0"


@pytest.mark.parametrize("size", range(9))
def test_roots_are_the_published_ones(size: int) -> None:
    assert root(LEAVES[:size]).hex() == ROOTS[size]


@pytest.mark.parametrize(
    ("index", "size", "path"),
    [(0, 1, []), (0, 8, [N1, N23, N4567]), (5, 8, [N4, N67, ROOTS[4]])],
)
def test_inclusion_paths_are_the_published_ones(index: int, size: int, path: list[str]) -> None:
    assert [node.hex() for node in inclusion_proof(index, LEAVES[:size])] == path


@pytest.mark.parametrize(
    ("first", "size", "path"),
    [
        (1, 1, []),
        (1, 8, [N1, N23, N4567]),
        (6, 8, [N45, N67, ROOTS[4]]),
        (2, 5, [N23, N4]),
        (8, 8, []),
    ],
)
def test_consistency_paths_are_the_published_ones(first: int, size: int, path: list[str]) -> None:
    assert [node.hex() for node in consistency_proof(first, LEAVES[:size])] == path


sizes = st.integers(1, 40)


@settings(derandomize=True, max_examples=60)
@given(sizes, st.data())
def test_every_leaf_is_proven_and_no_other_passes(size: int, data: st.DataObject) -> None:
    leaves = [leaf_hash(bytes([n])) for n in range(size)]
    index = data.draw(st.integers(0, size - 1))
    proof, head = inclusion_proof(index, leaves), root(leaves)
    assert verify_inclusion(leaves[index], index, size, proof, head)
    assert not verify_inclusion(leaf_hash(b"other"), index, size, proof, head)
    assert not verify_inclusion(leaves[index], index, size, (*proof, head), head)
    assert not verify_inclusion(leaves[index], size, size, proof, head)
    for other in range(size):
        if other != index:
            assert not verify_inclusion(leaves[index], other, size, proof, head)


@settings(derandomize=True, max_examples=60)
@given(sizes, st.data())
def test_a_longer_tree_is_proven_to_begin_with_the_shorter(size: int, data: st.DataObject) -> None:
    leaves = [leaf_hash(bytes([n])) for n in range(size)]
    first = data.draw(st.integers(1, size))
    old = Checkpoint(first, root(leaves[:first]).hex())
    new = Checkpoint(size, root(leaves).hex())
    proof = consistency_proof(first, leaves)
    assert verify_consistency(old, new, proof)
    changed = [leaf_hash(b"edited"), *leaves[1:]]
    edited = Checkpoint(size, root(changed).hex())
    assert not verify_consistency(old, edited, consistency_proof(first, changed))
    assert not verify_consistency(old, new, (*proof, leaves[0]))
    if proof:
        assert not verify_consistency(old, new, proof[:-1])


@pytest.mark.parametrize(("index", "size"), [(-1, 3), (3, 3), (0, 0)])
def test_no_proof_outside_the_tree(index: int, size: int) -> None:
    with pytest.raises(ValueError, match="not in a tree"):
        inclusion_proof(index, LEAVES[:size])


refs = st.sampled_from([Ref("route", "prod"), Ref("change", "CR-1"), Ref("model", "late", 7)])
writes = st.lists(st.tuples(refs, st.integers(0, 9)), min_size=2, max_size=12)


def _record(history: list[tuple[Ref, int]]) -> MemoryRecord:
    record = MemoryRecord()
    for ref, value in history:
        newest = record.get(ref)
        put = Put(ref, {"value": value}, newest.version if newest else 0)
        record.write([put], by="dana", at=NOON)
    return record


@settings(derandomize=True, max_examples=60)
@given(writes)
def test_an_untouched_record_has_nothing_against_it(history: list[tuple[Ref, int]]) -> None:
    record = _record(history)
    assert verify_audit(record.audit(), entries_of(record), checkpoint(record.audit())) == []


@settings(derandomize=True, max_examples=100)
@given(writes, st.data())
def test_any_edit_removal_or_swap_is_found(  # R-A8
    history: list[tuple[Ref, int]], data: st.DataObject
) -> None:
    record = _record(history)
    leaves, entries = list(record.audit()), list(entries_of(record))
    kept = checkpoint(leaves)
    at = data.draw(st.integers(0, len(leaves) - 1))
    match data.draw(st.sampled_from(["edit", "remove", "drop leaf", "reorder", "rewrite"])):
        case "edit":
            old = entries[at]
            entries[at] = Entry(old.ref, old.version, {"value": 99}, old.written_at, old.by)
        case "remove":
            del entries[at]
        case "drop leaf":
            del leaves[at]
        case "reorder":
            leaves[at], leaves[at - 1] = leaves[at - 1], leaves[at]
        case "rewrite":
            # Row and leaf together, hash included: only the checkpoint can tell.
            old = next(e for e in entries if str(e.ref) == leaves[at]["ref"])
            forged = Entry(old.ref, old.version, {"value": 99}, old.written_at, old.by)
            entries[entries.index(old)] = forged
            seq = next(n for n, row in enumerate(leaves) if row["ref"] == str(old.ref))
            leaves[seq] = leaf_of(seq + 1, forged)
            assert verify_audit(leaves, entries) == []
    assert verify_audit(leaves, entries, kept) != []


def test_each_objection_names_the_row() -> None:
    record = _record([(Ref("route", "prod"), 1), (Ref("route", "prod"), 2)])
    entries = [e for e in entries_of(record) if e.version == 1]
    leaves: list[dict[str, Any]] = [dict(row) for row in record.audit()]
    leaves[0]["by"] = "nobody"
    said = verify_audit(leaves, entries)
    assert said == [
        "audit leaf 1 (route:prod version 1) was edited: its hash is another",
        "route:prod version 1 was edited: its by is not what the audit holds",
        "route:prod version 2 is in the audit and gone from the record",
    ]
