"""From a stored row to the values that may be used: the online half of the point-in-time contract.

A row counts when its event time is not after the asking instant and its age is at most
the TTL, both inclusive, exactly as the offline join. Everything that stood in for such
a row is named in the answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Literal, NamedTuple

from interlock.errors import Unusable
from interlock.ports import OnlineRow
from interlock.serve.spec import Fallback, Lookup

Status = Literal["fresh", "stale", "missing", "null"]


class Resolved(NamedTuple):
    """What one lookup gives at one instant; `age` is of the row that was used, in seconds.

    `fallbacks` names features whose declared stand-in was used, `absent` those left
    NULL because their row was missing or too old.
    """

    values: tuple[float | None, ...]
    statuses: tuple[Status, ...]
    age: float | None
    fallbacks: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()


# NamedTuple's own constructor is a Python function; this is the C function below it.
_resolved = partial(tuple.__new__, Resolved)


def resolve(lookup: Lookup, row: OnlineRow | None, at: float) -> Resolved:
    """The values of `row` that may be used at `at`.

    A row stamped after `at` is missing, never used: offline it would not be known yet.
    """
    if row is not None:
        # Nearly every row is whole and fresh: it is its own answer.
        event_time, values, _, _ = row
        age = at - event_time
        if 0.0 <= age <= lookup.oldest and len(values) == lookup.plain and None not in values:
            return _resolved((values, lookup.all_fresh, age, (), ()))
    return _resolve(lookup, row, at)


def _resolve(lookup: Lookup, row: OnlineRow | None, at: float) -> Resolved:
    if row is None or row.event_time > at:
        return _stand_in(lookup, "missing", None, (None,) * len(lookup.features))
    values, age = row.values, at - row.event_time
    if len(values) != lookup.width:
        raise Unusable(f"a stored row of {lookup.view} has {len(values)} values")
    if lookup.remembered:
        return _remembering(lookup, row, at)
    if age > lookup.oldest:
        return _stand_in(lookup, "stale", age, values)
    return Resolved(values, tuple("null" if v is None else "fresh" for v in values), age)


def _remembering(lookup: Lookup, row: OnlineRow, at: float) -> Resolved:
    """Values that are remembered have ages of their own, each under the same TTL."""
    values = list(row.values[: len(lookup.features)])
    if at - row.event_time > lookup.oldest:
        return _stand_in(lookup, "stale", at - row.event_time, values)
    said: list[Status] = ["null" if v is None else "fresh" for v in values]
    names: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    for place, stamp in zip(lookup.remembered, row.values[len(lookup.features) :], strict=True):
        age = None if stamp is None else at - stamp
        if age is None or age <= lookup.oldest:
            continue
        stood = _stand_in(lookup, "stale", age, values)
        name = lookup.features[place]
        values[place], said[place] = stood.values[place], "stale"
        names += (name,) if name in stood.fallbacks else ()
        absent += (name,) if name in stood.absent else ()
    return Resolved(tuple(values), tuple(said), at - row.event_time, names, absent)


def _stand_in(
    lookup: Lookup, status: Status, age: float | None, old: Sequence[float | None]
) -> Resolved:
    values, used, names, absent = [], False, [], []
    for name, fallback, stored in zip(lookup.features, lookup.fallbacks, old, strict=True):
        late = age is not None and _still_served(fallback, age - (lookup.ttl or 0.0))
        value = stored if late else (fallback.value if fallback else None)
        used = used or late
        values.append(value)
        if late or value is not None:
            names.append(name)
        else:
            absent.append(name)
    statuses: tuple[Status, ...] = (status,) * len(values)
    return Resolved(tuple(values), statuses, age if used else None, tuple(names), tuple(absent))


def _still_served(fallback: Fallback | None, over: float) -> bool:
    if fallback is None or fallback.serve_stale_for is None:
        return False
    return over <= fallback.serve_stale_for
