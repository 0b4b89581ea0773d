"""What the audit finds, and what it must not take for an edit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.adapters.memory import MemoryRecord
from interlock.change.audit import FIELDS, Verifier, hash_of, leaf_of, verify
from interlock.change.tree import leaf_hash
from interlock.define.digest import canonical, digest
from interlock.define.refs import Ref
from interlock.ports import Checkpoint, Json, Put, Stored, Written

NOON = datetime(2013, 4, 1, 12, tzinfo=UTC)
refs = st.sampled_from([Ref("route", "prod"), Ref("change", "CR-1"), Ref("model", "late", 7)])
writes = st.lists(st.tuples(refs, st.integers(0, 9)), min_size=2, max_size=12)


def _record(history: Sequence[tuple[Ref, int]]) -> MemoryRecord:
    record = MemoryRecord()
    for ref, value in history:
        newest = record.get(ref)
        put = Put(ref, {"value": value}, newest.version if newest else 0)
        record.write([put], by="dana", at=NOON)
    return record


def _said(
    written: Sequence[Written], kept: Sequence[Checkpoint] = (), head: Checkpoint | None = None
) -> list[str]:
    verifier = Verifier(kept)
    verifier.take(written)
    return verifier.objections(head)


@settings(derandomize=True, max_examples=60)
@given(writes)
def test_an_untouched_record_has_nothing_against_it(history: list[tuple[Ref, int]]) -> None:
    record = _record(history)
    found = verify(record, [record.head(), Checkpoint(0, "e3b0c442" + "0" * 56)][:1])
    assert (found.objections, found.now, found.backwards) == ((), record.head(), 0)


def _forged(at: Written, again: bool = False) -> Written:
    assert at.leaf is not None
    assert at.entry is not None
    entry = at.entry._replace(body='{"value":99}')
    return Written(leaf_of(at.leaf["seq"], entry) if again else at.leaf, entry)


@settings(derandomize=True, max_examples=200)
@given(writes, st.data())
def test_any_edit_removal_insertion_or_swap_is_found(  # R-A8
    history: list[tuple[Ref, int]], data: st.DataObject
) -> None:
    record = _record(history)
    rows, kept = list(record.written()), record.head()
    at = data.draw(st.integers(0, len(rows) - 1))
    how = data.draw(
        st.sampled_from(["edit", "remove", "drop leaf", "cut", "insert", "reorder", "rewrite"])
    )
    match how:
        case "edit":
            rows[at] = _forged(rows[at])
        case "remove":
            rows[at] = Written(rows[at].leaf, None)
        case "drop leaf":
            rows.append(Written(None, rows[at].entry))
            del rows[at]
        case "cut":
            del rows[at:]
        case "insert":
            rows.insert(at, _forged(rows[at], again=True))
        case "reorder":
            rows[at], rows[at - 1] = rows[at - 1], rows[at]
        case "rewrite":
            # Row and leaf together, hash included: only what is kept elsewhere can tell.
            rows[at] = _forged(rows[at], again=True)
    if how in ("rewrite", "cut"):
        assert _said(rows) == []
    assert _said(rows, head=kept) != [], "the record's own head tells"
    assert _said(rows, [kept]) != [], "a checkpoint tells, whatever the record says of itself"


def test_each_objection_names_the_row() -> None:
    record = _record([(Ref("route", "prod"), 1), (Ref("route", "prod"), 2)])
    first, second = record.written()
    assert first.leaf is not None
    rows = [Written({**first.leaf, "by": "nobody"}, first.entry), Written(second.leaf, None)]
    assert _said(rows) == [
        "audit leaf 1 (route:prod version 1) was edited: its hash is another",
        "route:prod version 1 was edited: its by is not what the audit holds",
        "route:prod version 2 is in the audit and gone from the record",
    ]


def test_of_very_many_objections_the_first_are_told_and_the_others_counted() -> None:
    record = _record([(Ref("note", str(n)), n) for n in range(250)])
    said = _said([Written(row.leaf, None) for row in record.written()])
    assert len(said) == 101
    assert said[-1] == "and 150 more"


def _first_rules(seq: int, body: Json) -> Written:
    """As a leaf was made before it said where a write came from."""
    entry = Stored("route:prod", seq, canonical(body).decode(), NOON.isoformat(), "dana", "")
    row: Json = {
        "seq": seq, "ref": entry.ref, "version": seq, "body_digest": digest(body),
        "written_at": entry.written_at, "by": "dana",
    }  # fmt: skip
    row["leaf"] = leaf_hash(canonical(row)).hex()
    return Written({**row, "rules": 1, "source": ""}, entry)


def test_leaves_of_older_rules_stay_valid_and_older_rules_cannot_be_claimed_for_new_ones() -> None:
    old = [_first_rules(1, {"a": 1}), _first_rules(2, {"a": 2})]
    entry = Stored("route:prod", 3, "{}", NOON.isoformat(), "anon-1", "cli@here")
    new = Written(leaf_of(3, entry), entry)
    assert _said([*old, new]) == []
    assert new.leaf is not None
    lower = Written({**new.leaf, "rules": 1}, entry)
    assert "its hash is another" in _said([*old, lower])[0]
    unheard = Written({**new.leaf, "rules": 9}, entry)
    assert "nobody knows them" in _said([*old, unheard])[0]


def test_every_field_of_a_leaf_is_in_its_hash() -> None:
    (row,) = _record([(Ref("route", "prod"), 1)]).written()
    assert row.leaf is not None
    assert set(row.leaf) == {*FIELDS[2], "leaf"}
    for field in FIELDS[2]:
        other = {**row.leaf, field: 1 if field == "rules" else "other"}
        assert hash_of(other).hex() != row.leaf["leaf"], field


@settings(derandomize=True, max_examples=200)
@given(st.text(), st.integers(1), st.text(), st.text(), st.text())
def test_a_leaf_is_hashed_as_its_canonical_json(
    ref: str, version: int, body: str, by: str, source: str
) -> None:
    """However it is put together: who checks a proof elsewhere goes by this text alone."""
    leaf = leaf_of(version, Stored(ref, version, body, NOON.isoformat(), by, source))
    told = canonical({name: leaf[name] for name in FIELDS[leaf["rules"]]})
    assert hash_of(leaf) == leaf_hash(told)
    for name, other in (("version", str(version)), ("by", 7), ("seq", float(version))):
        odd = {**leaf, name: other}
        told = canonical({field: odd[field] for field in FIELDS[leaf["rules"]]})
        assert hash_of(odd) == leaf_hash(told) != hash_of(leaf)


def test_a_clock_that_went_back_is_told_and_is_no_edit() -> None:
    record = MemoryRecord()
    for version, hours in enumerate([0, 2, 1, 3, 2]):
        put = Put(Ref("route", "prod"), {}, version)
        record.write([put], by="dana", at=NOON + timedelta(hours=hours))
    found = verify(record)
    assert (found.objections, found.backwards) == ((), 2)


class Busy(MemoryRecord):
    """Somebody writes while the audit is read."""

    def written(self, after: int | None = None) -> Iterator[Written]:
        yield from list(super().written(after))
        if self.head().size < 4:
            size = self.head().size
            self.write([Put(Ref("note", str(size)), {}, 0)], by="wei", at=NOON)


def test_writes_that_come_meanwhile_are_no_objection() -> None:
    record = Busy()
    record.write([Put(Ref("route", "prod"), {}, 0)], by="dana", at=NOON)
    found = verify(record)
    assert (found.objections, found.now.size) == ((), 4)


@pytest.mark.parametrize("size", [0, 2, 9])
def test_a_checkpoint_of_another_past_is_an_objection(size: int) -> None:
    record = _record([(Ref("route", "prod"), n) for n in range(3)])
    (said,) = verify(record, [Checkpoint(size, "ab" * 32)]).objections
    assert "checkpoint" in said
