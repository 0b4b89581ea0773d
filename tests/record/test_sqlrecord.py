"""The SQL record among processes and kills, on both engines; SQLite's own troubles with files."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from interlock.adapters.sqlrecord import SqlRecord
from interlock.adapters.sqlrecord.connect import reach
from interlock.adapters.sqlrecord.tables import HEAD
from interlock.change.audit import verify
from interlock.define.refs import Ref
from interlock.define.release import Route
from interlock.errors import Corrupt, Stale, Unavailable
from interlock.ports import Put

NOON = datetime(2013, 4, 1, 12, tzinfo=UTC)
ROUTE = Ref("route", "prod")
START = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from interlock.adapters.sqlrecord import SqlRecord
from interlock.define.refs import Ref
from interlock.errors import Stale, Unavailable
from interlock.ports import Put
NOON = datetime(2013, 4, 1, 12, tzinfo=UTC)
ROUTE = Ref("route", "prod")
target, name = sys.argv[1:]
"""


def _spawn(body: str, target: Path | str, name: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", START + body, str(target), name],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


RACE = """
record = SqlRecord(target)
print("ready", flush=True)
sys.stdin.readline()
won = []
for version in range(100):
    try:
        record.write([Put(ROUTE, {"by": name}, version)], by=name, at=NOON)
        won.append(version + 1)
    except Stale:
        pass
print(*won, flush=True)
"""


@pytest.mark.slow
def test_of_two_processes_exactly_one_wins_each_version(target: str) -> None:  # R-C5
    processes = {name: _spawn(RACE, target, name) for name in ("one", "two")}
    # Both make the tables of a record that is not there yet, which is a race of its own.
    assert [_line(process) for process in processes.values()] == ["ready", "ready"]
    for process in processes.values():
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    won = {name: list(map(int, _line(process).split())) for name, process in processes.items()}
    assert [process.wait() for process in processes.values()] == [0, 0]
    assert sorted(won["one"] + won["two"]) == list(range(1, 101))
    record = SqlRecord(target)
    found = record.history(ROUTE)
    assert verify(record).objections == ()
    assert {name: [e.version for e in found if e.by == name] for name in won} == won


STREAM = """
record = SqlRecord(target)
version = 0
while True:
    puts = [Put(ROUTE, {"n": version}, version), Put(Ref("note", str(version)), {"of": version}, 0)]
    record.write(puts, by=name, at=NOON)
    version += 1
    print(version, flush=True)
"""


def test_threads_of_a_process_take_turns_and_a_failed_turn_leaves_nothing(target: str) -> None:
    """Half of the writes are refused in the middle; nobody waits for what they left open."""
    record = SqlRecord(target)

    def work(name: str) -> None:
        for version in range(12):
            record.write([Put(Ref("note", name), {"n": version}, version)], by=name, at=NOON)
            wrong = [Put(Ref("note", f"{name}-new"), {}, 0), Put(Ref("note", name), {}, version)]
            with pytest.raises(Stale):
                record.write(wrong, by=name, at=NOON)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, "abcdef"))
    other = SqlRecord(target)
    other.write([Put(Ref("note", "other"), {}, 0)], by="x", at=NOON)
    assert {one.ref.name: one.version for one in other.list("note")} == {
        **dict.fromkeys("abcdef", 12), "other": 1,
    }  # fmt: skip
    assert verify(other).objections == ()
    record.close()
    other.write([Put(Ref("note", "other"), {}, 1)], by="x", at=NOON)
    other.close()


@pytest.mark.slow
@pytest.mark.parametrize("lines", [1, 17, 60])
def test_a_kill_in_a_stream_of_writes_loses_nothing_committed(  # R-B12
    target: str, lines: int
) -> None:
    process = _spawn(STREAM, target, "victim")
    said = [int(_line(process)) for _ in range(lines)][-1]
    process.kill()
    assert process.stdout is not None
    rest = [int(text) for text in process.stdout.read().split("\n")[:-1] if text]
    assert process.wait() == -signal.SIGKILL
    record = SqlRecord(target)
    versions = [entry.version for entry in record.history(ROUTE)]
    assert versions == list(range(1, len(versions) + 1))
    assert len(versions) >= max([said, *rest])
    # Both puts of a write, and its leaves, are there together or not at all.
    assert len(record.list("note")) == len(versions)
    assert len(record.audit()) == 2 * len(versions)
    assert verify(record).objections == ()
    record.write([Put(ROUTE, {"after": True}, versions[-1])], by="next", at=NOON)


