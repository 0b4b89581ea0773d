"""What the page of a service shows: data, models and answers over one time axis."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from interlock.web.figures import Chart, Mark


@dataclass(frozen=True)
class ServicePage:
    """Four weeks of one service. `counted` is when; None before anybody counted.

    `missing` says in sentences which days its tables lack, `marks` what changes did meanwhile,
    `further` which tables are not drawn.
    """

    name: str
    owner: str
    tier: int
    promise: str
    counted: datetime | None
    budget: str = ""
    missing: tuple[str, ...] = ()
    marks: tuple[Mark, ...] = ()
    answers: tuple[Chart, ...] = ()
    models: tuple[Chart, ...] = ()
    data: tuple[Chart, ...] = ()
    further: tuple[str, ...] = ()
