"""Feature rows from the warehouse to the online store, in the order in which they became known."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import repeat

from interlock.app.stores import stores_now
from interlock.app.workspace import WallClock, Workspace
from interlock.define.keys import entity_key
from interlock.define.refs import Ref
from interlock.errors import Unavailable
from interlock.features.compile import physical
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


def live_lookups(workspace: Workspace) -> tuple[Lookup, ...]:
    """Every view version that the releases on the Route read."""
    route = workspace.route()
    entries = [
        workspace.record.get(Ref("serving", d)) for d in (route.stable, route.candidate) if d
    ]
    return lookups_of([ServingSpec.from_json(entry.body) for entry in entries if entry])


def keep_online(workspace: Workspace) -> str:
    """Bring every store up to now, and say what is wrong with any of them.

    Replayed time is not ours to follow: whoever plays it pushes rows as they became known.
    """
    if not isinstance(workspace.clock, WallClock):
        return ""
    lookups = live_lookups(workspace)
    if not lookups:
        return ""
    try:
        Feeder(workspace.warehouse, workspace.online).catch_up(lookups, workspace.now())
    except Unavailable as error:
        return error.message
    return "; ".join(stores_now(workspace).sentences)


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

    def catch_up(self, lookups: Sequence[Lookup], until: datetime) -> int:
        """The newest row of every entity known at `until`, for views not pushed that far yet."""
        count, moment = 0, until.timestamp()
        self._stands = self.store.watermarks()
        for lookup in lookups:
            since = self._stands.get(lookup.fingerprint)
            if lookup.view in self.withheld or (since is not None and since >= moment):
                continue
            rows = self._rows(lookup, since, until, newest_only=True)
            count += self._write(lookup, ((key, row) for _, key, row in rows), moment)
        return count

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
        keys = ", ".join(f'"{name}"' for name in lookup.entity)
        values = ", ".join(f'"{name}"::DOUBLE AS "{name}"' for name in lookup.features)
        after = None if since is None else datetime.fromtimestamp(since, UTC)
        lower = f"ts > {_instant(after)} AND " if after else ""
        newest = (
            f" QUALIFY row_number() OVER (PARTITION BY {keys} ORDER BY ts DESC) = 1"
            if newest_only
            else ""
        )
        table = self.warehouse.query(
            f"SELECT {keys}, epoch(ts)::DOUBLE AS ts__, {values} "
            f"FROM {physical(lookup.view, lookup.fingerprint)} "
            f"WHERE {lower}ts <= {_instant(until)}{newest}"
        )
        columns: Mapping[str, list[object]] = table.to_pydict()
        entities = zip(*(columns[name] for name in lookup.entity), strict=True)
        features = [columns[name] for name in lookup.features]
        rows = zip(*features, strict=True) if features else repeat(())
        found = []
        for entity, ts, row in zip(entities, columns["ts__"], rows, strict=False):
            key = entity_key(entity)
            if key is not None:
                found.append((ts, key, OnlineRow(ts, row)))  # type: ignore[arg-type]  # a DOUBLE column
        return found  # type: ignore[return-value]


def _instant(moment: datetime) -> str:
    return f"TIMESTAMP '{moment.strftime('%Y-%m-%d %H:%M:%S.%f')}'"
