"""Predictions by the second door: a table of scores in the warehouse, under the same Route.

Features are looked up by the point-in-time join at each row's own time, and answered by the
code that answers requests, so that one subject gets one score through both doors. Every
release on the Route scores every row; who sees which is the view's to say (`shown`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from interlock.app.batches import Given, Side, objections, scored_rows, side_of
from interlock.app.build import Say, quiet
from interlock.app.changes import all_changes
from interlock.app.decided import Decided
from interlock.app.leases import LEASE_S, leased
from interlock.app.sample import Asked as Look
from interlock.app.sample import clear_or_refuse
from interlock.app.shown import (
    Place,
    follow_route,
    made_ready,
    place_of,
    ref_of,
    registered,
    releases_in,
    shares_of,
    shares_put,
    standing,
    view_made,
    view_of,
)
from interlock.app.spines import ROW, Spine
from interlock.app.versions import stored
from interlock.app.workspace import Workspace
from interlock.define.release import Route
from interlock.errors import Conflict, NotFound, Refused
from interlock.features.dialect import dialect_of
from interlock.impact.sql import tables_read
from interlock.ports import Entry, Json, Put, Replacement, Warehouse

Step = Callable[[int, int], None]
"""Rows scored so far, of all there are."""


@dataclass(frozen=True)
class Asked:
    """Which rows are scored by which model, and where the scores go.

    `spine`: a file, or a SELECT over the project's tables. `zone` says what times without an
    offset mean. `by` must be cleared when keys of masked columns stand in the table.
    """

    model: str
    spine: Given
    into: str
    zone: str | None = None
    by: str = ""


@dataclass(frozen=True)
class Batch:
    """What was scored. `releases` says how many rows each release answered, `shown` what
    people see by release now, `counted` how many rows the rollout is measured by as well.
    """

    into: str
    model: str
    rows: int
    releases: Mapping[str, int]
    shown: tuple[Json, ...]
    counted: int
    epoch: int
    scored_at: str

    def to_json(self) -> Json:
        return {**self.__dict__, "releases": dict(self.releases), "shown": list(self.shown)}


def no_step(done: int, of: int) -> None:
    """Nobody looks."""


def score(workspace: Workspace, asked: Asked, say: Say = quiet, step: Step = no_step) -> Batch:
    """Score the rows of `asked` by every release on the Route, and show them in its view.

    All of the new scores or all of the old ones are seen, whenever this is killed. Raises
    `Refused` with every objection to the spine, `Conflict` when another process scores into
    the same table or another model does.
    """
    what = f"is scoring into {asked.into}"
    lease = f"scoring:{workspace.environment}:{asked.into}"
    with leased(workspace.record, lease, LEASE_S, what) as held:
        job = _Job(workspace, asked, _sides(workspace, asked, (), say), say, step)
        return job.run(held.still_held)


def score_again(workspace: Workspace, release: str, say: Say = quiet) -> tuple[str, ...]:
    """Whatever is scored in batch here is scored by `release` too, before it is routed to."""
    done = []
    for entry in registered(workspace):
        body, place = entry.body, place_of(entry)
        known = body["model"] in stored(workspace, release).project.models
        if not known or release in releases_in(workspace.warehouse, place):
            continue
        asked = Asked(
            body["model"], _kept(workspace, body["spine"]), body["into"], None, body["by"]
        )
        lease = f"scoring:{workspace.environment}:{asked.into}"
        with leased(workspace.record, lease, LEASE_S, f"is scoring into {asked.into}") as held:
            sides = _sides(workspace, asked, (release,), say)
            _Job(workspace, asked, sides, say, no_step).run(held.still_held)
        done.append(asked.into)
    return tuple(done)


def _kept(workspace: Workspace, said: Json) -> Given:
    """The rows as they were asked for: a SELECT is asked again, a file was loaded."""
    if "sql" in said:
        return str(said["sql"])
    found = workspace.warehouse.columns(f"SELECT * FROM {said['relation']} AS r")
    columns = {name: kind for name, kind in found.items() if name != ROW}
    return Spine(said["relation"], columns, said["digest"])


def _sides(workspace: Workspace, asked: Asked, also: Sequence[str], say: Say) -> list[Side]:
    """Every release that scores; refused with what is wrong for any of them."""
    route = workspace.route()
    if route.stable is None:
        raise NotFound(
            f"nothing runs in {workspace.environment} yet, so nothing can score",
            help="release something first: interlock propose, sign, apply",
        )
    # The stable release last: its sides decide what is said of the table.
    wanted = (*_former(workspace, route.stable), *route.releases[1:], *also, route.stable)
    sides = [
        side_of(workspace, asked.model, asked.spine, asked.zone, one, say)
        for one in dict.fromkeys(wanted)
        if one
    ]
    filtered = {column for side in sides for stage in side.stages for column in stage.only}
    sides = [replace(side, asked=tuple(sorted(filtered))) for side in sides]
    found = list(dict.fromkeys(said for side in sides for said in objections(side)))
    if found:
        raise Refused(
            f"these rows cannot be scored by model:{asked.model}",
            help=f"the spine has {', '.join(sides[-1].spine.columns)}",
            objections=tuple(found),
        )
    if any(side.keys != sides[-1].keys for side in sides):
        raise Refused(
            "the releases on the Route do not agree on the spine's keys or their types",
            help="wait until the rollout has ended, or cast them in --spine",
        )
    return sides


def _former(workspace: Workspace, stable: str) -> tuple[str, ...]:
    """The release that a rollback would bring back: its scores are kept as long as it may."""
    return tuple(
        change.made_against
        for change in all_changes(workspace)
        if change.state == "COMMITTED"
        and change.release == stable
        and change.environment == workspace.environment
        and change.made_against
    )


@dataclass(frozen=True)
class _Job:
    """One scoring under its lease."""

    workspace: Workspace
    asked: Asked
    sides: Sequence[Side]
    say: Say
    step: Step

    @property
    def place(self) -> Place:
        return Place(self.asked.into, self.sides[-1].keys, self.sides[-1].about)

    @property
    def warehouse(self) -> Warehouse:
        return self.workspace.warehouse

    def run(self, still_held: Callable[[], None]) -> Batch:
        place, before = self.place, self._refuse_taken()
        self._refuse_masked()
        now = self.workspace.now()
        counts = self._stage(now)
        still_held()
        route, counted = self._swap()
        view_made(self.warehouse, place)
        self.warehouse.drop(place.staged)
        self._drop_former(before)
        shown = standing(self.warehouse, place)
        done = Batch(
            self.asked.into, self.asked.model, sum(counts.values()) // len(counts), counts,
            tuple(shown), counted, route.epoch, now.isoformat(),
        )  # fmt: skip
        self._keep(done, before)
        follow_route(self.workspace, anew=True)
        return done

    def _refuse_taken(self) -> Entry | None:
        """What was scored into this name before; refused when the name is another thing's."""
        into, model = self.asked.into, self.asked.model
        entry = self.workspace.record.get(ref_of(self.workspace, into))
        if entry is not None and entry.body["model"] != model:
            raise Conflict(
                f"{into} holds scores of model:{entry.body['model']}",
                help=f"score model:{model} into a table of its own",
            )
        if entry is None and self.warehouse.has(into) and not self.warehouse.has(self.place.scores):
            raise Conflict(
                f"{into} is there already, and holds no scores of ours",
                help="name another table with --into, or drop it first",
            )
        return entry

    def _refuse_masked(self) -> None:
        """Keys stand in the table as they are: who asks for masked ones must be cleared."""
        spine, model = self.asked.spine, self.sides[-1].model
        tables = tables_read(spine) if isinstance(spine, str) else [model.spine]
        shown = [f"column:{table}.{name}" for table in tables for name in self.place.keys]
        clear_or_refuse(self.workspace, Look(self.asked.by, f"scores of {model.ref}"), shown)

    def _stage(self, now: datetime) -> dict[str, int]:
        """The rows of every release beside what is shown; how many each gave."""
        counts = {side.release: 0 for side in self.sides}
        salt = self.workspace.route().salt
        every = sum(self._count(side.spine.relation) for side in self.sides)
        for side in self.sides:
            self.say(f"scoring model:{self.asked.model} by release {side.release[:12]}")
            for rows in scored_rows(side, salt, now):
                first = side is self.sides[0] and not rows.num_rows
                self.warehouse.load(self.place.staged, rows, append=not first)
                counts[side.release] += rows.num_rows
                self.step(sum(counts.values()), every)
        return counts

    def _count(self, relation: str) -> int:
        rows = self.warehouse.query(f"SELECT count(*) AS n FROM {relation} AS t").to_pylist()
        return int(rows[0]["n"])

    def _swap(self) -> tuple[Route, int]:
        """All of it is seen from here on, and counted where the rollout is; or nothing is."""
        made_ready(self.warehouse, self.place)
        route, model = self.workspace.route(), self.sides[-1].model
        shares = shares_of(route, [side.release for side in self.sides], self.place)
        dialect = dialect_of(self.warehouse)
        parts = [
            Replacement(self.place.scores, "TRUE", f"SELECT * FROM {self.place.staged} AS t"),
            shares_put(self.place, dialect, route, shares),
        ]
        entry = self.workspace.record.get(self.workspace.route_ref)
        since = entry.written_at if entry else self.workspace.now()
        names = (model.model, model.key, model.time)
        decided = Decided(self.warehouse, self.place, names, route, shares, since)
        told = decided.puts if decided.is_counted else []
        counted = self._count(f"({decided.answers})") if told else 0
        self.warehouse.replace([*parts, *told])
        return route, counted

    def _drop_former(self, before: Entry | None) -> None:
        """Tables of another shape that stood behind the name; nobody reads them any more."""
        former = place_of(before) if before else self.place
        if former != self.place:
            view = view_of(dialect_of(self.warehouse), former)
            for name in (view, former.scores, former.shares):
                self.warehouse.drop(name)

    def _keep(self, done: Batch, before: Entry | None) -> None:
        """What was scored, so that it is scored by every release to come."""
        spine = self.sides[-1].spine
        given = self.asked.spine
        said = {"sql": given} if isinstance(given, str) else {"relation": spine.relation}
        body = {
            **done.to_json(), "environment": self.workspace.environment,
            "keys": self.place.keys, "about": list(self.place.about), "by": self.asked.by,
            "spine": {**said, "digest": spine.digest},
        }  # fmt: skip
        put = Put(ref_of(self.workspace, done.into), body, before.version if before else 0)
        self.workspace.record.write([put], by=self.asked.by or "score", at=self.workspace.now())
