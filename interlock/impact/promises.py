"""What a change of a contract does to those who rely on it, beside what its SQL says."""

from __future__ import annotations

from interlock.define.base import Declared
from interlock.define.definitions import Column, FeatureView, Service, Table
from interlock.define.digest import digest
from interlock.define.messages import breaks
from interlock.define.project import Project
from interlock.define.schedules import refreshes
from interlock.define.widening import exact, type_change
from interlock.impact.query import Verdict


def column_verdict(was: Declared | None, now: Declared | None, name: str) -> Verdict | None:
    """The verdict on a column that stands in both contracts; None when nobody loses anything.

    Wider types and weaker promises move readers, whose values have to be proven again;
    narrower types break them. A promise that became stronger takes nothing away.
    """
    if isinstance(was, FeatureView) and isinstance(now, FeatureView):
        before, after = was.features[name].type, now.features[name].type
        return _types(Column(type=before), Column(type=after))
    if isinstance(was, Table) and isinstance(now, Table):
        return _column(was.columns[name], now.columns[name])
    return None


def _column(was: Column, now: Column) -> Verdict | None:
    found = _types(was, now)
    if found is not None:
        return found
    if now.nullable and not was.nullable:
        return Verdict("changed", "it may now be missing")
    if was.unique and not now.unique:
        return Verdict("changed", "its values may now repeat")
    return None


def _types(was: Column, now: Column) -> Verdict | None:
    if was.type == now.type and was.physical is None:
        return None  # nothing more exact was promised before
    before, after = (column.physical or column.type for column in (was, now))
    match type_change(exact(was.type, was.physical), exact(now.type, now.physical)):
        case "same":
            return None
        case "wider":
            return Verdict("changed", f"{before} became {after}, which is wider")
    return Verdict("retyped", f"{before} became {after}")


def restated(was: Declared | None, now: Declared | None) -> tuple[str, ...]:
    """Names of settings whose words changed: what has to be released though nothing moves."""
    if not (isinstance(was, Table) and isinstance(now, Table)):
        return ()
    both = [name for name in now.columns if name in was.columns]
    return tuple(
        f"promise of {name}"
        for name in both
        if (was.columns[name].physical, was.columns[name].unique)
        != (now.columns[name].physical, now.columns[name].unique)
    )


def scheduled(project: Project) -> dict[str, str]:
    """Of tables that are refreshed by the clock: address -> digest of when, in any environment.

    A schedule moves no value and is released by itself; it is said after the fingerprint.
    """
    said: dict[str, dict[str, str]] = {}
    for environment in project.environments:
        for name, schedule in refreshes(project, environment).items():
            said.setdefault(f"table:{name}", {})[environment] = str(schedule)
    return {name: digest(when) for name, when in said.items()}


def broken_promises(was: Declared | None, now: Declared | None) -> tuple[str, ...]:
    """What the callers of a service lose, in sentences."""
    if isinstance(was, Service) and isinstance(now, Service):
        return breaks(was.contract, now.contract)
    return ()
