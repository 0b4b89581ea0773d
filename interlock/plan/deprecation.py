"""Versions that are on their way out: who still reads them, until when, and who may not begin to.

A deprecation is a word in the definition's header. It moves no value and leaves the version
what it is; yet it is agreed and released like any change, so that its readers hear of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime

from interlock.define.definitions import FeatureView
from interlock.define.project import Project
from interlock.define.refs import Ref


@dataclass(frozen=True)
class Fading:
    """A deprecated view version: `until` is the last day on which somebody may begin to read it.

    `readers` are models and, behind them, services. `over`: the day has passed.
    """

    view: Ref
    until: date
    replacement: str
    readers: tuple[Ref, ...]
    over: bool

    @property
    def sentence(self) -> str:
        """`view:a@1 is deprecated until 30 Jun 2026, use view:a@2; read by model:late`."""
        past = "was deprecated until" if self.over else "is deprecated until"
        said = f"{self.view} {past} {self.until:%d %b %Y}, use view:{self.replacement}"
        names = ", ".join(map(str, self.readers))
        return f"{said}; {'still ' if self.over else ''}read by {names}" if names else said

    def to_json(self) -> dict[str, object]:
        return {
            "view": str(self.view), "until": self.until.isoformat(),
            "replacement": f"view:{self.replacement}", "over": self.over,
            "readers": [str(ref) for ref in self.readers], "sentence": self.sentence,
        }  # fmt: skip


def fading(project: Project, now: datetime) -> tuple[Fading, ...]:
    """Every deprecated version of `project` with all who read it."""
    return tuple(
        Fading(
            view.ref, view.deprecation.date, view.deprecation.replacement,
            tuple(readers(project, view)), now.date() > view.deprecation.date,
        )
        for view in project.views.values()
        if view.deprecation
    )  # fmt: skip


def readers(project: Project, view: FeatureView) -> Iterator[Ref]:
    """Models that pin `view`, then the services that act on them."""
    models = [model for model in project.models.values() if view.ref in model.view_refs]
    names = {model.model for model in models}
    yield from (model.ref for model in models)
    yield from (s.ref for s in project.services.values() if names & set(s.models))


def deprecated(
    wanted: Project, stable: Project | None, now: datetime
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Objections to models that begin to read what has ended, and notes about the rest."""
    objections, notes = [], []
    for found in fading(wanted, now):
        before = _models(stable, found.view)
        began = [ref for ref in _models(wanted, found.view) if ref not in before]
        if found.over and began:
            names = ", ".join(map(str, began))
            objections.append(
                f"{names} begins to read {found.view}, which was deprecated until "
                f"{found.until:%d %b %Y}; use view:{found.replacement}"
            )
        if found.readers:
            notes.append(found.sentence)
    for found in fading(stable, now) if stable else ():
        if not found.over and str(found.view).partition(":")[2] not in wanted.views:
            notes.append(
                f"{found.view} is taken out, and was promised until {found.until:%d %b %Y}"
            )
    return tuple(objections), tuple(notes)


def _models(project: Project | None, view: Ref) -> list[Ref]:
    found = project.models.values() if project else ()
    return [model.ref for model in found if view in model.view_refs]
