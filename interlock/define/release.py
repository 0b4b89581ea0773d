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
class Arm:
    """One candidate beside others: its release, and the change that brings it."""

    release: str
    change: str


@dataclass(frozen=True)
class Route:
    """The ONE mutable row of an environment; `epoch` is raised by every change to it.

    `weight` is the share of subjects (0 to 1) whose answers come from `candidate`, of those
    whom `filter` lets in; everybody else is answered by `stable` and judged by nobody.
    `mirror` asks gateways to score every request with the other releases too, without
    showing the result. `blocked` digests may never become a candidate again.

    In an experiment `arms` stand there in place of `candidate`: its places, each with the same
    part of `weight`; None is a place that is empty or given up. `change` is then the experiment,
    by the id of its first change, which may have gone back itself.
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
    arms: tuple[Arm | None, ...] = ()

    @property
    def candidates(self) -> tuple[Arm, ...]:
        """Everything that is on its way, in both forms; a lone one may not say its change."""
        if self.candidate is not None:
            return (Arm(self.candidate, self.change or ""),)
        return tuple(one for one in self.arms if one is not None)

    @property
    def releases(self) -> tuple[str, ...]:
        """Every release that may answer now, the stable one first."""
        stable = () if self.stable is None else (self.stable,)
        return (*stable, *(one.release for one in self.candidates))

    def share_of(self, change: str) -> float | None:
        """The share of subjects (0 to 1) that the candidate of `change` answers; None: it has none.

        Each place has its part of the weight, whether others are taken or not.
        """
        if change not in [one.change for one in self.candidates]:
            return None
        return self.weight / max(len(self.arms), 1)

    def to_json(self) -> dict[str, Any]:
        body = {**self.__dict__, "blocked": list(self.blocked)}
        # Said only where there are any: who does not know the word answers from stable.
        only = {column: list(values) for column, values in body.pop("filter")}
        arms = [one and dict(one.__dict__) for one in body.pop("arms")]
        return body | ({"filter": only} if only else {}) | ({"arms": arms} if arms else {})

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Route:
        """Raises `Corrupt` for a row that is not one: something unknown in it is never ignored."""
        try:
            blocked = body.get("blocked", ())
            if not isinstance(blocked, list | tuple):
                raise Corrupt(f"this is no Route: its blocked releases are {blocked!r}")
            only = tuple((name, _texts(said)) for name, said in body.get("filter", {}).items())
            arms = _arms(body.get("arms", ()))
            return cls(**{**body, "blocked": tuple(blocked), "filter": only, "arms": arms})
        except (TypeError, AttributeError) as error:
            raise Corrupt(f"this is no Route: {error}") from error

    def flaws(self) -> tuple[str, ...]:
        """What the machine would never have written: somebody edited the row by hand."""
        share = type(self.weight) in (int, float) and 0 <= self.weight <= 1
        told_of = (self.stable, self.candidate, self.change, *self.blocked)
        named = [one for one in told_of if one is not None]
        routed = [one.release for one in self.candidates]
        changes = [one.change for one in self.candidates]
        texts = (
            self.environment,
            self.salt,
            "" if self.stage is None else self.stage,
            *(t for _, s in self.filter for t in s),
        )
        told = {
            "it holds what is no text": all(map(is_text, (*texts, *changes, *named))),
            "its epoch is no number": type(self.epoch) is int and 0 <= self.epoch < 2**63,
            "its weight is not between 0 and 1": share,
            "a weight stands there without a candidate": bool(routed) or not self.weight,
            "a release or change is not named by text": all(type(o) is str and o for o in named),
            "its salt is not text": type(self.salt) is str,
            "mirror is neither true nor false": type(self.mirror) is bool,
            "its candidate is blocked": not any(one in self.blocked for one in routed),
            "a filter stands there without a candidate": bool(routed) or not self.filter,
            "its filter names a column without values": all(said for _, said in self.filter),
            "arms stand there beside a candidate": self.candidate is None or not self.arms,
            "arms stand there, and each of them is empty": bool(routed) or not self.arms,
            "two of its arms are one release or one change": _differ(routed) and _differ(changes),
        }
        return tuple(flaw for flaw, well in told.items() if not well)


def is_text(said: object) -> bool:
    """Whether `said` is text that can be written down; halves of characters cannot."""
    try:
        return type(said) is str and said.encode() is not None
    except UnicodeEncodeError:
        return False


def _differ(names: list[str]) -> bool:
    return all(names.count(one) == 1 for one in names)  # what stands there may not be text


def _arms(said: object) -> tuple[Arm | None, ...]:
    if not isinstance(said, list | tuple):
        raise Corrupt(f"this is no Route: its arms are {said!r}")
    arms = tuple(None if one is None else Arm(**one) for one in said)
    if odd := [one for one in arms if one and {type(one.release), type(one.change)} != {str}]:
        raise Corrupt(f"this is no Route: an arm of it is {odd[0]!r}")
    return arms


def _texts(said: object) -> tuple[str, ...]:
    if not isinstance(said, list | tuple) or not all(type(one) is str for one in said):
        raise Corrupt(f"this is no Route: its filter asks for {said!r}")
    return tuple(said)
