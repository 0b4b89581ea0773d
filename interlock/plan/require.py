"""Who must sign, what must be shown, and what must not be: all that follows from the impact."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from interlock.define.definitions import Service
from interlock.define.durations import format_duration
from interlock.define.environment import Environment, MixedDecision
from interlock.define.project import Project
from interlock.define.refs import Ref
from interlock.impact.difference import Difference
from interlock.impact.facts import Facts
from interlock.impact.graph import Reached
from interlock.plan.plan import Required
from interlock.plan.steps import BuildTable, BuildView, RescoreModel, Step, TrainModel

_SIGNS = {"table": "data_steward", "view": "data_steward", "model": "model_validator",
          "service": "service_owner"}  # fmt: skip


@dataclass(frozen=True)
class Impact:
    """What a plan changes and reaches."""

    differences: Sequence[Difference]
    reached: Sequence[Reached]
    steps: Sequence[Step]
    rules: Sequence[str] = ()


# --- sign-offs -----------------------------------------------------------------------


def requirements(
    projects: Sequence[Project], impact: Impact
) -> tuple[tuple[Required, ...], tuple[str, ...]]:
    """Sign-offs, and objections where nobody can give one.

    `projects`: the one whose owners count first; what it does not declare has its owner in
    the next.
    """
    if not impact.differences and not impact.rules:
        return (), ()
    wanted: dict[tuple[str, str], str] = {}
    objections = []
    for ref, why in _touched(impact):
        role = _SIGNS[ref.kind]
        team = next((owner for p in projects if (owner := p.owner_of(ref))), "")
        asked = _team_for(projects[0], role, team)
        if asked is None:
            objections.append(f"nobody holds {role}, who must sign for {ref}: name one in owners")
        else:
            other = f"; {team} has no {role}" if asked != team else ""
            wanted.setdefault((role, asked), f"{ref} {why}{other}")
    sponsor = _team_for(projects[0], "change_sponsor", "")
    if sponsor is None:
        objections.append("nobody holds change_sponsor: name one in owners")
    else:
        wanted.setdefault(("change_sponsor", sponsor), "answers for the change")
    found = [
        Required(role, team, _people(projects[0], role, team), why)
        for (role, team), why in sorted(wanted.items())
    ]
    return tuple(found), tuple(dict.fromkeys(objections))


def _touched(impact: Impact) -> Iterator[tuple[Ref, str]]:
    """What somebody answers for: first what was edited, then what changes because of it."""
    for difference in impact.differences:
        yield difference.ref, f"is {difference.change}"
    edited = {difference.ref for difference in impact.differences}
    for step in impact.steps:
        if isinstance(step, BuildTable | BuildView) and step.ref not in edited:
            yield step.ref, "is built again with other rows or values"
    for reached in impact.reached:
        if reached.ref.kind in ("model", "service"):
            yield reached.ref, reached.verdict


def _team_for(project: Project, role: str, team: str) -> str | None:
    """`team` if someone there holds `role`; else the first team where someone does."""
    able = [o.name for o in project.owners if any(role in r for r in o.people.values())]
    return team if team in able else next(iter(able), None)


def emergency_signer(
    project: Project, role: str, author: str
) -> tuple[tuple[Required, ...], tuple[str, ...]]:
    """Who looks at what cannot wait: somebody of a team that its author is not in."""
    for owner in project.owners:
        if author not in owner.people and (people := _people(project, role, owner.name)):
            why = "it is an emergency: one more looks, who signs for nothing else"
            return (Required(role, owner.name, people, why),), ()
    return (), (f"nobody of another team than {author}'s holds {role}: an emergency needs one",)


def _people(project: Project, role: str, team: str) -> tuple[str, ...]:
    owners = (owner for owner in project.owners if owner.name == team)
    return tuple(sorted({p for o in owners for p, roles in o.people.items() if role in roles}))


# --- evidence ------------------------------------------------------------------------


def evidence(impact: Impact, old: Facts | None, new: Facts) -> tuple[str, ...]:
    """The checks that must pass. What did not exist before has nothing to be compared with."""
    before = old.nodes if old else {}
    found: list[str] = []
    for step in impact.steps:
        match step:
            case BuildTable(ref, _):
                found.append(f"contract:{_name(ref)}")
            case BuildView(ref, _):
                found += [f"values:{_name(ref)}"] if str(ref) in before else []
                found += [f"replay:{_name(ref)}", f"missingness:{_name(ref)}"]
            case TrainModel(ref, _) | RescoreModel(ref):
                found += [f"model_comparison:{_name(ref)}"] if str(ref) in before else []
                found.append(f"null_rehearsal:{_name(ref)}")
    for reached in impact.reached:
        name = str(reached.ref)
        moved = reached.verdict in ("breaks", "moves")
        if reached.ref.kind == "service" and moved and name in before and name in new.nodes:
            found.append(f"kpi:{reached.ref.name}")
    return tuple(dict.fromkeys(found))


def _name(ref: Ref) -> str:
    return str(ref).partition(":")[2]


# --- decision units ------------------------------------------------------------------


def decisions(
    project: Project, environment: Environment, touched: Iterable[Ref], today: date
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Objections and notes about services that would mix two releases in one decision."""
    notes = []
    written = {mixed.service: mixed for mixed in environment.mixed_decisions}
    allowed = {name: one for name, one in written.items() if not _lapsed(one, today)}
    touched = tuple(touched)
    objections = [*_divided(project, environment, touched, allowed)]
    subject = ", ".join(environment.subject)
    split = [stage.hold for stage in environment.walked if 0 < stage.weight < 1]
    ramp = sum(split, timedelta())
    # Where everybody changes in the same moment no decision has two releases in it.
    asked = touched if split else ()
    coarse = [service for ref in asked if (service := _coarser(project, environment, ref))]
    for service in coarse:
        unit = ", ".join(service.decision_unit)
        said = f"service:{service.service} decides per ({unit}), coarser than subject ({subject})"
        mixed = allowed.get(service.service)
        if mixed is None:
            old = written.get(service.service)
            objections.append(
                f"{said}: one decision would mix two releases; {_way_out(coarse)}, or "
                + (
                    "write down why under mixed_decisions"
                    if old is None
                    else f"renew what {old.by} allowed until {old.until} under mixed_decisions"
                )
            )
        else:
            cost = f"mixed for at least {format_duration(ramp)} of ramp"
            ends = f" until {mixed.until}" if mixed.until else ""
            notes.append(f"{said}: {cost}, allowed by {mixed.by}{ends}: {mixed.reason.strip()}")
    return tuple(objections), tuple(notes)


