"""Where batch scores stand: one table per `--into`, and a view that follows the Route.

The table holds every release's scores of every row; a small table beside it holds which
cohorts see which release, copied from the Route; the view joins the two. So to go forward or
back is to rewrite that small table: nothing is scored again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from interlock.app.workspace import Workspace
from interlock.define.digest import digest
from interlock.define.refs import Ref
from interlock.define.release import Filter, Route
from interlock.features.compile import physical
from interlock.features.dialect import Dialect, dialect_of
from interlock.ports import Entry, Json, Replacement, Warehouse
from interlock.rollout.cohort import BITS, Range, cohort_sql, key_sql, ranges
from interlock.serve.published import only_stable

# What stands in the table beside the columns of the spine; `inputs` is the matrix row.
MADE = (
    "subject", "cohort", "salt", "release", "version", "score", "reason", "stale", "oldest_s",
    "fallbacks", "error", "inputs", "id", "scored_at",
)  # fmt: skip
_SHOWN = ("score", "reason", "error", "release", "version", "stale", "oldest_s", "scored_at", "id")
ADDED = ("cohort", "arm", "assigned", "epoch", *_SHOWN, "subject")


@dataclass(frozen=True)
class Place:
    """The physical names behind one `--into` whose spine columns are `keys` (name -> type).

    `about` are those of them that a stage may ask for.
    """

    into: str
    keys: Mapping[str, str]
    about: tuple[str, ...] = ()

    def tells(self, route: Route) -> bool:
        """Whether rows say enough for the filter of `route`."""
        return {name for name, _ in route.filter} <= set(self.about)

    @property
    def scores(self) -> str:
        return physical(f"scores_{self.into}", self._digest)

    @property
    def shares(self) -> str:
        return physical(f"shares_{self.into}", self._digest)

    @property
    def staged(self) -> str:
        return physical(f"scoring_{self.into}", self._digest)

    @property
    def _digest(self) -> str:
        # Tables in which no stage asks for anything have the shape that they always had.
        more = [list(self.about)] if self.about else []
        return digest([2, self.into, dict(self.keys), *more])


@dataclass(frozen=True)
class Share:
    """One range of cohorts. `release` is whose scores are shown, `assigned` whose are due."""

    range: Range
    release: str

    @property
    def behind(self) -> bool:
        """Scores of another release stand in: what is due was never scored here."""
        return self.release != self.range.release


def shares_of(route: Route, scored: Sequence[str], place: Place) -> tuple[Share, ...]:
    """Who sees which of the releases that were `scored`, newest last.

    Where the assigned one was not, the stable one's scores are shown and failing that the
    newest that was not taken back, as a gateway does; no release at all is nothing to show. Of
    a Route that somebody edited by hand, or whose filter asks for what rows do not say, only
    the stable release counts.
    """
    left = [one for one in scored if one not in route.blocked]
    found = []
    told = not route.flaws() and place.tells(route)
    for one in ranges(route if told else only_stable(route)):
        wanted = [r for r in (one.release, route.stable) if r in scored]
        if wanted or left:
            found.append(Share(one, str(wanted[0] if wanted else left[-1])))
    return tuple(found)


def place_of(entry: Entry) -> Place:
    """Where the scores of a `scoring:` entry stand."""
    return Place(entry.body["into"], entry.body["keys"], tuple(entry.body.get("about", ())))


def registered(workspace: Workspace) -> list[Entry]:
    """Everything that is scored in batch in this environment."""
    found = workspace.record.list("scoring")
    return [one for one in found if one.body["environment"] == workspace.environment]


def ref_of(workspace: Workspace, into: str) -> Ref:
    return Ref("scoring", f"{workspace.environment}/{into}")


def releases_in(warehouse: Warehouse, place: Place) -> list[str]:
    """The releases whose scores stand in the table, the one scored last at the end."""
    if not warehouse.has(place.scores):
        return []
    rows = warehouse.query(
        f"SELECT release, max(id) AS last FROM {place.scores} AS t GROUP BY release ORDER BY last"
    )
    return [str(name) for name in rows.column("release").to_pylist()]


def shares_put(
    place: Place, dialect: Dialect, route: Route, shares: Sequence[Share]
) -> Replacement:
    """The shares as the Route has them, unless the table knows a later Route already."""
    rows = list(_share_rows(place, dialect, route, shares))
    if not rows:
        return Replacement(place.shares, "TRUE", f"SELECT * FROM {place.shares} AS t WHERE FALSE")
    later = f"NOT EXISTS (SELECT 1 FROM {place.shares} AS k WHERE k.epoch > {route.epoch})"
    listed = " UNION ALL ".join(rows)
    return Replacement(
        place.shares, f"epoch <= {route.epoch}", f"SELECT * FROM ({listed}) AS v WHERE {later}"
    )


def _share_rows(
    place: Place, dialect: Dialect, route: Route, shares: Sequence[Share]
) -> Iterator[str]:
    text = dialect.text

    def whole(number: int) -> str:
        return dialect.cast(str(number), "integer")

    only = f", {text(_listed(route.filter))} AS lets_in" if place.about else ""
    for share in shares:
        one = share.range
        yield (
            f"SELECT {whole(route.epoch)} AS epoch, {text(route.salt)} AS salt, "
            f"{text(one.arm)} AS arm, {text(share.release)} AS release, "
            f"{text(one.release)} AS assigned, {whole(one.low)} AS low, {whole(one.high)} AS high"
            f"{only}"
        )


def _listed(filter: Filter) -> str:
    """`||origin=JFK||carrier=UA||`. Key text never holds two bars next to each other."""
    every = (f"{column}={value}" for column, values in filter for value in values)
    return "||".join(["", *every, ""]) if filter else ""


def _let_in(dialect: Dialect, place: Place) -> Iterator[str]:
    """For each column that a stage may ask for: it does not ask, or the row has such a value."""
    for name in place.about:
        part = key_sql(dialect, f"c.{dialect.quoted(name)}", place.keys[name])
        asks = f"position({dialect.text(f'||{name}=')} IN a.lets_in) > 0"
        said = f"{dialect.text(f'||{name}=')} || {part} || '||'"
        yield f"(NOT {asks} OR coalesce(position({said} IN a.lets_in) > 0, FALSE))"


def made_ready(warehouse: Warehouse, place: Place) -> None:
    """The tables of `place`, empty, where they are not there yet; nobody reads them so far."""
    dialect = dialect_of(warehouse)
    if not warehouse.has(place.scores):
        warehouse.build(place.scores, f"SELECT * FROM {place.staged} AS t WHERE FALSE")
    if not warehouse.has(place.shares):
        none = Share(Range("stable", "", 0, 0), "")
        (row,) = _share_rows(place, dialect, Route(""), [none])
        warehouse.build(place.shares, f"SELECT * FROM ({row}) AS v WHERE FALSE")


def view_made(warehouse: Warehouse, place: Place) -> None:
    """The name people read, on these tables; in place of other ones in one move."""
    dialect = dialect_of(warehouse)
    view = view_of(dialect, place)
    if not warehouse.has(view):
        warehouse.execute(f"CREATE VIEW {dialect.address(view)} AS {shown_sql(dialect, place)}")
    warehouse.point({place.into: view})


def view_of(dialect: Dialect, place: Place) -> str:
    """The physical view of `place`, named after what it says: it is never made anew under readers.

    Not every engine can do that without a moment in which there is nothing.
    """
    return physical(f"shown_{place.into}", digest(shown_sql(dialect, place)))


def shown_sql(dialect: Dialect, place: Place) -> str:
    """Each row of the spine once, with the score of the release that its subject sees now.

    Who has no subject, or is outside of the filter, sees the stable release, as at a gateway.
    Cohorts were made under the salt of the day; under another one they are made again.
    """
    q = dialect.quoted
    anew = cohort_sql(dialect, "r.salt", "s.subject")
    cohort = f"CASE WHEN s.salt = r.salt THEN s.cohort ELSE {anew} END"
    own = ", ".join(f"c.{q(name)}" for name in place.keys)
    shown = ", ".join(f"c.{q(name)}" for name in _SHOWN)
    salts = f"(SELECT DISTINCT salt FROM {place.shares} AS k)"
    # Of several ranges the one that `ranges` keeps for those without a cohort: each row once.
    cases = [f"WHEN c.bucket IS NULL THEN a.arm = 'stable' AND a.high = {2**BITS}"]
    if place.about:
        out = f"a.arm = 'outside' AND a.low = {2**BITS}"
        cases.insert(0, f"WHEN NOT ({' AND '.join(_let_in(dialect, place))}) THEN {out}")
    return (
        f"SELECT {own}, c.subject, {shown}, c.bucket AS cohort, a.arm, a.assigned, a.epoch "
        f"FROM (SELECT s.*, {cohort} AS bucket FROM {place.scores} AS s CROSS JOIN {salts} AS r) "
        f"AS c JOIN {place.shares} AS a ON a.release = c.release AND "
        f"(CASE {' '.join(cases)} ELSE c.bucket >= a.low AND c.bucket < a.high END)"
    )


def follow_route(workspace: Workspace, anew: bool = False) -> tuple[str, ...]:
    """Every view shows what the Route says now; asked for at every look, cheap when it stands.

    With `anew` also where the epoch is the same: other releases were scored. Gives back the
    names whose views moved.
    """
    entries, moved = registered(workspace), []
    for entry in entries:
        place, route = place_of(entry), workspace.route()
        if anew or _epoch(workspace.warehouse, place) < route.epoch:
            scored = releases_in(workspace.warehouse, place)
            shares = shares_of(route, scored, place)
            dialect = dialect_of(workspace.warehouse)
            workspace.warehouse.replace([shares_put(place, dialect, route, shares)])
            moved.append(place.into)
    return tuple(moved)


def _epoch(warehouse: Warehouse, place: Place) -> int:
    rows = warehouse.query(f"SELECT max(epoch) AS epoch FROM {place.shares} AS t").to_pylist()
    return int(rows[0]["epoch"] or 0)


def standing(warehouse: Warehouse, place: Place) -> list[Json]:
    """Rows, errors and stand-ins that people see now, by release."""
    found: list[dict[str, Any]] = warehouse.query(
        "SELECT release, arm, count(*) AS n, "
        "count(CASE WHEN score IS NULL THEN 1 END) AS without, "
        "count(CASE WHEN reason = 'fallback' THEN 1 END) AS fallbacks "
        f"FROM {dialect_of(warehouse).address(place.into)} AS t GROUP BY release, arm ORDER BY arm"
    ).to_pylist()
    return found
