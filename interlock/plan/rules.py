"""What decides about changes without being part of any answer.

Policies, calendar, owners, and how an environment releases: its stages, hooks, limits.

An edit of these alone is a change too: somebody signs for it, and it is released, because
the rules in force are those of the release that runs. Nothing is built for it and no request
is answered otherwise, so it has no stages to walk.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from interlock.define.digest import digest
from interlock.define.project import Project


def rules_of(project: Project) -> dict[str, str]:
    """Each kind of rule with the digest of what it says, as components of a release."""
    return {f"policy:{name}": digest(said) for name, said in _said(project).items()}


def edited_rules(old: Project | None, new: Project) -> tuple[str, ...]:
    """The kinds of rules that `new` says otherwise than `old`; none before the first release."""
    if old is None:
        return ()
    before, now = _said(old), _said(new)
    return tuple(name for name in now if before[name] != now[name])


def _said(project: Project) -> Mapping[str, Any]:
    environments = project.environments.items()
    return {
        "policies": dict(project.policies),
        "calendar": project.calendar.model_dump(mode="json"),
        "owners": [owner.model_dump(mode="json") for owner in project.owners],
        "environments": {
            name: one.model_dump(mode="json", exclude=_PLACES) for name, one in environments
        },
    }


# Where an environment keeps things is no rule: it may move while the same release runs.
# Schedules of refreshes are released on their own.
_PLACES = {"clock", "warehouse", "online", "record", "signing_key", "refresh"}
