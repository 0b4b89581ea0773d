"""Which release a subject sees, answered inside a service's own process.

The Route comes from a gateway, by server-sent events or by asking. It counts for as long as
a lease: after that only the stable release is named, as in a gateway that lost the record.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from interlock.client.elapsed import elapsed
from interlock.client.follow import Follower, Pace
from interlock.define.release import Route
from interlock.errors import NotFound, Unavailable
from interlock.rollout.cohort import NOTHING, seen, unknown
from interlock.serve.carried import Carried
from interlock.serve.flags import Flag, flag_of, keys_of
from interlock.serve.published import Published

NOBODY = "no gateway has told the Route yet"


class Assignment(NamedTuple):
    """The release that a request is answered from.

    `arm` is `stable` or `candidate`, `outside` for whom the filter of the Route does not let in,
    `pinned` for a release that upstream named and that is neither.
    """

    release: str
    epoch: int
    arm: str

    @property
    def carried(self) -> Carried:
        """As it travels."""
        return Carried(self.release, self.epoch)


class Held(NamedTuple):
    """The Route as it was told, everything made ready, and when it stops to count.

    Swapped as one value, so that nobody sees a new Route under an old lease.
    """

    published: Published
    route: Route
    until: float
    stable: Assignment
    by_seen: dict[tuple[str, str | None], Assignment]
    by_release: dict[str, Assignment]
    flags: frozenset[str]


class Client:
    """One per process. `urls` are gateways; any one of them will do.

    >>> client = Client(["http://gateway-1:8210", "http://gateway-2:8210"]).start()
    >>> client.assign("12345").release
    """

    def __init__(self, urls: Sequence[str], pace: Pace = Pace()) -> None:  # noqa: B008  # immutable
        self.pace = pace
        self.counts: Counter[str] = Counter()
        self._held: Held | None = None
        self._follower = Follower(urls, pace, self.take, self.count)

    def start(self, within: float = 10.0) -> Client:
        """Follow the Route; returns when it is known. Raises `Unavailable` after `within` s."""
        self._follower.start()
        if not self._follower.heard.wait(within):
            self.stop()
            raise Unavailable(f"{NOBODY}: {self._follower.error}", help="is a gateway running?")
        return self

    def stop(self) -> None:
        self._follower.stop()

    def take(self, published: Published, seen: float) -> bool:
        """Hold on to `published`, which was true at `seen` (by `elapsed`); whether it is news.

        An older epoch comes from a gateway that lags: it counts only once the lease is over.
        """
        held, until = self._held, seen + self.pace.lease
        if held is not None and published == held.published:
            if until <= held.until:
                return False
            self._held = held._replace(until=until)
            return True
        if held is not None and published.epoch < held.published.epoch and self.leased:
            return False
        self._held = _made_ready(published, until)
        return True

    @property
    def leased(self) -> bool:
        """Whether the Route was confirmed lately. If not, only the stable release is named."""
        held = self._held
        return held is not None and elapsed() <= held.until

    @property
    def epoch(self) -> int:
        """Of the Route that was told last; 0 before there is one."""
        return self._held.published.epoch if self._held else 0

    def stable(self) -> Assignment:
        """What everybody may answer from at any time. Raises `Unavailable` before any Route."""
        if self._held is None:
            raise Unavailable(NOBODY, help="call `start` first, and name a gateway that runs")
        return self._held.stable

    def assign(self, subject: str, about: Mapping[str, object] = NOTHING) -> Assignment:
        """The release of `subject`, by the same cohort as gateways and batch scoring.

        `about` are its columns, for stages that only some subjects take part in; of whom that
        cannot be told, the stable release answers, and it is counted. For the edge only: behind
        it, `accept` what the edge decided. Raises `Unavailable` before any Route was told.
        """
        held = self._held
        if held is None:
            return self.stable()
        if elapsed() > held.until:
            self.counts["lease_over"] += 1
            return held.stable
        if held.route.filter and unknown(held.route.filter, about):
            self.counts["no_attribute"] += 1
        return held.by_seen[seen(held.route, subject, about)]

    def accept(self, said: Carried | None) -> Assignment:
        """The release that upstream decided on. Never a split of our own.

        Nothing said, or a release that is not known here, is the stable one, and counted.
        """
        held, stable = self._held, self.stable()
        if held is None or said is None:
            self.counts["no_release"] += 1
            return stable
        found = held.by_release.get(said.release)
        if found is None:
            self.counts["unknown_release"] += 1
            return stable
        if found is not stable and elapsed() > held.until:
            self.counts["lease_over"] += 1
            return stable
        return found

    def behind(self, said: Carried | None) -> bool:
        """Whether waiting a moment may tell what `said` is: upstream knows a later epoch.

        Waiting is only worth it now and then: a forged epoch must not slow everybody down.
        """
        held = self._held
        if said is None or held is None or said.release in held.by_release:
            return False
        return said.epoch > held.published.epoch and self._follower.may_wait()

    def flag(
        self,
        key: str,
        subject: str | None = None,
        given: Assignment | None = None,
        about: Mapping[str, object] = NOTHING,
    ) -> Flag:
        """The flag `<service>.release` or `<service>.candidate`, for `subject` or as `given`.

        Raises `NotFound` for a flag that does not exist, naming those that do.
        """
        chosen = given or (self.stable() if subject is None else self.assign(subject, about))
        held = self._held
        if held is None or key not in held.flags:
            known = ", ".join(sorted(held.flags)) if held else "none"
            raise NotFound(f"no flag {key!r}; known flags: {known}")
        return flag_of(key, held.route, chosen.epoch, chosen.release, chosen.arm)

    def count(self, what: str) -> None:
        """One more of `what`, for pages and metrics."""
        self.counts[what] += 1

    def status(self) -> dict[str, Any]:
        """For a page or a log: what is followed, and what was counted."""
        held = self._held
        return {
            "epoch": self.epoch,
            "leased": self.leased,
            "stable": held.stable.release if held else None,
            "candidates": [one.release for one in held.route.candidates] if held else [],
            "weight": held.route.weight if held else None,
            "following": self._follower.following,
            "error": self._follower.error,
            "counts": dict(self.counts),
        }


def _made_ready(published: Published, until: float) -> Held:
    route, epoch = published.route, published.epoch
    stable = Assignment(str(route.stable), epoch, "stable")
    made = [stable._replace(arm="outside"), stable]
    made += [Assignment(one.release, epoch, "candidate") for one in route.candidates]
    by_seen: dict[tuple[str, str | None], Assignment] = {
        (one.arm, one.release): one for one in made
    }
    pinned = {name: Assignment(name, epoch, "pinned") for name in published.known}
    allowed = {name: one for name, one in pinned.items() if name not in route.blocked}
    by_release = {**allowed, **{one.release: one for one in made}}
    flags = frozenset(keys_of(published.services))
    return Held(published, route, until, stable, by_seen, by_release, flags)
