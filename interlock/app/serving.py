"""A gateway's runtime: which release answers each row, the answer, and the log of it.

No engine is imported here but the three it needs; planning and warehouses never are.
Rows of one request are scored together, release by release.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import chain
from typing import Any

from interlock.app.asked import Answered, Ask, Asked, Share, ids_of, rows_of
from interlock.app.mirroring import Mirrored, Mirrors
from interlock.app.push import Pushed, Pusher, spec_of
from interlock.app.readiness import objections
from interlock.app.releases import Live, Pace, Releases
from interlock.app.stores import Reading, standing_of
from interlock.define.keys import entity_keys, instant_text
from interlock.define.release import Filter
from interlock.errors import InterlockError, NotFound, Unavailable, Unusable
from interlock.ports import Artifacts, Json, OnlineStore, PredictionLog, RecordReader
from interlock.rollout.cohort import NOTHING, arm, unknown
from interlock.serve.assemble import Columns
from interlock.serve.carried import read_header
from interlock.serve.scoring import Loaded, Part, Scored, join_columns, score_together

USUAL = Pace()
_Done = tuple[Asked, Answered]
Found = list[Answered | InterlockError]
Tell = Callable[[Found], None]


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
        self.mirrors: Mirrors | None = None  # without it, what should be mirrored is missing
        self.environment = environment
        self.replay_clock = replay_clock
        self.releases = Releases(record, artifacts, environment, pace)
        self._store = store
        self._log = log
        self._counts: Counter[str] = Counter()
        self.draining = False
        self.log_error: str | None = None
        self.oldest: float | None = None  # s; the oldest row used by the last answer
        self._last_candidate: float | None = None

    def start(self) -> Gateway:
        self.releases.start()
        if self.mirrors is not None:
            self.mirrors.start(lambda: self.releases.live, self.replay_clock)
        return self

    def stop(self) -> None:
        """Stop following the Route; what was handed on to be mirrored is scored first."""
        self.releases.stop()
        if self.mirrors is not None:
            self.mirrors.stop()

    def drain(self) -> None:
        """From now on callers should go elsewhere; whoever still comes is answered."""
        self.draining = True

    @property
    def ready(self) -> bool:
        return not self.objections()

    def objections(self) -> list[str]:
        """Why nobody should be sent here now, found out by trying; empty when all is well."""
        leaving = ["this gateway is stopping"] if self.draining else []
        return leaving + objections(self.releases, self._store, self._log)

    @property
    def stores(self) -> list[Json]:
        """How each of several online stores stands; empty for a lone folder."""
        return standing_of(self._store)

    def live(self) -> Live:
        """The release table of this moment; without a lease it knows no candidate."""
        leased, live = self.releases.leased, self.releases.live  # in this order: see `leased`
        if live is None:
            why = self.releases.record_error or self.releases.stable_error
            raise Unavailable(f"no release is loaded: {why}")
        return live.alone() if live.candidates and not leased else live

    def answer(self, ask: Ask) -> Answered:
        """The answers to `ask`, logged. Raises only for what the caller, or nobody, can mend."""
        (found,) = self.answers([ask])
        if isinstance(found, InterlockError):
            raise found
        return found

    def answers(self, asks: Sequence[Ask], tell: Tell = lambda _: None) -> Found:
        """Requests that came together: scored together, logged in one write, each on its own.

        A request that is refused, or whose rows break the model, costs the others nothing. On a
        wall clock all are told before their rows are handed on to be mirrored: nobody waits for it.
        """
        began, now = time.perf_counter(), _now()
        live = self.live()
        found: dict[int, Answered | InterlockError] = {}
        alike: dict[tuple[str, datetime], list[Asked]] = {}
        for place, ask in enumerate(asks):
            try:
                key = ask.model, self._instant(ask.at, now)
                alike.setdefault(key, []).append(self._held(live, ask, place))
            except InterlockError as error:
                found[place] = error
        rows: list[Json] = []
        groups: list[tuple[str, datetime, list[_Done]]] = []
        for (model, at), group in alike.items():
            done = list(self._together(live, model, at, group))
            groups.append((model, at, done))
            for asked, answered in done:
                found[asked.place] = answered
                rows += rows_of(live.route, asked, answered, _micros(asked.ask.arrived or began))
                self._count(answered)
        self._remember(rows)
        said = [found[place] for place in range(len(asks))]
        try:
            if not self.replay_clock:
                tell(said)
        finally:
            for model, at, done in groups:
                self._mirror(live, model, at, done)
        if self.replay_clock:
            tell(said)
        return said

    def _held(self, live: Live, ask: Ask, place: int) -> Asked:
        columns = _columns(live, ask)
        subjects = _subjects(live, columns, ask.count)
        return Asked(place, ask, columns, subjects, self._shares(live, ask, columns, subjects))

    def _together(
        self, live: Live, model: str, at: datetime, group: Sequence[Asked]
    ) -> Iterator[_Done]:
        """Each request of `group` with its answers."""
        reading = Reading(self._store)
        wanted = [(asked, share) for asked in group for share in asked.shares]
        began = time.perf_counter()
        scored = iter(self._scored(wanted, model, at.timestamp(), reading))
        store = int(reading.took * 1e6)
        took = store, _micros(began) - store
        text = instant_text(at)
        for asked in group:
            shares = tuple((share, next(scored)) for share in asked.shares)
            ids = ids_of(asked.ask.count)
            yield asked, Answered(ids, live.epoch, text, shares, reading.told.text, took)

    def _scored(
        self,
        wanted: Sequence[tuple[Asked, Share]],
        model: str,
        at: float,
        reading: Reading,
    ) -> list[Scored]:
        """The rows of each share by its release.

        What a store that missed something says is never called fresh.
        """
        parts = [
            Part(share.loaded, _part(asked.columns, share.rows), share.size(asked.ask))
            for asked, share in wanted
        ]
        found = score_together(parts, model, at, reading.read)
        if not reading.told.behind:
            return found
        return [got._replace(stale=[True] * len(got.values)) for got in found]

    def _instant(self, at: datetime | None, now: datetime) -> datetime:
        """When it is asked: what came together is asked at one moment, and so stays together."""
        if self.replay_clock:
            if at is None:
                raise Unusable("this environment replays recorded traffic: send parameters.at")
            return at
        if at is not None:
            raise Unusable("parameters.at is only for an environment with `clock: replay`")
        return now

    def push(self, table: str, rows: Sequence[Any], at: datetime | None) -> Pushed:
        """Rows for a pushed table, checked against the releases that answer now."""
        live = self.live()
        specs = [one.spec for one in (live.stable, *live.candidates.values())]
        spec = spec_of(specs, table)
        if self.pusher is None:
            raise Unavailable(
                "this process does not take rows", help="start `interlock serve` again"
            )
        return self.pusher.push(spec, rows, self._instant(at, _now()))

    def _shares(
        self, live: Live, ask: Ask, columns: Columns, subjects: Sequence[str | None]
    ) -> list[Share]:
        pinned = self._pinned(live, ask)
        if live.route.filter:
            about = _about(columns, live.route.filter, ask.count)
            self._counts["no_attribute"] += sum(unknown(live.route.filter, row) for row in about)
            return _divided(live, pinned, subjects, about)
        if live.route.arms and live.splits:
            return _divided(live, pinned, subjects, [NOTHING] * ask.count)
        if pinned is not None:
            return [pinned]
        if not live.splits:
            return [Share("stable", live.stable, None)]
        ((_, loaded),) = live.candidates.items()
        arms = ["stable" if s is None else arm(live.route, s) for s in subjects]
        candidate = [row for row, chosen in enumerate(arms) if chosen == "candidate"]
        if not candidate:
            return [Share("stable", live.stable, None)]
        if len(candidate) == len(arms):
            return [Share("candidate", loaded, None)]
        stable = [row for row, chosen in enumerate(arms) if chosen == "stable"]
        return [
            Share("stable", live.stable, stable),
            Share("candidate", loaded, candidate),
        ]

    def _pinned(self, live: Live, ask: Ask) -> Share | None:
        """The release that a version in the path, or upstream, already decided on."""
        if ask.version is not None:
            return Share("pinned", _of_version(live, ask.model, ask.version), None)
        if ask.upstream is None:
            return None
        found = live.carried(read_header(ask.upstream).release)
        if found is None:
            # Stable, not the cohort: upstream chose something, and it was not our candidate.
            self._counts["unknown_release"] += 1
            return Share("pinned", live.stable, None)
        return Share(*found, None)

    def _mirror(self, live: Live, model: str, at: datetime, done: Sequence[_Done]) -> None:
        """Hand the rows to whoever scores them by the other releases; nobody waits for that.

        In replayed time the caller moves the clock, so there the answer waits.
        """
        if not live.route.mirror or not live.candidates:
            return
        alike: dict[tuple[str, ...], list[tuple[Sequence[str], Columns]]] = {}
        for asked, answered in done:
            for share in asked.shares:
                if share.arm in ("pinned", "outside"):
                    continue
                ids = answered.ids
                if share.rows is not None:
                    ids = tuple(ids[row] for row in share.rows)
                part = ids, _part(asked.columns, share.rows)
                for other in live.others(share.loaded):
                    alike.setdefault((other, *asked.columns), []).append(part)
        rows = [_mirrored(release, parts) for (release, *_), parts in alike.items()]
        if self.mirrors is not None and rows:
            self.mirrors.offer(live, model, at.timestamp(), rows, wait=self.replay_clock)
        else:
            self._counts["mirror_drops"] += sum(len(one.ids) for one in rows)

    def _remember(self, rows: Sequence[Json]) -> None:
        try:
            self._log.append(rows)
            self.log_error = None
        except (Unavailable, OSError) as error:
            self.log_error = str(error)
            # The caller still gets the answer. The judge will see too few rows, and hold.
            self._counts["unlogged"] += len(rows)

    def _count(self, answered: Answered) -> None:
        self._counts["requests"] += 1
        self._counts["rows"] += len(answered.ids)
        for share, scored in answered.shares:
            self._counts["rows_" + share.arm] += len(scored.values)
            self._counts["errors"] += scored.reasons.count("error")
            self._counts["fallbacks"] += scored.reasons.count("fallback")
            self.oldest = max(filter(None, scored.oldest), default=self.oldest)
            if share.arm == "candidate":
                self._last_candidate = time.time()

    def count(self, what: str) -> None:
        """One more of `what`, for pages and metrics."""
        self._counts[what] += 1

    def counts(self) -> dict[str, int]:
        """What was counted since the start, by name."""
        mirrors = self.mirrors.counts if self.mirrors else Counter[str]()
        return dict(self._counts + mirrors)

    def status(self) -> Json:
        """For pages and the controller: what is loaded here, and what was answered."""
        live, watched = self.releases.live, self.releases
        return {
            "environment": self.environment,
            "ready": self.ready,
            "leased": watched.leased,
            "epoch": live.epoch if live else None,
            "stable": live.stable.spec.release if live else None,
            "candidates": [*live.candidates] if live else [],
            "weight": live.route.weight if live else None,
            "mirror": live.route.mirror if live else None,
            "stage": live.route.stage if live else None,
            "loaded": sorted(live.known) if live else [],
            "draining": self.draining,
            "record_error": watched.record_error,
            "log_error": self.log_error,
            "stable_error": watched.stable_error,
            "candidate_error": watched.candidate_error,
            "stores": self.stores,
            "last_candidate_answer": self._last_candidate,
            "counts": self.counts(),
            "mirror_error": self.mirrors.error if self.mirrors else None,
            "pid": os.getpid(),
        }


def _mirrored(release: str, parts: Sequence[tuple[Sequence[str], Columns]]) -> Mirrored:
    """Requests of one turn that sent the same columns, as one: written and read as one."""
    ids, columns = zip(*parts, strict=True)
    together = list(chain.from_iterable(ids))
    return Mirrored(release, together, list(map(len, ids)), join_columns(columns))


def _of_version(live: Live, model: str, version: str) -> Loaded:
    for loaded in (live.stable, *live.candidates.values()):
        spec = loaded.spec.models.get(model)
        if spec and spec.version == version:
            return loaded
    raise NotFound(f"model:{model} has no version {version} here")


def _columns(live: Live, ask: Ask) -> dict[str, Sequence[object]]:
    takes = live.takes.get(ask.model)
    if takes is None:
        raise NotFound(f"no model {ask.model!r} here; known: {', '.join(sorted(live.takes))}")
    return takes.columns(ask.sent)


def _subjects(live: Live, columns: Columns, count: int) -> Sequence[str | None]:
    subject = live.stable.spec.subject
    return entity_keys([columns[name] for name in subject]) if subject else [None] * count


def _about(columns: Columns, filter: Filter, count: int) -> list[dict[str, object]]:
    """What each row says of the columns that the filter asks for."""
    said = [name for name, _ in filter if name in columns]
    return [{name: columns[name][row] for name in said} for row in range(count)]


def _divided(
    live: Live,
    pinned: Share | None,
    subjects: Sequence[str | None],
    about: Sequence[Mapping[str, object]],
) -> list[Share]:
    """Each row to its release, and apart from these the rows outside: judged by nobody.

    They too are answered by the release that upstream decided on.
    """
    if pinned is not None and pinned.arm == "pinned":
        return [pinned]
    chosen: dict[tuple[str, str], tuple[Loaded, list[int]]] = {}
    for row, (subject, said) in enumerate(zip(subjects, about, strict=True)):
        name, loaded = live.assign(subject, said)
        if pinned is not None:
            name, loaded = "outside" if name == "outside" else pinned.arm, pinned.loaded
        chosen.setdefault((name, loaded.spec.release), (loaded, []))[1].append(row)
    return [
        Share(name, loaded, None if len(rows) == len(subjects) else rows)
        for (name, _), (loaded, rows) in chosen.items()
    ]


def _part(columns: Columns, rows: Sequence[int] | None) -> Columns:
    if rows is None:
        return columns
    return {name: [column[row] for row in rows] for name, column in columns.items()}


def _now() -> datetime:
    return datetime.fromtimestamp(time.time(), UTC)


def _micros(began: float) -> int:
    return int((time.perf_counter() - began) * 1e6)
