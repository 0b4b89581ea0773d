"""Texts that look like real ones and are none of them: only the shape is learnt."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

FEWEST = 10  # real texts of a shape, or nobody learns of it

_CLASSES = {
    "9": "0123456789",
    "A": "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
    "a": "abcdefghijklmnopqrstuvwxyz",
}


def shape_of(text: str) -> str:
    """`N725MB` is A999AA: digits and letters by their class, everything else as it is."""
    return "".join(
        "9" if c.isdigit() else "A" if c.isupper() else "a" if c.isalpha() else c for c in text
    )


def texts(
    real: Collection[str], rows: int, chance: np.random.Generator, unique: bool = False
) -> list[str]:
    """Texts of the shapes that enough of the real ones have, none of them real."""
    shapes, counts = np.unique([shape_of(t) for t in real] or [""], return_counts=True)
    common = counts >= FEWEST
    if not common.any():  # no shape is anybody's business
        shapes, counts, common = np.array(["aaaaaaaa"]), np.array([1]), np.array([True])
    shapes, weights = shapes[common], counts[common] / counts[common].sum()
    taken, made = set(real), list[str]()
    for attempt in range(20):
        for text in _like(shapes, weights, rows - len(made), chance, attempt):
            if text not in taken:
                made.append(text)
                if unique:
                    taken.add(text)
        if len(made) >= rows:
            break
    made += [f"made-up-{at}" for at in range(rows - len(made))]
    return made


def _like(
    shapes: NDArray[np.str_],
    weights: NDArray[np.float64],
    rows: int,
    chance: np.random.Generator,
    attempt: int,
) -> list[str]:
    picked = chance.choice(len(shapes), size=rows, p=weights)
    made = np.empty(rows, dtype=object)
    for at, shape in enumerate(shapes):
        where = np.flatnonzero(picked == at)
        # Where all texts of a shape are real or used up, a longer one is not.
        parts = [_letters(c, len(where), chance) for c in str(shape) + "9" * (attempt // 4)]
        made[where] = ["".join(row) for row in zip(*parts, strict=True)] if parts else ""
    return list(made)


def _letters(kind: str, rows: int, chance: np.random.Generator) -> NDArray[np.str_]:
    letters = np.array(list(_CLASSES.get(kind, kind)))
    return np.asarray(letters[chance.integers(0, len(letters), rows)])
