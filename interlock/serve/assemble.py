"""From the rows of a store and the columns of a request to the matrix that a model takes.

Rows come as they are stored: little-endian doubles of known width. All that a batch needs is
put end to end and read as one array, so that the matrix is one gather and the age of every row
one comparison; only rows that are missing, too old or of another width are looked at one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import accumulate, chain, repeat
from struct import Struct
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from interlock.define.keys import join_parts, key_part, key_parts
from interlock.ports import OnlineRow
from interlock.serve.answer import Resolved, resolve
from interlock.serve.packed import HEAD, unpack
from interlock.serve.spec import FeatureInput, Lookup, ModelSpec, RequestInput

Read = Callable[[Sequence[tuple[str, str]]], list[bytes | None]]
"""`OnlineStore.packed`."""
Columns = Mapping[str, Sequence[object]]
NAN = float("nan")
_FRONT = HEAD // 8  # numbers in front of a row's values; the first is its event time
_DOUBLE = np.dtype("<f8")


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

    def __init__(self, lookup: Lookup, index: int, used: Sequence[int], entity: int) -> None:
        self.lookup = lookup
        self.index = index
        self.entity = entity
        self.fingerprint = lookup.fingerprint
        self.used = tuple(used)
        self.numbers = _FRONT + lookup.width
        self.size = 8 * self.numbers
        # What stands for no row: it has no age, and so is looked at by itself.
        self.nothing = (NAN,) * self.numbers
        self.blank = np.array(self.nothing, dtype=_DOUBLE).tobytes()
        # Rows whose values have ages of their own are all looked at by themselves.
        self.oldest = -1.0 if lookup.remembered else lookup.oldest
        self.places = np.array(used, dtype=np.intp) + _FRONT

    def numbers_of(self, rows: Sequence[OnlineRow | None]) -> Iterable[tuple[float | None, ...]]:
        """Rows as they would be stored, as far as they have the right width."""
        for row in rows:
            fits = row is not None and len(row.values) == self.numbers - _FRONT
            yield (row.event_time, 0.0, 0.0, *row.values) if row and fits else self.nothing

    def cells(self, row: OnlineRow | None, at: float) -> tuple[float, list[float], Notes]:
        """The age (-1: none was used), the used values with NULL as NaN, and what to tell."""
        got = resolve(self.lookup, row, at)
        picked = [NAN if (v := got.values[i]) is None else v for i in self.used]
        note = _note(self.lookup, self.used, got) if got.fallbacks or got.absent else _QUIET
        return (-1.0 if got.age is None else got.age), picked, note


class _Rows(NamedTuple):
    """Every row that a batch needs, each once: all of the first step, then of the next.

    `counts` are their numbers by step, `flat` what they hold end to end, `at` the instants.
    """

    found: Sequence[bytes | OnlineRow | None]
    counts: Sequence[int]
    flat: NDArray[np.float64]
    at: NDArray[np.float64]


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
        read = {at: used for at in range(len(spec.lookups)) if (used := _used(spec, at))}
        self._entities = tuple(dict.fromkeys(spec.lookups[at].entity for at in read))
        self._names = tuple(dict.fromkeys(chain.from_iterable(self._entities)))
        self._steps = tuple(
            _Step(spec.lookups[at], at, used, self._entities.index(spec.lookups[at].entity))
            for at, used in read.items()
        )
        self._numbers = np.array([step.numbers for step in self._steps], dtype=np.intp)
        self._oldest = np.array([step.oldest for step in self._steps], dtype=np.float64)
        self._entity = np.array([step.entity for step in self._steps], dtype=np.intp)
        self._place()

    def _place(self) -> None:
        """Which columns of the matrix were sent, and which are what value of which step."""
        step_of = {step.index: at for at, step in enumerate(self._steps)}
        inputs = list(enumerate(self.spec.inputs))
        looked = [(at, one) for at, one in inputs if isinstance(one, FeatureInput)]
        self._looked_up = np.array([at for at, _ in looked], dtype=np.intp)
        self._step = np.array([step_of[one.lookup] for _, one in looked], dtype=np.intp)
        self._value = np.array([[_FRONT + one.value] for _, one in looked], dtype=np.intp)
        sent = [at for at, one in inputs if isinstance(one, RequestInput)]
        self._sent = np.array(sent, dtype=np.intp)
        ends = list(accumulate((len(step.used) for step in self._steps), initial=0))
        cells = {
            at: ends[step_of[one.lookup]] + self._steps[step_of[one.lookup]].used.index(one.value)
            for at, one in looked
        } | {at: ends[-1] + place for place, at in enumerate(sent)}
        self._order = np.array([cells[at] for at, _ in inputs], dtype=np.intp)
        self._sizes = [step.size for step in self._steps]
        self._limits = [step.oldest for step in self._steps]
        self._heads = list(accumulate((step.numbers for step in self._steps), initial=0))
        self._whole = Struct(f"<{self._heads.pop()}d")
        picks = {at: self._heads[step_of[one.lookup]] + _FRONT + one.value for at, one in looked}
        width = self._whole.size // 8
        picks |= {at: width + place for place, at in enumerate(sent)}
        self._picks = np.array([picks[at] for at, _ in inputs], dtype=np.intp)

    def assemble(self, columns: Columns, count: int, at: float, read: Read) -> Assembled:
        """The matrix of `count` rows at instant `at`, with one call of `read` for all of them."""
        parts = {name: key_parts(columns[name]) for name in self._names}
        keys = [join_parts([parts[name] for name in entity]) for entity in self._entities]
        if count == 1:
            return self._one(columns, self._read(keys, read), at)
        known = [dict(zip(dict.fromkeys(one), range(count), strict=False)) for one in keys]
        found = self._read(known, read)
        counts = [len(known[step.entity]) for step in self._steps]
        places = [
            list(map(all_of.__getitem__, one)) for all_of, one in zip(known, keys, strict=True)
        ]
        which = np.array(places, dtype=np.intp).reshape(-1, count)[self._entity]
        rows = _Rows(found, counts, self._flat(found, counts), np.full(len(found), at))
        return self._assembled(columns, which + _firsts(counts)[:, None], rows)

    def _one(self, columns: Columns, found: Sequence[bytes | None], at: float) -> Assembled:
        """A lone row: nothing is shared, and setting up arrays costs more than they spare."""
        cells: list[object] = []
        for one in self._request:
            cells += self._numbers_sent(one.name, columns[one.name])
        told: list[list[Notes]] = []
        if None not in found and list(map(len, found)) == self._sizes:  # type: ignore[arg-type]
            numbers = self._whole.unpack(b"".join(found))  # type: ignore[arg-type]  # none is None
            ages = [at - numbers[head] for head in self._heads]
            if all(0.0 <= age <= old for age, old in zip(ages, self._limits, strict=True)):
                matrix = np.array([[*numbers, *cells]], dtype=np.float64).take(self._picks, axis=1)
                return Assembled(matrix, [max(ages, default=None)], *_told(told, 1))
        oldest, looked = -1.0, []
        for step, data in zip(self._steps, found, strict=True):
            age, values, note = step.cells(None if data is None else unpack(data), at)
            looked += values
            oldest = max(age, oldest)
            if note is not _QUIET:
                told.append([note])
        matrix = np.array([[*looked, *cells]], dtype=np.float64).take(self._order, axis=1)
        return Assembled(matrix, [None if oldest < 0 else oldest], *_told(told, 1))

    def of_rows(
        self, columns: Columns, found: Sequence[Sequence[OnlineRow | None]], at: Sequence[float]
    ) -> Assembled:
        """The matrix of rows that each ask at an instant of their own (seconds since 1970 UTC).

        `found` holds for each lookup what was newest for each row: nothing is read here.
        """
        steps, count = self._steps, len(at)
        all_of = list(chain.from_iterable(found[step.index] for step in steps))
        flat = chain.from_iterable(chain.from_iterable(s.numbers_of(found[s.index]) for s in steps))
        which = np.arange(len(all_of)).reshape(len(steps), count)
        counts = [count] * len(steps)
        numbers = np.array(list(flat), dtype=np.float64)
        rows = _Rows(all_of, counts, numbers, np.tile(np.array(at, dtype=np.float64), len(steps)))
        return self._assembled(columns, which, rows)

    def _read(self, known: Sequence[Collection[str | None]], read: Read) -> list[bytes | None]:
        """What is stored for each key of each step: nothing, where there is no key."""
        asked = [(step.fingerprint, key) for step in self._steps for key in known[step.entity]]
        if not any(None in one for one in known):
            return read(asked)  # type: ignore[arg-type]  # no key is None
        rows = iter(read([(view, key) for view, key in asked if key is not None]))
        return [None if key is None else next(rows) for _, key in asked]

    def _flat(self, found: Sequence[bytes | None], counts: Sequence[int]) -> NDArray[np.float64]:
        """The numbers of the rows end to end, each as wide as it should be."""
        sizes = list(chain.from_iterable(map(repeat, self._sizes, counts)))
        if None not in found and list(map(len, found)) == sizes:  # type: ignore[arg-type]
            return np.frombuffer(b"".join(found), dtype=_DOUBLE)  # type: ignore[arg-type]
        blanks = list(chain.from_iterable(map(repeat, (s.blank for s in self._steps), counts)))
        pairs = zip(found, blanks, strict=True)
        whole = [b if d is None or len(d) != len(b) else d for d, b in pairs]
        return np.frombuffer(b"".join(whole), dtype=_DOUBLE)

    def _assembled(self, columns: Columns, which: NDArray[np.intp], rows: _Rows) -> Assembled:
        """The matrix. `which` [steps, rows of the matrix] are places in `rows`."""
        steps, count = which.shape
        widths = np.repeat(self._numbers, rows.counts)
        heads = widths.cumsum() - widths
        ages, flat, notes = self._aged(rows, heads)
        matrix = np.empty((count, len(self.spec.inputs)), dtype=np.float64)
        oldest: list[float | None] = [None] * count
        if steps:
            matrix[:, self._looked_up] = flat[heads[which][self._step] + self._value].T
            found = ages[which].max(axis=0).tolist()
            oldest = [None if age < 0 else age for age in found]
        if self._request:
            sent = [self._numbers_sent(i.name, columns[i.name]) for i in self._request]
            matrix[:, self._sent] = np.array(sent, dtype=np.float64).T
        told = [
            [notes.get(place, _QUIET) for place in line]
            for line in (which.tolist() if notes else ())
        ]
        return Assembled(matrix, oldest, *_told(told, count))

    def _aged(
        self, rows: _Rows, heads: NDArray[np.intp]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], dict[int, Notes]]:
        """The age of each row, the numbers with what stands in for some, and what to tell of it.

        Whole, fresh rows are nearly all there is: `resolve`, whose answer for them is the row
        itself, is asked for the others.
        """
        flat = rows.flat
        notes: dict[int, Notes] = {}
        ages = rows.at - flat[heads]
        odd = ~((ages >= 0.0) & (ages <= np.repeat(self._oldest, rows.counts)))
        if not odd.any():
            return ages, flat, notes
        flat, step_of = flat.copy(), np.repeat(np.arange(len(self._steps)), rows.counts)
        for place in odd.nonzero()[0].tolist():
            step, row = self._steps[step_of[place]], rows.found[place]
            row = unpack(row) if isinstance(row, bytes) else row
            ages[place], values, note = step.cells(row, float(rows.at[place]))
            flat[heads[place] + step.places] = values
            if note is not _QUIET:
                notes[place] = note
        return ages, flat, notes

    def _numbers_sent(self, name: str, column: Sequence[object]) -> Sequence[object]:
        """What was sent as numbers, or None; the codes of categories."""
        codes = self._codes.get(name)
        if codes is None:
            return column
        # A category the model never saw is no category: NaN, as in training.
        texts = [v if type(v) is str else key_part(v) for v in column]
        return [NAN if text is None else codes.get(text, NAN) for text in texts]


def _firsts(counts: Sequence[int]) -> NDArray[np.intp]:
    """Where the rows of each step begin."""
    ends = np.cumsum(np.array(counts, dtype=np.intp))
    return ends - np.array(counts, dtype=np.intp)


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
