"""Staging is harmed, production is not; what was measured stays with the change."""

from __future__ import annotations

import app_world as world
import pytest

from interlock.app.changes import evidence_of
from interlock.app.rehearse import Asked, rehearse
from interlock.app.workspace import Workspace
from interlock.errors import NotFound

ASKED = Asked(("gap", "latency", "duplicates"), ("wh.departures", "wh.weather"))


def tables(workspace: Workspace) -> dict[str, tuple[int, int]]:
    """Every physical table, with its size and a hash of its rows."""
    query = workspace.warehouse.query
    names = query(
        "SELECT schema_name || '.' || table_name AS name FROM duckdb_tables() ORDER BY 1"
    ).to_pylist()
    found = {}
    for name in (row["name"] for row in names):
        sql = f"SELECT count(*) AS n, coalesce(bit_xor(hash(t)), 0) AS h FROM {name} AS t"
        (row,) = query(sql).to_pylist()
        found[name] = (row["n"], row["h"])
    return found


# R-A4
def test_a_rehearsal_leaves_evidence_and_nothing_else(ready: Workspace) -> None:
    before, files = world.current(ready, "CR-3"), sorted(ready.state.iterdir())
    held = tables(ready)
    found = rehearse(ready, "CR-3", ASKED)
    after = world.current(ready, "CR-3")
    assert sorted(piece.check for piece in found) == [
        f"rehearsal:{name}:{table}"
        for name in ("duplicates", "gap", "latency")
        for table in ("wh.departures", "wh.weather")
    ]
    assert {p.digest for p in found} <= {p.digest for p in evidence_of(ready.record, after)}
    assert (after.state, after.signoffs, after.plan) == (before.state, before.signoffs, before.plan)
    assert tables(ready) == held
    assert sorted(ready.state.iterdir()) == files


def test_a_rehearsal_measures_what_reaches_the_services(ready: Workspace) -> None:
    asked = Asked(("gap", "duplicates"), ("wh.departures",))
    found = {p.check: p for p in rehearse(ready, "CR-3", asked)}
    gap = found["rehearsal:gap:wh.departures"]
    assert gap.details["moved_share"] > 0
    assert set(gap.details["kpi"]) == {s.kpi.name for s in ready.project.services.values()}
    assert "rows per day" in gap.details["alarms"]
    # Twice the same observation: the contract's key says so, and no value moves much.
    twice = found["rehearsal:duplicates:wh.departures"]
    assert "contract" in twice.details["alarms"]
    assert twice.details["moved_share"] < gap.details["moved_share"]


def test_late_and_lost_departures_are_seen_at_the_source(ready: Workspace) -> None:
    """Averages over what is left have no NULL: only the table itself shows it."""
    by = {"gap": "rows per day", "outage": "rows per hour", "late": "arrival",
          "latency": "rows per hour"}  # fmt: skip
    for piece in rehearse(ready, "CR-3", Asked(tuple(by), ("wh.departures",))):
        assert piece.verdict == "pass", piece.sentence
        assert by.pop(piece.check.split(":")[1]) in piece.details["alarms"]
    assert not by


def test_the_same_rehearsal_finds_the_same(ready: Workspace) -> None:
    asked = Asked(("late", "outliers"), ("wh.departures",))
    first, again = ({p.digest for p in rehearse(ready, "CR-3", asked)} for _ in range(2))
    assert first == again


def test_a_rehearsal_of_nothing_known_is_refused(ready: Workspace) -> None:
    with pytest.raises(NotFound, match="flood, wh"):
        rehearse(ready, "CR-3", Asked(("flood",), ("wh.rivers",)))
    with pytest.raises(NotFound, match="CR-9"):
        rehearse(ready, "CR-9", ASKED)
