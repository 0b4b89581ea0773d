"""One release answering a batch of rows. Nothing here throws: a row gets a value or a reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain
from math import isfinite
from typing import Literal, NamedTuple

from interlock.errors import InterlockError, Unavailable, Unusable
from interlock.ports import OnlineRow, Scorer
from interlock.serve.assemble import Assembled, Assembler, Columns, Read
from interlock.serve.spec import ModelSpec, ServingSpec

Reason = Literal["live", "fallback", "error"]
# What a store, a model or a row it never saw can throw at request time. Not everything:
# a mistake in this house's own code should still be seen.
BREAKAGE = (
    InterlockError, ArithmeticError, LookupError, MemoryError, OSError, RuntimeError, TypeError,
    ValueError,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Answer:
    """What a caller gets for one row, always: a value or a reason, and how old its inputs are.

    `features` are the view versions read, `fallbacks` features whose declared stand-in
    was used, `absent` features left NULL because their row was missing or too old.
    """

    value: float | None
    release: str
    version: str
    features: tuple[str, ...]
    reason: Reason
    oldest: float | None
    stale: bool
    fallbacks: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    error: str | None = None


@dataclass(frozen=True)
class Loaded:
    """A release ready to answer: its spec and its models, and why any model is not there."""

    spec: ServingSpec
    assemblers: Mapping[str, Assembler]
    scorers: Mapping[str, Scorer]
    problems: Mapping[str, str]

    def scorer(self, model: str) -> Scorer:
        found = self.scorers.get(model)
        if found is None:
            raise Unavailable(self.problems.get(model, f"this release has no model:{model}"))
        return found


class Scored(NamedTuple):
    """Answers of one release to one batch, column by column (a row is made on demand)."""

    release: str
    version: str
    features: tuple[str, ...]
    values: Sequence[float | None]
    reasons: Sequence[Reason]
    oldest: Sequence[float | None]
    stale: Sequence[bool]
    fallbacks: Sequence[tuple[str, ...]]
    absent: Sequence[tuple[str, ...]]
    errors: Sequence[str | None]
    inputs: Sequence[Sequence[float]]

    def cut(self, first: int, last: int) -> Scored:
        """Rows [first, last)."""
        part = slice(first, last)
        return Scored(
            self.release, self.version, self.features, self.values[part], self.reasons[part],
            self.oldest[part], self.stale[part], self.fallbacks[part], self.absent[part],
            self.errors[part], self.inputs[part],
        )  # fmt: skip

    def answer(self, row: int) -> Answer:
        return Answer(
            self.values[row], self.release, self.version, self.features, self.reasons[row],
            self.oldest[row], self.stale[row], self.fallbacks[row], self.absent[row],
            self.errors[row],
        )  # fmt: skip


@dataclass(slots=True)  # not frozen: setting a field of a frozen one is a call
class Part:
    """Some rows for one release: the columns that were sent, each of `count` values."""

    loaded: Loaded
    columns: Columns
    count: int


@dataclass(frozen=True, slots=True)
class Found:
    """Rows to score, each at its own instant: their columns, and by lookup what was newest."""

    columns: Columns
    rows: Sequence[Sequence[OnlineRow | None]]
    at: Sequence[float]

    def cut(self, first: int, last: int) -> Found:
        """Rows [first, last)."""
        part = slice(first, last)
        columns = {name: values[part] for name, values in self.columns.items()}
        return Found(columns, [rows[part] for rows in self.rows], self.at[part])


def score_together(parts: Sequence[Part], model: str, at: float, read: Read) -> list[Scored]:
    """`score` of each part; parts of one release that sent the same columns share a matrix."""
    alike: dict[tuple[str, ...], list[int]] = {}
    for place, part in enumerate(parts):
        alike.setdefault((part.loaded.spec.release, *part.columns), []).append(place)
    found = {
        place: scored
        for places in alike.values()
        for place, scored in zip(
            places, _score_alike([parts[p] for p in places], model, at, read), strict=True
        )
    }
    return [found[place] for place in range(len(parts))]


def _score_alike(parts: Sequence[Part], model: str, at: float, read: Read) -> list[Scored]:
    if len(parts) == 1:
        return [score(parts[0].loaded, model, parts[0].columns, parts[0].count, at, read)]
    joined = join_columns([part.columns for part in parts])
    sizes = [part.count for part in parts]
    return score_joined(Part(parts[0].loaded, joined, sum(sizes)), model, sizes, at, read)


def join_columns(each: Sequence[Columns]) -> Columns:
    """The same columns of several requests, one after the other."""
    if len(each) == 1:
        return each[0]
    return {
        name: list(chain.from_iterable([columns[name] for columns in each])) for name in each[0]
    }


def score_joined(
    whole: Part, model: str, sizes: Sequence[int], at: float, read: Read
) -> list[Scored]:
    """`score` of requests of these sizes, whose rows were put together in `whole`."""
    loaded, columns = whole.loaded, whole.columns
    found = score(loaded, model, columns, whole.count, at, read)
    ends = list(accumulate(sizes))
    if any(found.inputs) or len(sizes) == 1:
        return [found.cut(end - size, end) for size, end in zip(sizes, ends, strict=True)]
    # Something broke. Alone, each request pays for its own rows and for nobody else's.
    alone = []
    for size, end in zip(sizes, ends, strict=True):
        mine = {name: column[end - size : end] for name, column in columns.items()}
        alone.append(score(loaded, model, mine, size, at, read))
    return alone


def score(
    loaded: Loaded, model: str, columns: Columns, count: int, at: float, read: Read
) -> Scored:
    """The answers of `loaded` for `count` rows at instant `at` (seconds since 1970 UTC)."""
    spec = loaded.spec.models.get(model)
    if spec is None:
        return _nothing(loaded.spec, ModelSpec(model, "", "", "", "", (), (), {}), count, "")
    try:
        scorer, assembler = loaded.scorer(model), loaded.assemblers[model]
        missing = [name for name in assembler.required if name not in columns]
        if missing:
            raise Unusable(f"input {missing[0]!r} was not sent")
        batch = assembler.assemble(columns, count, at, read)
        values = scorer.score(batch.matrix).tolist()
    except BREAKAGE as error:
        return _nothing(loaded.spec, spec, count, getattr(error, "message", "") or repr(error))
    return _checked(loaded.spec, loaded.assemblers[model], batch, values)


def score_found(loaded: Loaded, model: str, asked: Found) -> Scored:
    """The answers of `loaded` where a warehouse looked the features up: those `score` gives.

    Rows that break the model cost the others nothing. Raises `Unavailable` when the model
    itself is not there.
    """
    spec, scorer = loaded.spec.models[model], loaded.scorer(model)
    if not asked.at:
        return _nothing(loaded.spec, spec, 0, "")
    try:
        batch = loaded.assemblers[model].of_rows(asked.columns, asked.rows, asked.at)
        values = scorer.score(batch.matrix).tolist()
    except BREAKAGE as error:
        if len(asked.at) > 1:
            middle = len(asked.at) // 2
            halves = asked.cut(0, middle), asked.cut(middle, len(asked.at))
            return _joined([score_found(loaded, model, half) for half in halves])
        return _nothing(loaded.spec, spec, 1, getattr(error, "message", "") or repr(error))
    return _checked(loaded.spec, loaded.assemblers[model], batch, values)


def without(loaded: Loaded, model: str, scored: Scored, wrong: Mapping[int, str]) -> Scored:
    """`scored`, where these rows are answered as if the model had refused them."""
    parts, last = [], 0
    for row, why in sorted(wrong.items()):
        refused = _nothing(loaded.spec, loaded.spec.models[model], 1, why)
        parts += [scored.cut(last, row), refused]
        last = row + 1
    return _joined([*parts, scored.cut(last, len(scored.values))])


def _joined(parts: Sequence[Scored]) -> Scored:
    """Parts of one release, one after the other."""
    first, columns = parts[0], list(zip(*(part[3:] for part in parts), strict=True))
    return Scored(*first[:3], *(list(chain.from_iterable(column)) for column in columns))


def _checked(
    release: ServingSpec, assembler: Assembler, batch: Assembled, values: list[float]
) -> Scored:
    """Live answers; a score that is not a number is never shown as one."""
    spec = assembler.spec
    reasons: list[Reason] = ["fallback" if used else "live" for used in batch.fallbacks]
    shown: list[float | None] = list(values)
    errors: list[str | None] = [None] * len(values)
    if not all(map(isfinite, values)):
        for row, value in enumerate(values):
            if not isfinite(value):
                shown[row] = spec.fallback_score
                reasons[row] = "error" if spec.fallback_score is None else "fallback"
                errors[row] = f"the model answered {value}"
    return Scored(
        release.release, spec.version, assembler.views, shown, reasons, batch.oldest, batch.stale,
        batch.fallbacks, batch.absent, errors, batch.matrix.tolist(),
    )  # fmt: skip


def _nothing(release: ServingSpec, spec: ModelSpec, count: int, why: str) -> Scored:
    """The model did not answer: the declared score, or an error that says why."""
    said = spec.fallback_score
    reason: Reason = "error" if said is None else "fallback"
    why = why or f"release {release.release[:12]} has no model:{spec.model}"
    none: Sequence[tuple[str, ...]] = [()] * count
    views = tuple(lookup.view for lookup in spec.lookups)
    return Scored(
        release.release, spec.version, views, [said] * count, [reason] * count,
        [None] * count, [False] * count, none, none, [why] * count, [()] * count,
    )  # fmt: skip
