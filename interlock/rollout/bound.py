"""What a candidate is compared with. Light: who only plans a rollout loads no numbers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Bound:
    """The candidate's mean is compared with `ratio * stable + absolute`.

    `above` says which side the evidence is for: True collects evidence that the
    candidate is above the bound (null: at or below it), False that it is below.
    """

    ratio: float
    absolute: float
    above: bool
