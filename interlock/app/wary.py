"""A model that fails slowly is let rest: while it fails nobody is answered.

A row on which a model hangs costs the turn that it came in; many such rows would cost one after
the other, and a gateway that answers nobody for minutes is no gateway.
"""

from __future__ import annotations

import time

import numpy as np
from numpy.typing import NDArray

from interlock.errors import Unavailable
from interlock.ports import Scorer
from interlock.serve.scoring import BREAKAGE

SLOW = 0.25
"""Seconds after which a failure is a slow one."""
MOST = 3
REST = 5.0
"""Seconds in which a model is not asked after `MOST` slow failures in a row; then one is enough."""


class Wary:
    """A Scorer of a gateway; `inputs` are those of the one inside."""

    def __init__(self, scorer: Scorer) -> None:
        self._scorer = scorer
        self._failed = 0
        self._asked_again = float("-inf")

    def score(self, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
        """As the scorer inside; raises `Unavailable` at once while it rests."""
        began = time.monotonic()
        if began < self._asked_again:
            raise Unavailable(f"the model failed slowly {MOST} times: it rests for {REST:g} s")
        try:
            found: NDArray[np.float64] = self._scorer.score(matrix)
        except BREAKAGE:
            now = time.monotonic()
            if now - began > SLOW:
                self._failed = min(self._failed + 1, MOST)
            if self._failed == MOST:
                self._asked_again = now + REST
            raise
        self._failed = 0
        return found
