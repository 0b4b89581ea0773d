"""The Merkle tree of RFC 6962 section 2.1: heads, proofs, and their checks.

`Peaks` is what a growing log keeps between two writes: one hash per set bit of its size.
`Tree` holds every node and answers for any leaf and any size. Leaves count from 0 here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

from interlock.ports import Checkpoint

WIDTH = 32  # bytes of a hash
EMPTY = hashlib.sha256(b"").digest()


def leaf_hash(data: bytes) -> bytes:
    """The hash of one leaf; the prefix keeps a leaf from posing as a node."""
    return hashlib.sha256(b"\x00" + data).digest()


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def _split(size: int) -> int:
    """The largest power of two below `size`."""
    return 1 << (size - 1).bit_length() - 1


class Peaks:
    """The roots of the complete subtrees of a log, largest first: all that appending needs."""

    __slots__ = ("hashes", "size")

    def __init__(self, size: int = 0, hashes: Sequence[bytes] = ()) -> None:
        if size < 0 or len(hashes) != size.bit_count():
            raise ValueError(f"{len(hashes)} hashes are not the peaks of {size} leaves")
        self.size, self.hashes = size, list(hashes)

    @classmethod
    def over(cls, leaves: Iterable[bytes]) -> Peaks:
        """The peaks of a log with these leaf hashes, in linear time."""
        peaks = cls()
        for hashed in leaves:
            peaks.add(hashed)
        return peaks

    @classmethod
    def parse(cls, size: int, text: str) -> Peaks:
        """The inverse of `text`; raises ValueError when it cannot be that."""
        data = bytes.fromhex(text)
        if len(data) % WIDTH:
            raise ValueError(f"{len(data)} bytes are no hashes")
        return cls(size, [data[at : at + WIDTH] for at in range(0, len(data), WIDTH)])

    @property
    def text(self) -> str:
        """The hashes in hex, one behind the other."""
        return b"".join(self.hashes).hex()

    def add(self, hashed: bytes) -> None:
        """One more leaf: one hash on average, at most one per level."""
        at, self.size = self.size, self.size + 1
        # Every trailing one bit of its number is a pair of equal subtrees now complete.
        while at & 1:
            hashed, at = _node(self.hashes.pop(), hashed), at >> 1
        self.hashes.append(hashed)

    def root(self) -> bytes:
        if not self.hashes:
            return EMPTY
        head = self.hashes[-1]
        for peak in self.hashes[-2::-1]:
            head = _node(peak, head)
        return head

    def checkpoint(self) -> Checkpoint:
        return Checkpoint(self.size, self.root().hex())


class Tree:
    """Every complete node of a log, 64 bytes a leaf."""

    def __init__(self, leaves: Iterable[bytes] = ()) -> None:
        self._levels: list[bytearray] = [bytearray()]
        for hashed in leaves:
            self.add(hashed)

    @property
    def size(self) -> int:
        return len(self._levels[0]) // WIDTH

    def add(self, hashed: bytes) -> None:
        level = 0
        while True:
            if level == len(self._levels):
                self._levels.append(bytearray())
            row = self._levels[level]
            row += hashed
            if len(row) // WIDTH & 1:
                return
            hashed = _node(bytes(row[-2 * WIDTH : -WIDTH]), bytes(row[-WIDTH:]))
            level += 1

    def checkpoint(self, size: int | None = None) -> Checkpoint:
        """The head of the first `size` leaves; of all of them without it."""
        size = self.size if size is None else size
        if not 0 <= size <= self.size:
            raise ValueError(f"this tree has {self.size} leaves, not {size}")
        return Checkpoint(size, (self._over(0, size) if size else EMPTY).hex())

    def inclusion(self, index: int, size: int) -> tuple[bytes, ...]:
        """The audit path that leads from leaf `index` to the root of the first `size` leaves."""
        if not 0 <= index < size <= self.size:
            raise ValueError(f"leaf {index} is not in a tree of {size}")
        start, end, path = 0, size, []
        while end - start > 1:
            cut = start + _split(end - start)
            if index < cut:
                path.append(self._over(cut, end))
                end = cut
            else:
                path.append(self._over(start, cut))
                start = cut
        return tuple(reversed(path))

    def consistency(self, first: int, size: int) -> tuple[bytes, ...]:
        """Shows that the tree over the first `first` leaves is a beginning of that over `size`."""
        if not 0 < first <= size <= self.size:
            raise ValueError(f"a tree of {first} is no beginning of one of {size}")
        start, end, whole, path = 0, size, True, []
        while first != end - start:
            cut = _split(end - start)
            if first <= cut:
                path.append(self._over(start + cut, end))
                end = start + cut
            else:
                path.append(self._over(start, start + cut))
                first, start, whole = first - cut, start + cut, False
        return tuple(reversed(path if whole else [*path, self._over(start, end)]))

    def _over(self, start: int, end: int) -> bytes:
        """The root over leaves [start, end): a node where it is complete."""
        width = end - start
        if width & (width - 1) == 0:
            level = width.bit_length() - 1
            at = (start >> level) * WIDTH
            return bytes(self._levels[level][at : at + WIDTH])
        cut = start + _split(width)
        return _node(self._over(start, cut), self._over(cut, end))


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
