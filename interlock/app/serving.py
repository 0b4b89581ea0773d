"""A gateway's runtime: which release answers each row, the answer, and the log of it.

No engine is imported here but the three it needs; planning and warehouses never are.
Rows of one request are scored together, release by release.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, NamedTuple

from interlock.app.push import Pushed, Pusher, spec_of
from interlock.app.releases import Live, Pace, Releases
from interlock.app.stores import Reading, standing_of
from interlock.define.keys import entity_keys, instant_text
from interlock.define.release import Route
from interlock.errors import NotFound, Unavailable, Unusable
from interlock.ports import Artifacts, Json, OnlineStore, PredictionLog, RecordReader
from interlock.rollout.cohort import arm
from interlock.serve.answer import Columns
from interlock.serve.request import Sent, checked, sampled
from interlock.serve.scoring import Answer, Loaded, Scored, score

USUAL = Pace()


@dataclass(frozen=True)
class Ask:
    """A request as the protocol gave it. `upstream` is the release header, if there was one."""

    model: str
    sent: Mapping[str, Sent]
    count: int
    at: datetime | None = None
    service: str = ""
    upstream: str | None = None
    version: str | None = None


class Share(NamedTuple):
    """The rows that one release answers. `arm` is `pinned` when the cohort did not decide."""

    arm: str
    loaded: Loaded
    rows: Sequence[int] | None  # None: all of them


@dataclass(frozen=True)
class Answered:
    """Everything said about one request: its shares of rows with their answers."""

    ids: tuple[str, ...]
    epoch: int
    at: str
    shares: tuple[tuple[Share, Scored], ...]
    store: str = ""  # which of several online stores, and how far it is behind

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


class Gateway:
    """Answers predictions under the Route of one environment."""

    def __init__(
        self,
        record: RecordReader,
        artifacts: Artifacts,
        store: OnlineStore,
        log: PredictionLog,
        environment: str,
        replay_clock: bool = False,
        pace: Pace = USUAL,
    ) -> None:
        self.pusher: Pusher | None = None  # set by a process that also takes rows
        self.environment = environment
        self.replay_clock = replay_clock
        self.releases = Releases(record, artifacts, environment, pace)
        self._store = store
        self._log = log
        self._counts: Counter[str] = Counter()
        self._last_candidate: float | None = None

    def start(self) -> Gateway:
        self.releases.start()
        return self

    def stop(self) -> None:
        self.releases.stop()

    @property
    def ready(self) -> bool:
        live = self.releases.live
        stores = self.stores
        reachable = not stores or any(one["healthy"] for one in stores)
        return live is not None and live.ready and reachable

    @property
    def stores(self) -> list[Json]:
        """How each of several online stores stands; empty for a lone folder."""
        return standing_of(self._store)

    def live(self) -> Live:
        """The release table of this moment; without a lease it knows no candidate."""
        live = self.releases.live
        if live is None:
            why = self.releases.record_error or self.releases.stable_error
            raise Unavailable(f"no release is loaded: {why}")
        if live.candidate is not None and not self.releases.leased:
            return replace(live, candidate=None, known={live.stable.spec.release: live.stable})
        return live

    def answer(self, ask: Ask) -> Answered:
        """The answers to `ask`, logged. Raises only for what the caller, or nobody, can mend."""
        began = time.perf_counter()
        live = self.live()
        at = self._instant(ask.at)
        columns = _columns(live, ask)
        subjects = _subjects(live, columns, ask.count)
        shares = self._shares(live, ask, subjects)
        seconds = at.timestamp()
        reading = Reading(self._store)
        part = partial(self._score, ask=ask, columns=columns, at=seconds, reading=reading)
        scored = tuple((share, part(share.loaded, share)) for share in shares)
        answered = Answered(
            _ids(ask.count), live.epoch, instant_text(at), scored, reading.told.text
        )
        latency = _micros(began)
        mirrors = self._mirrors(live, ask, answered, part)
        self._remember(_rows(live.route, ask, answered, columns, subjects, mirrors, latency))
        self._count(answered)
        return answered

    def _score(
        self, loaded: Loaded, share: Share, ask: Ask, columns: Columns, at: float, reading: Reading
    ) -> Scored:
        """The rows of `share` by `loaded`, which is its own release or the mirrored one.

        What a store that missed something says is never called fresh.
        """
        count = ask.count if share.rows is None else len(share.rows)
        got = score(loaded, ask.model, _part(columns, share.rows), count, at, reading.read)
        return got._replace(stale=[True] * count) if reading.told.behind else got

    def _instant(self, at: datetime | None) -> datetime:
        if self.replay_clock:
            if at is None:
                raise Unusable("this environment replays recorded traffic: send parameters.at")
            return at
        if at is not None:
            raise Unusable("parameters.at is only for an environment with `clock: replay`")
        return datetime.fromtimestamp(time.time(), UTC)

    def push(self, table: str, rows: Sequence[Any], at: datetime | None) -> Pushed:
        """Rows for a pushed table, checked against the releases that answer now."""
        live = self.live()
        specs = [one.spec for one in (live.stable, live.candidate) if one is not None]
        spec = spec_of(specs, table)
        if self.pusher is None:
            raise Unavailable(
                "this process does not take rows", help="start `interlock serve` again"
            )
        return self.pusher.push(spec, rows, self._instant(at))

    def assign(self, subject: str | None) -> tuple[str, str, int]:
        """(release digest, arm, epoch) for one subject: the same cohort as scoring uses."""
        live = self.live()
        chosen = "stable" if subject is None or not live.candidate else arm(live.route, subject)
        loaded = live.candidate if chosen == "candidate" and live.candidate else live.stable
        return loaded.spec.release, chosen, live.epoch

    def _shares(self, live: Live, ask: Ask, subjects: Sequence[str | None]) -> list[Share]:
        pinned = self._pinned(live, ask)
        if pinned is not None:
            return [pinned]
        if live.candidate is None or live.route.weight <= 0:
            return [Share("stable", live.stable, None)]
        arms = ["stable" if s is None else arm(live.route, s) for s in subjects]
        candidate = [row for row, chosen in enumerate(arms) if chosen == "candidate"]
        if not candidate:
            return [Share("stable", live.stable, None)]
        if len(candidate) == len(arms):
            return [Share("candidate", live.candidate, None)]
        stable = [row for row, chosen in enumerate(arms) if chosen == "stable"]
        return [
            Share("stable", live.stable, stable),
            Share("candidate", live.candidate, candidate),
        ]

    def _pinned(self, live: Live, ask: Ask) -> Share | None:
        """The release that a version in the path, or upstream, already decided on."""
        if ask.version is not None:
            return Share("pinned", _of_version(live, ask.model, ask.version), None)
        if ask.upstream is None:
            return None
        found = live.known.get(ask.upstream.split(";", 1)[0].strip())
        if found is None:
            # Stable, not the cohort: upstream chose something, and it was not our candidate.
            self._counts["unknown_release"] += 1
            return Share("pinned", live.stable, None)
        return Share(_arm_of(live, found), found, None)

    def _mirrors(
        self, live: Live, ask: Ask, answered: Answered, part: Callable[[Loaded, Share], Scored]
    ) -> list[Json | None]:
        """The other release's scores, row by row. `score` gives a reason instead of failing."""
        out: list[Json | None] = [None] * ask.count
        if not live.route.mirror or live.candidate is None:
            return out
        for share, _ in answered.shares:
            if share.arm == "pinned":
                continue
            other = live.candidate if share.loaded is live.stable else live.stable
            began = time.perf_counter()
            got = part(other, share)
            took = _micros(began)
            self._counts["mirrored"] += len(got.values)
            for row, value, why in zip(
                share.rows or range(ask.count), got.values, got.errors, strict=True
            ):
                out[row] = {
                    "release": got.release, "score": value, "error": why, "latency_us": took,
                }  # fmt: skip
        return out

    def _remember(self, rows: Sequence[Json]) -> None:
        try:
            self._log.append(rows)
        except (Unavailable, OSError):
            # The caller still gets the answer. The judge will see too few rows, and hold.
            self._counts["unlogged"] += len(rows)

    def _count(self, answered: Answered) -> None:
        self._counts["requests"] += 1
        self._counts["rows"] += len(answered.ids)
        for share, scored in answered.shares:
            self._counts["rows_" + share.arm] += len(scored.values)
            self._counts["errors"] += scored.reasons.count("error")
            self._counts["fallbacks"] += scored.reasons.count("fallback")
            if share.arm == "candidate":
                self._last_candidate = time.time()

    def status(self) -> Json:
        """For pages and the controller: what is loaded here, and what was answered."""
        live, watched = self.releases.live, self.releases
        return {
            "environment": self.environment,
            "ready": self.ready,
            "leased": watched.leased,
            "epoch": live.epoch if live else None,
            "stable": live.stable.spec.release if live else None,
            "candidate": live.candidate.spec.release if live and live.candidate else None,
            "weight": live.route.weight if live else None,
            "mirror": live.route.mirror if live else None,
            "stage": live.route.stage if live else None,
            "loaded": sorted(live.known) if live else [],
            "record_error": watched.record_error,
            "stable_error": watched.stable_error,
            "candidate_error": watched.candidate_error,
            "stores": self.stores,
            "last_candidate_answer": self._last_candidate,
            "counts": dict(self._counts),
            "pid": os.getpid(),
        }


