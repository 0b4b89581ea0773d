"""What changed between two sets of facts, thing by thing and column by column.

Each thing is compared in its own words, without what lies below it: what a change does to
its readers is for `graph` to say.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from interlock.define.refs import Ref
from interlock.impact.facts import Facts
from interlock.impact.nodes import NodeFacts
from interlock.impact.promises import broken_promises, column_verdict, restated
from interlock.impact.query import QueryDifference, QueryFacts, RowVerdict, Verdict, compare_queries

Change = Literal["added", "changed", "removed"]


@dataclass(frozen=True)
class Difference:
    """One thing that is not what it was.

    `columns` holds only those that changed. `reasons` say what else did, in words.
    `settings` are parts that must be released but move no value. `broken` is what those who
    rely on it lose, in sentences.
    """

    ref: Ref
    change: Change
    row_set: RowVerdict = "same"
    columns: Mapping[str, Verdict] = field(default_factory=dict)
    reasons: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    broken: tuple[str, ...] = ()

    @property
    def additive(self) -> bool:
        """Nobody who reads what was there before is affected."""
        if self.change == "added":
            return True
        only_new = all(v.verdict == "added" for v in self.columns.values())
        moved = self.row_set != "same" or self.reasons or self.settings
        return self.change == "changed" and only_new and not moved

    @property
    def breaking(self) -> bool:
        """Readers cannot go on as they are: something is gone, or means another thing."""
        gone = any(v.verdict in ("removed", "retyped") for v in self.columns.values())
        return self.change == "removed" or gone or bool(self.broken)

    def to_json(self) -> dict[str, Any]:
        """As plain data; `from_json` reads it back."""
        columns = {name: [v.verdict, v.reason] for name, v in self.columns.items()}
        return {
            "ref": str(self.ref), "change": self.change, "row_set": self.row_set,
            "columns": columns, "reasons": list(self.reasons),
            "settings": list(self.settings), "broken": list(self.broken),
        }  # fmt: skip

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Difference:
        columns = {name: Verdict(*said) for name, said in body["columns"].items()}
        return cls(
            Ref.parse(body["ref"]), body["change"], body["row_set"], columns,
            tuple(body["reasons"]), tuple(body["settings"]), tuple(body.get("broken", ())),
        )  # fmt: skip

    @property
    def meaningful(self) -> bool:
        """Values may move; otherwise only settings changed."""
        return bool(
            self.change != "changed"
            or self.row_set != "same"
            or self.columns
            or self.reasons
            or self.broken
        )


def differences(old: Facts | None, new: Facts) -> tuple[Difference, ...]:
    """Everything added, changed or removed, in order of Ref; empty when all means the same.

    Owner, description and formatting are no difference.
    """
    before: Mapping[str, NodeFacts] = old.nodes if old else {}
    found: list[Difference] = []
    for name in sorted({*before, *new.nodes}):
        if name not in before:
            found.append(Difference(Ref.parse(name), "added"))
        elif name not in new.nodes:
            found.append(Difference(Ref.parse(name), "removed"))
        elif not new.same(old, name) and before[name] != new.nodes[name]:
            found += _changed(before[name], new.nodes[name])
    return tuple(found)


def _changed(was: NodeFacts, now: NodeFacts) -> Iterator[Difference]:
    sql = _query(was.query, now.query)
    columns = {
        name: verdict
        for name in [*now.columns, *(n for n in was.columns if n not in now.columns)]
        if (verdict := _column(was, now, name, sql)).verdict != "same"
    }
    reasons = [f"{name} changed" for name in _parts(was.meaning, now.meaning)]
    row_set: RowVerdict = sql.row_set if was.ref.kind in ("table", "view") else "same"
    if was.ref.kind in ("table", "view") and reasons and row_set == "same":
        row_set = "changed"  # another key, time, TTL or source gives other rows
    if was.ref.kind in ("model", "service") and now.unknown and sql.row_set == "unknown":
        reasons.append(f"its SQL is not understood: {now.unknown}")
    # What is said of a column that was added or removed is no change of its own.
    both = {name: was.settings[name] for name in now.settings if name in was.settings}
    settings = tuple(name for name, said in both.items() if said != now.settings[name])
    if was.settings.get("refresh") != now.settings.get("refresh"):
        settings = tuple(dict.fromkeys([*settings, "refresh"]))  # there only where one is said
    # `exactly` covers all columns at once; people are told which ones.
    settings = tuple(name for name in settings if name != "exactly")
    settings = tuple(dict.fromkeys([*settings, *restated(was.thing, now.thing)]))
    broken = broken_promises(was.thing, now.thing)
    if columns or reasons or settings or broken or row_set != "same":
        yield Difference(now.ref, "changed", row_set, columns, tuple(reasons), settings, broken)


def _query(was: QueryFacts | None, now: QueryFacts | None) -> QueryDifference:
    if was is None or now is None:
        return QueryDifference("same" if was is now else "changed", {})
    return compare_queries(was, now)


def _column(old: NodeFacts, new: NodeFacts, name: str, sql: QueryDifference) -> Verdict:
    """The worst that is true of one column: contract first, then its SQL, then its fallback."""
    was, now = old.columns.get(name), new.columns.get(name)
    if was is None or now is None:
        return Verdict("added", "new") if was is None else Verdict("removed", "no longer declared")
    if was.unit != now.unit:
        return Verdict("retyped", f"unit {was.unit or 'none'} became {now.unit or 'none'}")
    promise = column_verdict(old.thing, new.thing, name)
    if promise is not None:
        return promise
    if was.type != now.type and (old.thing is None or new.thing is None):
        return Verdict("retyped", f"{was.type} became {now.type}")
    said = sql.columns.get(now.name, Verdict("same"))
    if said.verdict == "retyped":
        # The contract casts to the declared type, so the type its SQL gives is only a change.
        return Verdict("changed", said.reason)
    if said.verdict in ("same", "added", "removed") and was.digest != now.digest:
        return Verdict("changed", "its expression changed")
    if said.verdict == "same" and was.fallback != now.fallback:
        return Verdict("changed", "its fallback changed")
    return said


def _parts(was: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    return [name for name in {**was, **now} if was.get(name) != now.get(name)]
