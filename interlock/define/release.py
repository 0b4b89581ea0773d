"""A Release is what runs together; a Route says who gets which release."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from interlock.define.digest import digest
from interlock.errors import Corrupt


@dataclass(frozen=True)
class Release:
    """Immutable map `component -> version digest`, addressed by its own digest.

    Keys are texts of Refs (`table:wh.flights`, `view:origin_weather@1`, `model:late`, ...).
    """

    components: Mapping[str, str]

    @property
    def digest(self) -> str:
        return digest(dict(self.components))


Filter = tuple[tuple[str, tuple[str, ...]], ...]
"""Columns, each with the values one of which a row must have there, as key text."""


def slice_of(name: str) -> Filter:
    """The filter of a slice named `column=value`; everybody has no name."""
    column, _, value = name.partition("=")
    return ((column, (value,)),) if name else ()


def said_of(filter: Filter) -> str:
    """`only carrier UA, origin EWR or JFK`; empty for everybody."""
    named = ", ".join(f"{column} {' or '.join(values)}" for column, values in filter)
    return f"only {named}" if named else ""


@dataclass(frozen=True)
class Route:
    """The ONE mutable row of an environment; `epoch` is raised by every change to it.

    `weight` is the share of subjects (0 to 1) whose answers come from `candidate`, of those
    whom `filter` lets in; everybody else is answered by `stable` and judged by nobody.
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
    filter: Filter = ()

    def to_json(self) -> dict[str, Any]:
        body = {**self.__dict__, "blocked": list(self.blocked)}
        del body["filter"]
        # Said only where there is one: who does not know the word answers from stable.
        only = {column: list(values) for column, values in self.filter}
        return {**body, "filter": only} if only else body

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Route:
        """Raises `Corrupt` for a row that is not one: something unknown in it is never ignored."""
        try:
            blocked = body.get("blocked", ())
            if not isinstance(blocked, list | tuple):
                raise Corrupt(f"this is no Route: its blocked releases are {blocked!r}")
            only = tuple((name, _texts(said)) for name, said in body.get("filter", {}).items())
            return cls(**{**body, "blocked": tuple(blocked), "filter": only})
        except (TypeError, AttributeError) as error:
            raise Corrupt(f"this is no Route: {error}") from error

    def flaws(self) -> tuple[str, ...]:
        """What the machine would never have written: somebody edited the row by hand."""
        share = type(self.weight) in (int, float) and 0 <= self.weight <= 1
        told_of = (self.stable, self.candidate, self.change, *self.blocked)
        named = [one for one in told_of if one is not None]
        told = {
            "its weight is not between 0 and 1": share,
            "a weight stands there without a candidate": bool(self.candidate) or not self.weight,
            "a release or change is not named by text": all(type(o) is str and o for o in named),
            "its salt is not text": type(self.salt) is str,
            "mirror is neither true nor false": type(self.mirror) is bool,
            "its candidate is blocked": self.candidate not in self.blocked,
            "a filter stands there without a candidate": bool(self.candidate) or not self.filter,
            "its filter names a column without values": all(said for _, said in self.filter),
        }
        return tuple(flaw for flaw, well in told.items() if not well)


def _texts(said: object) -> tuple[str, ...]:
    if not isinstance(said, list | tuple) or not all(type(one) is str for one in said):
        raise Corrupt(f"this is no Route: its filter asks for {said!r}")
    return tuple(said)
