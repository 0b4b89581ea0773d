"""What decides the result of a check beside its rows, and which evidence that leaves standing.

After a rebase a check has the same result when nothing that it was made from has moved. So
each piece names the digests of all of that, on both sides, and only what differs is made again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from interlock.app.changes import evidence_of
from interlock.app.footing import spine_sql
from interlock.app.outdated import outdated
from interlock.app.reviews import action_of
from interlock.change.change import Change
from interlock.change.evidence import Evidence, newest
from interlock.change.review import ACTION
from interlock.define.definitions import Model
from interlock.define.digest import digest
from interlock.define.refs import Ref

if TYPE_CHECKING:
    from interlock.app.versions import Version
    from interlock.app.workspace import Workspace

Pair = tuple["Version | None", "Version"]
_ABSENT = "none"


def reader_of(version: Version, view: str) -> Model | None:
    """A model that reads `view` (as `name@version`): its spine is where values matter."""
    wanted = Ref.parse(f"view:{view}")
    models = version.project.models.values()
    return next((m for m in models if wanted in m.view_refs), None)


def subjects_of(version: Version, check: str) -> dict[str, str]:
    """What a check is about, with its digest now; empty when the version has no such thing."""
    kind, _, name = check.partition(":")
    of = {"contract": "table", "values": "view", "replay": "view", "missingness": "view",
          "kpi": "service"}.get(kind, "model")  # fmt: skip
    node = version.facts.nodes.get(f"{of}:{name}")
    return {f"{of}:{name}": node.fingerprint} if node else {}


def inputs_of(workspace: Workspace, versions: Pair, check: str) -> dict[str, str]:
    """By name, the digests of what decides `check` beside its rows; models must be trained."""
    old, new = versions
    kind, _, name = check.partition(":")
    rules = {"privacy": digest(new.project.privacy.model_dump(mode="json"))}
    if check.startswith(ACTION):
        action = action_of(workspace.record, check)
        found = _tables(new, [action.sql])
        return rules | found | {"query": digest(action.sql)}
    match kind:
        case "contract":
            return rules | _node(new, f"table:{name}")
        case "values":
            return rules | _view(new, name) | _before(_node(old, f"view:{name}"))
        case "replay":
            return rules | _view(new, name)
        case "missingness":
            return rules | _view(new, name) | _label(new, reader_of(new, name))
        case "kpi":
            models = new.project.services[name].models
            own = _node(new, f"service:{name}")
            return rules | own | _models(versions, models)
        case _:
            return rules | _models(versions, [name])


def _node(version: Version | None, name: str) -> dict[str, str]:
    """One thing as it means, down to its sources, and as it is set."""
    node = version.facts.nodes.get(name) if version else None
    if node is None:
        return {name: _ABSENT}
    return {name: digest([node.fingerprint, dict(node.meaning), dict(node.settings)])}


def _before(found: Mapping[str, str]) -> dict[str, str]:
    return {f"{name} before": value for name, value in found.items()}


def _view(version: Version, name: str) -> dict[str, str]:
    """A view, and the rows for which its values matter."""
    model = reader_of(version, name)
    found = _node(version, f"view:{name}")
    if model is None:
        return found
    asked = {f"{model.ref} asks by": digest([model.spine, model.key, model.time])}
    return found | asked | _tables(version, [spine_sql(model)])


def _label(version: Version, model: Model | None) -> dict[str, str]:
    if model is None:
        return {}
    label = {f"{model.ref} label": digest(model.label.model_dump(mode="json"))}
    return label | _tables(version, [model.label.sql])


def _tables(version: Version, queries: Iterable[str]) -> dict[str, str]:
    from interlock.impact.sql import tables_read

    names = sorted({name for sql in queries for name in tables_read(sql)})
    known = (_node(version, f"table:{name}") for name in names)
    return {name: value for one in known for name, value in one.items()}


def _models(versions: Pair, names: Iterable[str]) -> dict[str, str]:
    """Models of both sides: what they mean, and the very bytes that score."""
    old, new = versions
    found: dict[str, str] = {}
    for name in names:
        found |= _scorer(new, name) | _before(_scorer(old, name))
    return found


def _scorer(version: Version | None, name: str) -> dict[str, str]:
    trained = version.models.get(name) if version else None
    artifact = {f"model:{name} artifact": trained.artifact if trained else _ABSENT}
    return _node(version, f"model:{name}") | artifact


def judge_inputs(workspace: Workspace, versions: Pair) -> str:
    """All that guardrails are fixed from, as one digest."""
    new = versions[1]
    environment = new.project.environments[workspace.environment]
    checks = [*(f"model_comparison:{name}" for name in new.project.models),
              *(f"kpi:{name}" for name in new.project.services)]  # fmt: skip
    made_from = {check: inputs_of(workspace, versions, check) for check in checks}
    return digest([made_from, environment.model_dump(mode="json")])


# --- what stands ----------------------------------------------------------------------


@dataclass(frozen=True)
class Kept:
    """The evidence that a change has, and how much of it stands on the same inputs.

    `gone` says by digest why rows of a piece are no longer there.
    """

    pieces: tuple[Evidence, ...]
    gone: Mapping[str, str]

    def standing(self, check: str, inputs: Mapping[str, str]) -> tuple[Evidence, ...]:
        """The pieces of `check`, if every one of them was made from exactly these inputs."""
        mine = self._last(check)
        stand = mine and all(
            dict(one.inputs) == dict(inputs) and one.digest not in self.gone for one in mine
        )
        return mine if stand else ()

    def why(self, check: str, inputs: Mapping[str, str]) -> tuple[str, ...]:
        """Names of the inputs that moved since; empty for what was never made."""
        mine = self._last(check)
        moved = {name for one in mine for name in _moved(one.inputs, inputs)}
        rows = ["rows that were refreshed"] if any(one.digest in self.gone for one in mine) else []
        return (*sorted(moved), *rows)

    def _last(self, check: str) -> tuple[Evidence, ...]:
        """The last word on `check`, about what it was last made on."""
        made = [one for one in self.pieces if one.check == check and not one.not_run]
        same = [one for one in made if dict(one.inputs) == dict(made[-1].inputs)]
        return newest(same, self.gone)


def _moved(before: Mapping[str, str], now: Mapping[str, str]) -> Sequence[str]:
    return [name for name in {**before, **now} if before.get(name) != now.get(name)]


def kept(workspace: Workspace, change: Change, version: Version) -> Kept:
    """What `change` was proven by so far; `version` knows where its rows are."""
    pieces = tuple(evidence_of(workspace.record, change))
    return Kept(pieces, outdated(workspace, version.project, pieces))
