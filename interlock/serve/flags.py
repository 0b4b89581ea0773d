"""The release of a subject as flags, for services that only need to know which version acts.

`<service>.release` is the release digest, `<service>.candidate` whether it is not the stable
one. The targeting key is the subject, exactly as scoring would join it. One function for the
gateway's OFREP door and for evaluation inside a service.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from interlock.define.release import Route

NAMES = ("candidate", "release")


class Flag(NamedTuple):
    """One evaluated flag, with the reason and variant that OpenFeature asks for."""

    key: str
    value: str | bool
    reason: str
    variant: str
    release: str
    epoch: int

    def to_json(self) -> dict[str, Any]:
        """As OFREP 0.3 writes a success."""
        return {
            "key": self.key,
            "value": self.value,
            "reason": self.reason,
            "variant": self.variant,
            "metadata": {"epoch": self.epoch, "release": self.release},
        }


def keys_of(services: Iterable[str]) -> list[str]:
    """Every flag there is, sorted."""
    return sorted(f"{service}.{name}" for service in services for name in NAMES)


def splits(route: Route) -> bool:
    """Whether two subjects may be told different things right now."""
    everybody = route.weight >= 1 and not route.filter
    alone = everybody and len(route.arms) <= 1
    return bool(route.candidates) and route.weight > 0 and not alone


def flag_of(key: str, route: Route, epoch: int, release: str, arm: str) -> Flag:
    """The flag `key` of `keys_of`, for a subject that `arm` and `release` were chosen for."""
    value = release if key.endswith(".release") else arm == "candidate"
    return Flag(key, value, "SPLIT" if splits(route) else "STATIC", arm, release, epoch)
