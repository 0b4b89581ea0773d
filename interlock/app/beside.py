"""Changes that run beside each other in one experiment: who is in it, who may join, when it begins.

The first change gives the experiment its name. Who joins says so in the plan, and so it is signed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from interlock.app.booking import begins_at, earliest
from interlock.app.changes import all_changes, held
from interlock.app.versions import leads_to
from interlock.change.change import Change
from interlock.define.durations import format_duration
from interlock.define.environment import Environment
from interlock.errors import Refused, Unusable

if TYPE_CHECKING:
    from interlock.app.workspace import Workspace
    from interlock.plan.plan import Plan

# What every arm of an experiment is shown by and judged with: with two of them it is two.
_SHARED = (
    "stages", "strategy", "arms", "subject", "alpha", "beta", "rollback_window",
)  # fmt: skip


@dataclass(frozen=True)
class Placed:
    """Where a plan stands among other changes; empty: nowhere in particular.

    `after` is the change it builds on, `beside` the first of the experiment it runs in,
    `instead_of` the change that is planned again: its own time and place are free for it.
    """

    after: str = ""
    beside: str = ""
    instead_of: str = ""

    def __post_init__(self) -> None:
        if self.after and self.beside:
            raise Unusable(
                f"a change cannot wait for {self.after} and run beside {self.beside}",
                help="give --after or --beside",
            )


NOWHERE = Placed()


def waiting_of(workspace: Workspace, experiment: str) -> list[Change]:
    """The changes of an experiment that have not begun and may, oldest first."""
    return [one for one in _open(workspace, experiment) if not one.under_way]


def running_of(workspace: Workspace, experiment: str) -> list[Change]:
    """The changes of an experiment that are on their way to people, oldest first."""
    return [one for one in _open(workspace, experiment) if one.under_way]


def _open(workspace: Workspace, experiment: str) -> list[Change]:
    mine = (c for c in reversed(all_changes(workspace)) if c.experiment == experiment)
    here = (c for c in mine if c.environment == workspace.environment)
    return [c for c in here if c.open and c.state not in ("ABORTING", "REVERTING")]


def company(workspace: Workspace, change: Change) -> list[Change]:
    """Everybody who was ever in the experiment of `change`, however they ended; oldest first."""
    every = (c for c in reversed(all_changes(workspace)) if c.environment == change.environment)
    return [c for c in every if c.experiment == change.experiment and c.id != change.id]


def siblings(workspace: Workspace, change: Change) -> list[Change]:
    """Who else is open in the experiment of `change`."""
    return [one for one in _open(workspace, change.experiment) if one.id != change.id]


def begins_with(workspace: Workspace, experiment: str) -> Iterator[datetime]:
    """When each change of an experiment is to begin: they begin together, so at the latest."""
    for change in waiting_of(workspace, experiment):
        planned = earliest(change)
        if begins := begins_at(workspace, change.id) or planned:
            yield begins


# --- joining -------------------------------------------------------------------------


def in_place(
    workspace: Workspace, made: Plan, environment: Environment, placed: Placed = NOWHERE
) -> Plan:
    """`made` with the place that it takes, and everything that stands against that."""
    if made.empty:
        return made
    if placed.beside:
        said = [*_unfit(made, environment), *_against(workspace, made, environment, placed)]
        made = replace(made, beside=placed.beside, objections=(*made.objections, *said))
    if environment.arms == 1 or made.only_rules or made.made_against is None:
        return made
    return replace(made, notes=(*made.notes, *_places(environment)))


def _places(environment: Environment) -> Iterator[str]:
    shown = [stage for stage in environment.walked if 0 < stage.weight < 1]
    for stage in shown:
        each = f"{stage.weight / environment.arms:.0%}"
        yield (
            f"one of {environment.arms} arms: shown to {each} in {stage.name}, beside "
            f"{1 - stage.weight:.0%} of stable, at least {format_duration(stage.hold)}; judged "
            f"with alpha {environment.alpha / environment.arms:.2g}"
        )


def _unfit(made: Plan, environment: Environment) -> Iterator[str]:
    """Why this plan is nobody's candidate."""
    if made.only_rules:
        yield "only rules change, so there is nothing to compare: propose it alone"
    if made.made_against is None:
        yield "nothing runs yet that candidates could be compared with: propose it alone"
    if environment.arms == 1:
        yield (
            f"{made.environment} has one place for a candidate: declare `strategy: ab` and "
            "`arms` in interlock.yaml, and release that first"
        )


