"""Where a version label appears: catalog, store, training sets, answers; and who still needs it.

The label of a version is its fingerprint. Everything that holds data of a version carries
it: physical tables in their name, online rows in their key, datasets in their manifest,
answers beside the view they were made from.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from interlock.app.changes import all_changes
from interlock.app.ingest import LOG, ingest
from interlock.app.versions import definitions, stable, stored
from interlock.change.change import Change
from interlock.define.refs import Ref
from interlock.define.release import Route
from interlock.define.schema import did_you_mean
from interlock.errors import NotFound, Unusable
from interlock.features.compile import physical
from interlock.features.dialect import dialect_of
from interlock.impact.nodes import owner_node
from interlock.models.dataset import Manifest
from interlock.ports import Entry
from interlock.rollout.state import RolloutState

if TYPE_CHECKING:
    from interlock.app.workspace import Workspace
    from interlock.impact.facts import Facts

SHORT = 12  # characters of a label as people see it, and as tables and rows carry it


@dataclass(frozen=True)
class Needed:
    """A release that runs, or to which something may still go back, and why."""

    release: str
    why: str


@dataclass(frozen=True)
class Waiting:
    """An open change without a release yet that has the version, and what reads it there.

    `known` is False while nobody can say what the change will read.
    """

    change: str
    state: str
    readers: tuple[str, ...] = ()
    known: bool = True

    @property
    def sentence(self) -> str:
        if not self.known:
            return f"what {self.change} reads is not known yet: it is {self.state}"
        who = f"read by {', '.join(self.readers)}" if self.readers else "declared"
        return f"{who} in {self.change}, which is {self.state} and has no release yet"


@dataclass(frozen=True)
class Asked:
    """Who got answers made from a version lately: `services` as callers named themselves."""

    model: str
    release: str
    services: tuple[str, ...]
    answers: int
    last: datetime

    @property
    def sentence(self) -> str:
        who = ", ".join(self.services) or "a caller who gave no name"
        said = f"{who} got {self.answers:,} answers of model:{self.model} made from it"
        return f"{said}, the last at {self.last:%Y-%m-%d %H:%M} UTC"


@dataclass(frozen=True)
class Label:
    """One version of one table or view, and every place that carries its label.

    `needed` are releases with it that run or may be gone back to, `readers` what reads it in
    those; `datasets` maps the models trained on it to the digest of their dataset. `rows` is
    None where no table of it stands. `promised`: until when its readers were told they have it.
    """

    ref: str
    label: str
    declared: bool
    releases: tuple[str, ...]
    promised: date | None = None
    needed: tuple[Needed, ...] = ()
    readers: tuple[str, ...] = ()
    table: str = ""
    rows: int | None = None
    datasets: Mapping[str, str] = field(default_factory=dict)
    answers: tuple[Asked, ...] = ()
    waiting: tuple[Waiting, ...] = ()

    @property
    def short(self) -> str:
        return self.label[:SHORT]

    def to_json(self) -> dict[str, Any]:
        return {
            "ref": self.ref, "label": self.label, "declared": self.declared,
            "releases": list(self.releases),
            "promised": self.promised.isoformat() if self.promised else None,
            "needed": [dict(one.__dict__) for one in self.needed],
            "readers": list(self.readers),
            "store": {"table": self.table, "rows": self.rows},
            "datasets": dict(self.datasets),
            "answers": [
                {**a.__dict__, "services": list(a.services), "last": a.last.isoformat()}
                for a in self.answers
            ],
            "waiting": [{**one.__dict__, "readers": list(one.readers)} for one in self.waiting],
        }  # fmt: skip


def labels(workspace: Workspace, text: str) -> tuple[Label, ...]:
    """Every version that `text` (`view:name`, `view:name@1`, `table:name`) ever had, by label."""
    releases = {entry.ref.name: entry for entry in workspace.record.list("release")}
    files = {str(node.ref): node.fingerprint for node in workspace.facts.nodes.values()}
    found = _versions(text, files, releases.values())
    needed = needed_releases(workspace)
    asked = asked_lately(workspace) if releases else ()
    open_ = tuple(_without_release(workspace))
    return tuple(
        replace(
            _label(workspace, ref, print_, files, releases, needed, asked),
            waiting=tuple(_waiting(open_, ref, print_)),
        )
        for ref, print_ in found
    )


def _versions(
    text: str, files: Mapping[str, str], releases: Iterable[Entry]
) -> list[tuple[str, str]]:
    ref = Ref.parse(text)
    if ref.kind not in ("table", "view"):
        raise Unusable(f"{ref} holds no data", help="name a table: or a view:")
    every = [*files.items()]
    for entry in releases:
        every += entry.body["components"].items()
    wanted = [
        pair for pair in dict.fromkeys(every) if pair[0] == text or pair[0].startswith(f"{text}@")
    ]
    if not wanted:
        known = {name for name, _ in every if name.startswith(("table:", "view:"))}
        raise NotFound(f"{ref} is in no release and no file", help=did_you_mean(text, known))
    return sorted(wanted, key=lambda pair: Ref.parse(pair[0]))


def _label(
    workspace: Workspace, ref: str, print_: str, files: Mapping[str, str],
    releases: Mapping[str, Entry], needed: Sequence[Needed], asked: Sequence[Asked],
) -> Label:  # fmt: skip
    having = [name for name, e in releases.items() if e.body["components"].get(ref) == print_]
    still = tuple(one for one in needed if one.release in having)
    table = physical(ref.partition(":")[2], print_)
    rows = None
    if releases and workspace.warehouse.has(table):
        count = workspace.warehouse.query(f"SELECT count(*) AS n FROM {table}").to_pylist()
        rows = int(count[0]["n"])
    return Label(
        ref, print_, files.get(ref) == print_, tuple(having),
        _promise(workspace, ref, having), still,
        tuple(_declared(workspace, ref, still)), table, rows,
        _datasets(ref, print_, (releases[name] for name in having)),
        tuple(a for a in asked if a.release in having and _reads(workspace, a, ref)),
    )  # fmt: skip


def _promise(workspace: Workspace, ref: str, releases: Sequence[str]) -> date | None:
    """What the newest release that has it says of its end."""
    if not releases or not ref.startswith("view:"):
        return None
    view = stored(workspace, releases[-1]).project.views[ref.partition(":")[2]]
    return view.deprecation.date if view.deprecation else None


# --- who declares that it reads it ---------------------------------------------------------


def needed_releases(workspace: Workspace) -> tuple[Needed, ...]:
    """What runs anywhere, is proposed, or may still be gone back to; each with the reason."""
    found = []
    for entry in workspace.record.list("route"):
        route = Route.from_json(entry.body)
        found += [(route.stable, f"stable in {route.environment}")]
        found += [(one.release, f"candidate in {route.environment}") for one in route.candidates]
    for change in all_changes(workspace):
        found += _kept_by(workspace, change)
    return tuple(Needed(release, why) for release, why in dict.fromkeys(found) if release)


def _kept_by(workspace: Workspace, change: Change) -> Iterator[tuple[str | None, str]]:
    if change.open:
        yield change.release, f"{change.id} leads to it and is {change.state}"
        yield change.made_against, f"{change.id} starts from it and is {change.state}"
    elif change.state == "COMMITTED":
        ends = _window_ends(change)
        # The time of another environment is not known here: its word alone counts.
        if change.environment != workspace.environment or workspace.now() < ends:
            until = f"until {ends:%d %b %Y %H:%M} UTC"
            yield change.made_against, f"{change.id} can be taken back to it {until}"


def _without_release(workspace: Workspace) -> Iterator[tuple[Change, Facts | None]]:
    """Open changes that lead to no release yet: deferred, stopped at a layer, or cut off."""
    for change in all_changes(workspace):
        if change.open and not change.release:
            kept = change.details.get("definitions")
            yield change, workspace.learn(definitions(workspace, kept))[1] if kept else None


def _waiting(
    changes: Iterable[tuple[Change, Facts | None]], ref: str, print_: str
) -> Iterator[Waiting]:
    for change, facts in changes:
        if facts is None:
            yield Waiting(change.id, change.state, known=False)
        elif ref in facts.nodes and facts.nodes[ref].fingerprint == print_:
            yield Waiting(change.id, change.state, readers_in(facts, ref))


def _window_ends(change: Change) -> datetime:
    state = RolloutState.from_json(change.details["rollout"])
    return state.entered_at + state.rollback_window


def readers_in(facts: Facts, ref: str) -> tuple[str, ...]:
    """Tables, views, models and services that stand on `ref`, nearest first."""
    readers: dict[str, list[str]] = {}
    for edge in sorted(facts.edges):
        source, reader = owner_node(edge.source), owner_node(edge.reader)
        if source != reader:
            readers.setdefault(source, []).append(reader)
    found, waiting = {ref: None}, [ref]
    for name in waiting:
        for reader in readers.get(name, ()):
            if reader not in found:
                found[reader] = None
                waiting.append(reader)
    return tuple(found)[1:]


def _declared(workspace: Workspace, ref: str, needed: Sequence[Needed]) -> list[str]:
    facts = [stored(workspace, one.release).facts for one in needed]
    return list(dict.fromkeys(name for one in facts for name in readers_in(one, ref)))


def _datasets(ref: str, print_: str, releases: Iterable[Entry]) -> dict[str, str]:
    found = {}
    for entry in releases:
        for name, model in entry.body["models"].items():
            sources = model["manifest"]["sources"]
            if any((s["ref"], s["fingerprint"]) == (ref, print_) for s in sources):
                found[name] = Manifest.from_json(model["manifest"]).digest
    return found


# --- who was seen to ask ---------------------------------------------------------------------


def asked_lately(workspace: Workspace) -> tuple[Asked, ...]:
    """Answers within the rollback window, by release and model, with the names callers gave."""
    ingest(workspace)
    since = workspace.now() - _window(workspace)
    rows = workspace.warehouse.query(
        f"SELECT release, model, count(*) AS answers, max(asked_at) AS last FROM {LOG} "
        f"WHERE asked_at > {dialect_of(workspace.warehouse).instant(since)} "
        "GROUP BY release, model ORDER BY release, model"
    ).to_pylist()
    names = _names(workspace, since) if rows else {}
    return tuple(
        Asked(
            row["model"], row["release"], tuple(sorted(names[row["release"], row["model"]])),
            row["answers"], row["last"].replace(tzinfo=UTC),
        )
        for row in rows
    )  # fmt: skip


def _names(workspace: Workspace, since: datetime) -> dict[tuple[str, str], set[str]]:
    found: dict[tuple[str, str], set[str]] = defaultdict(set)
    for row in workspace.predictions.read({})[0]:
        if datetime.fromisoformat(row["at"]) > since and row["service"]:
            found[row["release"], row["model"]].add(f"service:{row['service']}")
    return found


def _window(workspace: Workspace) -> timedelta:
    """As the release that runs declares it: an edit here must not shorten it."""
    runs = stable(workspace)
    project = runs.project if runs else workspace.project
    return project.environments[workspace.environment].rollback_window


def _reads(workspace: Workspace, asked: Asked, ref: str) -> bool:
    version = stored(workspace, asked.release)
    return f"model:{asked.model}" in readers_in(version.facts, ref)
