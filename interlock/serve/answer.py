"""From stored rows to a matrix and back to answers: the online half of the point-in-time contract.

A row counts when its event time is not after the asking instant and its age is at most
the TTL, both inclusive, exactly as the offline join. Everything that stood in for such
a row is named in the answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import chain
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from interlock.define.keys import join_parts, key_part, key_parts
from interlock.errors import Unusable
from interlock.ports import OnlineRow
from interlock.serve.spec import Fallback, FeatureInput, Lookup, ModelSpec, RequestInput

Status = Literal["fresh", "stale", "missing", "null"]
Read = Callable[[Sequence[tuple[str, str]]], list[OnlineRow | None]]
Columns = Mapping[str, Sequence[object]]
NAN = float("nan")


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


class Assembled(NamedTuple):
    """A batch ready to be scored: one matrix, and per row what stood in for what."""

    matrix: NDArray[np.float64]
    oldest: list[float | None]
    stale: list[bool]
    fallbacks: list[tuple[str, ...]]
    absent: list[tuple[str, ...]]


Notes = tuple[bool, tuple[str, ...], tuple[str, ...]]
_QUIET: Notes = (False, (), ())


class _Step:
    """One lookup on the request path: which of its values the model uses."""

    def __init__(self, lookup: Lookup, index: int, used: Sequence[int]) -> None:
        self.lookup = lookup
        self.index = index
        self.entity = lookup.entity
        self.fingerprint = lookup.fingerprint
        self.used = tuple(used)
        self._oldest, self._width = lookup.oldest, lookup.plain
        self._all = self.used == tuple(range(self._width))

    def cells(self, row: OnlineRow | None, at: float) -> tuple[tuple[float, ...], Notes]:
        """The age (-1: none was used) and the used values of `row`; NULL is NaN in a matrix.

        Whole, fresh rows are nearly all there is, so they skip `resolve`, whose answer
        for them is the row itself.
        """
        if row is not None:
            age, values = at - row.event_time, row.values
            if 0.0 <= age <= self._oldest and None not in values and len(values) == self._width:
                if self._all:
                    return (age, *values), _QUIET  # type: ignore[arg-type]  # no None is left
                return (age, *[values[i] for i in self.used]), _QUIET  # type: ignore[arg-type]  # no None is left
        got = resolve(self.lookup, row, at)
        picked = [NAN if (v := got.values[i]) is None else v for i in self.used]
        note = _note(self.lookup, self.used, got) if got.fallbacks or got.absent else _QUIET
        return (-1.0 if got.age is None else got.age, *picked), note


class Assembler:
    """A model's request path, worked out once: which keys, which values, which order."""

    def __init__(self, spec: ModelSpec) -> None:
        self.spec = spec
        self.required = spec.required()
        self.views = tuple(lookup.view for lookup in spec.lookups)
        self._request = tuple(i for i in spec.inputs if isinstance(i, RequestInput))
        self._codes = {
            i.name: {value: float(code) for code, value in enumerate(i.categories)}
            for i in self._request
            if i.categories is not None
        }
        self._steps = tuple(
            _Step(lookup, at, used)
            for at, lookup in enumerate(spec.lookups)
            if (used := _used(spec, at))
        )
        self._entities = tuple(dict.fromkeys(step.entity for step in self._steps))
        self._names = tuple(dict.fromkeys(name for entity in self._entities for name in entity))
        self._order, self._ages = self._places()

    def _places(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Cells come as each lookup's age and values, then what was sent: where is what?"""
        values: dict[tuple[int, int], int] = {}
        ages, at = [], 0
        for step in self._steps:
            ages.append(at)
            values.update({(step.index, value): at + 1 + i for i, value in enumerate(step.used)})
            at += 1 + len(step.used)
        order = [
            values[i.lookup, i.value]
            if isinstance(i, FeatureInput)
            else at + self._request.index(i)
            for i in self.spec.inputs
        ]
        return np.array(order, dtype=np.intp), np.array(ages, dtype=np.intp)

    def assemble(self, columns: Columns, count: int, at: float, read: Read) -> Assembled:
        """The matrix of `count` rows at instant `at`, with one call of `read` for all of them."""
        parts = {name: key_parts(columns[name]) for name in self._names}
        keys = {entity: join_parts([parts[name] for name in entity]) for entity in self._entities}
        looked = self._look_up_one if count == 1 else self._look_up
        blocks, notes = looked(keys, at, read)
        return self._filled(columns, count, blocks, notes)

    def of_rows(
        self, columns: Columns, found: Sequence[Sequence[OnlineRow | None]], at: Sequence[float]
    ) -> Assembled:
        """The matrix of rows that each ask at an instant of their own (seconds since 1970 UTC).

        `found` holds for each lookup what was newest for each row: nothing is read here.
        """
        blocks: list[list[tuple[float, ...]]] = []
        notes: list[list[Notes]] = []
        for step in self._steps:
            got = list(map(step.cells, found[step.index], at))
            blocks.append([cells for cells, _ in got])
            if any(note is not _QUIET for _, note in got):
                notes.append([note for _, note in got])
        return self._filled(columns, len(at), blocks, notes)

    def _filled(
        self,
        columns: Columns,
        count: int,
        blocks: list[list[tuple[float, ...]]],
        notes: list[list[Notes]],
    ) -> Assembled:
        """What was looked up, and what was sent, as one matrix."""
        blocks += [self._sent(i, columns[i.name]) for i in self._request]
        flat = list(chain.from_iterable(chain.from_iterable(zip(*blocks, strict=True))))
        cells = np.array(flat, dtype=np.float64).reshape(count, -1)
        return Assembled(cells.take(self._order, axis=1), self._oldest(cells), *_told(notes, count))

    def _oldest(self, cells: NDArray[np.float64]) -> list[float | None]:
        if not self._steps:
            return [None] * len(cells)
        ages = cells.take(self._ages, axis=1).max(axis=1).tolist()
        return [None if age < 0 else age for age in ages]

    def _look_up_one(
        self, keys: Mapping[tuple[str, ...], list[str | None]], at: float, read: Read
    ) -> tuple[list[list[tuple[float, ...]]], list[list[Notes]]]:
        """One row: nothing to share, so no tables of what was already read."""
        asked = [(step, keys[step.entity][0]) for step in self._steps]
        wanted = [(step.fingerprint, key) for step, key in asked if key is not None]
        rows = iter(read(wanted))
        found = [step.cells(None if key is None else next(rows), at) for step, key in asked]
        notes = [[note] for _, note in found if note is not _QUIET]
        return [[cells] for cells, _ in found], notes

    def _look_up(
        self, keys: Mapping[tuple[str, ...], list[str | None]], at: float, read: Read
    ) -> tuple[list[list[tuple[float, ...]]], list[list[Notes]]]:
        """Many rows: each key of each view is read and resolved once."""
        each = {
            entity: [k for k in dict.fromkeys(column) if k is not None]
            for entity, column in keys.items()
        }
        rows = iter(
            read([(step.fingerprint, key) for step in self._steps for key in each[step.entity]])
        )
        blocks: list[list[tuple[float, ...]]] = []
        notes: list[list[Notes]] = []
        for step in self._steps:
            column, known = keys[step.entity], each[step.entity]
            found = {key: step.cells(next(rows), at) for key in known}
            if None in column:
                found[None] = step.cells(None, at)  # type: ignore[index]  # None is the key of no key
            got = [found[key] for key in column]  # type: ignore[index]  # every key was read
            blocks.append([cells for cells, _ in got])
            if any(note is not _QUIET for _, note in found.values()):
                notes.append([note for _, note in got])
        return blocks, notes

    def _sent(self, wanted: RequestInput, column: Sequence[object]) -> list[tuple[float, ...]]:
        # A category the model never saw is no category: NaN, as in training.
        codes = self._codes.get(wanted.name)
        if codes is not None:
            texts = (v if type(v) is str else key_part(v) for v in column)
            return [(NAN if text is None else codes.get(text, NAN),) for text in texts]
        return [(NAN if value is None else float(value),) for value in column]  # type: ignore[arg-type]  # numbers by the checked request


def _used(spec: ModelSpec, lookup: int) -> tuple[int, ...]:
    found = (i for i in spec.inputs if isinstance(i, FeatureInput) and i.lookup == lookup)
    return tuple(dict.fromkeys(i.value for i in found))


def _note(lookup: Lookup, used: Sequence[int], got: Resolved) -> Notes:
    """Only what this model reads is worth telling: other values of the view did not count."""
    names = {lookup.features[i] for i in used}
    stale = any(got.statuses[i] == "stale" for i in used)
    return (
        stale,
        tuple(name for name in got.fallbacks if name in names),
        tuple(name for name in got.absent if name in names),
    )


def _told(
    notes: Sequence[list[Notes]], count: int
) -> tuple[list[bool], list[tuple[str, ...]], list[tuple[str, ...]]]:
    if not notes:
        return [False] * count, [()] * count, [()] * count
    rows = list(zip(*notes, strict=True))
    return (
        [any(note[0] for note in row) for row in rows],
        [tuple(chain.from_iterable(note[1] for note in row)) for row in rows],
        [tuple(chain.from_iterable(note[2] for note in row)) for row in rows],
    )
