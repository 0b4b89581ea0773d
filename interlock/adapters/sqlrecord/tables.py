"""The tables of the record, the questions asked of them, and the steps from older schemas.

SQLite and Postgres share every statement; where they differ the type or the text says so.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence

import sqlalchemy as sa

from interlock.adapters.sqlrecord.values import SCHEMA_VERSION
from interlock.change.audit import stored_hash
from interlock.change.tree import Peaks

META = sa.MetaData()
# Addresses are compared byte by byte, whatever language the server speaks.
_Text = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_Whole = sa.Integer().with_variant(sa.BigInteger(), "postgresql")


def _key(name: str, kind: sa.types.TypeEngine[str] | sa.types.TypeEngine[int]) -> sa.Column[object]:
    return sa.Column(name, kind, primary_key=True, autoincrement=False)


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, _Text, nullable=False)


meta = sa.Table("meta", META, _key("name", _Text), sa.Column("value", sa.Text))
entry = sa.Table(
    "entry",
    META,
    _key("ref", _Text),
    _key("version", _Whole),
    *(_text(name) for name in ("body", "written_at", "by", "source")),
)
leaf = sa.Table(
    "leaf",
    META,
    _key("seq", _Whole),
    sa.Column("rules", _Whole, nullable=False),
    _text("ref"),
    sa.Column("version", _Whole, nullable=False),
    *(_text(name) for name in ("body_digest", "written_at", "by", "source", "leaf")),
    # One for each thing, so that a list is in the order in which they came. Each write of every
    # version would pay for an index over all of them, and only who verifies would read it.
    sa.Index(
        "first_leaf",
        "ref",
        unique=True,
        sqlite_where=sa.text("version = 1"),
        postgresql_where=sa.text("version = 1"),
    ),
)
# One row. `peaks` are those of the tree over all leaves; `names` counts how often somebody
# came to be known or was forgotten, so that a process knows when what it remembers is old.
head = sa.Table(
    "head",
    META,
    _key("id", _Whole),
    sa.Column("size", _Whole, nullable=False),
    _text("peaks"),
    sa.Column("names", _Whole, nullable=False),
)
name = sa.Table(
    "name",
    META,
    _key("pseudonym", _Text),
    sa.Column("name", _Text, nullable=False, unique=True),
    _text("salt"),
)
bucket = sa.Table(
    "bucket",
    META,
    *(_key(part, _Text) for part in ("change", "stage", "metric", "arm")),
    _key("at", _Whole),
    _key("slice", _Text),
    *(sa.Column(part, sa.Double, nullable=False) for part in ("n", "total", "squares")),
)
lease = sa.Table(
    "lease",
    META,
    _key("name", _Text),
    _text("holder"),
    sa.Column("fence", _Whole, nullable=False),
    sa.Column("until", sa.Double, nullable=False),
)

# --- questions: compiled once, gateways ask for their Route some fifty times a second ---

_STORED = (entry.c.ref, entry.c.version, entry.c.body, entry.c.written_at, entry.c.by)
NEWEST = (
    sa.select(*_STORED, entry.c.source)
    .where(entry.c.ref == sa.bindparam("ref"))
    .order_by(entry.c.version.desc())
    .limit(sa.literal_column("1"))
)
NEWEST_VERSION = sa.select(sa.func.max(entry.c.version)).where(entry.c.ref == sa.bindparam("ref"))
HISTORY = (
    sa.select(*_STORED, entry.c.source)
    .where(entry.c.ref == sa.bindparam("ref"), entry.c.version > sa.bindparam("after"))
    .order_by(entry.c.version)
)
_of_ref = entry.alias("same")
LIST = (
    sa.select(*_STORED, entry.c.source)
    # An entry whose leaf was removed must still be seen.
    .outerjoin(leaf, (leaf.c.ref == entry.c.ref) & (leaf.c.version == sa.literal_column("1")))
    .where(entry.c.ref >= sa.bindparam("low"), entry.c.ref < sa.bindparam("high"))
    .where(
        entry.c.version
        == sa.select(sa.func.max(_of_ref.c.version))
        .where(_of_ref.c.ref == entry.c.ref)
        .scalar_subquery()
    )
    .order_by(leaf.c.seq.is_(None), leaf.c.seq)
)


def parts(of: Sequence[str], dialect: str) -> sa.Select[tuple[object, ...]]:
    """Versions written since, with bodies of the paths `of` only: the engine reads the rest."""
    body = _picked(of) if dialect == "postgresql" else _extracted(of)
    return (
        sa.select(entry.c.ref, entry.c.version, body.label("body"), *_WRITTEN_BY)
        .where(entry.c.ref >= sa.bindparam("low"), entry.c.ref < sa.bindparam("high"))
        .where(entry.c.written_at >= sa.bindparam("since"))
        .order_by(entry.c.ref, entry.c.version)
    )


_WRITTEN_BY = (entry.c.written_at, entry.c.by, entry.c.source)


def _picked(of: Sequence[str]) -> sa.ColumnElement[str]:
    whole = sa.cast(entry.c.body, sa.JSON)
    pairs = [(path, sa.func.json_extract_path(whole, *path.split("."))) for path in of]
    return sa.cast(sa.func.json_build_object(*_flat(pairs)), sa.Text)


def _extracted(of: Sequence[str]) -> sa.ColumnElement[str]:
    pairs = [(path, sa.func.json_extract(entry.c.body, f"$.{path}")) for path in of]
    return sa.func.json_object(*_flat(pairs))


def _flat(pairs: Sequence[tuple[str, sa.ColumnElement[object]]]) -> list[object]:
    return [part for pair in pairs for part in pair]


_both = (leaf.c.ref == entry.c.ref) & (leaf.c.version == entry.c.version)
WRITTEN = (
    sa.select(*leaf.c, *(part.label(f"kept_{part.name}") for part in (*_STORED, entry.c.source)))
    .select_from(leaf.outerjoin(entry, _both))
    .where(leaf.c.seq > sa.bindparam("after"))
    .order_by(leaf.c.seq)
    .limit(sa.bindparam("many"))
)
WITHOUT_LEAF = (
    sa.select(*_STORED, entry.c.source)
    .select_from(entry.outerjoin(leaf, _both))
    .where(leaf.c.seq.is_(None))
    .order_by(entry.c.ref, entry.c.version)
)
# On Postgres the row is the queue in which writers stand, so that leaves have no gaps.
HEAD = sa.select(head.c.size, head.c.peaks, head.c.names)
NAMES = sa.select(name.c.pseudonym, name.c.name).where(
    name.c.pseudonym.in_(sa.bindparam("pseudonyms", expanding=True))
)
UPSERT = sa.text(
    'INSERT INTO bucket ("change", stage, metric, arm, "at", slice, n, total, squares)'
    " VALUES (:change, :stage, :metric, :arm, :at, :slice, :n, :total, :squares)"
    ' ON CONFLICT ("change", stage, metric, arm, "at", slice) DO UPDATE'
    " SET n = excluded.n, total = excluded.total, squares = excluded.squares"
)
# The server does not guess that a sum is one of seconds.
TOLD_CLOCK = "CAST(:now AS DOUBLE PRECISION)"
SERVER_CLOCK = "CAST(EXTRACT(EPOCH FROM clock_timestamp()) AS DOUBLE PRECISION)"


def claim(now: str) -> sa.TextClause:
    """Take or renew a lease in one statement; no row when somebody else holds it.

    A lease that ran out gets a new number even for its old holder: whatever that holder
    started before may have been overtaken meanwhile.
    """
    return sa.text(
        "INSERT INTO lease (name, holder, fence, until)"
        f" VALUES (:name, :holder, 1, {now} + CAST(:seconds AS DOUBLE PRECISION))"
        " ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, until = excluded.until,"
        f" fence = lease.fence + CASE WHEN lease.until > {now} THEN 0 ELSE 1 END"
        f" WHERE lease.until <= {now} OR lease.holder = excluded.holder"
        " RETURNING fence"
    )


# --- making and mending the schema ------------------------------------------------------


def create(connection: sa.Connection) -> None:
    """Every table, empty."""
    META.create_all(connection)
    connection.execute(sa.insert(meta), [{"name": "schema", "value": str(SCHEMA_VERSION)}])
    _begin_log(connection, Peaks())


def _begin_log(connection: sa.Connection, peaks: Peaks) -> None:
    origin = f"interlock/{secrets.token_hex(8)}"
    connection.execute(sa.insert(meta), [{"name": "origin", "value": origin}])
    row = {"id": 1, "size": peaks.size, "peaks": peaks.text, "names": 0}
    connection.execute(sa.insert(head), [row])


def _leaves_with_rules(connection: sa.Connection) -> None:
    """Leaves say by which rules they were written, and from where; the log gets a head.

    The table has another name now: a program that knows only the old one must stop, rather
    than write leaves that the head does not count.
    """
    for statement in (
        "ALTER TABLE audit RENAME TO leaf",
        "ALTER TABLE leaf ADD COLUMN rules INTEGER NOT NULL DEFAULT 1",
        "ALTER TABLE leaf ADD COLUMN source TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE entry ADD COLUMN source TEXT NOT NULL DEFAULT ''",
    ):
        connection.exec_driver_sql(statement)
    META.create_all(connection, [head, name])
    kept = connection.execute(sa.select(leaf.c.leaf).order_by(leaf.c.seq))
    _begin_log(connection, Peaks.over(stored_hash({"leaf": row[0]}) for row in kept))


def _leaves_with_one_index(connection: sa.Connection) -> None:
    """Leaves are found by their number; by address only the first of each thing."""
    connection.exec_driver_sql("ALTER TABLE leaf RENAME TO leaf_before")
    META.create_all(connection, [leaf])
    columns = ", ".join(f'"{column.name}"' for column in leaf.c)
    connection.exec_driver_sql(f"INSERT INTO leaf ({columns}) SELECT {columns} FROM leaf_before")
    connection.exec_driver_sql("DROP TABLE leaf_before")


STEPS: Mapping[int, Callable[[sa.Connection], None]] = {
    1: _leaves_with_rules,
    2: _leaves_with_one_index,
}
"""From this schema to the next, inside the caller's transaction."""


def migrate(connection: sa.Connection, found: int) -> None:
    """Step by step from schema `found` to this program's."""
    for version in range(found, SCHEMA_VERSION):
        STEPS[version](connection)
    connection.execute(
        sa.update(meta).where(meta.c.name == "schema").values(value=str(SCHEMA_VERSION))
    )
