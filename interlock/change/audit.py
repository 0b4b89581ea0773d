"""The audit: a leaf for every write, so that an edited past cannot be hidden.

A leaf says who wrote what, when and from where; people stand in it under pseudonyms
(`names`). `Verifier` reads leaves and what the record holds in one pass, in order, and keeps
only the peaks of the tree. Leaves alone cannot show that the newest rows were cut off, nor
that somebody rewrote rows and leaves together: a checkpoint kept elsewhere does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from json.encoder import encode_basestring as _quoted
from operator import itemgetter
from typing import Any

from interlock.change.tree import WIDTH, Peaks, leaf_hash
from interlock.define.digest import canonical, digest_bytes
from interlock.ports import Checkpoint, Json, RecordReader, Stored, Written

RULES = 2
"""Of new leaves. A leaf keeps the rules it was written by, so that older ones stay valid."""
_FIRST = ("seq", "ref", "version", "body_digest", "written_at", "by")
FIELDS: Mapping[int, tuple[str, ...]] = {1: _FIRST, 2: ("rules", *_FIRST, "source")}
"""What is hashed, by the rules of the leaf."""
_SORTED = itemgetter(*sorted(FIELDS[RULES]))
_TYPES = (str, str, str, int, int, str, int, str)
MOST = 100  # objections told one by one


def leaf_of(seq: int, entry: Stored) -> Json:
    """The audit leaf of `entry`, which was write number `seq` (from 1) of its record."""
    ref, version, body, at, by, source = entry
    found = digest_bytes(body.encode())
    return {
        "rules": RULES,
        "seq": seq,
        "ref": ref,
        "version": version,
        "body_digest": found,
        "written_at": at,
        "by": by,
        "source": source,
        "leaf": leaf_hash(_written_out(found, by, ref, seq, source, version, at)).hex(),
    }


def hash_of(leaf: Mapping[str, Any]) -> bytes:
    """What the leaf must hash to; raises KeyError for rules that nobody knows."""
    return leaf_hash(_text_of(leaf) or canonical({n: leaf[n] for n in FIELDS[leaf["rules"]]}))


def _text_of(leaf: Mapping[str, Any]) -> bytes:
    """The canonical JSON of a leaf by today's rules, written out; empty for any other leaf.

    Every write makes one, and who verifies a log makes them all.
    """
    if leaf["rules"] != RULES:
        return b""
    values = _SORTED(leaf)
    if tuple(map(type, values)) != _TYPES:
        return b""  # somebody put something else in its place: as slowly as ever
    body, by, ref, _, seq, source, version, at = values
    return _written_out(body, by, ref, seq, source, version, at)


def _written_out(
    body: str, by: str, ref: str, seq: int, source: str, version: int, at: str
) -> bytes:
    text = (
        f'{{"body_digest":{_quoted(body)},"by":{_quoted(by)},"ref":{_quoted(ref)},'
        f'"rules":{RULES},"seq":{seq},"source":{_quoted(source)},"version":{version},'
        f'"written_at":{_quoted(at)}}}'
    )
    return text.encode()


@dataclass(frozen=True)
class Verified:
    """A record's audit: its head as the leaves give it, and everything that does not add up.

    `backwards` counts writes that claim to be older than one before them: the clock of
    whoever wrote them went back. That is told, and it is no edit.
    """

    now: Checkpoint
    objections: tuple[str, ...]
    backwards: int


def verify(record: RecordReader, kept: Sequence[Checkpoint] = ()) -> Verified:
    """Read the whole record once and hold it against its leaves, its head and `kept`."""
    verifier = Verifier(kept)
    verifier.take(record.written())
    head = record.head()
    while head.size > verifier.peaks.size:
        # Others write meanwhile. What claims leaves that are not there ends this too.
        before = verifier.peaks.size
        verifier.take(record.written(after=before))
        if verifier.peaks.size == before:
            break
        head = record.head()
    found = tuple(verifier.objections(head))
    return Verified(verifier.peaks.checkpoint(), found, verifier.backwards)


class Verifier:
    """Takes every `Written` of a record in order; what does not add up, one sentence each.

    `kept` are checkpoints of earlier, whose roots must still be those of the beginning.
    """

    def __init__(self, kept: Sequence[Checkpoint] = ()) -> None:
        self.peaks = Peaks()
        self.more = 0  # objections beyond those told
        self.backwards = 0  # writes that claim to be older than the one before them
        self._said: list[str] = []
        self._newest: dict[str, int] = {}
        self._kept = {point.size: point for point in kept}
        self._last = ""
        self._ordered = True

    def take(self, written: Iterable[Written]) -> None:
        """The next ones."""
        self._reach()
        for leaf, entry in written:
            if leaf is None:
                assert entry is not None
                self._say(f"{_named(entry)} was written without an audit leaf")
            else:
                self._take(leaf, entry)

    def objections(self, head: Checkpoint | None = None) -> list[str]:
        """All of them, once every leaf was taken; `head` is what the record says of itself."""
        found = list(self._said)
        if self.more:
            found.append(f"and {self.more:,} more")
        for size in sorted(self._kept):
            found.append(f"the audit was cut: {self.peaks.size} leaves, {size} at the checkpoint")
        now = self.peaks.checkpoint()
        if head is not None and head != now:
            found.append(
                f"the record says it has {head.size} leaves with root {head.root[:12]};"
                f" there are {now.size} with root {now.root[:12]}"
            )
        return found

    def _take(self, leaf: Json, entry: Stored | None) -> None:
        for said in self._against(leaf, entry):
            self._say(said)
        self.peaks.add(stored_hash(leaf))
        if leaf["written_at"] < self._last:
            self.backwards += 1
        self._last = max(self._last, leaf["written_at"])
        self._reach()

    def _reach(self) -> None:
        """Compare with the checkpoint of this size, if there is one."""
        kept = self._kept.pop(self.peaks.size, None)
        if kept is not None and self.peaks.root().hex() != kept.root:
            self._say(f"the first {kept.size} audit leaves are not those of the checkpoint")

    def _against(self, leaf: Json, entry: Stored | None) -> Iterator[str]:
        expected = self.peaks.size + 1
        if leaf["seq"] != expected and self._ordered:
            self._ordered = False  # everything behind it is out of place too
            yield f"audit leaf {expected} is missing or moved: found number {leaf['seq']} there"
        ref = leaf["ref"]
        before = self._newest.get(ref, 0)
        if leaf["version"] != before + 1 and self._ordered:
            yield f"audit leaf {expected}: {ref} goes from {before} to {leaf['version']}"
        self._newest[ref] = leaf["version"]
        yield from _leaf_objections(leaf, entry)

    def _say(self, said: str) -> None:
        if len(self._said) < MOST:
            self._said.append(said)
        else:
            self.more += 1


def _leaf_objections(leaf: Json, entry: Stored | None) -> Iterator[str]:
    name = f"{leaf['ref']} version {leaf['version']}"
    if leaf["rules"] not in FIELDS:
        yield f"audit leaf {leaf['seq']} ({name}) follows rules {leaf['rules']}: nobody knows them"
    elif hash_of(leaf).hex() != leaf["leaf"]:
        yield f"audit leaf {leaf['seq']} ({name}) was edited: its hash is another"
    if entry is None:
        yield f"{name} is in the audit and gone from the record"
        return
    if digest_bytes(entry.body.encode()) != leaf["body_digest"]:
        yield f"{name} was edited: its body is not what the audit holds"
    for field in ("written_at", "by", "source"):
        if getattr(entry, field) != leaf[field]:
            yield f"{name} was edited: its {field} is not what the audit holds"


def stored_hash(leaf: Mapping[str, Any]) -> bytes:
    """The hash that stands in a leaf, as the tree takes it, whatever stands there."""
    try:
        found = bytes.fromhex(leaf["leaf"])
    except ValueError:
        found = b""
    # Said already: its hash is another. What stands here only has to be no valid hash.
    return found if len(found) == WIDTH else leaf_hash(canonical(str(leaf["leaf"])))


def _named(entry: Stored) -> str:
    return f"{entry.ref} version {entry.version}"
