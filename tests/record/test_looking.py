"""Who only looks into a record sees what the record holds, without loading what writes it."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from interlock.adapters.sqlrecord import SqlRecord
from interlock.adapters.sqlrecord.looking import LookedAt
from interlock.app.records import look_into
from interlock.define.refs import Ref
from interlock.errors import Corrupt, Unavailable
from interlock.ports import Put

AT = datetime(2013, 4, 1, 12, tzinfo=UTC)
CHANGES = [Ref("change", f"CR-{n}") for n in (1, 2, 10)]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Three changes, written by two people, one of whom is forgotten; a route beside them."""
    made = tmp_path / "record.db"
    record = SqlRecord(made)
    for step in range(4):
        for ref in CHANGES[: 3 if step else 1]:
            before = len(record.history(ref))
            body = {"author": "dana", "said": f"dana or rita, {step}", "step": step}
            record.write([Put(ref, body, before)], by="rita", at=AT + timedelta(hours=step))
    record.write([Put(Ref("route", "prod"), {"stable": "a"}, 0)], by="controller", at=AT)
    record.forget("rita", by="sam", at=AT)
    record.close()
    return made


def test_what_is_seen_is_what_the_record_holds(file: Path) -> None:
    looked, whole = look_into(file, "test"), SqlRecord(file)
    assert isinstance(looked, LookedAt)
    for ref in (*CHANGES, Ref("change", "CR-9"), Ref("route", "prod")):
        assert looked.get(ref) == whole.get(ref)
        for after in (0, 2, 99):
            assert looked.history(ref, after) == whole.history(ref, after)
    for kind in ("change", "route", "evidence"):
        assert looked.list(kind) == whole.list(kind)  # type: ignore[arg-type]  # kinds, as texts
    assert [entry.ref for entry in looked.list("change")] == CHANGES
    assert looked.list("change")[0].body["author"] == "dana"
    assert looked.audit() == whole.audit()
    looked.close()
    whole.close()


def test_it_sees_what_is_written_while_it_looks(file: Path) -> None:
    looked, whole = look_into(file, "test"), SqlRecord(file)
    before = len(looked.history(CHANGES[0]))
    whole.write([Put(CHANGES[0], {"step": 9}, before)], by="rita", at=AT)
    assert looked.history(CHANGES[0]) == whole.history(CHANGES[0])
    looked.close()
    whole.close()


def test_a_file_that_is_no_record_is_refused_in_the_same_words(tmp_path: Path) -> None:
    for name, bytes_ in (("text", b"not a database at all"), ("torn", b"SQLite format 3\0" * 9)):
        other = tmp_path / name
        other.write_bytes(bytes_)
        with pytest.raises(Unavailable) as plain:
            SqlRecord(other)
        with pytest.raises(Unavailable) as looking:
            look_into(other, "test")
        assert str(looking.value) == str(plain.value)


def test_a_record_of_a_newer_program_is_not_guessed_at(file: Path) -> None:
    engine = sa.create_engine(f"sqlite:///{file}")
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE meta SET value = '99' WHERE name = 'schema'")
    engine.dispose()
    with pytest.raises(Unavailable, match="newer Interlock"):
        look_into(file, "test")


def test_an_entry_that_cannot_be_read_is_named(file: Path) -> None:
    engine = sa.create_engine(f"sqlite:///{file}")
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE entry SET body = '{' WHERE ref = 'change:CR-2'")
    engine.dispose()
    looked = look_into(file, "test")
    with pytest.raises(Corrupt, match="change:CR-2 version"):
        looked.get(CHANGES[1])
    looked.close()


def test_looking_loads_nothing_that_writes(file: Path) -> None:
    code = f"""import sys
from pathlib import Path
from interlock.app.records import look_into
from interlock.define.refs import Ref
assert look_into(Path({str(file)!r}), "test").get(Ref("change", "CR-1"))
assert "sqlalchemy" not in sys.modules, "loaded"
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
