"""Releases held ready by a gateway: followed from the Route, loaded whole before they are shown.

One watcher thread looks at the Route; requests only ever read one immutable `Live`.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import chain
from types import MappingProxyType

import orjson

from interlock.adapters import lightgbm, onnx, xgboost
from interlock.app.wary import Wary
from interlock.client.elapsed import elapsed
from interlock.define.refs import Ref
from interlock.define.release import Route
from interlock.errors import Corrupt, InterlockError, NotFound, Unusable
from interlock.ports import Artifacts, Entry, Json, RecordReader, Scorer
from interlock.rollout.cohort import NOTHING, seen
from interlock.serve.assemble import Assembler
from interlock.serve.published import Published, only_stable, what_counts, within
from interlock.serve.request import Signature
from interlock.serve.scoring import BREAKAGE, Loaded
from interlock.serve.spec import ModelSpec, ServingSpec

LOADERS: Mapping[str, Callable[[bytes], Scorer]] = MappingProxyType(
    {lightgbm.FORMAT: lightgbm.load, xgboost.FORMAT: xgboost.load, onnx.FORMAT: onnx.load}
)
ALLOWED = "INTERLOCK_MODEL_FORMATS"
"""The variable in which a host names the formats it loads; unset, all that are known."""
UNREADABLE = (*BREAKAGE, AttributeError)
"""What a row can throw that nobody wrote by the rules, wherever it is used first."""
RECENT = 4  # versions of the Route whose releases are loaded at the start


@dataclass(frozen=True)
class Pace:
    """Seconds: how often the Route is looked at while it splits, and while it does not; how long
    it may be trusted unseen; when to try again to load what did not load. `warm` releases stay
    loaded beyond the two in use."""

    poll: float = 0.02
    calm: float = 0.08
    lease: float = 3.0
    retry: float = 1.0
    warm: int = 3


@dataclass(frozen=True)
class Live:
    """What is answered right now. Swapped as one value, so a request never sees half of it.

    `candidates` are those that are loaded, by their digest; `route` names no other.
    """

    route: Route
    epoch: int
    stable: Loaded
    candidates: Mapping[str, Loaded]
    ready: bool
    known: Mapping[str, Loaded]
    takes: Mapping[str, Signature]

    def assign(
        self, subject: str | None, about: Mapping[str, object] = NOTHING
    ) -> tuple[str, Loaded]:
        """(arm, release) of one subject, by the cohort; None has no cohort."""
        name, release = seen(self.route, subject, about)
        return name, self.candidates[str(release)] if name == "candidate" else self.stable

    @property
    def splits(self) -> bool:
        """Whether some subjects are not answered as the control is."""
        return self.route.weight > 0 and bool(self.candidates or self.route.arms)

    @cached_property
    def releases(self) -> tuple[str, ...]:
        """The digests of all that answer, the stable one first."""
        return (self.stable.spec.release, *self.candidates)

    def others(self, one: Loaded) -> tuple[str, ...]:
        """By which releases the rows that `one` answered are scored too."""
        return self.releases[1:] if one is self.stable else self.releases[:1]

    def alone(self) -> Live:
        """Without candidates: what counts when nobody knows whether the Route still stands."""
        known = {self.stable.spec.release: self.stable}
        return replace(self, route=within(self.route, ()), candidates={}, known=known)

    def carried(self, release: str) -> tuple[str, Loaded] | None:
        """(arm, release) for a digest that upstream decided on; None when nobody knows it here."""
        found = self.known.get(release)
        if found is None or found is self.stable:
            return None if found is None else ("stable", found)
        return ("candidate" if release in self.candidates else "pinned"), found

    @cached_property
    def published(self) -> Published:
        """What services are told: only what is loaded here."""
        route = replace(self.route, epoch=self.epoch, stable=self.stable.spec.release)
        if not self.candidates:
            route = only_stable(route)
        return Published(route, tuple(self.known), self.stable.spec.services)


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
        self._body: Json | None = None
        self._told: dict[object, Callable[[], None]] = {}
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
        self._tell()
        if self._thread is not None:
            self._thread.join(timeout=5)

    def _watch(self) -> None:
        while not self._stop.wait(self._pause):
            self.poll()

    @property
    def _pause(self) -> float:
        """Seconds to the next look. Only with subjects on a candidate is there one to hurry for."""
        split = self._live is not None and self._live.route.weight > 0
        return self._pace.poll if split else self._pace.calm

    @property
    def live(self) -> Live | None:
        return self._live

    @property
    def stopped(self) -> bool:
        return self._stop.is_set()

    @property
    def seen(self) -> float:
        """When the Route was read last, by `elapsed`."""
        return self._seen

    @property
    def leased(self) -> bool:
        """Whether the Route was seen lately. If not, only the stable release may answer.

        Asked before `live`: a Route that came a moment too late must not lend its lease to
        the one before it.
        """
        return elapsed() - self._seen <= self._pace.lease

    def watch(self, moved: Callable[[], None]) -> Callable[[], object]:
        """`moved` is called at each new `Live`, by the watcher's thread; the result ends that."""
        mine = object()
        self._told[mine] = moved
        return partial(self._told.pop, mine, moved)

    def poll(self) -> None:
        """Look at the Route; follow it if it moved, or if something did not load last time.

        Whatever stands there, the next look comes; what cannot be read costs the lease.
        """
        before = self._live
        try:
            entry = self._record.get(self._ref)
            self.record_error = None if entry else f"nothing is released: no {self._ref}"
            if entry is not None:
                self._look_at(entry)
        except UNREADABLE as error:
            self.record_error = f"{self._ref} cannot be followed: {_told(error)}"
        if self._live is not before:
            self._tell()

    def _look_at(self, entry: Entry) -> None:
        live = self._live
        failed = self.stable_error or self.candidate_error
        # The body too: a row that was edited by hand keeps its number.
        moved = live is None or entry.version != live.epoch or entry.body != self._body
        if moved or (failed and elapsed() >= self._again):
            self._follow(entry)
        # Only now: while a release loads, the lease on the former Route runs on.
        self._seen = elapsed()

    def _tell(self) -> None:
        for moved in tuple(self._told.values()):
            moved()

    def _follow(self, entry: Entry) -> None:
        route, flaw = self._read(entry)
        self._again = elapsed() + self._pace.retry
        stable = self._stable(route.stable)
        candidates = self._candidates([one.release for one in route.candidates])
        self.candidate_error = flaw or self.candidate_error
        if stable is None:
            return
        if stable.spec.release != route.stable:
            # A candidate is for those whom this stable release, not an older one, would answer.
            route, candidates = only_stable(route), {}
        if self._live is None:
            self._remember(route)
        used = {**candidates, stable.spec.release: stable}
        self._keep(used)
        known = {name: one for name, one in self._warm.items() if name not in route.blocked}
        self._body = entry.body
        self._live = Live(
            within(route, candidates), entry.version, stable, candidates, not stable.problems,
            {**known, **used}, _takes(stable.spec, [one.spec for one in candidates.values()]),
        )  # fmt: skip

    def _read(self, entry: Entry) -> tuple[Route, str | None]:
        """The Route, and what is wrong with it: then only its stable release counts.

        A row in which not even that can be read leaves the stable release of before.
        """
        try:
            route = Route.from_json(entry.body)
        except Corrupt as error:
            before = self._live.stable.spec.release if self._live else None
            return Route(self._ref.name, stable=before), error.message
        flaws = route.flaws()
        if not flaws:
            return route, None
        said = f"{self._ref} was not written by Interlock: {'; '.join(flaws)}"
        return what_counts(route, self._ref.name), said

    def _remember(self, route: Route) -> None:
        """What the Route named lately is kept ready from the start: callers may still carry it."""
        for digest in self._recent():
            if digest in route.blocked or digest in self._warm:
                continue
            with suppress(InterlockError):  # what cannot be loaded is unknown, as it was before
                self._keep({digest: self._loaded(digest)})

    def _recent(self) -> list[str]:
        """The releases that the Route named lately, the latest last."""
        found: list[str] = []
        with suppress(InterlockError):
            for entry in self._record.history(self._ref)[-RECENT:]:
                found += Route.from_json(entry.body).releases
        return found

    def _stable(self, digest: str | None) -> Loaded | None:
        """The stable release; failing that the one served so far, which is better than none."""
        before = self._live.stable if self._live else None
        try:
            if digest is None:
                raise NotFound(f"{self._ref} names no stable release")
            found = self._loaded(digest)
        except InterlockError as error:
            self.stable_error = _told(error)
            return before
        self.stable_error = "; ".join(found.problems.values()) or None
        return before if found.problems and before and not before.problems else found

    def _candidates(self, digests: Sequence[str]) -> dict[str, Loaded]:
        """Those that load whole. One that does not costs its own place, and no other."""
        found: dict[str, Loaded] = {}
        wrong: list[str] = []
        for digest in digests:
            try:
                found[digest] = self._loaded(digest)
            except InterlockError as error:
                wrong.append(_told(error))
        broken = [one for one in found.values() if one.problems]
        wrong += [said for one in broken for said in one.problems.values()]
        self.candidate_error = "; ".join(wrong) or None
        return {name: one for name, one in found.items() if not one.problems}

    def _loaded(self, digest: str) -> Loaded:
        found = self._warm.get(digest)
        if found is not None:
            return found
        try:
            found = load_release(self._spec(digest), self._artifacts, self._loaders)
            _takes(found.spec, ())
            orjson.dumps(found.spec.to_json())  # parts of it stand in answers and in the log
        except UNREADABLE as error:
            if isinstance(error, InterlockError):
                raise
            raise Corrupt(f"release {digest[:12]} cannot be loaded: {error!r}") from error
        return replace(found, scorers={name: Wary(one) for name, one in found.scorers.items()})

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


