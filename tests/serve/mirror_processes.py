"""A process that scores mirrored rows, whose models cannot take every row. Run by tests."""

from __future__ import annotations

import os
import sys
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interlock.adapters import lightgbm
from interlock.app import mirror

DIES, HANGS, RAISES, SPINS = 13.0, 14.0, 15.0, 16.0  # distances


class Moody:
    """A booster that dies, hangs, raises or never ends on rows of some distances."""

    def __init__(self, data: bytes) -> None:
        self._scorer = lightgbm.load(data)
        self.inputs = self._scorer.inputs

    def score(self, matrix: NDArray[np.float64]) -> Any:
        distances = matrix[:, 3]
        if (distances == DIES).any():
            os.abort()
        if (distances == HANGS).any():
            time.sleep(3600)
        while (distances == SPINS).any():
            pass
        if (distances == RAISES).any():
            raise ValueError("this row is too much for me")
        return self._scorer.score(matrix)


if __name__ == "__main__":
    mirror.WAITS = float(sys.argv.pop(1))
    mirror.HANGS = mirror.WAITS / 5
    mirror.main({lightgbm.FORMAT: Moody})
