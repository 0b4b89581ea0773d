"""What a model is trained on: the rows as SQL, the matrix, and the manifest that pins both.

The coding of categories is one function for training, evaluation and serving: a second
one would be a skew between offline and online that no metric shows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from interlock.define.digest import digest
from interlock.errors import Unusable

if TYPE_CHECKING:
    # At run time the trainer's child imports this module: it should not pay for pydantic.
    from interlock.define.definitions import Label

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Source:
    """One relation read: its version, what it held then, and how far its time had come.

    `snapshot` identifies the rows (a digest or an engine's snapshot id); `watermark` is
    the newest available instant, ISO.
    """

    ref: str
    fingerprint: str
    snapshot: str
    watermark: str | None


@dataclass(frozen=True)
class Manifest:
    """A dataset, said completely enough to be built again and recognised.

    Rows have their time in [start, end), labels were known by `labels_known_by` (ISO
    instants, UTC). `maturity` is the share of the rows of that interval that had a label by
    then. `checksum` covers inputs and labels in row order. `histograms` freeze the `edges` of
    each input that is a number, and its `counts`: later days are laid on the same bins.
    """

    model: str
    sources: tuple[Source, ...]
    start: str
    end: str
    labels_known_by: str
    maturity: float
    rows: int
    positives: int
    inputs: tuple[str, ...]
    categories: Mapping[str, tuple[str, ...]]
    checksum: str
    profile: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)
    histograms: Mapping[str, Mapping[str, Sequence[float]]] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        return digest(self.to_json())

    @property
    def nulls(self) -> dict[str, int]:
        """Rows without a value, by input: what the model learned about missing values."""
        return {name: int(row["nulls"] or 0) for name, row in self.profile.items()}

    def to_json(self) -> dict[str, Any]:
        return {
            **self.__dict__,
            "sources": [source.__dict__ for source in self.sources],
            "inputs": list(self.inputs),
            "categories": {name: list(values) for name, values in self.categories.items()},
            "profile": {name: dict(row) for name, row in self.profile.items()},
            "histograms": {
                name: {key: list(row[key]) for key in row} for name, row in self.histograms.items()
            },
        }

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Manifest:
        """The inverse of `to_json`."""
        return cls(
            **{
                **body,
                "sources": tuple(Source(**source) for source in body["sources"]),
                "inputs": tuple(body["inputs"]),
                "categories": {name: tuple(row) for name, row in body["categories"].items()},
            }
        )


@dataclass(frozen=True)
class Interval:
    """Rows with time in [start, end) whose label was available at `known_by` (aware instants)."""

    start: datetime
    end: datetime
    known_by: datetime


def model_sql(relation: str, label: Label, key: str, time: str, interval: Interval) -> str:
    """Rows of the point-in-time `relation` (a SELECT or a name) with `label` and its instant.

    A label whose availability is NULL is never known. Ordered, so that the same rows
    train the same model.
    """
    start, end, known = (literal(t) for t in (interval.start, interval.end, interval.known_by))
    return (
        f'SELECT p.*, l."{label.column}" AS label, l."{label.available_at}" AS label_available_at\n'
        f"FROM {_relation(relation)} AS p\n"
        f'JOIN ({_select(label.sql)}) AS l ON l."{key}" = p."{key}"\n'
        f'WHERE p."{time}" >= {start} AND p."{time}" < {end}\n'
        f'  AND l."{label.available_at}" <= {known} AND l."{label.column}" IS NOT NULL\n'
        f'ORDER BY p."{time}", p."{key}"'
    )


def duplicate_labels_sql(label: Label, key: str) -> str:
    """How many keys have more than one label; anything but 0 would multiply training rows."""
    return (
        f"SELECT count(*) AS duplicates FROM (SELECT 1 FROM ({_select(label.sql)}) AS l "
        f'GROUP BY l."{key}" HAVING count(*) > 1) AS d'
    )


def literal(at: datetime) -> str:
    """An aware instant as a SQL literal of a plain UTC timestamp."""
    if at.tzinfo is None:
        raise Unusable(f"{at.isoformat()} has no time zone", help="say which instant: add +00:00")
    return f"TIMESTAMP '{at.astimezone(UTC).replace(tzinfo=None).isoformat(sep=' ')}'"


def _select(sql: str) -> str:
    return sql.strip().rstrip(";")


def _relation(relation: str) -> str:
    text = _select(relation)
    return f"({text})" if any(c.isspace() for c in text) else text


def category_text(value: Any) -> str | None:
    """One text per category, however the value travelled: 3, 3.0 and '3' are the same code."""
    if value is None or value != value:
        return None
    if isinstance(value, (float, np.floating)) and float(value).is_integer():
        return str(int(value))
    return str(value)


def categories_of(values: Sequence[Any] | NDArray[Any]) -> tuple[str, ...]:
    """The distinct values in sorted order; a value's code is its index."""
    return tuple(sorted({text for value in values if (text := category_text(value)) is not None}))


def matrix(
    columns: Mapping[str, Sequence[Any] | NDArray[Any]],
    inputs: Sequence[str],
    categories: Mapping[str, Sequence[str]],
) -> Floats:
    """float64 [rows, inputs]: NaN is missing; a category unseen in training is missing too."""
    absent = [name for name in inputs if name not in columns]
    if absent:
        raise Unusable(f"the rows lack the inputs {', '.join(absent)}")
    parts = [_column(name, columns[name], categories.get(name)) for name in inputs]
    return np.column_stack(parts) if parts else np.empty((0, 0))


def _column(name: str, values: Any, known: Sequence[str] | None) -> Floats:
    if known is not None:
        codes = {text: float(code) for code, text in enumerate(known)}
        found = (codes.get(text, np.nan) if (text := category_text(v)) else np.nan for v in values)
        return np.fromiter(found, dtype=np.float64, count=len(values))
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise Unusable(
            f"input {name} holds values that are not numbers: {error}",
            help="declare it under `categories` of the model, or cast it in SQL",
        ) from error


def checksum(rows: Floats, labels: Floats) -> str:
    """SHA-256 of the values in order; every NaN is one NaN, and -0 is 0."""
    hasher = hashlib.sha256(repr(rows.shape).encode())
    for part in (rows, labels):
        plain = np.ascontiguousarray(np.where(np.isnan(part), np.nan, part + 0.0), dtype="<f8")
        hasher.update(plain.tobytes())
    return hasher.hexdigest()


def profile(rows: Floats, inputs: Sequence[str]) -> dict[str, dict[str, float | None]]:
    """Nulls, zeros, mean and quantiles of each input; None where there is no value at all."""
    return {name: _profile(rows[:, i]) for i, name in enumerate(inputs)}


def _profile(values: Floats) -> dict[str, float | None]:
    known = values[~np.isnan(values)]
    names = ("min", "p10", "p50", "p90", "max")
    marks = np.quantile(known, (0, 0.1, 0.5, 0.9, 1)) if len(known) else [None] * 5
    return {
        "nulls": float(len(values) - len(known)),
        "zeros": float((known == 0).sum()),
        "mean": float(known.mean()) if len(known) else None,
        **{n: None if m is None else float(m) for n, m in zip(names, marks, strict=True)},
    }
