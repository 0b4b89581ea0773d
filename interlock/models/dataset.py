"""What a model is trained on: the matrix, and the manifest that pins it.

The coding of categories is one function for training, evaluation and serving: a second
one would be a skew between offline and online that no metric shows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interlock.define.digest import digest
from interlock.errors import Unusable

# The trainer's child imports this module: it should not pay for pydantic.
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Source:
    """One relation read: its version, what it held then, and how far its time had come.

    `snapshot` identifies the rows: engine, number and digest (`features.snapshot`);
    `watermark` is the newest available instant, ISO, UTC; None where no time is declared.
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
    `made_with` are the versions of the libraries that trained on it.
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
    made_with: Mapping[str, str] = field(default_factory=dict)

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
            "made_with": dict(self.made_with),
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