def _against(
    workspace: Workspace, made: Plan, environment: Environment, placed: Placed
) -> Iterator[str]:
    """Why it may not join this experiment."""
    first = held(workspace.record, placed.beside).change
    if first.environment != workspace.environment:
        yield f"{first.id} is a change of {first.environment}, not of {workspace.environment}"
        return
    if first.experiment != first.id:
        yield f"{first.id} runs beside {first.experiment}: give --beside {first.experiment}"
        return
    if not placed.instead_of:
        # Planned again, it keeps its place: the others may be planned again after it.
        yield from _begun(first)
        if first.plan and made.made_against != first.made_against:
            yield f"{first.id} is planned against another release than the one that runs: replan it"
    yield from _alike(workspace, first, environment)
    others = [c for c in waiting_of(workspace, first.id) if c.id != placed.instead_of]
    yield from _crowded(others, made, environment)


def _begun(first: Change) -> Iterator[str]:
    if first.under_way:
        yield f"{first.id} is under way already: all candidates of an experiment begin together"
    elif not first.open or first.state in ("ABORTING", "REVERTING"):
        yield f"{first.id} is {first.state}: there is nothing to run beside"
    elif first.state == "DEFERRED":
        yield f"{first.id} waits for another change itself: wait until it is planned"
    elif first.plan is None:
        yield f"{first.id} has no plan yet: wait until it is proposed"


def _alike(workspace: Workspace, first: Change, environment: Environment) -> Iterator[str]:
    try:
        project = leads_to(workspace, first).project
    except Refused:
        return  # that it has no plan yet is said
    theirs = project.environments[workspace.environment]
    differ = [name for name in _SHARED if getattr(theirs, name) != getattr(environment, name)]
    if differ:
        yield (
            f"{workspace.environment} is declared otherwise than for {first.id} "
            f"({', '.join(differ)}): candidates walk the same stages"
        )


def _crowded(others: Sequence[Change], made: Plan, environment: Environment) -> Iterator[str]:
    for other in others:
        if (other.plan or {}).get("definitions") == made.definitions:
            yield f"the files are those of {other.id}: a candidate differs from every other"
    taken = [one.id for one in others if not _rejected(one)]
    if len(taken) >= environment.arms > 1:
        yield (
            f"all {environment.arms} places are taken ({', '.join(taken)}): withdraw one of them, "
            "or declare more `arms`"
        )


def _rejected(change: Change) -> bool:
    """Somebody turned it down as it is: it may be planned otherwise, and holds no place."""
    mine = (one for one in change.signoffs if one.plan_digest == change.plan_digest)
    return any(one.decision == "reject" for one in mine)


def twin(workspace: Workspace, change: Change, beside: str, release: str) -> str:
    """The change of the experiment that leads to the very same release; empty: none does."""
    others = waiting_of(workspace, beside)
    return next((c.id for c in others if c.id != change.id and c.release == release), "")


# --- beginning -----------------------------------------------------------------------


def not_together(workspace: Workspace, change: Change, places: int) -> tuple[str, ...]:
    """Why the experiment of `change` may not begin yet, beside what each of its changes lacks."""
    mine = waiting_of(workspace, change.experiment)
    said = [
        f"{one.id} runs beside it and is {one.state}: prove and approve it, or withdraw it"
        for one in mine
        if one.id != change.id and one.state not in ("REVIEW", "APPROVED", "SCHEDULED")
    ]
    if len(mine) > max(places, 1):
        names = ", ".join(one.id for one in mine)
        said.append(f"{names} are more than the {places} places there are: withdraw one of them")
    return tuple(said)