def _lapsed(mixed: MixedDecision, today: date) -> bool:
    return mixed.until is not None and today > mixed.until


def _way_out(coarse: Sequence[Service]) -> str:
    """What would mix no decision of any of them."""
    if common := ", ".join(_common(coarse)):
        return f"make the subject ({common})"
    names = " and ".join(service.service for service in coarse)
    return (
        f"no column is common to what {names} decide on, so nothing divides them all: walk "
        "`shadow` or `blue_green`"
    )


def _divided(
    project: Project, environment: Environment, touched: Iterable[Ref], allowed: Container[str]
) -> Iterator[str]:
    """Services one of whose decisions would have rows inside and outside of a stage's `only`."""
    asked = {column for stage in environment.walked for column in stage.only}
    for ref in touched:
        service = project.services.get(ref.name) if ref.kind == "service" else None
        if service is None or service.service in allowed:
            continue
        keys = {project.models[name].key for name in service.models if name in project.models}
        unit = set(service.decision_unit)
        # A row that is one decision has one value everywhere.
        if asked - unit and not (keys and keys <= unit):
            yield (
                f"{ref} decides per ({', '.join(service.decision_unit)}), and `only` asks for "
                f"{', '.join(sorted(asked - unit))}: one decision would mix two releases; ask for "
                "columns of the unit, or write down why under mixed_decisions"
            )


def common_unit(project: Project, environment: Environment) -> tuple[str, ...]:
    """The finest subject by which no decision of any service mixes releases.

    The environment's own when no service decides on more at once; empty when the coarse
    decisions have no column in common.
    """
    every = (Ref("service", name) for name in sorted(project.services))
    coarse = [service for ref in every if (service := _coarser(project, environment, ref))]
    return tuple(_common(coarse)) if coarse else tuple(environment.subject)


def _coarser(project: Project, environment: Environment, ref: Ref) -> Service | None:
    """The service, if rows of one of its decisions can have different subjects."""
    service = project.services.get(ref.name) if ref.kind == "service" else None
    if service is None:
        return None
    unit = set(service.decision_unit)
    keys = {project.models[name].key for name in service.models if name in project.models}
    # One row is one decision when its key is part of the unit: nothing is finer than that.
    fine = set(environment.subject) <= unit or bool(keys and keys <= unit)
    return None if fine else service


def _common(services: Sequence[Service]) -> list[str]:
    """The columns that every one of their decisions has in common."""
    first, *others = services
    return [c for c in first.decision_unit if all(c in s.decision_unit for s in others)]
