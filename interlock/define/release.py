"""A Release is what runs together; a Route says who gets which release."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from interlock.define.digest import digest


@dataclass(frozen=True)
class Release:
    """Immutable map `component -> version digest`, addressed by its own digest.

    Keys are texts of Refs (`table:wh.flights`, `view:origin_weather@1`, `model:late`, ...).
    """

    components: Mapping[str, str]

    @property
    def digest(self) -> str:
        return digest(dict(self.components))


@dataclass(frozen=True)
class Route:
    """The ONE mutable row of an environment; `epoch` is raised by every change to it.

    `weight` is the share of subjects (0 to 1) whose answers come from `candidate`.
    `mirror` asks gateways to score every request with the other release too, without
    showing the result. `blocked` digests may never become a candidate again.
    """

    environment: str
    epoch: int = 0
    stable: str | None = None
    candidate: str | None = None
    weight: float = 0.0
    mirror: bool = False
    salt: str = ""
    change: str | None = None
    stage: str | None = None
    blocked: tuple[str, ...] = field(default=())

    def to_json(self) -> dict[str, Any]:
        return {**self.__dict__, "blocked": list(self.blocked)}

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Route:
        return cls(**{**body, "blocked": tuple(body.get("blocked", ()))})
