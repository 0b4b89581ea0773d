"""What an online store would have given for many rows, each at its own time, from a warehouse.

The rows are found by the join of training, but whole and without a TTL: what is too old, what
stands in for it, is decided by the code that answers requests, here as there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isinf

from interlock.features.contract import declared_type
from interlock.features.join import Join, Met, joined_sql
from interlock.features.timeline import own_stamp
from interlock.ports import OnlineRow
from interlock.serve.scoring import Found
from interlock.serve.spec import Lookup, ModelSpec, RequestInput

AT = "il_at"


@dataclass(frozen=True)
class Source:
    """Where the rows of one lookup are: a relation, and the engine types of its columns."""

    lookup: Lookup
    relation: str
    types: Mapping[str, str]

    @property
    def values(self) -> tuple[str, ...]:
        """The columns of a stored row, in its order."""
        lookup = self.lookup
        own = (own_stamp(lookup.features[place]) for place in lookup.remembered)
        return (*lookup.features, *own)


def looked_up_sql(
    spine: str, time: str, sources: Sequence[Source], extra: Mapping[str, str], how: Join
) -> str:
    """Every row of `spine` (`s`) once, the instant it asks at, and each lookup's newest row.

    `extra` are further columns: name -> expression over `s`.
    """
    dialect = how.dialect
    at = dialect.number(dialect.down(f"s.{dialect.quoted(time)}"), "timestamp")
    columns = [f"{at} AS {AT}"]
    columns += [f"{sql} AS {dialect.quoted(name)}" for name, sql in extra.items()]
    met = [_met(number, source) for number, source in enumerate(sources)]
    for number, (source, one) in enumerate(zip(sources, met, strict=True)):
        names = {_at(number): source.lookup.event_time}
        names |= {_value(number, place): column for place, column in enumerate(source.values)}
        columns += [
            f"{_number(source, one, column, how)} AS {name}" for name, column in names.items()
        ]
    return joined_sql(spine, time, met, columns, how)


def _met(number: int, source: Source) -> Met:
    lookup = source.lookup
    carried = dict.fromkeys([lookup.event_time, *source.values])
    names = {column: f"__{number}_{column}" for column in carried}
    return Met(source.relation, lookup.entity, lookup.known, lookup.event_time, names)


def _number(source: Source, met: Met, column: str, how: Join) -> str:
    """A value as the store keeps it: a double, times in seconds since 1970."""
    carried = how.dialect.quoted(met.carried[column])
    return how.dialect.number(carried, declared_type(source.types[column]))


def _at(number: int) -> str:
    return f"il_{number}_at"


def _value(number: int, place: int) -> str:
    return f"il_{number}_{place}"


def columns_of(spec: ModelSpec) -> list[str]:
    """The columns of `looked_up_sql` that `found_in` reads: what a request sends, what is met."""
    sent = [i.name for i in spec.inputs if isinstance(i, RequestInput)]
    met = [
        name
        for number, lookup in enumerate(spec.lookups)
        for name in (_at(number), *(_value(number, place) for place in range(lookup.width)))
    ]
    return [*sent, AT, *met]


def found_in(spec: ModelSpec, columns: Mapping[str, Sequence[object]]) -> Found:
    """Rows of `looked_up_sql` as the scorer wants them."""
    sent = {i.name: columns[i.name] for i in spec.inputs if isinstance(i, RequestInput)}
    rows = [_rows(number, lookup, columns) for number, lookup in enumerate(spec.lookups)]
    return Found(sent, rows, columns[AT])  # type: ignore[arg-type]  # doubles, as the SQL says


def _rows(
    number: int, lookup: Lookup, columns: Mapping[str, Sequence[object]]
) -> list[OnlineRow | None]:
    stamps = columns[_at(number)]
    values = zip(*(columns[_value(number, place)] for place in range(lookup.width)), strict=True)
    return [
        None if at is None else OnlineRow(at, value)  # type: ignore[arg-type]  # doubles
        for at, value in zip(stamps, values, strict=True)
    ]


def unsendable(spec: ModelSpec, columns: Mapping[str, Sequence[object]]) -> dict[int, str]:
    """Rows that a gateway would not take, and why: no request may hold an infinity or no time."""
    wrong = {row: "the row has no time" for row, at in enumerate(columns[AT]) if at is None}
    for one in spec.inputs:
        if isinstance(one, RequestInput) and one.categories is None:
            for row, value in enumerate(columns[one.name]):
                if isinstance(value, float) and isinf(value):
                    wrong[row] = f"input {one.name!r} holds a value that is not finite"
    return wrong
