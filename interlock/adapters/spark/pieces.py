"""Parts of several tables replaced at one instant, where the engine has no transaction.

A table of which parts are replaced is a view of pieces: tables that never change. New pieces
are made beside, every view learns both of its answers and asks one flag which of them counts,
and then the flag is turned: one write of the catalog, before which everything is as it was
and after which everything is new. Whatever a kill leaves behind is finished or swept by the
next replacement. A query that names two such tables while the flag turns may meet both answers.
"""

from __future__ import annotations

import json
import re
import secrets
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from pyspark.sql import SparkSession

from interlock.errors import Unusable
from interlock.features.dialect import SPARK
from interlock.ports import Replacement

_MARK = re.compile(r"/\* kept by interlock: (.*?) \*/")
_PART, _FIRST, _FLAG = "__part_", "__first", "turning_"


class Piece(NamedTuple):
    """A table with some of the rows, and how many."""

    name: str
    rows: int


@dataclass(frozen=True)
class Shown:
    """What a name shows: the pieces `now`, but `then` once its `flag` is turned.

    `former` showed before: whoever began to read them may finish, until the next replacement.
    """

    now: tuple[Piece, ...]
    then: tuple[Piece, ...] = ()
    flag: str = ""
    former: tuple[str, ...] = ()

    def to_json(self) -> list[object]:
        return [self.now, self.then, self.flag, self.former]

    @classmethod
    def from_json(cls, said: list[Any]) -> Shown:
        now, then, flag, former = said
        return cls(_pieces(now), _pieces(then), flag, tuple(former))


def address(name: str) -> str:
    """`schema.table`, each part quoted."""
    return ".".join(SPARK.quoted(part.strip("`")) for part in name.split(".", 1))


