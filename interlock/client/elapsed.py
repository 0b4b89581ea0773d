"""Seconds that have passed, by a clock that nobody can set."""

from __future__ import annotations

import time

_CLOCK = getattr(time, "CLOCK_BOOTTIME", None)


def elapsed() -> float:
    """Like `time.monotonic`, but it goes on while the machine sleeps, where that is known.

    A lease must not outlive a night in which nobody could renew it.
    """
    return time.monotonic() if _CLOCK is None else time.clock_gettime(_CLOCK)
