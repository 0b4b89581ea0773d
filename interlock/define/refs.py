"""The one address type: every noun has one text form, the same wherever a person sees it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, get_args

from interlock.errors import Unusable

Kind = Literal[
    "table", "column", "view", "feature", "model", "service", "change", "release",
    "route", "environment", "evidence", "signoff", "serving", "judgement", "policy",
    "dataset", "prediction", "trigger", "review", "clock", "calendar", "booking", "blocked", "note",
    "retirement", "look", "ledger", "decision", "delegation", "token", "refusal", "job",
    "request", "outbox", "refresh", "erasure", "scoring", "drill",
]  # fmt: skip
KINDS: frozenset[str] = frozenset(get_args(Kind))

_TEXT = re.compile(
    r"(?P<kind>[a-z]+):(?P<name>[^\s@]+?)(?:@(?P<version>\d+)(?::(?P<part>[^\s@:]+))?)?$"
)


@dataclass(frozen=True)
class Ref:
    """An address. `version` is a positive integer, `part` a value inside a versioned thing.

    >>> str(Ref("feature", "origin_weather", 2, "temp_f"))
    'feature:origin_weather@2:temp_f'
    """

    kind: Kind
    name: str
    version: int | None = None
    part: str | None = None

    @classmethod
    def parse(cls, text: str) -> Ref:
        """The inverse of `str`; raises `Unusable` naming what was expected."""
        found = _TEXT.match(text)
        if not found or found["kind"] not in KINDS:
            raise Unusable(
                f"{text!r} is not an address",
                help=f"write kind:name, kind:name@version; kinds: {', '.join(sorted(KINDS))}",
            )
        version = int(found["version"]) if found["version"] else None
        return cls(found["kind"], found["name"], version, found["part"])  # type: ignore[arg-type]  # checked against KINDS

    def __str__(self) -> str:
        version = f"@{self.version}" if self.version is not None else ""
        part = f":{self.part}" if self.part is not None else ""
        return f"{self.kind}:{self.name}{version}{part}"

    def __lt__(self, other: Ref) -> bool:
        # Written out because None and 3 do not compare, which `order=True` finds out late.
        return self._order() < other._order()

    def _order(self) -> tuple[str, str, int, str]:
        return (self.kind, self.name, self.version or 0, self.part or "")
