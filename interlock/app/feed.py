"""Feature rows from the warehouse to the online store, in the order in which they became known."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from interlock.app.changes import may_go_back_to
from interlock.app.push import fed_on, take_in
from interlock.app.stores import stores_now
from interlock.app.workspace import WallClock, Workspace
from interlock.define.keys import entity_keys
from interlock.define.refs import Ref
from interlock.errors import Unavailable
from interlock.features.compile import physical
from interlock.features.contract import declared_type
from interlock.features.dialect import Dialect, dialect_of
from interlock.features.timeline import own_stamp
from interlock.ports import OnlineRow, OnlineStore, Warehouse
from interlock.serve.spec import Lookup, ServingSpec

KnownRow = tuple[float, str, OnlineRow]


def lookups_of(specs: Sequence[ServingSpec]) -> tuple[Lookup, ...]:
    """Every view version that the given releases read, each once."""
    found = {
        lookup.fingerprint: lookup
        for spec in specs
        for model in spec.models.values()
        for lookup in model.lookups
    }
    return tuple(found.values())


def live_lookups(workspace: Workspace, unfit: Collection[str] = ()) -> tuple[Lookup, ...]:
    """Every view version that the releases on the Route read, and those it may go back to.

    Whoever goes back must not find rows of the day on which the change was committed. What only
    releases in `unfit` read is left where it stands: its rows in the warehouse are not whole.
    """
    releases = (*workspace.route().releases, *may_go_back_to(workspace))
    wanted = [digest for digest in releases if digest not in unfit]
    entries = [workspace.record.get(Ref("serving", digest)) for digest in wanted]
    return lookups_of([ServingSpec.from_json(entry.body) for entry in entries if entry])


def keep_online(workspace: Workspace) -> str:
    """Bring every store up to now, and say what is wrong with any of them.

    Rows that were pushed are read first. Replayed time is not ours to follow: whoever plays
    it pushes rows as they became known.
    """
    if not live_lookups(workspace):
        return ""
    taken = take_in(workspace)
    lookups = live_lookups(workspace, taken.unfit)
    if not isinstance(workspace.clock, WallClock):
        fed_on(workspace, taken.tables)
        return ""
    try:
        Feeder(workspace.warehouse, workspace.online).catch_up(lookups, taken.until, taken.changed)
    except Unavailable as error:
        return error.message
    fed_on(workspace, taken.tables)
    return "; ".join([*taken.unfit.values(), *stores_now(workspace).sentences])


@dataclass
class Feeder:
    """Pushes rows as time passes; `withheld` views stand still (a late or broken source).

    Where it begins is what the store says of itself: a store that missed something gets it
    again, and one that has everything is asked for nothing.
    """

    warehouse: Warehouse
    store: OnlineStore
    withheld: set[str] = field(default_factory=set)
    _stands: dict[str, float] = field(default_factory=dict)
    _ahead: dict[str, tuple[list[float], list[KnownRow]]] = field(default_factory=dict)

    def catch_up(
        self, lookups: Sequence[Lookup], until: datetime, changed: Collection[str] = ()
    ) -> int:
        """The newest row of every entity known at `until`, for views not pushed that far yet.

        Views in `changed` (fingerprints) begin at the beginning: their old rows are new ones.
        """
        count, moment = 0, until.timestamp()
        marks = self.store.watermarks()
        self._stands = {view: at for view, at in marks.items() if view not in changed}
        for lookup in lookups:
            since = self._stands.get(lookup.fingerprint)
            if lookup.view in self.withheld or (since is not None and since >= moment):
                continue
            rows = self._rows(lookup, since, until, newest_only=True)
            count += self._write(lookup, ((key, row) for _, key, row in rows), moment)
        return count

    def again(self, lookup: Lookup, since: datetime | None, withdrawn: bool) -> int:
        """Rows that moved and are known from `since` on, for a store that has gone past them.

        A late older row never overwrites a newer one: the store keeps the last in order. Only
        when the newest row itself was `withdrawn` is the view written from its beginning.
        """
        stands = self.store.watermarks().get(lookup.fingerprint)
        if stands is None:
            return 0  # it has nothing yet, and catching up brings all
        if withdrawn:
            self.store.drop(lookup.fingerprint)
        # A double holds a quarter of a microsecond: a millisecond more only writes rows again.
        after = None if withdrawn or since is None else since.timestamp() - 0.001
        until = datetime.fromtimestamp(stands, UTC)
        rows = self._rows(lookup, after, until, newest_only=True)
        span = (None, stands) if withdrawn else None
        return self.store.write(lookup.fingerprint, ((key, row) for _, key, row in rows), span)

    def look_ahead(self, lookups: Sequence[Lookup], until: datetime) -> None:
        """Read all rows up to `until`, one query per view, for `push` to write as time passes."""
        for lookup in lookups:
            since = self._stands.get(lookup.fingerprint)
            rows = self._rows(lookup, since, until, newest_only=False)
            rows.sort(key=lambda row: row[0])
            self._ahead[lookup.fingerprint] = ([row[0] for row in rows], rows)

    def push(self, lookups: Sequence[Lookup], now: datetime) -> int:
        """Write what became known up to and including `now`; the newest row of each entity wins."""
        moment, count = now.timestamp(), 0
        for lookup in lookups:
            if lookup.view in self.withheld or self._stands.get(lookup.fingerprint, 0.0) >= moment:
                continue
            times, rows = self._ahead.get(lookup.fingerprint, ([], []))
            end = bisect_right(times, moment)
            newest = {key: row for _, key, row in rows[:end]}
            count += self._write(lookup, newest.items(), moment)
            self._ahead[lookup.fingerprint] = (times[end:], rows[end:])
        return count

    def _write(self, lookup: Lookup, rows: Iterable[tuple[str, OnlineRow]], until: float) -> int:
        since = self._stands.get(lookup.fingerprint)
        kept = self.store.write(lookup.fingerprint, rows, (since, until))
        self._stands[lookup.fingerprint] = until
        return kept

    def _rows(
        self, lookup: Lookup, since: float | None, until: datetime, newest_only: bool
    ) -> list[KnownRow]:
        """Rows with the instant they became the answer, in (since, until], as the view knows it."""
        dialect = dialect_of(self.warehouse)
        keys = ", ".join(map(dialect.quoted, lookup.entity))
        known = dialect.quoted(lookup.known)
        after = None if since is None else datetime.fromtimestamp(since, UTC)
        lower = f"{known} > {dialect.instant(after)} AND " if after else ""
        table = physical(lookup.view, lookup.fingerprint)
        types = self.warehouse.columns(f"SELECT * FROM {table} AS t")
        place = f"row_number() OVER (PARTITION BY {keys} ORDER BY {known} DESC)"
        rows = f"SELECT t.*, {place if newest_only else 1} AS place__ FROM {table} AS t"
        columns = self.warehouse.query(
            f"SELECT {keys}, {', '.join(stored_numbers(lookup, types, dialect))} FROM "
            f"({rows} WHERE {lower}{known} <= {dialect.instant(until)}) AS q WHERE place__ = 1"
        ).to_pydict()
        entities = entity_keys([columns[name] for name in lookup.entity])
        numbers = [columns[name] for name in columns if name not in lookup.entity]
        return [
            (known, key, OnlineRow(event_time, tuple(values), available_at, known))
            for key, (known, event_time, available_at, *values) in zip(
                entities, zip(*numbers, strict=True), strict=True
            )
            if key is not None
        ]


def stored_numbers(lookup: Lookup, types: Mapping[str, str], dialect: Dialect) -> list[str]:
    """What is stored of a row: when it was known, its times, its values, their own times.

    Of rows with equal times the one known last is the answer, so that is their tie-break.
    """

    def number(column: str) -> str:  # text is not for the online store
        return dialect.number(dialect.quoted(column), declared_type(types[column]))

    own = [own_stamp(lookup.features[place]) for place in lookup.remembered]
    available = number(lookup.available_at) if lookup.available_at else "NULL"
    return [
        f"{number(lookup.known)} AS known__",
        f"{number(lookup.event_time)} AS at__",
        f"coalesce({available}, {dialect.literal(-math.inf)}) AS available__",
        *(f"{number(name)} AS {dialect.quoted(f'{name}__v')}" for name in (*lookup.features, *own)),
    ]
