"""The promises of the ports as test suites: an engine proves itself by inheriting one.

    class TestMyRecord(RecordContract):
        def make(self, folder: Path) -> Record:
            return MyRecord(folder / "record")

`make` is called once per test with an empty folder. Needs pytest. A record made by `make`
takes `self.wall` as the clock of its leases, so that a test can let them run out.
"""

from __future__ import annotations

import json
import tempfile
import threading
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from interlock.change.audit import verify
from interlock.change.names import true
from interlock.define.digest import digest, digest_bytes
from interlock.define.refs import Ref
from interlock.errors import NotFound, Stale, Unusable
from interlock.ports import (
    Artifacts,
    Bucket,
    Json,
    PredictionLog,
    Put,
    Record,
)

NOON = datetime(2013, 4, 1, 12, tzinfo=UTC)
ROUTE = Ref("route", "prod")
FIRST, SECOND = Ref("change", "CR-1"), Ref("change", "CR-2")


class RecordContract:
    """Compare-and-swap, all or nothing, history without gaps, leases that fence."""

    seconds: float

    def make(self, folder: Path) -> Record:
        raise NotImplementedError

    def wall(self) -> float:
        return self.seconds

    @pytest.fixture
    def record(self, tmp_path: Path) -> Record:
        self.seconds = 1000.0
        return self.make(tmp_path)

    def test_nothing_is_there_at_first(self, record: Record) -> None:
        assert record.get(ROUTE) is None
        assert (record.list("route"), record.history(ROUTE), record.audit()) == ((), (), ())
        assert record.buckets("CR-1") == ()

    def test_versions_count_from_one_without_gaps(self, record: Record) -> None:
        for version in range(3):
            put = Put(ROUTE, {"weight": version / 2}, version)
            record.write([put], by="dana", at=NOON + timedelta(hours=version))
        found = record.history(ROUTE)
        assert [entry.version for entry in found] == [1, 2, 3]
        assert record.get(ROUTE) == found[-1]
        assert record.history(ROUTE, after=1) == found[1:]
        assert record.history(ROUTE, after=3) == ()
        assert found[1].body == {"weight": 0.5}
        assert (found[1].by, found[1].written_at) == ("dana", NOON + timedelta(hours=1))

    def test_parts_of_bodies_are_read_of_every_version_since(self, record: Record) -> None:
        for n in range(3):
            body = {"by": {"person": "wei"}, "n": n, "deep": {"er": {"at": n}}, "long": "x" * 9}
            record.write([Put(FIRST, body, n)], by="wei", at=NOON + timedelta(hours=n))
        record.write([Put(ROUTE, {"n": 9}, 0)], by="wei", at=NOON)
        asked = ("n", "deep.er.at", "by.person", "deep.none.of")
        found = record.parts(FIRST.kind, asked, NOON + timedelta(hours=1))
        assert [one.version for one in found] == [2, 3]
        assert found[1].body == {
            "n": 2, "deep.er.at": 2, "by.person": "wei", "deep.none.of": None,
        }  # fmt: skip
        assert [one.written_at for one in found] == [
            one.written_at for one in record.history(FIRST, after=1)
        ]
        assert record.parts("booking", asked, NOON) == ()

    @pytest.mark.parametrize("expected", [0, 2, 7, -1])
    def test_a_write_that_expects_another_version_is_stale(
        self, record: Record, expected: int
    ) -> None:
        record.write([Put(ROUTE, {"n": 1}, 0)], by="dana", at=NOON)
        with pytest.raises(Stale, match="route:prod"):
            record.write([Put(ROUTE, {"n": 2}, expected)], by="wei", at=NOON)
        assert [entry.body for entry in record.history(ROUTE)] == [{"n": 1}]

    def test_all_puts_or_none_and_every_ref_that_moved_is_named(self, record: Record) -> None:
        record.write([Put(FIRST, {}, 0), Put(SECOND, {}, 0)], by="dana", at=NOON)
        puts = [Put(ROUTE, {}, 0), Put(FIRST, {"late": True}, 0), Put(SECOND, {}, 5)]
        bucket = Bucket("step", "errors", "stable", 0, 1, 0, 0)
        with pytest.raises(Stale) as caught:
            record.write(puts, by="dana", at=NOON, buckets={"CR-1": [bucket]})
        assert "change:CR-1" in str(caught.value)
        assert "change:CR-2" in str(caught.value)
        assert record.get(ROUTE) is None
        assert record.history(FIRST)[-1].version == 1
        assert record.buckets("CR-1") == ()
        assert len(record.audit()) == 2

    def test_a_list_holds_the_newest_of_each_oldest_thing_first(self, record: Record) -> None:
        record.write([Put(SECOND, {}, 0)], by="dana", at=NOON)
        record.write([Put(FIRST, {}, 0), Put(ROUTE, {}, 0)], by="dana", at=NOON)
        record.write([Put(SECOND, {"again": 1}, 1)], by="dana", at=NOON)
        assert [(e.ref, e.version) for e in record.list("change")] == [(SECOND, 2), (FIRST, 1)]
        assert [e.ref for e in record.list("route")] == [ROUTE]

    def test_refs_come_back_whole(self, record: Record) -> None:
        ref = Ref("feature", "origin_weather", 2, "temp_f")
        record.write([Put(ref, {"é": ["\u2028", 1, 0.1, None, True]}, 0)], by="zoë", at=NOON)
        (found,) = record.list("feature")
        assert found.ref == ref
        assert found.body == {"é": ["\u2028", 1, 0.1, None, True]}
        assert found.by == "zoë"

    def test_what_was_written_does_not_change_with_the_callers_value(self, record: Record) -> None:
        body: Json = {"stages": ["shadow"]}
        (written,) = record.write([Put(ROUTE, body, 0)], by="dana", at=NOON)
        body["stages"].append("step")
        written.body["stages"].append("soak")
        found = record.get(ROUTE)
        assert found is not None
        found.body["stages"].append("aborted")
        assert record.history(ROUTE)[0].body == {"stages": ["shadow"]}

    def test_instants_are_kept_in_utc_and_naive_ones_are_refused(self, record: Record) -> None:
        east = NOON.astimezone(timezone(timedelta(hours=-4)))
        (written,) = record.write([Put(ROUTE, {}, 0)], by="dana", at=east)
        assert written.written_at == NOON
        assert written.written_at.tzinfo is UTC
        with pytest.raises(Unusable):
            record.write([Put(ROUTE, {}, 1)], by="dana", at=NOON.replace(tzinfo=None))

    @pytest.mark.parametrize("bad", [float("nan"), float("inf"), {1, 2}, NOON])
    def test_what_is_not_json_is_refused_by_name(self, record: Record, bad: object) -> None:
        with pytest.raises(Unusable, match="route:prod"):
            record.write([Put(ROUTE, {"bad": bad}, 0)], by="dana", at=NOON)
        assert record.audit() == ()

    def test_buckets_replace_those_with_the_same_address(self, record: Record) -> None:
        old = Bucket("step", "errors", "stable", 3600, 10, 2, 2)
        kept = Bucket("step", "errors", "candidate", 3600, 4, 0, 0, "JFK")
        new = Bucket("step", "errors", "stable", 3600, 12.5, 3, 3)
        record.write([], by="c", at=NOON, buckets={"CR-1": [old, kept], "CR-2": [old]})
        record.write([], by="c", at=NOON, buckets={"CR-1": [new]})
        assert set(record.buckets("CR-1")) == {new, kept}
        assert record.buckets("CR-2") == (old,)

    def test_every_put_has_its_audit_leaf(self, record: Record) -> None:  # R-A8
        record.write([Put(FIRST, {"a": 1}, 0), Put(ROUTE, {}, 0)], by="dana", at=NOON)
        record.write([Put(FIRST, {"a": 2}, 1)], by="wei", at=NOON)
        leaves = record.audit()
        assert [row["seq"] for row in leaves] == [1, 2, 3]
        assert [row["ref"] for row in leaves] == ["change:CR-1", "route:prod", "change:CR-1"]
        assert leaves[2]["body_digest"] == digest({"a": 2})
        assert [row["version"] for row in leaves] == [1, 1, 2]
        found = verify(record, [record.head()])
        assert (found.objections, found.now.size) == ((), 3)
        assert {row["source"] for row in leaves} != {""}

    def test_what_is_stored_holds_no_names_and_what_is_read_does(  # R-A8
        self, record: Record
    ) -> None:
        body = {"author": "zoë", "said": "zoë waits for dana", "model": "dana", "by": ["wei"]}
        record.write([Put(FIRST, body, 0)], by="dana", at=NOON)
        record.write([Put(FIRST, body, 1)], by="zoë", at=NOON)
        kept = [row.entry for row in record.written()]
        assert len(kept) == 2
        for one in kept:
            assert one is not None
            assert "zoë" not in one.body
            assert "wei" not in one.body
            assert json.loads(one.body)["model"] == "dana", "an address is no person"
            assert one.by.startswith("anon-")
        found = record.get(FIRST)
        assert found is not None
        assert (found.body, found.by) == (body, "zoë")
        assert {"dana", "wei", "zoë"} <= {named.name for named in record.names()}
        assert all(true(named) for named in record.names())

    def test_who_is_forgotten_is_a_pseudonym_everywhere_and_the_audit_holds(  # R-A8
        self, record: Record
    ) -> None:
        body = {"author": "dana", "said": "started by dana", "waits_for": "wei"}
        record.write([Put(FIRST, body, 0)], by="dana", at=NOON)
        before = record.head()
        gone = record.forget("dana", by="wei", at=NOON)
        found = record.get(FIRST)
        assert found is not None
        assert found.by == gone
        assert found.body == {"author": gone, "said": f"started by {gone}", "waits_for": "wei"}
        assert "dana" not in {named.name for named in record.names()}
        assert [(e.body, e.by) for e in record.list("erasure")] == [({"pseudonym": gone}, "wei")]
        assert verify(record, [before, record.head()]).objections == ()
        with pytest.raises(NotFound, match="dana"):
            record.forget("dana", by="wei", at=NOON)
        # Who comes back is somebody else: nothing leads to what was forgotten.
        (again,) = record.write([Put(ROUTE, {}, 0)], by="dana", at=NOON)
        assert again.by == "dana"
        assert {row["by"] for row in record.audit() if row["ref"] == "route:prod"} != {gone}

    def test_a_request_writes_from_where_it_came(self, record: Record) -> None:
        record.write([Put(ROUTE, {}, 0)], by="dana", at=NOON)
        record.written_from("token:7").write([Put(ROUTE, {}, 1)], by="dana", at=NOON)
        record.write([Put(ROUTE, {}, 2)], by="dana", at=NOON)
        first, second, third = (entry.source for entry in record.history(ROUTE))
        assert (first, second) == (third, "token:7")
        assert verify(record).objections == ()

    def test_each_record_is_a_log_of_its_own(self, record: Record) -> None:
        assert record.origin() == record.origin()
        assert record.origin() != self.make(Path(tempfile.mkdtemp())).origin()

    def test_a_lease_is_held_by_one(self, record: Record) -> None:
        assert record.claim("tick", "one", 10) == 1
        assert record.claim("tick", "two", 10) is None
        assert record.claim("tick", "one", 10) == 1
        assert record.claim("build", "two", 10) == 1

    def test_a_fencing_number_only_grows(self, record: Record) -> None:
        record.claim("tick", "one", 10)
        self.seconds += 9.9
        assert record.claim("tick", "two", 10) is None
        self.seconds += 0.2
        assert record.claim("tick", "two", 10) == 2
        record.release("tick", "one")
        assert record.claim("tick", "one", 10) is None
        record.release("tick", "two")
        assert record.claim("tick", "one", 10) == 3
        self.seconds += 11
        assert record.claim("tick", "one", 10) == 4

    def test_of_many_threads_exactly_one_wins(self, record: Record) -> None:
        outcomes: list[str] = []

        def put(name: str) -> None:
            try:
                record.write([Put(ROUTE, {"by": name}, 0)], by=name, at=NOON)
                outcomes.append(name)
            except Stale:
                pass

        threads = [threading.Thread(target=put, args=(str(n),)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        found = record.history(ROUTE)
        assert [entry.by for entry in found] == outcomes
        assert len(outcomes) == 1


class ArtifactsContract:
    """Bytes by their SHA-256, or an error; never other bytes."""

    def make(self, folder: Path) -> Artifacts:
        raise NotImplementedError

    @pytest.fixture
    def artifacts(self, tmp_path: Path) -> Artifacts:
        return self.make(tmp_path)

    @pytest.mark.parametrize("data", [b"", b"model", bytes(range(256)) * 4096])
    def test_bytes_come_back_by_their_digest(self, artifacts: Artifacts, data: bytes) -> None:
        address = artifacts.put(data)
        assert address == digest_bytes(data)
        assert artifacts.has(address)
        assert artifacts.get(address) == data
        assert artifacts.put(data) == address

    @pytest.mark.parametrize("address", [digest_bytes(b"other"), "", "../../etc/passwd", "0" * 63])
    def test_what_is_not_there_is_not_found(self, artifacts: Artifacts, address: str) -> None:
        artifacts.put(b"model")
        assert not artifacts.has(address)
        with pytest.raises(NotFound):
            artifacts.get(address)


class PredictionLogContract:
    """What was appended is read once, in order, from any cursor."""

    def make(self, folder: Path) -> PredictionLog:
        raise NotImplementedError

    @pytest.fixture
    def log(self, tmp_path: Path) -> PredictionLog:
        return self.make(tmp_path)

    def test_a_log_that_can_be_written_says_so_and_is_not_written_by_asking(
        self, log: PredictionLog
    ) -> None:
        log.check()
        assert log.read({})[0] == []

    def test_an_empty_log_reads_empty(self, log: PredictionLog) -> None:
        rows, cursor = log.read({})
        assert rows == []
        assert log.read(cursor)[0] == []

    def test_each_row_is_read_once_and_in_order(self, log: PredictionLog) -> None:
        first = [_prediction(n) for n in range(3)]
        log.append(first)
        rows, cursor = log.read({})
        assert rows == first
        log.append([_prediction(3)])
        log.append([])
        log.append([_prediction(4)])
        rows, after = log.read(cursor)
        assert [row["id"] for row in rows] == ["p3", "p4"]
        assert log.read(after)[0] == []

    def test_a_row_is_found_by_its_id_and_by_nothing_else(self, log: PredictionLog) -> None:
        rows: list[Json] = [
            {"id": "a1", "n": 1},
            {"id": "b2", "n": "a1"},
            {"id": 'c"3', "of": ["b2"]},
        ]
        log.append(rows)
        assert [log.find(one) for one in ("a1", "b2", 'c"3', "a")] == [*([row] for row in rows), []]

    def test_reading_again_from_a_cursor_gives_the_same(self, log: PredictionLog) -> None:
        log.append([_prediction(1), _prediction(2)])
        assert log.read({})[0] == log.read({})[0]

    def test_a_cursor_survives_being_stored(self, log: PredictionLog) -> None:
        log.append([_prediction(1)])
        cursor = json.loads(json.dumps(log.read({})[1]))
        log.append([_prediction(2)])
        assert [row["id"] for row in log.read(cursor)[0]] == ["p2"]

    def test_values_come_back_as_they_were(self, log: PredictionLog) -> None:
        row = {"id": "p", "score": 0.1, "inputs": [1.5, None], "mirror": None, "text": "a\nb\u2028"}
        log.append([row])
        assert log.read({})[0] == [row]


def _prediction(number: int) -> Json:
    return {"id": f"p{number}", "score": number / 7, "arm": "stable"}
