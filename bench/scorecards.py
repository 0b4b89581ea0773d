"""What a scorecard costs on thousands of changes, against reading every version whole.

2,000 changes of ten versions over 90 days, each body with a plan as large as real ones. CPU seconds
of this process.
"""

from __future__ import annotations

import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from interlock.adapters.sqlrecord import SqlRecord
from interlock.app.lookback import period_of, scorecard_of
from interlock.app.workspace import Workspace
from interlock.define.environment import Owner
from interlock.define.refs import Ref
from interlock.ports import Put

CHANGES, AT_ONCE = 2000, 100
START = datetime(2026, 3, 2, tzinfo=UTC)
STATES = ("DRAFT", "PLANNED", "EVIDENCE", "REVIEW", "APPROVED", "SCHEDULED", "PREPARING", "STEP",
          "SOAKING", "COMMITTED")  # fmt: skip
STEPS = [{"do": "BuildVersion", "ref": f"view:n{n}@1", "why": "it changed"} for n in range(120)]
OWNERS = (Owner(name="crew", people={"carlos": ("service_owner",)}),)


def body(n: int, step: int) -> dict[str, object]:
    """One version of one change."""
    rollout = {"rollout": {"index": step}} if step > 6 else {}
    return {
        "id": f"CR-{n}", "author": "carlos", "environment": "prod", "state": STATES[step],
        "opened_at": (START + timedelta(hours=n)).isoformat(),
        "plan": {"steps": STEPS}, "details": rollout,
    }  # fmt: skip


def fill(record: SqlRecord) -> None:
    """Every change, state by state."""
    for first in range(1, CHANGES + 1, AT_ONCE):
        ids = range(first, first + AT_ONCE)
        for step in range(len(STATES)):
            at = START + timedelta(hours=first + step)
            puts = [Put(Ref("change", f"CR-{n}"), body(n, step), step) for n in ids]
            record.write(puts, by="carlos", at=at)


def main() -> None:
    """The table."""
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace(Path(folder))
        record = SqlRecord(Path(folder) / "record.db")
        workspace.__dict__["record"] = record
        fill(record)
        size = (Path(folder) / "record.db").stat().st_size / 1e6
        period = period_of("2026-01-01", "2026-06-30", START)
        began = time.process_time()
        card = scorecard_of(workspace, OWNERS, "", period)
        took = time.process_time() - began
        began = time.process_time()
        versions = sum(len(record.history(e.ref)) for e in record.list("change"))
        whole = time.process_time() - began
        record.close()
    print(f"{CHANGES} changes, {versions} versions, {size:.0f} MB; {card.figures[0].n} committed")
    print(f"scorecard            {took:8.2f} s")
    print(f"every version whole  {whole:8.2f} s   {whole / took:.1f} times as much")


if __name__ == "__main__":
    main()
