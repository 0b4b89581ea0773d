"""From stored rows to a matrix and back to answers: the online half of the point-in-time contract.

A row counts when its event time is not after the asking instant and its age is at most
the TTL, both inclusive, exactly as the offline join. Everything that stood in for such
a row is named in the answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
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


def resolve(lookup: Lookup, row: OnlineRow | None, at: float) -> Resolved:
    """The values of `row` that may be used at `at`.

    A row stamped after `at` is missing, never used: offline it would not be known yet.
    """
    if row is None or row.event_time > at:
        return _stand_in(lookup, "missing", None, (None,) * len(lookup.features))
    age = at - row.event_time
    if len(row.values) != len(lookup.features):
        raise Unusable(f"a stored row of {lookup.view} has {len(row.values)} values")
    if lookup.ttl is not None and age > lookup.ttl:
        return _stand_in(lookup, "stale", age, row.values)
    statuses: list[Status] = ["null" if v is None else "fresh" for v in row.values]
    return Resolved(row.values, tuple(statuses), age)


def _stand_in(
    lookup: Lookup, status: Status, age: float | None, old: tuple[float | None, ...]
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


@dataclass(frozen=True)
class Assembled:
    """A batch ready to be scored: one matrix, and per row what stood in for what."""

    matrix: NDArray[np.float64]
    oldest: list[float | None]
    stale: list[bool]
    fallbacks: list[tuple[str, ...]]
    absent: list[tuple[str, ...]]


class _Block(NamedTuple):
    """One lookup over a batch: the resolution of each row, narrowed to what the model uses."""

    values: list[tuple[float, ...]]
    ages: list[float]
    notes: list[tuple[bool, tuple[str, ...], tuple[str, ...]]] | None


class Assembler:
    """A model's request path, worked out once: which keys, which values, which order."""

    def __init__(self, spec: ModelSpec) -> None:
        self.spec = spec
        self._request = tuple(i for i in spec.inputs if isinstance(i, RequestInput))
        self._codes = {
            i.name: {value: float(code) for code, value in enumerate(i.categories)}
            for i in self._request
            if i.categories is not None
        }
        self._used = [
            tuple(
                dict.fromkeys(
                    i.value for i in spec.inputs if isinstance(i, FeatureInput) and i.lookup == at
                )
            )
            for at in range(len(spec.lookups))
        ]
        self._reads = [at for at, used in enumerate(self._used) if used]
        self._order = np.array([self._place(i) for i in spec.inputs], dtype=np.intp)

    def _place(self, wanted: FeatureInput | RequestInput) -> int:
        """Where an input stands before reordering: lookups first, then request columns."""
        if isinstance(wanted, RequestInput):
            return sum(map(len, self._used)) + self._request.index(wanted)
        before = sum(len(used) for used in self._used[: wanted.lookup])
        return before + self._used[wanted.lookup].index(wanted.value)

    def assemble(self, columns: Columns, count: int, at: float, read: Read) -> Assembled:
        """The matrix of `count` rows at instant `at`, with one call of `read` for all of them."""
        blocks = self._look_up(columns, count, at, read)
        parts: list[Sequence[tuple[float, ...]]] = [block.values for block in blocks]
        parts += [self._sent(i, columns[i.name]) for i in self._request]
        flat = list(chain.from_iterable(chain.from_iterable(zip(*parts, strict=True))))
        matrix = np.array(flat, dtype=np.float64).reshape(count, -1).take(self._order, axis=1)
        ages = zip(*(block.ages for block in blocks), strict=True) if blocks else ()
        oldest = [found if (found := max(row)) >= 0 else None for row in ages]
        return Assembled(matrix, oldest or [None] * count, *_notes(blocks, count))

    def _look_up(self, columns: Columns, count: int, at: float, read: Read) -> list[_Block]:
        keys = self._keys(columns, count)
        lookups = self.spec.lookups
        wanted = dict.fromkeys(
            (lookups[i].fingerprint, key)
            for i in self._reads
            for key in keys[lookups[i].entity]
            if key is not None
        )
        rows = dict(zip(wanted, read(list(wanted)), strict=True))
        return [self._block(i, keys[lookups[i].entity], rows, at) for i in self._reads]

    def _keys(self, columns: Columns, count: int) -> dict[tuple[str, ...], list[str | None]]:
        """Key texts by entity; a column is made text once, views of one entity share the list."""
        entities = dict.fromkeys(self.spec.lookups[i].entity for i in self._reads)
        names = dict.fromkeys(name for entity in entities for name in entity)
        parts = {name: key_parts(columns[name]) for name in names}
        return {entity: join_parts([parts[name] for name in entity]) for entity in entities}

    def _block(
        self,
        index: int,
        keys: Sequence[str | None],
        rows: Mapping[tuple[str, str], OnlineRow | None],
        at: float,
    ) -> _Block:
        lookup, used = self.spec.lookups[index], self._used[index]
        found: dict[str | None, tuple[tuple[float, ...], float]] = {}
        notes: dict[str | None, tuple[bool, tuple[str, ...], tuple[str, ...]]] = {}
        for key in dict.fromkeys(keys):
            row = rows[lookup.fingerprint, key] if key is not None else None
            got = resolve(lookup, row, at)
            picked = tuple(NAN if (v := got.values[i]) is None else v for i in used)
            found[key] = picked, -1.0 if got.age is None else got.age
            if got.fallbacks or got.absent:
                notes[key] = _note(lookup, used, got)
        quiet = (False, (), ())
        return _Block(
            [found[key][0] for key in keys],
            [found[key][1] for key in keys],
            [notes.get(key, quiet) for key in keys] if notes else None,
        )

    def _sent(self, wanted: RequestInput, column: Sequence[object]) -> list[tuple[float]]:
        # A category the model never saw is no category: NaN, as in training.
        codes = self._codes.get(wanted.name)
        if codes is not None:
            texts = (v if type(v) is str else key_part(v) for v in column)
            return [(NAN if text is None else codes.get(text, NAN),) for text in texts]
        return [(NAN if value is None else float(value),) for value in column]  # type: ignore[arg-type]  # numbers by the checked request


def _note(
    lookup: Lookup, used: Sequence[int], got: Resolved
) -> tuple[bool, tuple[str, ...], tuple[str, ...]]:
    """Only what this model reads is worth telling: other values of the view did not count."""
    names = {lookup.features[i] for i in used}
    stale = any(got.statuses[i] == "stale" for i in used)
    return (
        stale,
        tuple(name for name in got.fallbacks if name in names),
        tuple(name for name in got.absent if name in names),
    )


def _notes(
    blocks: Sequence[_Block], count: int
) -> tuple[list[bool], list[tuple[str, ...]], list[tuple[str, ...]]]:
    told = [block.notes for block in blocks if block.notes is not None]
    if not told:
        return [False] * count, [()] * count, [()] * count
    rows = list(zip(*told, strict=True))
    return (
        [any(note[0] for note in row) for row in rows],
        [tuple(chain.from_iterable(note[1] for note in row)) for row in rows],
        [tuple(chain.from_iterable(note[2] for note in row)) for row in rows],
    )