def _of_version(live: Live, model: str, version: str) -> Loaded:
    for loaded in (live.stable, live.candidate):
        spec = loaded.spec.models.get(model) if loaded else None
        if loaded and spec and spec.version == version:
            return loaded
    raise NotFound(f"model:{model} has no version {version} here")


def _arm_of(live: Live, loaded: Loaded) -> str:
    if loaded is live.stable:
        return "stable"
    return "candidate" if loaded is live.candidate else "pinned"


def _columns(live: Live, ask: Ask) -> dict[str, Sequence[object]]:
    takes = live.takes.get(ask.model)
    if takes is None:
        raise NotFound(f"no model {ask.model!r} here; known: {', '.join(sorted(live.takes))}")
    return checked(ask.sent, takes.types, takes.required)


def _subjects(live: Live, columns: Columns, count: int) -> Sequence[str | None]:
    subject = live.stable.spec.subject
    return entity_keys([columns[name] for name in subject]) if subject else [None] * count


def _part(columns: Columns, rows: Sequence[int] | None) -> Columns:
    if rows is None:
        return columns
    return {name: [column[row] for row in rows] for name, column in columns.items()}


def _micros(began: float) -> int:
    return int((time.perf_counter() - began) * 1e6)


def _ids(count: int) -> tuple[str, ...]:
    """Ids that sort by time: milliseconds, then chance, then the row."""
    base = f"{time.time_ns() // 1_000_000:012x}{os.urandom(8).hex()}"
    return tuple(f"{base}{row:04x}" for row in range(count))


