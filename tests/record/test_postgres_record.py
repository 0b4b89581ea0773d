"""What only a server can do to a record: lines that break, clocks that differ, other owners."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa

from interlock.adapters.sqlrecord import SqlRecord
from interlock.adapters.sqlrecord.connect import reach
from interlock.change.audit import verify
from interlock.define.refs import Ref
from interlock.errors import Corrupt, Unavailable, Unusable
from interlock.ports import Put

NOON = datetime(2013, 4, 1, 12, tzinfo=UTC)
ROUTE = Ref("route", "prod")


@pytest.fixture
def url(postgres_url: str) -> str:
    return f"{postgres_url}&schema=t{secrets.token_hex(6)}"


@pytest.fixture
def record(url: str) -> Iterator[SqlRecord]:
    opened = SqlRecord(url)
    opened.write([Put(ROUTE, {"n": 0}, 0)], by="dana", at=NOON)
    yield opened
    opened.close()


def cut_every_other_line(url: str) -> None:
    with reach(url).engine.begin() as connection:
        connection.exec_driver_sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
            " AND backend_type = 'client backend' AND application_name = 'interlock'"
        )


def test_reading_goes_on_over_another_line(record: SqlRecord, url: str) -> None:
    cut_every_other_line(url)
    found = record.get(ROUTE)
    assert found is not None
    assert found.body == {"n": 0}


def test_a_write_that_has_not_begun_goes_on_over_another_line(record: SqlRecord, url: str) -> None:
    cut_every_other_line(url)
    record.write([Put(ROUTE, {"n": 1}, 1)], by="dana", at=NOON)
    cut_every_other_line(url)
    record.forget("dana", by="wei", at=NOON)
    assert verify(record).objections == ()
    assert len(record.history(ROUTE)) == 2


def test_a_line_that_breaks_in_a_write_leaves_nothing_and_says_so(record: SqlRecord) -> None:
    with record._place.engine.begin() as connection:
        connection.exec_driver_sql(
            "CREATE FUNCTION bye() RETURNS trigger AS 'BEGIN"
            " PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NEW; END' LANGUAGE plpgsql"
        )
        connection.exec_driver_sql(
            "CREATE TRIGGER bye BEFORE INSERT ON leaf FOR EACH ROW EXECUTE FUNCTION bye()"
        )
    with pytest.raises(Unavailable, match="did not answer") as said:
        record.write([Put(ROUTE, {"n": 1}, 1)], by="dana", at=NOON)
    assert said.value.exit_code == 6
    assert [entry.body for entry in record.history(ROUTE)] == [{"n": 0}]
    with record._place.engine.begin() as connection:
        connection.exec_driver_sql("DROP TRIGGER bye ON leaf")
    record.write([Put(ROUTE, {"n": 2}, 1)], by="dana", at=NOON)
    assert verify(record).objections == ()


def test_a_line_that_breaks_at_the_commit_is_told_apart(record: SqlRecord) -> None:
    """Kept or not: nobody here can know, and it must not sound as if nothing were written."""
    with record._place.engine.begin() as connection:
        connection.exec_driver_sql(
            "CREATE FUNCTION bye() RETURNS trigger AS 'BEGIN"
            " PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END' LANGUAGE plpgsql"
        )
        connection.exec_driver_sql(
            "CREATE CONSTRAINT TRIGGER bye AFTER INSERT ON leaf DEFERRABLE INITIALLY DEFERRED"
            " FOR EACH ROW EXECUTE FUNCTION bye()"
        )
    with pytest.raises(Unavailable, match="it may be there and it may not"):
        record.write([Put(ROUTE, {"n": 1}, 1)], by="dana", at=NOON)


def test_a_lease_goes_by_the_clock_of_the_server_not_of_the_machine(
    record: SqlRecord, url: str
) -> None:
    with record._place.engine.connect() as connection:
        before = connection.scalar(sa.text("SELECT extract(epoch FROM clock_timestamp())"))
        assert record.claim("tick", "one", 60) == 1
        until = connection.scalar(sa.text("SELECT until FROM lease WHERE name = 'tick'"))
    # Whatever this machine takes for the time: the end is sixty seconds of the server's away.
    assert 60 <= until - float(before) < 120
    other = SqlRecord(url)
    assert other.claim("tick", "two", 60) is None
    with record._place.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE lease SET until = until - 61")
    assert other.claim("tick", "two", 60) == 2
    other.close()


def test_a_database_may_hold_several_records_beside_other_tables(
    postgres_url: str, record: SqlRecord
) -> None:
    own = secrets.token_hex(6)
    with record._place.engine.begin() as connection:
        connection.exec_driver_sql(f"CREATE SCHEMA s{own}")
        connection.exec_driver_sql(f"CREATE TABLE s{own}.orders (id INTEGER)")
    with pytest.raises(Corrupt, match="not a record"):
        SqlRecord(f"{postgres_url}&schema=s{own}")
    other = SqlRecord(f"{postgres_url}&schema=o{own}")
    assert other.get(ROUTE) is None
    assert other.origin() != record.origin()


def test_a_newer_schema_on_a_server_is_refused(record: SqlRecord, url: str) -> None:
    with record._place.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE meta SET value = '4' WHERE name = 'schema'")
    with pytest.raises(Unavailable, match="newer Interlock"):
        SqlRecord(url)


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("postgresql://ada:s3cret@127.0.0.1:1/none", "did not answer"),
        ("postgresql://ada:s3cret@127.0.0.1:1/none?sslmode=allow", "sslmode=allow"),
        ("postgresql://ada:s3cret@127.0.0.1:1/none?fast=1", "asks for fast"),
        ("postgresql://ada:s3cret@127.0.0.1:1/none?schema=a%20b", "schema=a b"),
        ("postgresql://ada:s3cret@127.0.0.1:port/none", "cannot be read"),
    ],
)
def test_an_address_that_leads_nowhere_is_told_without_its_password(
    address: str, said: str
) -> None:
    with pytest.raises((Unavailable, Unusable), match=said) as caught:
        SqlRecord(address)
    assert "s3cret" not in str(caught.value)
    assert caught.value.help


def test_a_database_that_is_not_there_says_how_to_make_it(postgres_url: str) -> None:
    with pytest.raises(Unavailable, match="nowhere") as said:
        SqlRecord(postgres_url.replace("/postgres?", "/nowhere?"))
    assert "createdb" in said.value.help
