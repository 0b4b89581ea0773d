"""What must hold whatever was killed, when and how often. Each check raises with what it saw."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from chaos_crowd import MODEL, Crowd, Told
from chaos_travellers import Travellers
from chaos_world import LIFT, LIFTED

from interlock.adapters.lightgbm import load
from interlock.app.audit import audit
from interlock.app.changes import held
from interlock.app.counting import BUCKET_S
from interlock.app.ingest import LOG, MIRRORED, ingest
from interlock.app.looking import measuring
from interlock.app.measure import buckets_of
from interlock.app.versions import stored
from interlock.app.workspace import Workspace
from interlock.define.refs import Ref
from interlock.define.release import Route
from interlock.ports import Bucket
from interlock.rollout.cohort import seen as shown
from interlock.rollout.state import RolloutState
from interlock.serve.spec import ModelSpec, ServingSpec

Row = Mapping[str, Any]


@dataclass
class Aftermath:
    """The project after the last kill, read by nobody else any more.

    `change` is the one that is asked about, of those that ran.
    """

    folder: Path
    change: str

    def __post_init__(self) -> None:
        self._specs: dict[str, ModelSpec] = {}

    @cached_property
    def workspace(self) -> Workspace:
        return Workspace(self.folder)

    @cached_property
    def routes(self) -> dict[int, Route]:
        """Every Route there ever was, by the epoch under which gateways served it."""
        entries = self.workspace.record.history(self.workspace.route_ref)
        return {e.version: Route.from_json(e.body) for e in entries}

    @cached_property
    def rollout(self) -> RolloutState:
        change = held(self.workspace.record, self.change).change
        return RolloutState.from_json(change.details["rollout"])

    @cached_property
    def log(self) -> list[Row]:
        """Every whole line of every gateway's log, read without the product's reader."""
        return self._lines("predictions")

    @cached_property
    def mirrored(self) -> set[str]:
        """The answers that another release was asked for too."""
        rows = [(row["id"], row["release"]) for row in self._lines("mirrored")]
        assert len(set(rows)) == len(rows), "an answer was mirrored twice by one release"
        found = {id for id, _ in rows}
        assert found <= {row["id"] for row in self.log}, "mirrored before it was logged"
        return found

    def _lines(self, folder: str) -> list[Row]:
        rows = []
        for file in sorted((self.workspace.state / folder).glob("*.jsonl")):
            *whole, torn = file.read_bytes().split(b"\n")
            assert not torn, f"{file.name} ends in half a line: {torn[:80]!r}"
            rows += [orjson.loads(line) for line in whole]
        return rows

    def spec(self, release: str) -> ModelSpec:
        if release not in self._specs:
            self._specs[release] = self._spec(release)
        return self._specs[release]

    def _spec(self, release: str) -> ModelSpec:
        entry = self.workspace.record.get(Ref("serving", release))
        assert entry is not None, f"release {release[:12]} was answered and has no serving spec"
        return ServingSpec.from_json(entry.body).models[MODEL]


# --- what callers were told ---------------------------------------------------------------


def every_answer_is_of_one_release(after: Aftermath, crowd: Crowd) -> None:
    """Release, epoch, model version and views of each answer belong together."""
    assert not crowd.broken, crowd.broken[:5]
    for told in _all_told(crowd):
        spec = after.spec(told.release)
        assert list(told.versions) == [told.release], told
        assert told.given == f"{told.release};e={told.epoch}", told
        assert told.versions[told.release]["model"] == told.model_version == spec.version, told
        views = [lookup.view for lookup in spec.lookups]
        assert list(told.versions[told.release]["features"]) == views, told
        route = after.routes[told.epoch]
        assert told.release in route.releases or _carried(after, told), told


def _carried(after: Aftermath, told: Told) -> bool:
    """Begun under an earlier Route by a release that was not chosen then: ended by it too."""
    if told.header is None or told.release in after.routes[told.epoch].blocked:
        return False
    release, _, epoch = told.header.partition(";e=")
    return release == told.release and release in after.routes[int(epoch)].releases


def services_agree(after: Aftermath, crowd: Crowd) -> Counter[str]:
    """One flight, one release, in all services; how many decisions were made, and how.

    The one exception is a release that was taken back in the middle of a decision: who
    asks for it afterwards gets the stable one, under an epoch at which it is blocked.
    """
    seen: Counter[str] = Counter()
    for decision in crowd.decisions:
        first, *others = decision.told
        for told in others:
            assert told.header == first.given
            route = after.routes[told.epoch]
            taken_back = first.release in route.blocked
            assert told.release == (route.stable if taken_back else first.release), (first, told)
            seen["taken back"] += taken_back
            # Without the header this one would have been told the other release.
            seen["moved on"] += not taken_back and _cohort(route, told.subject) != first.release
        seen["whole"] += len(decision.told) == 3
    return seen


def one_question_one_release(after: Aftermath, asked: Travellers) -> Counter[str]:
    """Nobody who asked the edge was answered from two releases; the log says the same.

    The release is the cohort's at the edge's epoch, or the stable one when it was decided
    again. Counted by how it came out.
    """
    seen: Counter[str] = Counter()
    logged = {row["id"]: row for row in after.log}
    for one in asked.answers:
        releases = {one.release, *(release for _, _, release in one.decided)}
        assert len(releases) == 1, one
        assert one.given == f"{one.release};e={one.epoch}", one
        route = after.routes[one.epoch]
        cohort = _cohort(route, one.subject)
        assert one.release in (cohort, route.stable), (one, route)
        for service, prediction, release in one.decided:
            row = logged[prediction]
            assert (row["release"], row["subject"], row["service"]) == (
                release, one.subject, service,
            )  # fmt: skip
        seen["stable" if one.release == route.stable else "candidate"] += 1
        seen["again"] += one.release != cohort
    return seen


def answers_after_the_end(after: Aftermath, asked: Travellers, release: str) -> float:
    """Seconds from when somebody saw the Route leave `release` to the last answer from it."""
    left = next(e for e, route in after.routes.items() if release in route.blocked)
    return (
        max(row["served_at"] for row in after.log if row["release"] == release) - asked.moved[left]
    )


def _cohort(route: Route, subject: str) -> str | None:
    return shown(route, subject)[1]


def cohorts_follow_the_route(after: Aftermath, crowd: Crowd) -> Counter[str]:
    """Without a header the answer is the cohort's, for predictions and flags; arms seen."""
    seen: Counter[str] = Counter()
    asked = [(t.subject, t.release, t.epoch) for t in _all_told(crowd) if t.header is None]
    flags = [(f.subject, f.release, f.epoch) for f in crowd.flagged]
    for subject, release, epoch in [*asked, *flags]:
        route = after.routes[epoch]
        assert release == _cohort(route, subject), (subject, release, epoch, route)
        seen[f"{route.stage}:{shown(route, subject)[0]}"] += 1
    return seen


