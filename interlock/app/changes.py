"""Changes in the record: read, write, list. Every write carries the version it was based on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from interlock.app.reviews import opening
from interlock.app.stores import NO_STORES, Stores, stores_now
from interlock.app.workspace import Workspace
from interlock.change.change import Change, moved, next_id, with_review_due
from interlock.change.evidence import Evidence
from interlock.define.refs import Ref
from interlock.define.release import Route
from interlock.errors import NotFound, Stale
from interlock.ports import Bucket, Put, RecordReader
from interlock.rollout.state import RolloutState

if TYPE_CHECKING:
    from interlock.change.accountable import LayerStanding

ATTEMPTS = 5


@dataclass(frozen=True)
class Held:
    """A change and the version of its entry, for the next compare-and-swap."""

    change: Change
    version: int


def held(record: RecordReader, id: str) -> Held:
    """The newest version of a change; `NotFound` names the changes there are."""
    entry = record.get(Ref("change", id))
    if entry is None:
        known = ", ".join(e.ref.name for e in record.list("change")) or "none yet"
        raise NotFound(f"there is no change {id}", help=f"changes: {known}")
    return Held(Change.from_json(entry.body), entry.version)


def all_changes(workspace: Workspace) -> list[Change]:
    """Every change, newest first."""
    found = [Change.from_json(entry.body) for entry in workspace.record.list("change")]
    return sorted(found, key=lambda c: int(c.id.rpartition("-")[2]), reverse=True)


def may_go_back_to(workspace: Workspace) -> tuple[str, ...]:
    """Releases that no longer answer, and would again if a committed change were taken back."""
    route = workspace.route()
    found = [
        change.made_against
        for change in all_changes(workspace)
        if change.state == "COMMITTED" and change.environment == workspace.environment
    ]
    return tuple(dict.fromkeys(r for r in found if r and r not in route.releases))


def open_new(workspace: Workspace, draft: Change) -> Held:
    """`draft` under the next free id; two people opening at once get two ids.

    One whose making was cut off is taken up again: asking twice does not open two. If its
    maker still runs, that one is refused at its next write.
    """
    for _ in range(ATTEMPTS):
        known = all_changes(workspace)
        before = next((held(workspace.record, c.id) for c in known if _cut_off(c, draft)), None)
        id = before.change.id if before else next_id([c.id for c in known])
        change = replace(draft, id=id)
        if before:
            # What was made already counts when it is made from the same.
            change = replace(change, state=before.change.state, evidence=before.change.evidence)
        try:
            return save(workspace, before or Held(change, 0), change, by=change.author)
        except Stale:
            continue
    raise Stale("other changes are being opened at the same time", help="try again")


def _cut_off(change: Change, draft: Change) -> bool:
    """The same request by the same author, not yet with people."""
    same = ("author", "title", "environment")
    making = change.state in ("DRAFT", "PLANNED", "DEFERRED", "EVIDENCE")
    return making and all(getattr(change, name) == getattr(draft, name) for name in same)


def save(
    workspace: Workspace,
    before: Held,
    change: Change,
    *,
    by: str,
    also: Sequence[Put] = (),
    buckets: Mapping[str, Sequence[Bucket]] | None = None,
) -> Held:
    """One transaction: the change's next version, its review, whatever must happen with it."""
    return save_all(workspace, [(before, change)], by=by, also=also, buckets=buckets)[0]


def save_all(
    workspace: Workspace,
    moves: Sequence[tuple[Held, Change]],
    *,
    by: str,
    also: Sequence[Put] = (),
    buckets: Mapping[str, Sequence[Bucket]] | None = None,
) -> list[Held]:
    """The same for changes that move in the same moment: all of them do, or none."""
    every: list[Put] = []
    for before, change in moves:
        every.append(Put(change.ref, change.to_json(), before.version))
        every += opening(workspace, before.change if before.version else None, change)
    every += also
    workspace.record.write(every, by=by, at=workspace.now(), buckets=buckets)
    return [Held(change, before.version + 1) for before, change in moves]


def update(
    workspace: Workspace,
    id: str,
    by: str,
    step: Callable[[Change], Change],
    also: Sequence[Put] = (),
) -> Change:
    """Read, change, write; again when somebody else was faster.

    `also` is written with it: a list that `step` fills each time it is asked.
    """
    for _ in range(ATTEMPTS):
        before = held(workspace.record, id)
        after = step(before.change)
        try:
            return save(workspace, before, after, by=by, also=also).change
        except Stale:
            continue
    raise Stale(f"{id} is being changed by others", help="look at it again, then try again")


def told(change: Change, state: RolloutState, keep_request: bool = True) -> Change:
    """The change with its rollout; the change's state follows the machine's."""
    details = {**change.details, "rollout": state.to_json()}
    if not keep_request:
        details.pop("request", None)
    to = state.state.name
    if to != change.state:
        change = with_review_due(moved(change, to, state.said))  # type: ignore[arg-type]  # same names in both
    return replace(change, details=details, said=state.said)


def keep_evidence(workspace: Workspace, made: Sequence[Evidence], by: str) -> None:
    """Store evidence under its digest; what is already there stays as it is."""
    puts = {
        piece.digest: Put(Ref("evidence", piece.digest), piece.to_json(), 0)
        for piece in made
        if workspace.record.get(Ref("evidence", piece.digest)) is None
    }
    if puts:
        workspace.record.write(list(puts.values()), by=by, at=workspace.now())


def evidence_of(record: RecordReader, change: Change) -> list[Evidence]:
    """The stored evidence of a change, in the order it was made."""
    entries = [record.get(Ref("evidence", digest)) for digest in change.evidence]
    return [Evidence.from_json(entry.body) for entry in entries if entry is not None]


@dataclass(frozen=True)
class Standing:
    """What `status` shows: the environment, and one change when one was asked for."""

    environment: str
    route: Route
    changes: tuple[Change, ...]
    change: Change | None = None
    evidence: tuple[Evidence, ...] = ()
    judgement: Mapping[str, Any] | None = None
    objections: tuple[str, ...] = ()
    stores: Stores = NO_STORES
    refreshes: tuple[str, ...] = ()
    layers: tuple[LayerStanding, ...] = ()
    budgets: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()


def describe(workspace: Workspace, id: str | None) -> Standing:
    """Where the environment stands, or one change."""
    route = workspace.route()
    if id is None:
        from interlock.app import reliability
        from interlock.app.scheduled import refreshing

        known, stores = tuple(all_changes(workspace)), stores_now(workspace)
        fresh = refreshing(workspace)
        spent = reliability.kept(workspace.record, workspace.environment)
        budgets = tuple(one.sentence for one in spent.services) if spent else ()
        return Standing(
            workspace.environment, route, known, stores=stores, refreshes=fresh, budgets=budgets
        )
    from interlock.app.begin import beside_lack
    from interlock.app.beside import company
    from interlock.app.deferred import waiting
    from interlock.app.weighing import layers_of, objections

    change = held(workspace.record, id).change
    judged = workspace.record.get(Ref("judgement", id))
    # While it lacks something itself, that comes first.
    together = beside_lack(workspace, change) if change.state in ("APPROVED", "SCHEDULED") else ()
    return Standing(
        workspace.environment,
        route,
        (),
        change,
        tuple(evidence_of(workspace.record, change)),
        judged.body if judged else None,
        (*waiting(workspace.record, change), *objections(workspace, change), *together),
        layers=layers_of(workspace, change),
        beside=tuple(f"{one.id} ({one.state})" for one in company(workspace, change)),
    )