FULL = """
import resource
record = SqlRecord(target)
record.write([Put(ROUTE, {"n": 0}, 0)], by=name, at=NOON)
# No file may grow past this size: a disk with that much room.
resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, 600_000))
version = 1
try:
    while True:
        record.write([Put(ROUTE, {"n": "x" * 50_000}, version)], by=name, at=NOON)
        version += 1
except Unavailable as error:
    print(type(error).__name__, version, len(record.history(ROUTE)), flush=True)
"""


@pytest.mark.slow
def test_a_full_disk_is_unavailable_and_leaves_nothing_half_written(tmp_path: Path) -> None:
    file = tmp_path / "record.db"
    process = _spawn(FULL, file, "writer")
    error, written, seen = _line(process).split()
    assert process.wait() == 0
    assert (error, written) == ("Unavailable", seen)
    record = SqlRecord(file)
    assert len(record.history(ROUTE)) == int(written)
    assert verify(record).objections == ()
    record.write([Put(ROUTE, {"room": "again"}, int(written))], by="dana", at=NOON)


def test_a_record_outlives_the_process(target: str) -> None:
    record = SqlRecord(target)
    route = Route("prod", stable="a" * 64, weight=0.25, salt="CR-1", blocked=("b",))
    record.write([Put(ROUTE, route.to_json(), 0)], by="dana", at=NOON)
    kept, origin = record.head(), record.origin()
    record.close()
    again = SqlRecord(target)
    assert again.origin() == origin
    found = again.get(ROUTE)
    assert found is not None
    assert Route.from_json(found.body) == route
    assert verify(again, [kept]).objections == ()


