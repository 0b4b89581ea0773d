"""The server ends our connection in the middle of work: said plainly, and mended by a retry.

Where it ends is not left to a clock: a trigger of the server counts the statements that make,
rename or drop something, and ends the connection that sends the one it was told.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import refresh_world as world

from interlock.app.refresh import refresh
from interlock.app.workspace import Workspace
from interlock.errors import Unavailable

POINTS = 10  # of all statements, so many are tried as the last one
SERVER = (
    "CREATE SEQUENCE public.statements",
    "CREATE TABLE public.last AS SELECT 0 AS statement",
    """CREATE FUNCTION public.end_at_last() RETURNS event_trigger LANGUAGE plpgsql AS $$
    BEGIN
      IF nextval('public.statements') = (SELECT statement FROM public.last) THEN
        PERFORM pg_terminate_backend(pg_backend_pid());
      END IF;
    END $$""",
    "CREATE EVENT TRIGGER ends ON ddl_command_end EXECUTE FUNCTION public.end_at_last()",
)


class Server:
    """The same database, seen by who looks after it."""

    def __init__(self, cursor: Any) -> None:
        self.cursor = cursor
        for statement in SERVER:
            cursor.execute(statement)

    def asked(self, sql: str) -> int:
        self.cursor.execute(sql)
        return int(self.cursor.fetchall()[0][0])

    def end_at(self, statement: int) -> None:
        """The connection that sends this one, counted from now, is ended."""
        self.cursor.execute(f"UPDATE public.last SET statement = {statement}")
        self.asked("SELECT setval('public.statements', 1, false)")

    def statements(self, work: Callable[[], object]) -> int:
        """How many of them undisturbed `work` sends."""
        self.end_at(0)
        work()
        return self.asked("SELECT nextval('public.statements')") - 1

    def staged(self) -> int:
        """Tables that were left half made."""
        return self.asked(r"SELECT count(*) FROM pg_class WHERE relname LIKE '\_\_staged%'")


@pytest.fixture(scope="module")
def shop() -> world.Shop:
    return world.Shop(seed=6)


@pytest.fixture(scope="module")
def tills(
    shop: world.Shop, postgres_database: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Workspace]:
    folder = tmp_path_factory.mktemp("dropped") / "tills"
    main = f"{world.MAIN}    warehouse: {postgres_database}\n"
    with world.opened(world.shop_project(folder, shop, main)) as workspace:
        refresh(workspace)
        yield workspace


@pytest.fixture(scope="module")
def server(tills: Workspace, postgres_database: str) -> Iterator[Server]:
    from adbc_driver_postgresql import dbapi

    with dbapi.connect(postgres_database, autocommit=True) as opened, opened.cursor() as cursor:
        yield Server(cursor)


def ended(work: Callable[[], object], server: Server, statement: int) -> None:
    """`work` is refused when its connection ends there, and comes through when asked again."""
    server.end_at(statement)
    with pytest.raises(Unavailable, match="the warehouse on this machine did not answer") as said:
        work()
    assert "try again" in str(said.value)
    assert said.value.exit_code == 6
    assert server.staged() == 0
    work()


def same_as_rebuilt(workspace: Workspace) -> None:
    there, afresh = world.held(workspace), world.rebuilt(workspace.folder)
    assert {n for n in there if there[n] != afresh[n]} == set()


def test_a_build_that_lost_its_server_is_whole_after_a_retry(
    tills: Workspace, server: Server
) -> None:
    builder = world.builder(tills)
    built = list(builder.everything().values())

    def drop() -> None:
        for table in built:
            tills.warehouse.execute(f"DROP TABLE IF EXISTS {table}")

    drop()
    count = server.statements(builder.everything)
    assert count >= 3 * len(built)
    for statement in random.Random(1).sample(range(1, count + 1), POINTS):
        server.end_at(0)
        drop()
        ended(builder.everything, server, statement)
        same_as_rebuilt(tills)


def test_a_refresh_that_lost_its_server_goes_on_where_it_stood(
    tills: Workspace, shop: world.Shop, server: Server
) -> None:
    def grow() -> None:
        shop.sales.append(world.sale(shop.rng, shop.next, shop.rng.random() * shop.days))
        shop.next += 1
        shop.write(tills.folder)

    grow()
    count = server.statements(lambda: refresh(tills))
    for statement in random.Random(2).sample(range(1, count // 2), POINTS):
        grow()
        ended(lambda: refresh(tills), server, statement)
        server.end_at(0)
        same_as_rebuilt(tills)
        assert all(not one.difference.spans for one in refresh(tills).parts)


def test_a_connection_that_ended_while_nobody_used_it_is_not_noticed(
    tills: Workspace, server: Server
) -> None:
    server.end_at(0)
    tills.warehouse.query("SELECT 1 AS one")
    others = "pid <> pg_backend_pid() AND datname = current_database()"
    ended_ = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
    assert server.asked(f"{ended_} WHERE {others} AND backend_type = 'client backend'")
    assert tills.warehouse.query("SELECT 1 AS one").to_pylist() == [{"one": 1}]
