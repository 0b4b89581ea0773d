"""Where releases run and who signs: owners, environments, the stages of a rollout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from itertools import pairwise
from typing import Literal

from pydantic import Field, field_validator

from interlock.define.addresses import (
    LogAddress,
    RecordAddress,
    Secret,
    StoreAddress,
    WarehouseAddress,
)
from interlock.define.base import Definition, Name
from interlock.define.durations import Duration
from interlock.define.keys import key_part
from interlock.define.notifications import Hook, WebAddress
from interlock.define.release import Filter
from interlock.define.schedules import Schedule

Role = Literal[
    "change_sponsor", "data_steward", "model_validator", "service_owner", "emergency_approver"
]


class Owner(Definition):
    """A team: who may sign for what it owns, in which role."""

    name: str
    people: Mapping[str, tuple[Role, ...]]


class Stage(Definition):
    """One step of a rollout: `shadow` (weight 0, mirrored) or a weight; at least `hold` long.

    What is open at its `deadline` is the owner's to decide. `margins`: to leave it, so many
    times the margin of each guardrail suffices; a small share can only rule out large harm.
    `only` are spine columns, each with the values one of which a row must have: the rest is
    answered by the stable release, and neither mirrored nor compared.
    """

    name: Name
    weight: float = Field(ge=0, le=1)
    hold: Duration
    deadline: Duration | None = None
    margins: float = Field(default=1.0, ge=1)
    only: Mapping[Name, tuple[str | int | bool, ...]] = Field(default_factory=dict)

    @property
    def filter(self) -> Filter:
        """`only` as it stands in the Route."""
        return tuple((c, tuple(map(str, map(key_part, self.only[c])))) for c in sorted(self.only))


def narrowings(stages: Sequence[Stage]) -> tuple[str, ...]:
    """Stages that would send subjects back, and a last one before which somebody saw nothing."""
    shown = [stage for stage in stages if stage.weight > 0]
    last = shown[-1] if shown and shown[-1].weight == 1 else None
    found = [
        f"{after.name} sends subjects of {before.name} back: its `only` lets in fewer of them"
        for before, after in pairwise(shown)
        if after is not last and not _wider(before, after)
    ]
    if last is not None and last.only:
        found.append(
            f"after {last.name} everybody is answered by the candidate, and its `only` leaves "
            "somebody out until then"
        )
    return tuple(found)


def _wider(before: Stage, after: Stage) -> bool:
    held = dict(before.filter)
    return all(set(held.get(name, ())) <= set(said) and name in held for name, said in after.filter)


Strategy = Literal["canary", "shadow", "ab", "blue_green"]


class MixedDecision(Definition):
    """A written exception: a service whose decision unit is coarser than the rollout's subject.

    It counts through the day `until` (UTC), and for good without one.
    """

    service: Name
    reason: str = Field(min_length=10)
    by: str
    until: date | None = None


class OneByOne(Definition):
    """A written acceptance: names in the warehouse move one after the other, so that who reads
    two of them while a release is committed or taken back may meet two releases.
    """

    reason: str = Field(min_length=10)
    by: str


class Budget(Definition):
    """What one change may take; None is no limit.

    `builds` are tables and views that are built, `hours` the least time of the rollout.
    """

    trainings: int | None = Field(default=None, ge=0)
    builds: int | None = Field(default=None, ge=0)
    hours: float | None = Field(default=None, ge=0)


class Series(Definition):
    """A number that only a monitoring system has: a line over time for each release.

    `query` is PromQL that gives one series; `$release` in it stands for a digest. `margin` is
    how much worse the candidate may be, relatively. What it says can hold a ramp: it takes
    nothing back and promotes nothing.
    """

    name: Name
    url: WebAddress
    query: str
    worse: Literal["higher", "lower"] = "higher"
    margin: float = Field(default=0.1, ge=0)
    step: Duration = timedelta(minutes=1)

    @field_validator("query")
    @classmethod
    def _by_release(cls, query: str) -> str:
        if "$release" not in query and "${release}" not in query:
            raise ValueError("`$release` must stand in it, or both arms are the same line")
        return query


class ReviewRule(Definition):
    """Which changes are looked back at though nothing went wrong.

    Those that reach a service of this `tier` or one that matters more (1 matters most), and
    those that reach more than `services` services.
    """

    tier: int = 1
    services: int | None = Field(default=None, ge=0)


class Environment(Definition):
    """Where releases run. `clock: replay` takes the time from recorded traffic instead of the wall.

    `subject` are the spine columns whose values decide the cohort. A service whose
    decision unit is coarser is refused unless it is named in `mixed_decisions`.
    `warehouse` is where tables live, and `pointers_one_by_one` is needed where it cannot move
    all names at one instant; services follow the Route and never notice. `online` are the
    online stores, the first preferred.
    `record` is where changes, the Route and the audit are kept, `log` where old parts of the
    prediction log go; without it they stay in the state folder. `signing_key` signs checkpoints
    and bundles; without it a key is made in the state folder.
    `refresh` is when the files of tables that say nothing of it are looked at again.
    `strategy` says which of the `stages` are walked; `hooks` are asked before one begins,
    `series` are looked at while a stage divides. `arms` are the places for candidates that an A/B
    has: a stage's weight is the share of all of them together, and each place is as large as if
    every one was taken.
    Signatures count for `signoffs_last`. An emergency change needs one more, of somebody of
    another team than its author's who holds `emergency_role`.
    """

    clock: Literal["wall", "replay"] = "wall"
    warehouse: WarehouseAddress = "duckdb://"
    pointers_one_by_one: OneByOne | None = None
    online: tuple[StoreAddress, ...] = ("lmdb://",)
    record: RecordAddress = "sqlite://"
    log: LogAddress | None = None
    signing_key: Secret | None = None
    refresh: Schedule | None = None
    subject: tuple[Name, ...]
    mixed_decisions: tuple[MixedDecision, ...] = ()
    stages: tuple[Stage, ...]
    strategy: Strategy = "canary"
    arms: int = Field(default=1, ge=1)
    hooks: tuple[Hook, ...] = ()
    series: tuple[Series, ...] = ()
    alpha: float = Field(default=0.05, gt=0, lt=0.5)
    beta: float = Field(default=0.05, gt=0, lt=0.5)
    rollback_window: Duration = timedelta(days=7)
    signoffs_last: Duration = timedelta(days=90)
    emergency_role: Role = "emergency_approver"
    budget: Budget = Budget()
    review: ReviewRule = ReviewRule()

    @property
    def walked(self) -> tuple[Stage, ...]:
        """The stages that a rollout goes through by the strategy.

        `canary` all of them; `shadow` those that mirror, then everybody; `blue_green` everybody
        at once; `ab` those that mirror, the largest share in between, then everybody.
        """
        between = [stage for stage in self.stages if 0 < stage.weight < 1]
        kept = {
            "canary": between,
            "shadow": [],
            "ab": between[-1:],
            "blue_green": [],
        }[self.strategy]
        mirrored = self.strategy != "blue_green"
        return tuple(
            stage
            for stage in self.stages
            if stage in kept or stage.weight == 1 or (stage.weight == 0 and mirrored)
        )
