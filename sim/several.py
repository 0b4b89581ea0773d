"""Several candidates against one control, each judged by its part of alpha: what people get."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from interlock.rollout import eprocess
from interlock.rollout.eprocess import Moments
from interlock.rollout.evidence import evidence
from interlock.rollout.metrics import Guardrail
from interlock.rollout.state import split_of
from sim.cells import Ask, Promise
from sim.traffic import Rng, Shape, flat
from sim.whole import BUCKETS, UNITS, drawn, set_of

ALPHA, ARMS = 0.05, 3


@dataclass(frozen=True)
class Several:
    """One line of the table: whether any candidate, the first or one of the others goes back.

    `worse` is how many times as many errors the first has; `share` that of all of them together.
    With `only`, that guardrail alone has all of alpha, where noise has the most to win.
    """

    name: str
    share: float
    who: Literal["any", "first", "others"]
    worse: float = 1.0
    promise: Promise = "at most"
    bound: float = ALPHA
    clustered: float = 0.0
    only: str = ""
    group: str = "several"
    ask: Ask = "fail"

    def yes(self, rng: Rng, runs: int) -> int:
        """In how many of `runs` experiments it was."""
        every = set_of(self.share, arms=ARMS)
        guardrails = tuple(one for one in every if self.only in ("", one.name))
        control: dict[str, Moments] = {}
        back = [
            self._harm(rng, runs, guardrails, control, self.worse if arm == 0 else 1.0)
            for arm in range(ARMS)
        ]
        asked = {"any": back, "first": back[:1], "others": back[1:]}[self.who]
        return int(np.any(asked, axis=0).sum())

    def _harm(
        self,
        rng: Rng,
        runs: int,
        guardrails: tuple[Guardrail, ...],
        control: dict[str, Moments],
        worse: float,
    ) -> np.ndarray:
        """Whether one candidate is rolled back. All of them have the same stable answers."""
        paths = []
        for one in guardrails:
            found = drawn(rng, runs, self._shape, one, worse if one.name == "errors" else 1.0)
            if "stable" in found.arms:
                stable = control.setdefault(one.name, found.arms["stable"])
                found = replace(found, arms={**found.arms, "stable": stable})
            paths.append(evidence(one, found, ALPHA / ARMS, ALPHA))
        judged = [path for path in paths if path.guardrail.weight > 0]
        weights = [path.guardrail.weight for path in judged]
        combined = eprocess.average([path.fail for path in judged], weights)
        return np.asarray(combined.max(axis=-1) >= np.log(ARMS / ALPHA))

    @property
    def _shape(self) -> Shape:
        """The units of one candidate and of the control."""
        both = self.share / ARMS + 1 - self.share
        split = split_of(self.share, ARMS)
        return flat(round(UNITS * both), split, BUCKETS, self.clustered)


def several_cells() -> Iterator[Several]:
    """Nothing is worse; or the first has five times the errors, which costs it and nobody else."""
    for label, share in {"75 %": 0.75, "15 %": 0.15}.items():
        for noise, correlation in (("independent", 0.0), ("clustered", 0.02)):
            yield Several(f"{label} {noise}, nothing is worse: any", share, "any",
                          clustered=correlation)  # fmt: skip
    for only in ("errors", "log_loss", "log_loss_paired"):
        yield Several(f"75 % clustered, {only} alone: any", 0.75, "any", clustered=0.02, only=only)
    name = "75 %, the first has five times the errors"
    yield Several(f"{name}: it", 0.75, "first", 5.0, "at least", 0.99)
    yield Several(f"{name}: another", 0.75, "others", 5.0)