def nothing_acknowledged_is_lost(after: Aftermath, crowd: Crowd) -> None:
    """Every id that a caller holds is in the log, once, with the same answer."""
    logged = {row["id"]: row for row in after.log}
    assert len(logged) == len(after.log), "an id was logged twice"
    for told in _all_told(crowd):
        row = logged.get(told.id)
        assert row is not None, f"{told.id} was answered and is not in the log"
        assert (row["release"], row["score"], row["epoch"], row["service"]) == (
            told.release, told.score, told.epoch, told.service,
        )  # fmt: skip


def _all_told(crowd: Crowd) -> list[Told]:
    return [told for decision in crowd.decisions for told in decision.told]


# --- what was answered, whoever asked -----------------------------------------------------


def scores_come_from_their_release(after: Aftermath) -> dict[str, int]:
    """Every logged score again, from the logged inputs and the artifact of the named release."""
    by_release: dict[str, list[Row]] = {}
    for row in after.log:
        if len(row["inputs"]):
            by_release.setdefault(row["release"], []).append(row)
    for release, rows in by_release.items():
        scorer = load(after.workspace.artifacts.get(after.spec(release).artifact))
        inputs = np.array([[np.nan if v is None else v for v in r["inputs"]] for r in rows], float)
        said = np.array([row["score"] for row in rows])
        np.testing.assert_allclose(scorer.score(inputs), said, rtol=0, atol=1e-12)
    return {release: len(rows) for release, rows in by_release.items()}


def features_come_from_their_release(after: Aftermath, lifted: str) -> None:
    """The feature is higher by LIFT in the answers of `lifted`, and in no other answer."""
    for row in after.log:
        at = after.spec(row["release"]).inputs
        place = next(i for i, one in enumerate(at) if getattr(one, "name", "") == LIFTED)
        value = row["inputs"][place] if len(row["inputs"]) else None
        if value is None or LIFTED in row["fallbacks"]:
            continue
        assert (value > LIFT / 2) == (row["release"] == lifted), (row["release"], value)


# --- how the rollout went -----------------------------------------------------------------


def routes_have_no_gap(after: Aftermath, changes: Sequence[str]) -> None:
    """Epochs count on by one and are what the Route says of itself; weights only ever rise.

    Each move of the Route is one of the rollout of `changes`, made once.
    """
    assert list(after.routes) == list(range(1, len(after.routes) + 1))
    assert all(route.epoch == epoch for epoch, route in after.routes.items())
    ours = [route for route in after.routes.values() if route.change in changes]
    assert all(one.weight <= two.weight for one, two in pairwise(ours)), ours
    mine = [route.stage for route in ours if route.share_of(after.change) is not None]
    assert list(dict.fromkeys(mine)) == stages_entered(after)
    assert len(ours) - len(set(mine)) == len(changes) - 1 - unchosen(after, changes)


