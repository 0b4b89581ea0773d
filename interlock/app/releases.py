"""Releases held ready by a gateway: followed from the Route, loaded whole before they are shown.

One watcher thread looks at the Route; requests only ever read one immutable `Live`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from interlock.adapters import lightgbm
from interlock.define.refs import Ref
from interlock.define.release import Route
from interlock.errors import Corrupt, InterlockError, NotFound, Unusable
from interlock.ports import Artifacts, Entry, RecordReader, Scorer
from interlock.serve.answer import Assembler
from interlock.serve.request import Signature
from interlock.serve.scoring import Loaded
from interlock.serve.spec import ModelSpec, ServingSpec

LOADERS: Mapping[str, Callable[[bytes], Scorer]] = MappingProxyType(
    {lightgbm.FORMAT: lightgbm.load}
)


@dataclass(frozen=True)
class Pace:
    """Seconds: how often the Route is looked at, how long it may be trusted unseen, when to
    try again to load what did not load. `warm` releases stay loaded beyond the two in use."""

    poll: float = 0.02
    lease: float = 3.0
    retry: float = 1.0
    warm: int = 3


@dataclass(frozen=True)
class Live:
    """What is answered right now. Swapped as one value, so a request never sees half of it."""

    route: Route
    epoch: int
    stable: Loaded
    candidate: Loaded | None
    ready: bool
    known: Mapping[str, Loaded]
    takes: Mapping[str, Signature]


class Releases:
    """Follows `route:<environment>`. A candidate that does not load is never shown."""

    def __init__(
        self,
        record: RecordReader,
        artifacts: Artifacts,
        environment: str,
        pace: Pace,
        loaders: Mapping[str, Callable[[bytes], Scorer]] = LOADERS,
    ) -> None:
        self._record = record
        self._artifacts = artifacts
        self._ref = Ref("route", environment)
        self._pace = pace
        self._loaders = loaders
        self._warm: dict[str, Loaded] = {}
        self._seen = float("-inf")
        self._again = 0.0
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._live: Live | None = None
        self.record_error: str | None = None
        self.stable_error: str | None = None
        self.candidate_error: str | None = None

    def start(self) -> None:
        """Look once now, then keep looking."""
        self.poll()
        self._thread = threading.Thread(target=self._watch, name="interlock-route", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=5)

    def _watch(self) -> None:
        while not self._stop.wait(self._pace.poll):
            self.poll()

    @property
    def live(self) -> Live | None:
        return self._live

    @property
    def leased(self) -> bool:
        """Whether the Route was seen lately. If not, only the stable release may answer."""
        return time.monotonic() - self._seen <= self._pace.lease

    def poll(self) -> None:
        """Look at the Route; follow it if it moved, or if something did not load last time."""
        try:
            entry = self._record.get(self._ref)
        except (InterlockError, OSError) as error:
            self.record_error = str(error)
            return
        self.record_error = None if entry else f"nothing is released: no {self._ref}"
        if entry is None:
            return
        live = self._live
        failed = self.stable_error or self.candidate_error
        moved = live is None or entry.version != live.epoch
        if moved or (failed and time.monotonic() >= self._again):
            self._follow(entry)
        # Only now: while a release loads, the lease on the former Route runs on.
        self._seen = time.monotonic()

    def _follow(self, entry: Entry) -> None:
        route = Route.from_json(entry.body)
        self._again = time.monotonic() + self._pace.retry
        stable = self._stable(route.stable)
        candidate = self._candidate(route.candidate)
        if stable is None:
            return
        used = {one.spec.release: one for one in (stable, candidate) if one is not None}
        self._keep(used)
        known = {name: one for name, one in self._warm.items() if name not in route.blocked}
        self._live = Live(
            route, entry.version, stable, candidate, not stable.problems, {**known, **used},
            _takes(stable.spec, candidate.spec if candidate else None),
        )  # fmt: skip

    def _stable(self, digest: str | None) -> Loaded | None:
        """The stable release; failing that the one served so far, which is better than none."""
        before = self._live.stable if self._live else None
        try:
            if digest is None:
                raise NotFound(f"{self._ref} names no stable release")
            found = self._loaded(digest)
        except InterlockError as error:
            self.stable_error = str(error)
            return before
        self.stable_error = "; ".join(found.problems.values()) or None
        return before if found.problems and before and not before.problems else found

    def _candidate(self, digest: str | None) -> Loaded | None:
        self.candidate_error = None
        if digest is None:
            return None
        try:
            found = self._loaded(digest)
        except InterlockError as error:
            self.candidate_error = str(error)
            return None
        self.candidate_error = "; ".join(found.problems.values()) or None
        return None if found.problems else found

    def _loaded(self, digest: str) -> Loaded:
        found = self._warm.get(digest)
        if found is None:
            found = load_release(self._spec(digest), self._artifacts, self._loaders)
        return found

    def _spec(self, digest: str) -> ServingSpec:
        entry = self._record.get(Ref("serving", digest))
        if entry is None:
            raise NotFound(f"release {digest[:12]} has no serving spec in the record")
        spec = ServingSpec.from_json(entry.body)
        if spec.release != digest:
            raise Corrupt(f"the serving spec of {digest[:12]} is of {spec.release[:12]}")
        return spec

    def _keep(self, used: Mapping[str, Loaded]) -> None:
        """Most recently used last; what is broken is not kept, so that it is tried again."""
        whole = {name: one for name, one in used.items() if not one.problems}
        kept = {name: one for name, one in self._warm.items() if name not in whole} | whole
        spare = len(kept) - len(whole) - self._pace.warm
        self._warm = dict(list(kept.items())[max(spare, 0) :])


def _takes(stable: ServingSpec, candidate: ServingSpec | None) -> dict[str, Signature]:
    """As the stable release says; columns that only the candidate knows are let through."""
    found = {}
    for name in [*(candidate.models if candidate else ()), *stable.models]:
        other = candidate.models.get(name) if candidate else None
        spec = stable.models.get(name) or other
        if spec is not None:
            types = {**(other.columns if other else {}), **spec.columns}
            found[name] = Signature(types, spec.required(stable.subject))
    return found


def load_release(
    spec: ServingSpec,
    artifacts: Artifacts,
    loaders: Mapping[str, Callable[[bytes], Scorer]] = LOADERS,
) -> Loaded:
    """`spec` with every model that loads, and a sentence for each that does not."""
    scorers: dict[str, Scorer] = {}
    problems: dict[str, str] = {}
    for name, model in spec.models.items():
        try:
            scorers[name] = _scorer(model, artifacts, loaders)
        except (InterlockError, OSError) as error:
            problems[name] = f"model:{name} of {spec.release[:12]} is not loaded: {error}"
    assemblers = {name: Assembler(model) for name, model in spec.models.items()}
    return Loaded(spec, assemblers, scorers, problems)


def _scorer(
    model: ModelSpec, artifacts: Artifacts, loaders: Mapping[str, Callable[[bytes], Scorer]]
) -> Scorer:
    loader = loaders.get(model.format)
    if loader is None:
        raise Unusable(f"no loader for format {model.format!r}; known: {', '.join(loaders)}")
    scorer = loader(artifacts.get(model.artifact))
    width = getattr(scorer, "inputs", len(model.inputs))
    if width != len(model.inputs):
        raise Corrupt(f"the artifact takes {width} inputs, its spec names {len(model.inputs)}")
    return scorer
