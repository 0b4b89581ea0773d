"""What engines say differently: one value per engine, and nothing else knows their names.

Times are kept as plain UTC timestamps, microseconds where the engine has no finer ones.
Sessions of every engine are set to UTC, so that a cast from a zoned time is exact.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Literal

from interlock.define.definitions import ColumnType
from interlock.errors import Unusable
from interlock.ports import Warehouse

# Longer durations would carry a timestamp past what an engine can hold; in 200,000
# years nothing has expired anyway.
_LONGEST = timedelta(days=73_000_000)
_TICK = timedelta(microseconds=1)


Tally = Literal["histogram", "counts", "top"]
"""How an engine counts rows by value: a histogram of its own, one count per value that may
come, or the most frequent values, exact when it may track more than there are."""


@dataclass(frozen=True)
class Dialect:
    """How one engine writes names, times and types, and how it counts.

    `utc` turns {x} into a plain UTC timestamp. When the engine's input may be finer than
    that, `step` is one microsecond as an interval, and `up` and `down` round outward. `alive`
    is true when {stamp} lies no more than {n} microseconds before {time}. `executed`: our
    tests run on this engine, not only on its text.
    """

    name: str
    types: Mapping[ColumnType, str]
    utc: str
    alive: str
    step: str = ""
    instant_as: str = "TIMESTAMP '{at}'"
    quote: str = '"'
    # Names written without quotes are upper case there, and definitions have no quotes.
    upper: bool = False
    asof: bool = False
    executed: bool = False
    # The shortest step of time in which the engine counts a duration.
    grain: timedelta = _TICK
    # A backslash in a text literal stands for something else there.
    backslash: bool = False
    # What a query reads more than once and should work out once.
    once: str = "AS"
    # True where two keys are one, NULL being NULL, in a way that the engine can join by.
    same: str = "{one} IS NOT DISTINCT FROM {other}"
    row: str = "row({items})"
    doubles: str = "ARRAY[{items}]"
    # Seconds since 1970 UTC as a double.
    epoch: str = "CAST(extract(epoch FROM {x}) AS DOUBLE PRECISION)"
    distinct: str = "count(DISTINCT {x})"
    # The values of {x} that are not NULL at these shares of their order: a list.
    quantiles: str = ""
    # Three lists as one, sorted, each value once.
    union: str = ""
    # How many of a sorted list lie below {x}.
    below: str = ""
    tally: Tally = "counts"
    # The first 52 bits of the SHA-256 of text {x}, a whole number.
    cohort: str = ""
    # A number made of all rows of {t}, whatever their order; "" where nothing executes it.
    rows_digest: str = ""
    # A date, and a plain UTC timestamp to its second and its six digits after, as ISO text.
    day_text: str = ""
    second_text: str = ""
    micro_text: str = ""
    # It compiles each query's pieces, keeps every other aggregate once per value beside a count
    # of distinct ones, and writes a list beside a row down with it: few pieces, the rest apart.
    apart: bool = False

    def quoted(self, name: str) -> str:
        """`name` as an identifier; reserved words and odd letters are harmless."""
        name = name.upper() if self.upper else name
        return self.quote + name.replace(self.quote, self.quote * 2) + self.quote

    def address(self, name: str) -> str:
        """`schema.table` with each part quoted."""
        return ".".join(self.quoted(part) for part in name.split(".", 1))

    def text(self, value: str) -> str:
        """A string literal."""
        if self.backslash:
            return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
        return "'" + value.replace("'", "''") + "'"

    def literal(self, value: object) -> str:
        """One value that came out of the warehouse, as it goes back in; naive datetimes are UTC."""
        match value:
            case None:
                return "NULL"
            case bool():
                return "true" if value else "false"
            case int():
                return str(value)
            case float():
                return self.cast(f"'{value!r}'", "double")
            case datetime():
                return self.instant(value if value.tzinfo else value.replace(tzinfo=UTC))
            case date():
                return f"DATE '{value.isoformat()}'"
            case _:
                return self.text(str(value))

    def listed(self, values: Iterable[float]) -> str:
        """A list of doubles; of none too."""
        items = ", ".join(self.literal(float(value)) for value in values)
        return self.doubles.format(items=items)

    def number(self, expression: str, type: ColumnType) -> str:
        """A value as a double: times in seconds since 1970, true as 1; text is no number."""
        if type in ("string", "other"):
            return self.cast("NULL", "double")
        if type in ("date", "timestamp"):
            return self.epoch.format(x=expression)
        if type == "boolean":  # not every engine casts it to a double
            expression = f"CASE WHEN {expression} THEN 1 WHEN NOT {expression} THEN 0 END"
        return self.cast(expression, "double")

    def finite(self, expression: str) -> str:
        """Is a double a number of finite size? Not-a-number is above infinity, everywhere here."""
        return f"abs({expression}) < {self.cast(self.text('Infinity'), 'double')}"

    def among(self, aggregate: str, value: str, when: str) -> str:
        """`aggregate` of `value` over the rows for which `when` holds."""
        if self.apart:  # a FILTER is a class of its own to compile, for every one of them
            return f"{aggregate}(CASE WHEN {when} THEN {value} END)"
        return f"{aggregate}({value}) FILTER (WHERE {when})"

    def cast(self, expression: str, type: ColumnType) -> str:
        return f"CAST({expression} AS {self.types[type]})"

    def instant(self, at: datetime) -> str:
        """A timestamp literal in UTC; a naive instant is refused, it could be any hour."""
        if at.tzinfo is None:
            raise Unusable(f"{at.isoformat()} has no zone", help="pass an aware UTC instant")
        plain = at.astimezone(UTC).replace(tzinfo=None)
        return self.instant_as.format(at=plain.isoformat(sep=" ", timespec="microseconds"))

    def up(self, expression: str) -> str:
        """`expression` as a plain UTC timestamp, never earlier than it was.

        A row's time is rounded up: cut to the microsecond, it would be seen before it existed.
        """
        return self._rounded(expression, "<", "+")

    def down(self, expression: str) -> str:
        """`expression` as a plain UTC timestamp, never later: what a question may see."""
        return self._rounded(expression, ">", "-")

    def _rounded(self, expression: str, off: str, sign: str) -> str:
        plain = self.utc.format(x=expression)
        if not self.step:
            return plain
        # Casts round to the nearest here and cut there; compared with what it was, both end well.
        moved = f"{plain} {sign} {self.step}"
        return f"CASE WHEN {plain} {off} {expression} THEN {moved} ELSE {plain} END"

    def within(self, stamp: str, limit: timedelta, time: str) -> str:
        """Is `stamp` at most `limit` before `time`? Exact: a day is 24 hours."""
        limit = min(limit, _LONGEST)
        micros = limit // _TICK
        if limit % self.grain:
            raise Unusable(
                f"{self.name} cannot count {limit} exactly",
                help=f"use a ttl in whole steps of {self.grain}",
            )
        return self.alive.format(stamp=stamp, time=time, n=micros, ms=micros // 1000)


DUCKDB = Dialect(
    name="duckdb",
    types={
        "boolean": "BOOLEAN", "integer": "BIGINT", "double": "DOUBLE", "string": "VARCHAR",
        "date": "DATE", "timestamp": "TIMESTAMP", "other": "VARCHAR",
    },
    utc="CAST({x} AS TIMESTAMP)",
    step="to_microseconds(1)",
    # Added, not subtracted: infinity minus a timestamp is an error, infinity plus a day is not.
    alive="{stamp} + to_microseconds({n}) >= {time}",
    asof=True,
    executed=True,
    once="AS MATERIALIZED",
    doubles="CAST([{items}] AS DOUBLE[])",
    epoch="CAST(epoch({x}) AS DOUBLE)",
    distinct="approx_count_distinct({x})",
    quantiles="quantile_disc({x}, [{at}])",
    union="list_sort(list_distinct(list_concat({a}, {b}, {c})))",
    tally="histogram",
    cohort="CAST('0x' || substr(sha256({x}), 1, 13) AS BIGINT)",
    rows_digest="sum(CAST(hash({t}) AS HUGEINT))",
    day_text="strftime({x}, '%Y-%m-%d')",
    second_text="strftime({x}, '%Y-%m-%dT%H:%M:%S')",
    micro_text="strftime({x}, '%f')",
)  # fmt: skip
POSTGRES = Dialect(
    name="postgres",
    types={
        "boolean": "BOOLEAN", "integer": "BIGINT", "double": "DOUBLE PRECISION",
        "string": "TEXT", "date": "DATE", "timestamp": "TIMESTAMP", "other": "TEXT",
    },
    utc="CAST({x} AS TIMESTAMP)",
    alive="{stamp} + INTERVAL '{n} microseconds' >= {time}",
    executed=True,
    once="AS MATERIALIZED",
    # A full join is only made on equality.
    same="coalesce(CAST({one} AS TEXT), '') = coalesce(CAST({other} AS TEXT), '') "
    "AND ({one} IS NULL) = ({other} IS NULL)",
    row="ROW({items})",
    doubles="CAST(ARRAY[{items}] AS DOUBLE PRECISION[])",
    quantiles="percentile_disc(CAST(ARRAY[{at}] AS DOUBLE PRECISION[])) "
    "WITHIN GROUP (ORDER BY {x})",
    union="(SELECT array_agg(DISTINCT u ORDER BY u) FROM unnest({a} || {b} || {c}) AS u)",
    below="(width_bucket({x}, {edges}) - "
    "CASE WHEN ({edges})[width_bucket({x}, {edges})] = {x} THEN 1 ELSE 0 END)",
    cohort="CAST(CAST('x' || lpad(substr(encode(sha256(convert_to({x}, 'UTF8')), 'hex'), 1, 13), "
    "16, '0') AS bit(64)) AS BIGINT)",
    rows_digest="sum(CAST(hashtextextended(CAST({t} AS TEXT), 0) AS NUMERIC))",
    day_text="to_char({x}, 'YYYY-MM-DD')",
    second_text="to_char({x}, 'YYYY-MM-DD\"T\"HH24:MI:SS')",
    micro_text="to_char({x}, 'US')",
)  # fmt: skip
SPARK = Dialect(
    name="spark",
    types={
        "boolean": "BOOLEAN", "integer": "BIGINT", "double": "DOUBLE", "string": "STRING",
        "date": "DATE", "timestamp": "TIMESTAMP_NTZ", "other": "STRING",
    },
    utc="CAST({x} AS TIMESTAMP_NTZ)",
    instant_as="TIMESTAMP_NTZ '{at}'",
    # Differences, not sums: a sum that leaves the range of years is an error.
    alive="timestampdiff(MICROSECOND, {stamp}, {time}) <= {n}",
    quote="`",
    executed=True,
    backslash=True,
    row="struct({items})",
    doubles="array({items})",
    epoch="(timestampdiff(MICROSECOND, TIMESTAMP_NTZ '1970-01-01 00:00:00', "
    "CAST({x} AS TIMESTAMP_NTZ)) / 1e6)",
    distinct="approx_count_distinct({x})",
    # Exact, up to as many rows as the last number says.
    quantiles="percentile_approx({x}, array({at}), 10000000)",
    union="array_sort(array_distinct(concat({a}, {b}, {c})))",
    # By halves: a list of edges has a few hundred at most, and is looked into for every row.
    below="aggregate(array(2048, 1024, 512, 256, 128, 64, 32, 16, 8, 4, 2, 1), 0, (at, step) -> "
    "at + CASE WHEN get({edges}, at + step - 1) < {x} THEN step ELSE 0 END)",
    tally="top",
    cohort="CAST(conv(substr(sha2({x}, 256), 1, 13), 16, 10) AS BIGINT)",
    rows_digest="sum(CAST(xxhash64({t}.*) AS DECIMAL(38, 0)))",
    day_text="date_format({x}, 'yyyy-MM-dd')",
    second_text="date_format({x}, 'yyyy-MM-dd\\'T\\'HH:mm:ss')",
    micro_text="date_format({x}, 'SSSSSS')",
    apart=True,
)  # fmt: skip
SNOWFLAKE = Dialect(
    name="snowflake",
    types={
        "boolean": "BOOLEAN", "integer": "BIGINT", "double": "DOUBLE", "string": "VARCHAR",
        "date": "DATE", "timestamp": "TIMESTAMP_NTZ(9)", "other": "VARCHAR",
    },
    # Nanoseconds are kept, so nothing is rounded.
    utc="CAST(CONVERT_TIMEZONE('UTC', {x}) AS TIMESTAMP_NTZ(9))",
    instant_as="TIMESTAMP_NTZ_FROM_PARTS('{at}'::DATE, '{at}'::TIME)",
    alive="TIMESTAMPDIFF(NANOSECOND, {stamp}, {time}) <= {n}000",
    upper=True,
)  # fmt: skip
BIGQUERY = Dialect(
    name="bigquery",
    types={
        "boolean": "BOOL", "integer": "INT64", "double": "FLOAT64", "string": "STRING",
        "date": "DATE", "timestamp": "TIMESTAMP", "other": "STRING",
    },
    utc="CAST({x} AS TIMESTAMP)",
    instant_as="TIMESTAMP '{at}+00'",
    alive="TIMESTAMP_DIFF({time}, {stamp}, MICROSECOND) <= {n}",
    quote="`",
)  # fmt: skip
TRINO = Dialect(
    name="trino",
    types={
        "boolean": "BOOLEAN", "integer": "BIGINT", "double": "DOUBLE", "string": "VARCHAR",
        "date": "DATE", "timestamp": "TIMESTAMP(12)", "other": "VARCHAR",
    },
    # Picoseconds are kept, so nothing is rounded; durations are counted in milliseconds.
    utc="CAST({x} AT TIME ZONE 'UTC' AS TIMESTAMP(12))",
    alive="date_add('millisecond', {ms}, {stamp}) >= {time}",
    grain=timedelta(milliseconds=1),
)  # fmt: skip

DIALECTS: Mapping[str, Dialect] = {
    d.name: d for d in (DUCKDB, POSTGRES, SPARK, SNOWFLAKE, BIGQUERY, TRINO)
}


def dialect_of(warehouse: Warehouse) -> Dialect:
    """The SQL that a warehouse speaks."""
    return DIALECTS[warehouse.abilities.dialect]
