"""What runs, and what ran: a release with the definitions it was made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import orjson

from interlock.app.workspace import Workspace
from interlock.change.change import GRAPH, Change
from interlock.define.calendar import Calendar
from interlock.define.digest import canonical
from interlock.define.project import Project
from interlock.define.refs import Ref
from interlock.errors import NotFound, Refused
from interlock.ports import Json

if TYPE_CHECKING:
    from interlock.app.build import Builder, Say
    from interlock.app.training import TrainedModel
    from interlock.impact.facts import Facts
    from interlock.impact.picture import GraphData


@dataclass(frozen=True)
class Version:
    """Definitions, what they mean, and the models trained for them."""

    project: Project
    facts: Facts
    models: Mapping[str, TrainedModel]
    release: str | None = None

    def builder(self, workspace: Workspace, say: Say | None = None) -> Builder:
        from interlock.app.build import Builder, quiet  # who only plans builds nothing

        return Builder(workspace, self.project, self.facts, say or quiet)


def stored(workspace: Workspace, release: str) -> Version:
    """The version that `release` was made from, from its snapshot; read once per process."""
    if release not in workspace.versions:
        workspace.versions[release] = _read(workspace, release)
    return workspace.versions[release]


def _read(workspace: Workspace, release: str) -> Version:
    entry = workspace.record.get(Ref("release", release))
    if entry is None:
        raise NotFound(f"release {release[:12]} is not in the record")
    project, facts = workspace.learn(definitions(workspace, entry.body["definitions"]))
    return Version(project, facts, _models(entry.body["models"]), release)


def _models(bodies: Mapping[str, Json]) -> dict[str, TrainedModel]:
    if not bodies:
        return {}
    from interlock.app.training import TrainedModel  # heavy, and not needed for a plan of none

    return {name: TrainedModel.from_json(body) for name, body in bodies.items()}


def leads_to(workspace: Workspace, change: Change) -> Version:
    """The version that `change` leads to; raises `Refused` while nobody can know it.

    One whose proof has stopped has no release yet, and its definitions are known.
    """
    if change.release:
        return stored(workspace, change.release)
    stopped = change.state in ("PLANNED", "EVIDENCE") and "stopped" in change.details
    if not stopped or "definitions" not in change.details:
        raise Refused(
            f"{change.id} is {change.state} and has no release yet",
            help=f"`interlock status {change.id}` says what it waits for",
        )
    return Version(*workspace.learn(definitions(workspace, change.details["definitions"])), {})


def stable(workspace: Workspace) -> Version | None:
    """The version that everybody gets now; None before the first release."""
    release = workspace.route().stable
    return stored(workspace, release) if release else None


def calendar_over(workspace: Workspace, version: Version) -> Calendar:
    """What binds a change to `version`: no freeze is lifted by the change that it would hold."""
    own, running = version.project.calendar, stable(workspace)
    if running is None:
        return own
    held_ = running.project.calendar
    more = tuple(freeze for freeze in own.freezes if freeze not in held_.freezes)
    return held_.model_copy(update={"freezes": (*held_.freezes, *more)})


def keep_definitions(workspace: Workspace, project: Project) -> str:
    """The texts of a project as one artifact; what is reviewed is what runs."""
    return workspace.artifacts.put(canonical(dict(project.texts)))


def definitions(workspace: Workspace, digest: str) -> Mapping[str, str]:
    """The texts that `keep_definitions` kept."""
    texts: Mapping[str, str] = orjson.loads(workspace.artifacts.get(digest))
    return texts


def keep_graph(workspace: Workspace, drawn: GraphData) -> str:
    """What a change reaches, as drawn, as one artifact: every version of it holds the digest."""
    return workspace.artifacts.put(canonical(drawn.to_json()))


def graph_of(workspace: Workspace, change: Change) -> Json | None:
    """The drawing that `change` kept; None before there is one.

    Raises `NotFound` or `Corrupt` when the artifact is lost. Changes of before hold it themselves.
    """
    if change.drawing:
        drawn: Json = orjson.loads(workspace.artifacts.get(change.drawing))
        return drawn
    return change.details.get(GRAPH)


def release_body(
    components: Mapping[str, str], kept: str, models: Mapping[str, TrainedModel], change: str
) -> Json:
    """What the record holds of a release."""
    return {
        "components": dict(components),
        "definitions": kept,
        "models": {name: model.to_json() for name, model in models.items()},
        "change": change,
    }