def unchosen(after: Aftermath, changes: Sequence[str]) -> int:
    """How many ended because another of `changes` went on."""
    return sum(held(after.workspace.record, id).change.state == "UNCHOSEN" for id in changes)


def stages_entered(after: Aftermath) -> list[str]:
    """The stages in the order in which the rollout entered them."""
    inside = ("shadow", "step", "soaking")
    return [move.stage for move in after.rollout.history if move.state in inside]


def history_is_one_path(after: Aftermath) -> None:
    """Each stored version of the change extends the history before it by at most one line."""
    before: tuple[object, ...] = ()
    for entry in after.workspace.record.history(Ref("change", after.change)):
        rollout = entry.body["details"].get("rollout")
        if rollout is None:
            continue
        lines = RolloutState.from_json(rollout).history
        assert lines[: len(before)] == before, "a line of history was lost or changed"
        assert len(lines) <= len(before) + 1, "two moves in one write"
        before = lines


def audit_is_whole(after: Aftermath) -> None:
    """Nothing in the record was edited, moved or removed."""
    found = audit(after.workspace)
    assert found.objections == ()
    assert found.size > 0


# --- what was counted ---------------------------------------------------------------------


def log_was_read_once(after: Aftermath) -> None:
    """What the judge counts is the log, each row of it once, however often reading was cut off."""
    ingest(after.workspace)
    found = after.workspace.warehouse.query(f"SELECT id FROM {LOG}").column("id").to_pylist()
    read, written = Counter(found), Counter(row["id"] for row in after.log)
    assert read == written, (
        f"{(read - written).total()} rows twice, {(written - read).total()} lost"
    )


def buckets_are_those_of_the_log(after: Aftermath) -> None:
    """The stored buckets are what the log says, at the moment of the last judgement.

    Asked before the log is read any further: rows that came after it belong to no bucket.
    """
    workspace = after.workspace
    entry = workspace.record.get(Ref("judgement", after.change))
    assert entry is not None
    change = held(workspace.record, after.change).change
    looked = _moment(entry.body["at"])
    measured = measuring(stored(workspace, change.release), change, looked)
    again = {_place(b): _counts(b) for b in buckets_of(workspace.warehouse, measured)}
    kept = {_place(b): _counts(b) for b in workspace.record.buckets(after.change)}
    assert set(kept) == set(again), set(kept) ^ set(again)
    for place, counts in kept.items():
        np.testing.assert_allclose(counts, again[place], rtol=1e-9, atol=1e-9, err_msg=str(place))
    counted = workspace.warehouse.query(f"SELECT id FROM {LOG}").column("id").to_pylist()
    ids = set(counted)
    mine = {after.change, after.rollout.experiment}
    rows = [
        row
        for row in after.log
        if row["id"] in ids and row["change"] in mine
        if row["arm"] == "stable" or row["release"] == change.release
    ]
    scored = workspace.warehouse.query(f"SELECT id FROM {MIRRORED}").column("id").to_pylist()
    units = _units(rows, after.mirrored & set(scored))
    found = {p: int(c[0]) for p, c in kept.items() if p[1] == "units"}
    assert found == units, {p: (found.get(p), units.get(p)) for p in {*found, *units}
                            if found.get(p) != units.get(p)}  # fmt: skip


def _units(rows: Sequence[Row], mirrors: Set[str]) -> Counter[tuple[str, str, str, int]]:
    """The metric `units` again, in Python: the first answer of each flight in each stage."""
    first: dict[tuple[str, Any], Row] = {}
    for row in sorted(rows, key=lambda row: row["served_at"]):
        if row["arm"] in ("stable", "candidate"):
            first.setdefault((row["stage"], row["key"]), row)
    found: Counter[tuple[str, str, str, int]] = Counter()
    for row in first.values():
        # Where everybody should see one release, who saw another (a lease was over) is no arm.
        shown = {"shadow": "stable", "soak": "candidate"}.get(row["stage"])
        if shown not in (None, row["arm"]):
            continue
        at = int(_moment(row["at"]).timestamp()) // BUCKET_S * BUCKET_S
        # The other's side is what was mirrored.
        mirrored = shown is not None and row["id"] in mirrors
        for side in ("stable", "candidate") if mirrored else (row["arm"],):
            found[(row["stage"], "units", side, at)] += 1
    return found


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _place(bucket: Bucket) -> tuple[str, str, str, int]:
    return bucket.stage, bucket.metric, bucket.arm, bucket.at


def _counts(bucket: Bucket) -> tuple[float, float, float]:
    return bucket.n, bucket.total, bucket.squares
