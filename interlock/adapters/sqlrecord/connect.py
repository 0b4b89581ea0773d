"""How the record reaches its database, and what its errors mean to who asked."""

from __future__ import annotations

import sqlite3
import ssl
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from interlock.errors import Corrupt, Unavailable, Unusable

BUSY_SECONDS = 10.0
SCHEMA = "interlock"
_PORT = 5432
_SHORTEST = 512  # bytes of a database: one page of the smallest size
_GONE = ("57P", "08")  # of SQLSTATE: shut down or terminated by somebody; no connection

_HELP = {
    "SQLITE_FULL": "make room on the disk; nothing was written",
    "SQLITE_IOERR": "is the disk full or away? nothing was written",
    "SQLITE_BUSY": "another process holds the record; try again",
    "SQLITE_CANTOPEN": "does the folder exist, and may this user write to it?",
    "SQLITE_READONLY": "may this user write to it?",
    "55P03": "another process holds the record; try again",
    "53100": "make room on the server's disk; nothing was written",
    "42501": "may this user write to the record's schema?",
    "28P01": "is the password right? it comes from the process's environment",
    "3D000": "make the database first: createdb NAME",
    # Of a line that is refused the driver does not say why.
    "network": "is the server up, the database made (createdb NAME), the user known there?",
}


