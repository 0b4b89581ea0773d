"""Do notifications and hooks name teams and stages that exist?"""

from __future__ import annotations

from collections.abc import Iterator

from interlock.define.environment import Environment
from interlock.define.notifications import COMMIT
from interlock.define.project import Project
from interlock.define.schema import did_you_mean
from interlock.define.yaml import Document, Path
from interlock.errors import Problem


def notification_problems(project: Project, document: Document | None) -> Iterator[Problem]:
    """Everything in `interlock.yaml` that tells nobody, or asks before nothing."""
    teams = {owner.name for owner in project.owners}
    for name, one in project.notifications.items():
        for i, team in enumerate(one.owners):
            if team not in teams:
                path: Path = ("notifications", name, "owners", i)
                yield _problem(document, path, f"no team {team}", did_you_mean(team, teams))
    for name, environment in project.environments.items():
        yield from _hooks(document, name, environment)


def _hooks(document: Document | None, name: str, environment: Environment) -> Iterator[Problem]:
    stages = [*(stage.name for stage in environment.stages), COMMIT]
    for i, hook in enumerate(environment.hooks):
        if hook.before not in stages:
            path: Path = ("environments", name, "hooks", i, "before")
            fix = did_you_mean(hook.before, stages)
            yield _problem(document, path, f"no stage {hook.before}", fix)


def _problem(document: Document | None, path: Path, message: str, fix: str) -> Problem:
    line = document.line(path) if document else 1
    return Problem("interlock.yaml", line, message, fix)
