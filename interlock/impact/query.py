"""What is known of one query, and how two versions of it differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

EdgeKind = Literal["value", "filter", "join", "group", "window", "mask"]
RowVerdict = Literal["same", "changed", "unknown"]
ColumnVerdict = Literal["same", "changed", "added", "removed", "retyped", "unknown"]


class Source(NamedTuple):
    """A column that is read, and what for."""

    table: str
    column: str
    kind: EdgeKind = "value"


@dataclass(frozen=True)
class Promise:
    """What is known of a table beyond its columns.

    `keys`: sets of columns that are never NULL and together never the same in two rows.
    `required`: columns that are never NULL. `exact`: the engine's own name of a column's type.
    """

    keys: tuple[tuple[str, ...], ...] = ()
    required: tuple[str, ...] = ()
    exact: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class OutputColumn:
    """One column of the result: `digest` is equal for equal meaning, given the same row set.

    `doubt` is why equal text may not give equal values; `at` is where its SQL stands.
    """

    name: str
    type: str | None
    digest: str
    reads: frozenset[Source]
    exact: str | None = None
    doubt: str = ""
    at: int = field(default=0, compare=False)


@dataclass(frozen=True)
class Part:
    """One clause that decides about rows: what it is, its meaning, and where it stands."""

    what: str
    digest: str
    at: int


@dataclass(frozen=True)
class SqlError:
    """Something wrong in SQL text, at `line` (from 1) of that text."""

    line: int
    message: str
    fix: str = ""


@dataclass(frozen=True)
class QueryFacts:
    """What a query produces and from what.

    `rows` is the digest of the row set; `row_reads` are the columns that decide which
    rows there are, and so affect every output. `unknown` is a reason why the query
    was not understood: then every digest covers the whole text, nothing is ever called
    safe, and `columns` may be incomplete.
    """

    columns: tuple[OutputColumn, ...]
    rows: str
    row_reads: frozenset[Source]
    tables: frozenset[str]
    errors: tuple[SqlError, ...] = ()
    unknown: str | None = None
    doubt: str = ""
    parts: tuple[Part, ...] = field(default=(), compare=False)

    @property
    def by_name(self) -> dict[str, OutputColumn]:
        return {column.name: column for column in self.columns}

    @property
    def every_read(self) -> set[Source]:
        """What decides its rows, and what its columns are made of."""
        return set(self.row_reads) | {read for column in self.columns for read in column.reads}


@dataclass(frozen=True)
class Verdict:
    """What happened to one column, and why it is said."""

    verdict: ColumnVerdict
    reason: str = ""


@dataclass(frozen=True)
class QueryDifference:
    """How a query changed. `row_set` other than `same` affects all readers."""

    row_set: RowVerdict
    columns: Mapping[str, Verdict]
    reason: str = ""

    @property
    def same(self) -> bool:
        return self.row_set == "same" and all(v.verdict == "same" for v in self.columns.values())

    @property
    def additive(self) -> bool:
        """Nothing but new columns: nobody who reads the old ones is affected."""
        verdicts = {v.verdict for v in self.columns.values()}
        return self.row_set == "same" and "added" in verdicts and verdicts <= {"same", "added"}


def compare_queries(old: QueryFacts, new: QueryFacts) -> QueryDifference:
    """The difference in meaning. What was not understood on either side is `unknown`."""
    reason = new.unknown or old.unknown
    if new.errors or old.errors:
        reason = (new.errors or old.errors)[0].message
    before, after = old.by_name, new.by_name
    if reason and old.rows != new.rows:
        names = [*after, *(n for n in before if n not in after)]
        return QueryDifference("unknown", {n: Verdict("unknown", reason) for n in names}, reason)
    columns = {n: _column(before.get(n), column) for n, column in after.items()}
    columns |= {n: Verdict("removed", "no longer selected") for n in before if n not in after}
    if old.rows == new.rows:
        return QueryDifference("same", columns)
    doubt = new.doubt or old.doubt
    return QueryDifference("unknown" if doubt else "changed", columns, doubt or "other rows")


def _column(old: OutputColumn | None, new: OutputColumn) -> Verdict:
    if old is None:
        return Verdict("added", "new column")
    if old.type and new.type and old.type != new.type:
        return Verdict("retyped", f"{old.type} became {new.type}")
    if old.exact and new.exact and old.exact != new.exact:
        return Verdict("retyped", f"{old.exact} became {new.exact}")
    if old.digest == new.digest:
        return Verdict("same")
    doubt = new.doubt or old.doubt
    return Verdict("unknown", doubt) if doubt else Verdict("changed", "its expression changed")
