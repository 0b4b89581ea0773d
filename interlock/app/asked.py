"""What was asked of a gateway, what it answered, and the rows by which it is remembered."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from interlock.app.chance import chance
from interlock.define.release import Route
from interlock.errors import NotFound
from interlock.ports import Json
from interlock.serve.assemble import Columns
from interlock.serve.request import Sent, sampled
from interlock.serve.scoring import Answer, Loaded, Scored
from interlock.serve.traced import NOISE, Trace, entered


# Not frozen: each field of a frozen one is set by a call, in every request.
@dataclass(slots=True)
class Ask:
    """A request as the protocol gave it. `upstream` is the release header, if there was one.

    `arrived` is when it came, by `time.perf_counter`: from then on the caller waits. `trace` is
    the step of the caller's journey that is made here.
    """

    model: str
    sent: Mapping[str, Sent]
    count: int
    at: datetime | None = None
    service: str = ""
    upstream: str | None = None
    version: str | None = None
    arrived: float | None = None
    trace: Trace | None = None


class Share(NamedTuple):
    """The rows that one release answers. `arm` is `pinned` when the cohort did not decide,
    `outside` for rows that the filter of the Route does not let in."""

    arm: str
    loaded: Loaded
    rows: Sequence[int] | None  # None: all of them

    def size(self, ask: Ask) -> int:
        return ask.count if self.rows is None else len(self.rows)


class Asked(NamedTuple):
    """A request held against what runs: who answers which of its rows. `place` is its number."""

    place: int
    ask: Ask
    columns: Columns
    subjects: Sequence[str | None]
    shares: Sequence[Share]


class Answered(NamedTuple):
    """Everything said about one request: its shares of rows with their answers."""

    ids: tuple[str, ...]
    epoch: int
    at: str
    shares: tuple[tuple[Share, Scored], ...]
    store: str = ""  # which of several online stores, and how far it is behind
    took: tuple[int, int] = (0, 0)  # microseconds of the store and of the rest, for the whole turn

    def column(self, name: str) -> Sequence[Any]:
        """One field of `Scored` over all rows, in the order they were asked."""
        if len(self.shares) == 1:
            found: Sequence[Any] = getattr(self.shares[0][1], name)
            return found
        out: list[Any] = [None] * len(self.ids)
        for share, scored in self.shares:
            for row, value in zip(share.rows or (), getattr(scored, name), strict=True):
                out[row] = value
        return out

    def releases(self) -> list[str]:
        """The digest that answered each row."""
        if len(self.shares) == 1:
            return [self.shares[0][1].release] * len(self.ids)
        out = [""] * len(self.ids)
        for share, scored in self.shares:
            for row in share.rows or ():
                out[row] = scored.release
        return out

    def answer(self, row: int) -> Answer:
        """One row as a value."""
        for share, scored in self.shares:
            if share.rows is None or row in share.rows:
                return scored.answer(row if share.rows is None else share.rows.index(row))
        raise NotFound(f"the request had no row {row}")


def ids_of(count: int) -> tuple[str, ...]:
    """Ids that sort by time: milliseconds, then chance, then the row."""
    base = f"{time.time_ns() // 1_000_000:012x}{chance(8).hex()}"
    return tuple(f"{base}{row:04x}" for row in range(count))


def rows_of(route: Route, asked: Asked, answered: Answered, latency: int) -> list[Json]:
    """The prediction log's rows. One dict per row, one share of constants per release."""
    _, ask, columns, subjects, _ = asked
    served = time.time()
    trace = ask.trace or entered((), chance(NOISE))
    wanted = trace.sampled and trace.parent  # by the caller: what begins here is timed, no more
    rows: list[Json] = []
    for share, got in answered.shares:
        model = share.loaded.spec.models.get(ask.model)
        keys = columns.get(model.key, ()) if model else ()
        shared = {
            "at": answered.at, "served_at": served, "model": ask.model, "service": ask.service,
            "epoch": answered.epoch, "stage": route.stage, "change": route.change,
            "arm": share.arm, "release": got.release, "latency_us": latency,
            "trace": trace.text, **({"parent": trace.parent} if trace.parent else {}),
            **({"took_us": answered.took} if trace.sampled else {}),
            **({"store": answered.store} if answered.store else {}),
        }  # fmt: skip
        picked = share.rows or range(len(answered.ids))
        told = zip(
            picked, got.values, got.reasons, got.stale, got.oldest, got.fallbacks, got.errors,
            got.inputs, strict=True,
        )  # fmt: skip
        for row, score, reason, stale, oldest, fallbacks, error, inputs in told:
            key = keys[row] if keys else None
            one = {
                "id": answered.ids[row], **shared, "subject": subjects[row] or "", "key": key,
                "score": score, "reason": reason, "stale": stale, "oldest_s": oldest,
                "fallbacks": fallbacks, "error": error, "inputs": inputs,
            }  # fmt: skip
            if wanted or (keys and sampled(key)):
                one["asked"] = {name: column[row] for name, column in columns.items()}
            rows.append(one)
    return rows