def _told(error: BaseException) -> str:
    """For people and JSON, whatever stood in a row."""
    said = str(error) if isinstance(error, InterlockError | OSError) else repr(error)
    return said.encode(errors="backslashreplace").decode()


def _takes(stable: ServingSpec, candidates: Sequence[ServingSpec]) -> dict[str, Signature]:
    """As the stable release says; columns that only a candidate knows are let through.

    Of a model that several candidates bring, the first of them says what must be sent.
    """
    found = {}
    names = dict.fromkeys([*chain.from_iterable(one.models for one in candidates), *stable.models])
    for name in names:
        told = [one.models[name] for one in (stable, *candidates) if name in one.models]
        types = {column: type for spec in reversed(told) for column, type in spec.columns.items()}
        found[name] = Signature(types, told[0].required(stable.subject))
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


def load_model(
    format: str, data: bytes, loaders: Mapping[str, Callable[[bytes], Scorer]] = LOADERS
) -> Scorer:
    """The model in `data`, when this host may load `format`; raises `Unusable` or `Corrupt`."""
    allowed = os.environ.get(ALLOWED, ",".join(loaders)).replace(" ", "").split(",")
    loader = loaders.get(format)
    if loader is None:
        raise Unusable(f"no loader for format {format!r}; known: {', '.join(loaders)}")
    if format not in allowed:
        raise Unusable(
            f"this host does not load {format} models",
            help=f"it loads what ${ALLOWED} names: {', '.join(allowed)}",
        )
    return loader(data)


def _scorer(
    model: ModelSpec, artifacts: Artifacts, loaders: Mapping[str, Callable[[bytes], Scorer]]
) -> Scorer:
    scorer = load_model(model.format, artifacts.get(model.artifact), loaders)
    width = getattr(scorer, "inputs", len(model.inputs))
    if width != len(model.inputs):
        raise Corrupt(f"the artifact takes {width} inputs, its spec names {len(model.inputs)}")
    return scorer