def _asked(columns: Columns, row: int) -> Json:
    """What was sent for one row, so that it can be asked again offline."""
    return {"asked": {name: column[row] for name, column in columns.items()}}


def _rows(
    route: Route, ask: Ask, answered: Answered, columns: Columns,
    subjects: Sequence[str | None], mirrors: Sequence[Json | None], latency: int,
) -> list[Json]:  # fmt: skip
    """The prediction log's rows. One dict per row, one share of constants per release."""
    served = time.time()
    rows: list[Json] = []
    for share, got in answered.shares:
        model = share.loaded.spec.models.get(ask.model)
        keys = columns.get(model.key, ()) if model else ()
        shared = {
            "at": answered.at, "served_at": served, "model": ask.model, "service": ask.service,
            "epoch": answered.epoch, "stage": route.stage, "change": route.change,
            "arm": share.arm, "release": got.release, "latency_us": latency,
            **({"store": answered.store} if answered.store else {}),
        }  # fmt: skip
        for row, i in zip(
            share.rows or range(len(answered.ids)), range(len(got.values)), strict=True
        ):
            rows.append(
                {
                    "id": answered.ids[row], **shared, "subject": subjects[row] or "",
                    "key": keys[row] if keys else None, "score": got.values[i],
                    "reason": got.reasons[i], "stale": got.stale[i], "oldest_s": got.oldest[i],
                    "fallbacks": got.fallbacks[i], "error": got.errors[i],
                    "inputs": got.inputs[i], "mirror": mirrors[row],
                    **(_asked(columns, row) if keys and sampled(keys[row]) else {}),
                }
            )  # fmt: skip
    return rows
