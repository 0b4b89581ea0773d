"""Batch scores are decisions too: those of the rollout are counted where answers are counted.

They go into the warehouse's copy of the prediction log in the transaction that shows them, so
that each is counted once or not at all, whenever a process is killed.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from interlock.app.ingest import LOG, MIRRORED, prepare_log
from interlock.app.shown import Place, Share
from interlock.define.release import Route
from interlock.features.dialect import Dialect, dialect_of
from interlock.ports import Replacement, Warehouse
from interlock.rollout.cohort import WHOLE, inside_sql


@dataclass(frozen=True)
class Decided:
    """What `place.staged` shows of instants from `since` on, as rows of the log.

    `names` are the model, its key and its time. Rows of earlier instants are history scored
    again, and nobody's decision.
    """

    warehouse: Warehouse
    place: Place
    names: tuple[str, str, str]
    route: Route
    shares: Sequence[Share]
    since: datetime

    @property
    def is_counted(self) -> bool:
        """Whether the log can hold the key, and rows say who takes part."""
        is_whole = self.place.keys[self.names[1]].upper() in WHOLE
        return is_whole and self.place.tells(self.route)

    @property
    def puts(self) -> list[Replacement]:
        """The rows, behind the log's own."""
        prepare_log(self.warehouse)
        found = [Replacement(LOG, "FALSE", self.answers)]
        several = self.route.mirror and self.route.arms
        return [*found, Replacement(MIRRORED, "FALSE", self.mirrors)] if several else found

    @property
    def answers(self) -> str:
        """One row of the log for each that somebody sees."""
        prepare_log(self.warehouse)
        model, key, moment = self.names
        dialect, route = self._dialect, self.route
        text, q = dialect.text, dialect.quoted
        # Beside an answer there is room for one other side: of several each has its own row.
        mirrored = route.mirror and route.candidate is not None
        other = {
            name: f"o.{name}" if mirrored else "NULL" for name in ("release", "score", "wrong")
        }
        values = {
            "id": "s.id", "asked_at": dialect.utc.format(x=f"s.{q(moment)}"),
            "served_at": repr(time.time()), "model": text(model),
            "subject": "coalesce(s.subject, '')", "key": dialect.cast(f"s.{q(key)}", "integer"),
            "epoch": str(route.epoch), "stage": self._said(route.stage),
            "change": self._said(route.change), "arm": "s.arm", "release": "s.release",
            "score": "s.score", "reason": "s.reason", "stale": "s.stale",
            "oldest_s": "s.oldest_s", "fallback": "s.fallbacks <> ''",
            "error": "s.error IS NOT NULL", "mirror_release": other["release"],
            "mirror_score": other["score"], "mirror_error": other["wrong"],
        }  # fmt: skip
        typed = self.warehouse.columns(f"SELECT * FROM {LOG} AS t")
        listed = ", ".join(f"{values.get(name, 'NULL')} AS {q(name)}" for name in typed)
        joined = f"LEFT JOIN {self._others}" if mirrored else ""
        return f"SELECT {listed} FROM ({self._shown}) AS s {joined} WHERE s.release = s.due"

    @property
    def mirrors(self) -> str:
        """What every other side says of the same rows: all candidates of what stable shows."""
        return (
            "SELECT s.id, o.release, o.score, o.wrong AS error, o.stood_in AS fallback, "
            f"{self._dialect.cast('NULL', 'double')} AS us FROM ({self._shown}) AS s "
            f"JOIN {self._others} AND (s.arm = 'stable' OR o.release = {self._stable}) "
            "WHERE s.release = s.due AND s.arm IN ('stable', 'candidate')"
        )

    @property
    def _dialect(self) -> Dialect:
        return dialect_of(self.warehouse)

    @property
    def _stable(self) -> str:
        return self._dialect.text(self.route.stable or "")

    def _said(self, value: str | None) -> str:
        return "NULL" if value is None else self._dialect.text(value)

    @property
    def _shown(self) -> str:
        """Every score, with the arm of its row and the release whose score is due there."""
        dialect = self._dialect
        stamp = f"s.{dialect.quoted(self.names[2])}"
        shown = (
            f"SELECT s.*, {self._of_cohort('arm')} AS arm, {self._of_cohort('due')} AS due "
            f"FROM {self.place.staged} AS s WHERE {stamp} >= {dialect.instant(self.since)}"
        )
        if len(self.shares) > 1:  # a rollout that began meanwhile draws its lots anew
            shown += f" AND s.salt = {dialect.text(self.route.salt)}"
        return shown

    def _of_cohort(self, what: str) -> str:
        """The `arm` of each row, or the release that is `due`: NULL where another stands in.

        Who has no cohort sees the last range of the stable arm, as in the view.
        """
        said = {one.range.arm: self._value(one, what) for one in self.shares}
        cases = " ".join(
            f"WHEN s.cohort >= {one.range.low} AND s.cohort < {one.range.high} "
            f"THEN {self._value(one, what)}"
            for one in self.shares
        )
        outside = said.get("outside", self._said("outside" if what == "arm" else None))
        stable = said.get("stable", self._said("stable" if what == "arm" else None))
        return f"CASE WHEN NOT ({self._inside}) THEN {outside} {cases} ELSE {stable} END"

    def _value(self, share: Share, what: str) -> str:
        if what == "arm":
            return self._said(share.range.arm)
        return self._said(None if share.behind else share.release)

    @property
    def _inside(self) -> str:
        dialect = self._dialect
        named = {n: (f"s.{dialect.quoted(n)}", type) for n, type in self.place.keys.items()}
        return inside_sql(dialect, named, self.route.filter)

    @property
    def _others(self) -> str:
        """The other releases' scores of the same row, where there is one such row of each."""
        q = self._dialect.quoted
        key, moment = q(self.names[1]), q(self.names[2])
        sides = ", ".join(map(self._dialect.text, self.route.releases))
        return (
            f"(SELECT {key}, {moment}, release, max(score) AS score, "
            "max(CASE WHEN error IS NULL THEN 0 ELSE 1 END) = 1 AS wrong, "
            "max(CASE WHEN fallbacks = '' THEN 0 ELSE 1 END) = 1 AS stood_in "
            f"FROM {self.place.staged} AS m WHERE release IN ({sides}) "
            f"GROUP BY {key}, {moment}, release HAVING count(*) = 1) AS o "
            f"ON o.{key} = s.{key} AND o.{moment} = s.{moment} AND o.release <> s.release"
        )
