"""The Merkle tree against the published vectors of Certificate Transparency."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.change.tree import Peaks, Tree, leaf_hash, verify_consistency, verify_inclusion
from interlock.ports import Checkpoint

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
    assert Tree(LEAVES).checkpoint(size).root == ROOTS[size]
    assert Peaks.over(LEAVES[:size]).checkpoint() == Checkpoint(size, ROOTS[size])


@pytest.mark.parametrize(
    ("index", "size", "path"),
    [(0, 1, []), (0, 8, [N1, N23, N4567]), (5, 8, [N4, N67, ROOTS[4]])],
)
def test_inclusion_paths_are_the_published_ones(index: int, size: int, path: list[str]) -> None:
    assert [node.hex() for node in Tree(LEAVES).inclusion(index, size)] == path


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
    assert [node.hex() for node in Tree(LEAVES).consistency(first, size)] == path


sizes = st.integers(1, 40)


@settings(derandomize=True, max_examples=60)
@given(sizes, st.data())
def test_every_leaf_is_proven_and_no_other_passes(size: int, data: st.DataObject) -> None:
    leaves = [leaf_hash(bytes([n])) for n in range(size)]
    index = data.draw(st.integers(0, size - 1))
    tree = Tree([*leaves, *LEAVES])  # proofs of a beginning do not see what came later
    proof, head = tree.inclusion(index, size), Peaks.over(leaves).root()
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
    old = Peaks.over(leaves[:first]).checkpoint()
    new = Peaks.over(leaves).checkpoint()
    proof = Tree([*leaves, *LEAVES]).consistency(first, size)
    assert verify_consistency(old, new, proof)
    changed = [leaf_hash(b"edited"), *leaves[1:]]
    edited = Tree(changed).checkpoint()
    assert not verify_consistency(old, edited, Tree(changed).consistency(first, size))
    assert not verify_consistency(old, new, (*proof, leaves[0]))
    if proof:
        assert not verify_consistency(old, new, proof[:-1])


@pytest.mark.parametrize(("index", "size"), [(-1, 3), (3, 3), (0, 0)])
def test_no_proof_outside_the_tree(index: int, size: int) -> None:
    with pytest.raises(ValueError, match="not in a tree"):
        Tree(LEAVES).inclusion(index, size)


@pytest.mark.parametrize(("first", "size"), [(0, 3), (4, 3), (1, 9)])
def test_no_beginning_outside_the_tree(first: int, size: int) -> None:
    with pytest.raises(ValueError, match="no beginning"):
        Tree(LEAVES).consistency(first, size)


@settings(derandomize=True, max_examples=60)
@given(st.integers(0, 70), st.integers(0, 70))
def test_peaks_go_on_where_they_were_put_down(first: int, more: int) -> None:
    leaves = [leaf_hash(bytes([n])) for n in range(first + more)]
    kept = Peaks.over(leaves[:first])
    again = Peaks.parse(kept.size, kept.text)
    for hashed in leaves[first:]:
        again.add(hashed)
    assert again.checkpoint() == Tree(leaves).checkpoint()


@pytest.mark.parametrize(("size", "text"), [(1, ""), (3, "00" * 32), (-1, ""), (1, "00"), (1, "x")])
def test_what_cannot_be_the_peaks_of_a_log_is_refused(size: int, text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # each says what it is in its own words
        Peaks.parse(size, text)
