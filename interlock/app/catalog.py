"""The catalog as a list: every thing, its version label, its owner, whether it is live or going."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from interlock.app.labels import SHORT
from interlock.app.versions import Version, stable
from interlock.errors import Refused
from interlock.plan.deprecation import Fading, deprecated, fading
from interlock.plan.sources import definition_of

if TYPE_CHECKING:
    from interlock.app.workspace import Workspace
    from interlock.define.project import Project
    from interlock.impact.nodes import NodeFacts

_ORDER = ("table", "view", "model", "service")


@dataclass(frozen=True)
class Listed:
    """One thing. `state`: `live`, `changed` (the files say more), `new` here, or `leaving`.

    `label` is of what is live, or of the files when nothing is.
    """

    ref: str
    label: str
    state: str
    owner: str
    note: str
    description: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def catalog(workspace: Workspace, words: Sequence[str] = ()) -> tuple[Listed, ...]:
    """Everything that runs or stands in the files, in which every one of `words` occurs."""
    runs = stable(workspace)
    live: Mapping[str, NodeFacts] = runs.facts.nodes if runs else {}
    here = workspace.facts.nodes
    going = {str(f.view): f.sentence for f in _fading(workspace, runs)}
    names = sorted({*live, *here}, key=lambda n: (_ORDER.index(n.partition(":")[0]), n))
    rows = (_listed(workspace, runs, live.get(n), here.get(n), going.get(n, "")) for n in names)
    return tuple(row for row in rows if _has(row, words))


def _listed(
    workspace: Workspace, runs: Version | None, was: NodeFacts | None, now: NodeFacts | None,
    note: str,
) -> Listed:  # fmt: skip
    node = was or now
    assert node is not None  # the name came from one of them
    state = "new" if was is None else "leaving" if now is None else "live"
    if was and now and (was.fingerprint, was.settings) != (now.fingerprint, now.settings):
        state = "changed"
    project: Project = runs.project if runs and was else workspace.project
    thing = definition_of(project, node.ref)
    label = _label(runs, node) if was else node.fingerprint[:SHORT]
    return Listed(str(node.ref), label, state, node.owner, note, thing.description if thing else "")


def _label(runs: Version | None, node: NodeFacts) -> str:
    """As answers say it: of a model the artifact that scores, of the rest the fingerprint."""
    trained = runs.models.get(node.ref.name) if runs and node.ref.kind == "model" else None
    return (trained.artifact if trained else node.fingerprint)[:SHORT]


def _has(row: Listed, words: Sequence[str]) -> bool:
    text = " ".join(asdict(row).values()).lower()
    return all(word.lower() in text for word in words)


def _fading(workspace: Workspace, runs: Version | None) -> Iterator[Fading]:
    """What the files and what runs say; the files have the last word. No clock without need."""
    found: dict[str, Fading] = {}
    for project in (*([runs.project] if runs else []), workspace.project):
        if any(view.deprecation for view in project.views.values()):
            found |= {str(one.view): one for one in fading(project, workspace.now())}
    yield from found.values()


def going(workspace: Workspace) -> tuple[str, ...]:
    """A warning for each reader of what is going; `Refused` when one begins to read it too late."""
    if not any(view.deprecation for view in workspace.project.views.values()):
        return ()
    runs = stable(workspace)
    objections, notes = deprecated(
        workspace.project, runs.project if runs else None, workspace.now()
    )
    if objections:
        raise Refused("a deprecated version is read anew", "use what replaces it", objections)
    return notes
