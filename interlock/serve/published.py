"""What a gateway tells services about the Route: only releases that it can answer from itself."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass, replace
from typing import Any

from interlock.define.release import Route, is_text
from interlock.errors import Corrupt


@dataclass(frozen=True)
class Published:
    """The Route of one epoch. `known` are the digests that a header may name and is obeyed.

    `services` are those of the stable release: they have flags.
    """

    route: Route
    known: tuple[str, ...] = ()
    services: tuple[str, ...] = ()

    @property
    def epoch(self) -> int:
        return self.route.epoch

    def to_json(self) -> dict[str, Any]:
        return {
            "route": self.route.to_json(),
            "known": list(self.known),
            "services": list(self.services),
        }

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Published:
        """Raises `Corrupt` for what no gateway says: nothing is guessed."""
        try:
            route, known, services = body["route"], body["known"], body["services"]
        except (KeyError, TypeError) as error:
            raise Corrupt(f"what a gateway said of the Route lacks {error}") from error
        texts = [*known, *services] if type(known) is type(services) is list else [None]
        if not all(type(one) is str for one in texts):
            raise Corrupt("what a gateway said of the Route is not in its form")
        return cls(sound(Route.from_json(route)), tuple(known), tuple(services))


def sound(route: Route) -> Route:
    """`route` itself. Raises `Corrupt` naming everything that is wrong with it."""
    flaws = route.flaws()
    if flaws or route.stable is None:
        said = "; ".join(flaws or ("it names no stable release",))
        raise Corrupt(f"the Route of {route.environment} is not sound: {said}")
    return route


def only_stable(route: Route) -> Route:
    """`route` without candidates: what may be answered while the rest cannot be trusted."""
    return replace(route, candidate=None, weight=0.0, mirror=False, filter=(), arms=())


def what_counts(route: Route, environment: str) -> Route:
    """What may be taken from a row edited by hand: its stable release, and what is blocked."""
    blocked = tuple(one for one in route.blocked if is_text(one))
    return Route(
        environment, stable=route.stable if is_text(route.stable) else None, blocked=blocked
    )


def within(route: Route, loaded: Container[str]) -> Route:
    """`route` with those candidates alone that are `loaded`; the place of another is empty.

    It stays a Route of its stage: whom its filter does not let in is still told apart.
    """
    arms = tuple(one if one and one.release in loaded else None for one in route.arms)
    candidate = route.candidate if route.candidate in loaded else None
    same = (candidate, arms) == (route.candidate, route.arms)
    return route if same else replace(route, candidate=candidate, arms=arms)
