"""What a table or view promises of itself, so that only a part of it has to be made again."""

from __future__ import annotations

from datetime import timedelta

from pydantic import BaseModel, ConfigDict

from interlock.define.durations import Duration


class Incremental(BaseModel):
    """A promise: a row at event time T stands on input rows with event time in [T - lookback, T].

    A refresh then computes again only what a change can reach. Inputs without an event time
    are read whole, and a change in one of them moves everything.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    lookback: Duration = timedelta(0)


def looks_back(promise: Incremental | None) -> float | None:
    """Seconds, or None where nothing was promised."""
    return promise.lookback.total_seconds() if promise else None
