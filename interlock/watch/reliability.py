"""What is left of a service's error budget: what it promises, and what callers really got.

A promise of 99.9 % leaves one answer of a thousand that may fail or come late. What was lost of
that in the last four weeks is spent; the rest is what a change may put at risk.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

PERIOD = timedelta(days=28)
"""The error budget is over answers of this long: whole weeks, so that each has its weekend."""


@dataclass(frozen=True)
class Spent:
    """Of `answers` in the period, `bad` failed or were slower than `service` promises.

    `promised` is the share that must be good, 0 to 1.
    """

    service: str
    promised: float
    answers: int
    bad: int

    @property
    def allowed(self) -> float:
        """How many answers may be bad."""
        return self.answers * (1 - self.promised)

    @property
    def left(self) -> float | None:
        """What is left of the budget, 0 to 1; None where nobody asked, so nobody knows."""
        if not self.answers:
            return None
        if self.bad == 0:
            return 1.0
        # The margin is for the last bit of 1 - 0.999, not for an answer.
        return max(0.0, 1 - self.bad / self.allowed) if self.allowed > 1e-9 else 0.0

    @property
    def sentence(self) -> str:
        """As people read it."""
        said = f"{self.service}: promises {self.promised * 100:.6g} %"
        if self.left is None:
            return f"{said}; nobody asked, so what is left of its error budget is unknown"
        got = f"{self.bad} of {self.answers} answers failed or were late"
        return f"{said}; {got}: {self.left:.0%} of its error budget is left"

    def to_json(self) -> dict[str, Any]:
        return {**self.__dict__, "left": self.left}

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Spent:
        return cls(body["service"], body["promised"], body["answers"], body["bad"])


@dataclass(frozen=True)
class Reliability:
    """The budgets of one environment as they were measured at `at`, over `PERIOD` before."""

    at: datetime
    services: tuple[Spent, ...]

    @property
    def left(self) -> dict[str, float]:
        """By `service:NAME`, what is left; a service of which nobody knows is not in it."""
        known = ((f"service:{one.service}", one.left) for one in self.services)
        return {name: left for name, left in known if left is not None}

    def to_json(self) -> dict[str, Any]:
        return {"at": self.at.isoformat(), "services": [one.to_json() for one in self.services]}

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Reliability:
        at = datetime.fromisoformat(body["at"])
        return cls(at, tuple(Spent.from_json(one) for one in body["services"]))
