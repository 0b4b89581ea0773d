"""Made-up rows that behave like real ones: learnt from a sample of a table, drawn by seed.

Every column is a column of numbers here: instants in seconds, texts as codes of `labels`. Each
keeps its own distribution; how columns go together is a Gaussian copula on ranks. A column
that another one determines is looked up, not drawn, and missing values keep their pattern.

Of a classified column nothing is copied: numbers come from a coarse curve of which every
step holds at least K rows, categories from those that K rows have, other texts from the shape
of the real ones.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations, pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]
Kind = Literal["number", "whole", "time", "date", "label"]
K = 10
"""The fewest rows that a shown value of a classified column must have."""
MOST_CATEGORIES = 100
_STEPS = 200  # of the curve of a classified number
_DAY = 86_400.0
_SINGLE, _PAIR = 0.5, 0.2  # a determinant with more values than this share of the rows is a key
DAY, TIME_OF_DAY, NULLS = "~day", "~time of day", "~nulls"


@dataclass(frozen=True)
class Part:
    """One column of the sample: `x` is NaN where it is NULL, codes where there are `labels`."""

    name: str
    kind: Kind
    x: Floats
    labels: tuple[str, ...] = ()
    classified: bool = False

    @property
    def free_text(self) -> bool:
        """Classified texts that are no categories: only their shape may be known."""
        if not (self.labels and self.classified):
            return False
        counts = np.bincount(self.x[~np.isnan(self.x)].astype(np.int64))
        return len(self.labels) > MOST_CATEGORIES or int(counts.max(initial=0)) < K


@dataclass(frozen=True)
class Curve:
    """The inverse of a distribution: from the unit interval to values."""

    values: Floats
    smooth: bool = False
    decimals: int = 12

    def at(self, u: Floats) -> Floats:
        if not len(self.values):
            return np.full(len(u), np.nan)
        if self.smooth:
            made = np.interp(u, np.linspace(0, 1, len(self.values)), self.values)
            return np.asarray(np.round(made, self.decimals))
        place = np.minimum((u * len(self.values)).astype(np.int64), len(self.values) - 1)
        return self.values[place]


@dataclass(frozen=True)
class Lookup:
    """What one or two columns determine: `keys` are sorted codes, `values` stand beside them."""

    of: tuple[str, ...]
    levels: tuple[Floats, ...]
    keys: Codes
    values: Floats

    def at(self, known: Mapping[str, Floats]) -> Floats:
        """The value of the nearest combination that was seen."""
        code = _code([known[name] for name in self.of], self.levels)
        place = np.clip(np.searchsorted(self.keys, code), 0, len(self.keys) - 1)
        below = np.maximum(place - 1, 0)
        nearer = np.abs(self.keys[below] - code) < np.abs(self.keys[place] - code)
        return self.values[np.where(nearer, below, place)]


@dataclass(frozen=True)
class Learnt:
    """All that is known of a table. `order` are the drawn columns; the first `fixed` are given."""

    parts: Mapping[str, Part]
    event: str | None
    given: tuple[str, ...]
    order: tuple[str, ...]
    curves: Mapping[str, Curve]
    sorted_: Mapping[str, Floats]
    places: Mapping[str, Floats]
    correlation: Floats
    lookups: Mapping[str, Lookup]
    nulls: NDArray[np.bool_]
    lagged: frozenset[str] = field(default=frozenset())


# --- learn -----------------------------------------------------------------------------


def learn(parts: Sequence[Part], event: str | None, given: Sequence[str] = ()) -> Learnt:
    """`event` names the time that others are told from; `given` columns are told when drawing."""
    free = [p for p in parts if not p.free_text]
    lagged = frozenset(
        p.name
        for p in free
        if event and p.kind in ("time", "date") and p.name != event and p.name not in given
    )
    x = {p.name: p.x for p in free}
    kinds = {p.name: p for p in parts}
    for name in lagged:
        x[name] = x[name] - x[event or ""]
    if event:
        x[DAY], x[TIME_OF_DAY] = _split(x[event])
    flags = np.column_stack([np.isnan(p.x) for p in parts])
    patterns, which = np.unique(flags, axis=0, return_inverse=True)
    x[NULLS] = which.reshape(-1).astype(np.float64)
    hidden = {p.name for p in free if p.classified}
    if event in hidden:
        hidden |= {DAY, TIME_OF_DAY}
    known = [*given, *([DAY] if event and not given else [])]
    lookups = _determined(x, known, hidden, event)
    drawn = [n for n in x if n not in lookups and n not in known and n != event]
    order = (*known, *drawn)
    x |= {n: _ordered(x, n, kinds[n]) for n in order if n in kinds and kinds[n].labels}
    counts = np.bincount(which.reshape(-1), minlength=len(patterns))
    rare = counts < K if any(p.classified for p in parts) else np.zeros(len(counts), bool)
    curves = {n: _curve(x[n], n in hidden, kinds.get(n)) for n in order}
    if not rare.all():
        common = ~rare[which.reshape(-1)]
        curves[NULLS] = Curve(np.sort(x[NULLS][common]))
    places = {n: _place_of(kinds[n], x[n]) for n in order if n in kinds and kinds[n].labels}
    told = [n for n in order if n in (*given, DAY, TIME_OF_DAY)]
    known_values = {n: np.sort(x[n][~np.isnan(x[n])]) for n in told}
    return Learnt(
        kinds, event, tuple(given), order, curves, known_values, places,
        _correlation([x[n] for n in order]), lookups, patterns, lagged,
    )  # fmt: skip


def _split(x: Floats) -> tuple[Floats, Floats]:
    day = np.floor(x / _DAY) * _DAY
    return day, x - day


def _determined(
    x: Mapping[str, Floats], start: Sequence[str], hidden: set[str], event: str | None
) -> dict[str, Lookup]:
    """Columns that follow from one or two others. Those with most values are looked at first."""
    levels = {n: np.unique(v) for n, v in x.items()}
    rows = len(next(iter(x.values())))
    known = [n for n in start if n not in hidden]
    found: dict[str, Lookup] = {}
    rest = [n for n in x if n not in start and n not in hidden and n not in (event, NULLS)]
    for name in sorted(rest, key=lambda n: (-len(levels[n]), n)):
        sources = [*known, *([event] if event and {DAY, TIME_OF_DAY} <= {*known, *found} else [])]
        singles = [(s,) for s in sources if len(levels[s]) <= _SINGLE * rows]
        pairs = [
            pair
            for pair in combinations(sources, 2)
            if max(len(levels[s]) for s in pair) <= _PAIR * rows
        ]
        for of in (*singles, *pairs):
            made = _lookup(of, tuple(levels[s] for s in of), x, name, rows)
            if made is not None:
                found[name] = made
                break
        known.append(name)
    return found


def _lookup(
    of: tuple[str, ...],
    levels: tuple[Floats, ...],
    x: Mapping[str, Floats],
    name: str,
    rows: int,
) -> Lookup | None:
    code = _code([x[s] for s in of], levels)
    keys, first, back = np.unique(code, return_index=True, return_inverse=True)
    if len(keys) > (_SINGLE if len(of) == 1 else _PAIR) * rows:
        return None
    values = x[name][first]
    same = np.array_equal(values[back], x[name], equal_nan=True)
    return Lookup(of, levels, keys, values) if same else None


def _code(columns: Sequence[Floats], levels: Sequence[Floats]) -> Codes:
    made = np.zeros(len(columns[0]), np.int64)
    for column, known in zip(columns, levels, strict=True):
        place = np.searchsorted(known, column)
        made = made * (len(known) + 1) + np.minimum(place, len(known))
    return made


def _ordered(x: Mapping[str, Floats], name: str, part: Part) -> Floats:
    """Codes in an order that says something: by the mean of the number that differs most."""
    own = np.nan_to_num(part.x, nan=len(part.labels)).astype(np.int64)
    best, order = 0.0, np.arange(len(part.labels) + 1, dtype=np.float64)
    for other, values in x.items():
        if other in (name, NULLS) or not np.isfinite(values).any():
            continue
        filled = np.where(np.isnan(values), np.nanmean(values), values)
        size = np.bincount(own, minlength=len(order))
        mean = np.bincount(own, weights=filled, minlength=len(order)) / np.maximum(size, 1)
        spread = float(np.var(filled))
        share = float(np.var(mean[own])) / spread if spread else 0.0
        if share > best:
            best, order = share, np.argsort(np.argsort(mean, kind="stable")).astype(np.float64)
    return np.where(np.isnan(part.x), np.nan, order[own])


def _place_of(part: Part, x: Floats) -> Floats:
    """By place in the order of `_ordered`, the code it stands for."""
    made = np.zeros(len(part.labels) + 1)
    there = ~np.isnan(x)
    made[x[there].astype(np.int64)] = part.x[there]
    return made


def _curve(x: Floats, hidden: bool, part: Part | None) -> Curve:
    values = np.sort(x[~np.isnan(x)])
    if not hidden or not len(values):
        return Curve(values)
    if part is not None and part.labels:
        kept, counts = np.unique(values, return_counts=True)
        common = kept[counts >= K]
        return Curve(values[np.isin(values, common)])
    steps = max(1, min(_STEPS, len(values) // K))
    edges = np.linspace(0, len(values), steps + 1).astype(np.int64)
    means = [float(values[a:b].mean()) for a, b in pairwise(edges)]
    exact = (d for d in range(12) if np.array_equal(np.round(values, d), values))
    return Curve(np.array(means), smooth=True, decimals=next(exact, 12))


def _correlation(columns: Sequence[Floats]) -> Floats:
    """Of normal scores, over the rows that both columns have."""
    normal = np.column_stack([scores(c) for c in columns])
    there = (~np.isnan(np.column_stack(columns))).astype(np.float64)
    square = (normal**2).T @ there
    with np.errstate(invalid="ignore", divide="ignore"):
        made = (normal.T @ normal) / np.sqrt(square * square.T)
    made = np.nan_to_num(made)
    np.fill_diagonal(made, 1.0)
    return np.asarray(np.clip(made, -1.0, 1.0))


def scores(x: Floats) -> Floats:
    """Normal scores of ranks, equal values alike; 0 where there is none."""
    there = ~np.isnan(x)
    made = np.zeros(len(x))
    values, back, counts = np.unique(x[there], return_inverse=True, return_counts=True)
    if len(values):
        middle = (np.cumsum(counts) - counts / 2) / counts.sum()
        made[there] = quantile(middle)[back]
    return made


# --- draw ------------------------------------------------------------------------------


def draw(
    learnt: Learnt, rows: int, chance: np.random.Generator, given: Mapping[str, Floats]
) -> dict[str, Floats]:
    """`rows` rows; `given` holds the columns that were declared as given, as numbers."""
    known: dict[str, Floats] = {n: given[n] for n in learnt.given}
    if learnt.event in learnt.given:
        known[DAY], known[TIME_OF_DAY] = _split(known[learnt.event or ""])
    elif learnt.event and not learnt.given:
        # One draw from each slice of the year, so that every day has the rows that it had.
        u = (chance.permutation(rows) + chance.random(rows)) / rows
        known[DAY] = learnt.curves[DAY].at(u)
    fixed = [n for n in learnt.order if n in known]
    score = [_score_in(learnt, n, known[n]) for n in fixed]
    drawn = [n for n in learnt.order if n not in known]
    normal = _conditional(learnt, fixed, drawn, score, rows, chance)
    for at, name in enumerate(drawn):
        known[name] = learnt.curves[name].at(probability(normal[:, at]))
        if name in learnt.places:
            known[name] = _coded(learnt.places[name], known[name])
    return _finished(learnt, known, rows)


def _coded(places: Floats, x: Floats) -> Floats:
    safe = np.nan_to_num(x).astype(np.int64)
    return np.where(np.isnan(x), np.nan, places[safe])


def _score_in(learnt: Learnt, name: str, x: Floats) -> Floats:
    values = learnt.sorted_[name]
    if name in learnt.places:
        back = np.argsort(learnt.places[name], kind="stable").astype(np.float64)
        x = back[np.nan_to_num(x).astype(np.int64)]
    low, high = np.searchsorted(values, x, "left"), np.searchsorted(values, x, "right")
    return quantile((low + high) / 2 / max(len(values), 1))


def _conditional(
    learnt: Learnt,
    fixed: Sequence[str],
    drawn: Sequence[str],
    score: Sequence[Floats],
    rows: int,
    chance: np.random.Generator,
) -> Floats:
    """Normal scores of the drawn columns, given those of the fixed ones."""
    index = {n: at for at, n in enumerate(learnt.order)}
    d, f = [index[n] for n in drawn], [index[n] for n in fixed]
    within = learnt.correlation[np.ix_(d, d)]
    mean = np.zeros((rows, len(d)))
    if f:
        across = learnt.correlation[np.ix_(d, f)] @ np.linalg.pinv(
            learnt.correlation[np.ix_(f, f)], rcond=1e-6
        )
        mean = np.column_stack(score) @ across.T
        within = within - across @ learnt.correlation[np.ix_(f, d)]
    # Rounding and missing values may have left it not quite a covariance.
    values, vectors = np.linalg.eigh((within + within.T) / 2)
    root = vectors * np.sqrt(np.clip(values, 0, None))
    made = mean + chance.standard_normal((rows, len(d))) @ root.T
    # A marginal stays what it was, whatever was clipped.
    scale = np.sqrt(np.maximum(made.var(axis=0), 1e-12))
    return np.asarray(np.where(scale > 1e-6, (made - made.mean(axis=0)) / scale, made))


def _finished(learnt: Learnt, known: dict[str, Floats], rows: int) -> dict[str, Floats]:
    waiting = dict(learnt.lookups)
    event = learnt.event
    while True:
        if event and event not in known and {DAY, TIME_OF_DAY} <= known.keys():
            known[event] = known[DAY] + known[TIME_OF_DAY]
        ready = [n for n, lookup in waiting.items() if set(lookup.of) <= known.keys()]
        if not ready:
            break
        for name in ready:
            known[name] = waiting.pop(name).at(known)
    pattern = learnt.nulls[known[NULLS].astype(np.int64)]
    made = {}
    for at, (name, part) in enumerate(learnt.parts.items()):
        if part.free_text:
            continue
        x = known[name]
        if name in learnt.lagged and event:
            x = x + known[event]
        whole = part.kind in ("whole", "label", "time") or part.kind == "date"
        x = np.round(x / _DAY) * _DAY if part.kind == "date" else np.round(x) if whole else x
        made[name] = x if name in learnt.given else np.where(pattern[:, at], np.nan, x)
    made[NULLS] = known[NULLS]
    return made


# --- the normal distribution ------------------------------------------------------------

_Z = np.linspace(-6.0, 6.0, 4801)
_P = np.array([0.5 * (1 + math.erf(z / math.sqrt(2))) for z in _Z])


def quantile(p: Floats) -> Floats:
    """The standard normal's value below which the share `p` lies."""
    return np.asarray(np.interp(p, _P, _Z))


def probability(z: Floats) -> Floats:
    """The share of the standard normal below `z`."""
    return np.asarray(np.interp(z, _Z, _P))
