"""Batch scores are decisions too: those of the rollout are counted where answers are counted.

They go into the warehouse's copy of the prediction log in the transaction that shows them, so
that each is counted once or not at all, whenever a process is killed.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime

from interlock.app.ingest import LOG, prepare_log
from interlock.app.shown import Place, Share
from interlock.define.release import Route
from interlock.features.dialect import Dialect, dialect_of
from interlock.ports import Replacement, Warehouse
from interlock.rollout.cohort import WHOLE, inside_sql


def decided_sql(
    warehouse: Warehouse,
    place: Place,
    names: tuple[str, str, str],
    route: Route,
    shares: Sequence[Share],
    since: datetime,
) -> str | None:
    """The rows of the log for what `place.staged` shows of instants from `since` on.

    `names` are the model, its key and its time. None where the log cannot hold the key. Rows
    of earlier instants are history scored again, and nobody's decision.
    """
    model, key, moment = names
    if place.keys[key].upper() not in WHOLE or not place.tells(route):
        return None
    prepare_log(warehouse)
    dialect = dialect_of(warehouse)
    text, q = dialect.text, dialect.quoted
    stamp = f"s.{q(moment)}"
    mirrored = route.mirror and route.candidate is not None
    other = {name: f"o.{name}" if mirrored else "NULL" for name in ("release", "score", "wrong")}
    values = {
        "id": "s.id", "asked_at": dialect.utc.format(x=stamp), "served_at": repr(time.time()),
        "model": text(model), "subject": "coalesce(s.subject, '')",
        "key": dialect.cast(f"s.{q(key)}", "integer"), "epoch": str(route.epoch),
        "stage": _said(dialect, route.stage), "change": _said(dialect, route.change),
        "arm": "s.arm", "release": "s.release", "score": "s.score", "reason": "s.reason",
        "stale": "s.stale", "oldest_s": "s.oldest_s", "fallback": "s.fallbacks <> ''",
        "error": "s.error IS NOT NULL", "mirror_release": other["release"],
        "mirror_score": other["score"], "mirror_error": other["wrong"],
    }  # fmt: skip
    typed = warehouse.columns(f"SELECT * FROM {LOG} AS t")
    listed = ", ".join(f"{values.get(name, 'NULL')} AS {q(name)}" for name in typed)
    named = {name: (f"s.{q(name)}", type) for name, type in place.keys.items()}
    inside = inside_sql(dialect, named, route.filter)
    shown = (
        f"SELECT s.*, {_arm(shares, inside)} AS arm FROM {place.staged} AS s "
        f"WHERE {stamp} >= {dialect.instant(since)}"
    )
    if len(shares) > 1:  # a rollout that began meanwhile draws its lots anew
        shown += f" AND s.salt = {text(route.salt)}"
    mirror = _mirror(place, q(key), q(moment), route) if mirrored else ""
    return f"SELECT {listed} FROM ({shown}) AS s {mirror} WHERE {_own(dialect, shares)}"


def _said(dialect: Dialect, value: str | None) -> str:
    return "NULL" if value is None else dialect.text(value)


def _arm(shares: Sequence[Share], inside: str) -> str:
    ranges = (share.range for share in shares)
    cases = " ".join(
        f"WHEN s.cohort >= {one.low} AND s.cohort < {one.high} THEN '{one.arm}'" for one in ranges
    )
    return f"CASE WHEN NOT ({inside}) THEN 'outside' {cases} ELSE 'stable' END"


def _own(dialect: Dialect, shares: Sequence[Share]) -> str:
    """Rows that people see. Scores that only stand in for those of another are not counted."""
    own = (
        f"(s.arm = '{share.range.arm}' AND s.release = {dialect.text(share.release)})"
        for share in shares
        if not share.behind
    )
    return " OR ".join(own) or "FALSE"


def _mirror(place: Place, key: str, moment: str, route: Route) -> str:
    """The other release's score of the same row, where there is one such row."""
    sides = ", ".join(f"'{one}'" for one in (route.stable, route.candidate) if one)
    return (
        f"LEFT JOIN (SELECT {key}, {moment}, release, max(score) AS score, "
        f"max(CASE WHEN error IS NULL THEN 0 ELSE 1 END) = 1 AS wrong FROM {place.staged} AS m "
        f"WHERE release IN ({sides}) GROUP BY {key}, {moment}, release HAVING count(*) = 1) AS o "
        f"ON o.{key} = s.{key} AND o.{moment} = s.{moment} AND o.release <> s.release"
    )


def decided_put(sql: str) -> Replacement:
    """Those rows, behind the log's own."""
    return Replacement(LOG, "FALSE", sql)