class Ready:
    """A statement as the driver takes it: what a write asks is asked thousands of times.

    Rows are tuples in the order of `names`. SQLite is asked without the layer between, which
    takes longer than its answer. On a server the layer stays, because it notices connections
    that went.
    """

    def __init__(self, statement: sa.Executable, engine: sa.Engine, names: Sequence[str]) -> None:
        compiled = statement.compile(engine, column_keys=list(names))  # type: ignore[attr-defined]
        self._text = str(compiled)
        order: Sequence[str] = compiled.positiontup or ()
        self._places = [names.index(name) for name in order]
        self._as_given = list(order) == list(names)
        self._straight = engine.dialect.name == "sqlite"

    def __call__(self, connection: sa.Connection, row: tuple[Any, ...] = ()) -> Any:
        """A result with `fetchone`."""
        given = row if self._as_given else self._placed(row)
        if not self._straight:
            return connection.exec_driver_sql(self._text, given)
        raw: Any = connection.connection.dbapi_connection
        return raw.execute(self._text, given)

    def all(self, connection: sa.Connection, rows: Sequence[tuple[Any, ...]]) -> None:
        """Once for each of `rows`."""
        if len(rows) == 1:
            self(connection, rows[0])
            return
        given = rows if self._as_given else [self._placed(row) for row in rows]
        if not self._straight:
            connection.exec_driver_sql(self._text, list(given))
            return
        raw: Any = connection.connection.dbapi_connection
        raw.executemany(self._text, given)

    def _placed(self, row: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(row[place] for place in self._places)


class Errors:
    """Around what is asked of the record called `name`. A class: every write enters one."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __enter__(self) -> None:
        return None

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, sa.exc.DBAPIError):
            raise _translated(error.orig, self.name) from error
        if isinstance(error, (sqlite3.Error, OSError)):
            # While a connection is being prepared nothing wraps the driver's errors.
            raise _translated(error, self.name) from error
        if isinstance(error, sa.exc.SQLAlchemyError):
            raise Unavailable(
                f"the record {self.name} did not answer: {error}", help="try again"
            ) from error


@dataclass(frozen=True)
class Place:
    """A database: its engine, its schema on Postgres, and a name without secrets."""

    engine: sa.Engine
    name: str
    schema: str | None = None

    @property
    def server(self) -> bool:
        return self.schema is not None

    def errors(self) -> Errors:
        """What goes wrong inside is said in the words of `errors`."""
        return Errors(self.name)


def reach(target: Path | str) -> Place:
    """A file of SQLite, or the `postgresql://` URL of a server. Opens nothing yet."""
    text = str(target)
    if text.startswith(("postgresql://", "postgres://")):
        return _postgres(text)
    engine = sa.create_engine(f"sqlite:///{text}")
    _refuse_other_files(Path(text))
    sa.event.listen(engine, "connect", _prepare_sqlite)
    return Place(engine, text)


def lost(error: BaseException) -> bool:
    """Did the connection go, so that another one may answer?"""
    return isinstance(error, OSError) or bool(getattr(error, "connection_invalidated", False))


# --- Postgres ---


def _postgres(text: str) -> Place:
    try:
        url = sa.make_url(text)
    except (sa.exc.ArgumentError, ValueError) as error:
        raise Unusable("the record's address cannot be read", help=_SHAPE) from error
    asked = dict(url.query)
    schema = str(asked.pop("schema", SCHEMA))
    arguments = _arguments(url, asked)
    if asked or not schema.isidentifier():
        wrong = ", ".join(sorted(asked)) or f"schema={schema}"
        raise Unusable(f"the record's address asks for {wrong}", help=_SHAPE)
    engine = sa.create_engine(
        sa.URL.create("postgresql+pg8000"), connect_args=arguments, pool_size=5, max_overflow=20
    )
    sa.event.listen(engine, "connect", lambda opened, _: _prepare_postgres(opened, schema))
    sa.event.listen(engine, "handle_error", _notice)
    return Place(engine, url.set(query={}).render_as_string(hide_password=True), schema)


_SHAPE = (
    "write postgresql://user:${PASSWORD}@host:5432/database, and behind it at most"
    " ?schema=NAME, ?host=/folder/of/the/socket and ?sslmode=require or verify-full"
)


def _arguments(url: sa.URL, asked: dict[str, Any]) -> dict[str, Any]:
    host, port = str(asked.pop("host", url.host or "localhost")), int(url.port or _PORT)
    where: dict[str, Any] = {"host": host, "port": port}
    if host.startswith("/"):
        where = {"unix_sock": f"{host}/.s.PGSQL.{asked.pop('port', port)}"}
    found = {
        "user": url.username or "postgres",
        "password": url.password,
        "database": url.database,
        "application_name": "interlock",
        **where,
    }
    if "sslmode" in asked:
        found["ssl_context"] = _encryption(str(asked.pop("sslmode")))
    return found


def _encryption(mode: str) -> ssl.SSLContext | None:
    if mode == "disable":
        return None
    if mode not in ("require", "verify-full"):
        raise Unusable(f"the record's address asks for sslmode={mode}", help=_SHAPE)
    context = ssl.create_default_context()
    if mode == "require":  # as libpq understands it: encrypted, whoever answers
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def _prepare_postgres(connection: Any, schema: str) -> None:
    """Every new connection: where the tables are, and how long anybody may stand in the way."""
    wait = int(BUSY_SECONDS * 1000)
    cursor = connection.cursor()
    cursor.execute(f'SET search_path TO "{schema}"')
    cursor.execute(f"SET lock_timeout = {wait}")
    # A process that stands still in the middle of a write must not hold up all others.
    cursor.execute(f"SET idle_in_transaction_session_timeout = {wait}")
    connection.commit()
    cursor.close()


def _notice(context: Any) -> None:
    """A connection that the server has ended is not to be used again."""
    error = context.original_exception
    if isinstance(error, OSError) or _state(error).startswith(_GONE):
        context.is_disconnect = True


def _fields(error: object) -> Mapping[str, str]:
    said = getattr(error, "args", ())
    return said[0] if said and isinstance(said[0], dict) else {}


def _state(error: object) -> str:
    return _fields(error).get("C", "")


# --- SQLite ---


def _refuse_other_files(file: Path) -> None:
    """SQLite takes a very short file for an empty database, and writes over it.

    Its size is enough to know. To open and close it here would drop the locks that this
    process holds on it (POSIX): another process would take the log of writes away from under
    a record that is open, which then reads the past and loses what it writes.
    """
    try:
        size = file.stat().st_size
    except OSError:
        return  # not there, or not for us: opening it will say which
    if 0 < size < _SHORTEST:
        raise Corrupt(f"{file} is not a record", help="restore it from a backup, or move it away")


def _prepare_sqlite(connection: Any, _: object) -> None:
    """Every new connection to SQLite: wait for locks, and leave transactions to us."""
    connection.isolation_level = None
    connection.execute(f"PRAGMA busy_timeout = {int(BUSY_SECONDS * 1000)}")
    _use_wal(connection)
    connection.execute("PRAGMA synchronous = NORMAL")


def _use_wal(connection: Any) -> None:
    """WAL mode. The first switch needs the file alone and does not wait for it by itself."""
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorname != "SQLITE_BUSY" or time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def _translated(error: BaseException | None, name: str) -> Unavailable:
    reason = getattr(error, "sqlite_errorname", "")
    if reason.startswith(("SQLITE_NOTADB", "SQLITE_CORRUPT")):
        return Corrupt(f"{name} is not a readable record: {error}", help="restore it from a backup")
    kind = "_".join(reason.split("_")[:2]) or _state(error)
    kind = "network" if "network error" in str(error) else kind
    said = _fields(error).get("M") or error
    return Unavailable(
        f"the record {name} did not answer: {said}", help=_HELP.get(kind, "try again")
    )