class Pieces:
    """All names of a session that are views of pieces. Raises what Spark raises, and `Unusable`."""

    def __init__(self, spark: SparkSession) -> None:
        self._spark = spark
        # Held while a table becomes a view: in between there is nothing under its name.
        self.becoming = threading.Lock()

    def has(self, name: str) -> bool:
        """Is there anything under `name`? One that a kill left between table and view is mended."""
        if self._there(name):
            return True
        if not self._there(name + _FIRST):
            return False
        self._mend(name)
        return True

    def shown(self, name: str) -> Shown | None:
        """What `name` shows; None when it is no view of pieces."""
        if not self.has(name):
            return None
        said = self._noted(name)
        return Shown.from_json(said) if said else None

    def view(self, name: str, rows: str, note: object = None) -> None:
        """`name` shows `rows`, a list of what comes after SELECT, from one write of the catalog on.

        A view that is created OR REPLACEd is dropped first: readers, and a kill, may come between.
        """
        how = "ALTER" if self._there(name) else "CREATE"
        kept = f"/* kept by interlock: {json.dumps(note)} */ " if note else ""
        self._spark.sql(f"{how} VIEW {address(name)} AS SELECT {kept}{rows}")

    def replace(self, parts: Sequence[Replacement]) -> None:
        """All of `parts` from one instant on, or none of them."""
        names = list(dict.fromkeys(part.name for part in parts))
        before = {name: self._settled(name) for name in names}
        after = {name: before[name].now for name in names}
        for name, where, sql in parts:
            after[name] = self._after(name, after[name], where, sql)
        self._turn(before, after)

    def put(self, name: str, table: str) -> None:
        """`name`, a view of pieces, shows all of `table` and nothing else, from one instant on."""
        before = self._settled(name)
        piece = Piece(_new(name), self._count(table))
        self._spark.sql(f"ALTER TABLE {address(table)} RENAME TO {address(piece.name)}")
        self._show(name, Shown((piece,), former=tuple(one.name for one in before.now)))
        self._sweep(name)

    def drop(self, name: str) -> None:
        """Whatever is under `name`, with its rows."""
        shown = self.shown(name)
        if shown is None and not self._there(name):
            return
        # The name last: while it stands, whoever was killed here is asked to do it again.
        for piece in [*self._parts(name)] if shown else []:
            self._spark.sql(f"DROP TABLE IF EXISTS {address(piece)}")
        kind = "VIEW" if shown or self._is_view(name) else "TABLE"
        self._spark.sql(f"DROP {kind} IF EXISTS {address(name)}")

    # --- before the instant ---------------------------------------------------------------

    def _settled(self, name: str) -> Shown:
        """What `name` shows, with nothing under way; a plain table is one piece of itself."""
        shown = self.shown(name)
        if shown is not None and shown.flag:
            self._finish(shown.flag)
            shown = self.shown(name)
        if shown is None and self._is_view(name):
            raise Unusable(f"{name} is a view: it has no parts to replace", help="name its table")
        return shown or Shown((Piece(name, self._count(name)),))

    def _after(self, name: str, base: tuple[Piece, ...], where: str, sql: str) -> tuple[Piece, ...]:
        """The pieces of `name` once the rows of `base` where `where` holds are those of `sql`."""
        types = dict(self._spark.table(address(name)).dtypes)
        listed = ", ".join(map(SPARK.quoted, types))
        typed = ", ".join(
            f"CAST({SPARK.quoted(one)} AS {kind}) AS {SPARK.quoted(one)}"
            for one, kind in types.items()
        )
        new = self._made(name, f"SELECT {typed} FROM ({sql}) AS n ({listed})")
        if where == "TRUE":
            return (new,)
        if where == "FALSE":
            return self._appended(name, base, new, listed)
        left = f"{_union(base, listed)} AS t WHERE NOT coalesce(({where}), false)"
        kept = self._made(name, f"SELECT {listed} FROM {left}")
        return tuple(one for one in (kept, new) if one.rows) or (new,)

    def _appended(
        self, name: str, base: tuple[Piece, ...], new: Piece, listed: str
    ) -> tuple[Piece, ...]:
        """Small pieces at the end become one with `new`: there are never more than a few dozen."""
        if not new.rows:
            return base
        kept, size = list(base), new.rows
        while kept and kept[-1].rows <= size:
            size += kept.pop().rows
        joined = [one for one in base[len(kept) :] if one.rows]
        if joined:
            every = _union((*joined, new), listed)
            new = self._made(name, f"SELECT {listed} FROM {every} AS t")
        return (*kept, new)

    def _made(self, name: str, sql: str) -> Piece:
        piece = _new(name)
        self._spark.sql(f"CREATE TABLE {address(piece)} USING parquet AS {sql}")
        return Piece(piece, self._count(piece))

    # --- the instant, and what follows from it --------------------------------------------

    def _turn(self, before: dict[str, Shown], after: dict[str, tuple[Piece, ...]]) -> None:
        flag = f"{next(iter(before)).rpartition('.')[0] or 'default'}.{_FLAG}{secrets.token_hex(6)}"
        self._set(flag, list(before), turned=False)
        for name, shown in before.items():
            with self.becoming:
                if any(one.name == name for one in shown.now):
                    first = address(name + _FIRST)
                    self._spark.sql(f"ALTER TABLE {address(name)} RENAME TO {first}")
                now, then = (_renamed(name, one) for one in (shown.now, after[name]))
                self._show(name, Shown(now, then, flag, shown.former))
        self._set(flag, list(before), turned=True)
        self._finish(flag)

    def _set(self, flag: str, names: list[str], turned: bool) -> None:
        self.view(flag, f"{SPARK.literal(turned)} AS turned", note=names)

    def _finish(self, flag: str) -> None:
        """Every name that asks `flag` shows the answer that counts, and asks no more."""
        names = self._noted(flag)
        turned = self._spark.sql(f"SELECT turned FROM {address(flag)}").collect()[0][0]
        for name in names:
            shown = self.shown(name)
            if shown is not None and shown.flag == flag:
                now = shown.then if turned else shown.now
                gone = [one.name for one in shown.now if one not in now]
                self._show(name, Shown(now, former=tuple(gone)))
        self._spark.sql(f"DROP VIEW {address(flag)}")
        for name in names:
            self._sweep(name)

    def _show(self, name: str, shown: Shown) -> None:
        every = dict.fromkeys((*shown.now, *shown.then))
        listed = ", ".join(
            map(SPARK.quoted, self._spark.table(address(next(iter(every)).name)).columns)
        )
        asked = f"(SELECT turned FROM {address(shown.flag)})" if shown.flag else ""
        rows = []
        for piece in every:
            only_now, only_then = piece not in shown.then, piece not in shown.now
            when = f" WHERE NOT {asked}" if only_now else f" WHERE {asked}" if only_then else ""
            rows.append(f"{listed} FROM {address(piece.name)}{when if asked else ''}")
        self.view(name, " UNION ALL SELECT ".join(rows), note=shown.to_json())

    def _mend(self, name: str) -> None:
        piece = Piece(name + _FIRST, self._count(name + _FIRST))
        self._show(name, Shown((piece,)))

    def _sweep(self, name: str) -> None:
        """Pieces that are neither shown nor were a moment ago: left by a kill, or long replaced."""
        shown = self.shown(name)
        kept = {one.name for one in shown.now} | set(shown.former) if shown else set()
        for piece in [*self._parts(name)]:
            if shown and piece not in kept:
                self._spark.sql(f"DROP TABLE IF EXISTS {address(piece)}")

    def _parts(self, name: str) -> Iterator[str]:
        schema, _, table = name.rpartition(".")
        inside = SPARK.quoted(schema or "default")
        pattern = SPARK.text(f"{table}{_PART}*|{table}{_FIRST}")
        for row in self._spark.sql(f"SHOW TABLES IN {inside} LIKE {pattern}").collect():
            yield f"{schema}.{row['tableName']}" if schema else row["tableName"]

    def _there(self, name: str) -> bool:
        return bool(self._spark.catalog.tableExists(address(name)))

    def _noted(self, name: str) -> Any:
        """What `view` wrote beside the rows of `name`; None where there is no such thing."""
        for row in self._spark.sql(f"DESCRIBE EXTENDED {address(name)}").collect():
            if row["col_name"] == "View Text" and (found := _MARK.search(row["data_type"])):
                return json.loads(found[1])
        return None

    def _is_view(self, name: str) -> bool:
        return bool(self._spark.catalog.getTable(address(name)).tableType == "VIEW")

    def _count(self, name: str) -> int:
        return int(self._spark.table(address(name)).count())


def _pieces(said: list[tuple[str, int]]) -> tuple[Piece, ...]:
    return tuple(Piece(name, rows) for name, rows in said)


def _new(name: str) -> str:
    return f"{name}{_PART}{secrets.token_hex(6)}"


def _renamed(name: str, pieces: Sequence[Piece]) -> tuple[Piece, ...]:
    """A table that was its own only piece, under the name it has as a piece."""
    return tuple(one._replace(name=name + _FIRST) if one.name == name else one for one in pieces)


def _union(pieces: Sequence[Piece], listed: str) -> str:
    return "(" + " UNION ALL ".join(f"SELECT {listed} FROM {address(p.name)}" for p in pieces) + ")"