def test_a_reader_is_not_held_up_by_a_writer(tmp_path: Path) -> None:
    record = SqlRecord(tmp_path / "record.db")
    record.write([Put(ROUTE, {"n": 1}, 0)], by="dana", at=NOON)
    other = sqlite3.connect(tmp_path / "record.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    other.execute("UPDATE entry SET body = '{}'")
    found = record.get(ROUTE)
    assert found is not None
    assert found.body == {"n": 1}
    # A process that starts meanwhile only reads, and need not wait either.
    assert SqlRecord(tmp_path / "record.db").get(ROUTE) == found
    other.close()


@pytest.mark.parametrize("text", ["name: flights\n" * 100, "x"])
def test_a_file_that_is_no_database_is_corrupt(tmp_path: Path, text: str) -> None:
    file = tmp_path / "record.db"
    file.write_text(text)
    with pytest.raises(Corrupt, match=r"record\.db"):
        SqlRecord(file)
    assert file.read_text() == text


def test_another_database_is_not_taken_for_a_record(tmp_path: Path) -> None:
    file = tmp_path / "record.db"
    with sqlite3.connect(file) as other:
        other.execute("CREATE TABLE orders (id INTEGER)")
    with pytest.raises(Corrupt, match="not a record"):
        SqlRecord(file)


def test_a_newer_schema_is_refused_and_untouched(tmp_path: Path) -> None:
    file = tmp_path / "record.db"
    SqlRecord(file).close()
    with sqlite3.connect(file) as other:
        other.execute("UPDATE meta SET value = '4' WHERE name = 'schema'")
    with pytest.raises(Unavailable, match="newer Interlock") as caught:
        SqlRecord(file)
    assert "upgrade" in caught.value.help


def test_a_damaged_page_is_corrupt_not_wrong(tmp_path: Path) -> None:
    file = tmp_path / "record.db"
    record = SqlRecord(file)
    for version in range(200):
        record.write([Put(ROUTE, {"n": "x" * 100}, version)], by="dana", at=NOON)
    record.close()
    data = bytearray(file.read_bytes())
    for page in range(4096, len(data), 4096):
        data[page : page + 200] = b"\xff" * 200
    file.write_bytes(bytes(data))
    with pytest.raises(Corrupt):
        SqlRecord(file).history(ROUTE)


def test_a_body_that_is_no_json_any_more_is_corrupt(tmp_path: Path) -> None:
    record = SqlRecord(tmp_path / "record.db")
    record.write([Put(ROUTE, {"n": 1}, 0)], by="dana", at=NOON)
    with sqlite3.connect(tmp_path / "record.db") as other:
        other.execute("UPDATE entry SET body = '{\"n\": '")
    with pytest.raises(Corrupt, match="route:prod version 1"):
        record.get(ROUTE)


def test_a_folder_that_is_not_there_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(Unavailable) as caught:
        SqlRecord(tmp_path / "nowhere" / "record.db")
    assert "folder" in caught.value.help


EDITS = {
    "edited body": "UPDATE entry SET body = '{\"n\":7}' WHERE version = 2",
    "edited author": "UPDATE entry SET \"by\" = 'nobody' WHERE version = 2",
    "edited source": "UPDATE entry SET source = 'elsewhere' WHERE version = 2",
    "edited time": "UPDATE entry SET written_at = '2013-01-01T00:00:00+00:00' WHERE version = 1",
    "removed row": "DELETE FROM entry WHERE version = 3",
    "removed leaf": "DELETE FROM leaf WHERE seq = 2",
    "removed newest": "DELETE FROM entry WHERE version = 3; DELETE FROM leaf WHERE seq = 3",
    "edited leaf": "UPDATE leaf SET \"by\" = 'nobody' WHERE seq = 2",
    "older rules": "UPDATE leaf SET rules = 1 WHERE seq = 2",
    "leaf of a version twice": (
        'INSERT INTO leaf SELECT seq + 1, rules, ref, version, body_digest, written_at, "by",'
        " source, leaf FROM leaf WHERE seq = 3"
    ),
    "moved leaf": "UPDATE leaf SET seq = -seq WHERE seq = 2",
    "edited head": "UPDATE head SET size = 2, peaks = substr(peaks, 1, 64)",
    "row without a leaf": (
        "INSERT INTO entry VALUES ('route:test', 1, '{}', '2013-04-01T12:00:00+00:00', 'x', 'y')"
    ),
}


def _edit(target: str, statements: str) -> None:
    """Behind the record's back."""
    with reach(target).engine.begin() as connection:
        for statement in statements.split("; "):
            connection.exec_driver_sql(statement)


@pytest.mark.parametrize("how", EDITS)
def test_an_edit_behind_the_records_back_is_found(target: str, how: str) -> None:  # R-A8
    record = SqlRecord(target)
    for version in range(3):
        record.write([Put(ROUTE, {"n": version}, version)], by="dana", at=NOON)
    assert verify(record).objections == ()
    _edit(target, EDITS[how])
    assert verify(record).objections != ()


def test_what_leaves_alone_cannot_show_a_checkpoint_does(target: str) -> None:
    record = SqlRecord(target)
    record.write([Put(ROUTE, {"n": 0}, 0), Put(ROUTE, {"n": 1}, 1)], by="dana", at=NOON)
    head = record.head()
    with reach(target).engine.connect() as connection:
        before = connection.execute(HEAD).one()
    record.write([Put(ROUTE, {"n": 2}, 2)], by="dana", at=NOON)
    kept = record.head()
    _edit(target, EDITS["removed newest"])
    _edit(target, f"UPDATE head SET size = {before.size}, peaks = '{before.peaks}'")
    found = verify(record)
    assert (found.objections, found.now) == ((), head)
    (said,) = verify(record, [kept]).objections
    assert "cut" in said


def test_a_head_that_cannot_be_is_corrupt_and_nothing_is_written(target: str) -> None:
    record = SqlRecord(target)
    record.write([Put(ROUTE, {"n": 0}, 0)], by="dana", at=NOON)
    _edit(target, "UPDATE head SET size = 7")
    with pytest.raises(Corrupt, match="cannot go on"):
        record.write([Put(ROUTE, {"n": 1}, 1)], by="dana", at=NOON)
    assert len(record.audit()) == 1


def test_an_erased_name_is_not_left_in_the_file(tmp_path: Path) -> None:  # R-A8
    file = tmp_path / "record.db"
    record = SqlRecord(file)
    record.write([Put(ROUTE, {"author": "Ottilie"}, 0)], by="Ottilie", at=NOON)
    assert any(b"Ottilie" in path.read_bytes() for path in tmp_path.iterdir())
    record.forget("Ottilie", by="dana", at=NOON)
    assert not any(b"Ottilie" in path.read_bytes() for path in tmp_path.iterdir())


def test_the_newest_version_is_found_by_the_key(tmp_path: Path) -> None:
    """Gateways ask many times a second: the question must stay a seek as history grows."""
    SqlRecord(tmp_path / "record.db").close()
    with sqlite3.connect(tmp_path / "record.db") as other:
        plan = other.execute(
            "EXPLAIN QUERY PLAN SELECT version, body FROM entry WHERE ref = 'route:prod'"
            " ORDER BY version DESC LIMIT 1"
        ).fetchall()
    assert "SEARCH entry USING INDEX" in plan[0][-1]
    assert len(plan) == 1


def test_processes_share_a_lease(target: str) -> None:
    body = "print(SqlRecord(target).claim('tick', name, 60), flush=True)"
    record = SqlRecord(target)
    assert record.claim("tick", f"here {os.getpid()}", 60) == 1
    other = _spawn(body, target, "there")
    assert (_line(other), other.wait()) == ("None", 0)
    record.release("tick", f"here {os.getpid()}")
    other = _spawn(body, target, "there")
    assert (_line(other), other.wait()) == ("2", 0)
