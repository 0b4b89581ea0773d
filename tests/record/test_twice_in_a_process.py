"""Two records of one file in one process: neither may take the locks of the other away."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from interlock.adapters.sqlrecord import SqlRecord
from interlock.define.refs import Ref
from interlock.ports import Put

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
WRITE = """
import sys
from datetime import UTC, datetime
from interlock.adapters.sqlrecord import SqlRecord
from interlock.define.refs import Ref
from interlock.ports import Put
record = SqlRecord(sys.argv[1])
ref = Ref("note", sys.argv[2])
record.write([Put(ref, {}, 0)], by="other", at=datetime(2026, 11, 21, 12, tzinfo=UTC))
record.close()
"""


def other_process(file: Path, name: str) -> None:
    subprocess.run([sys.executable, "-c", WRITE, str(file), name], check=True)


def test_a_second_record_that_is_opened_and_closed_here_harms_no_first(tmp_path: Path) -> None:
    file = tmp_path / "record.db"
    first = SqlRecord(file)
    first.write([Put(Ref("note", "a"), {}, 0)], by="us", at=NOON)
    SqlRecord(file).close()
    # The last to close cleans up behind itself: it must see that the first is still there.
    other_process(file, "b")
    other_process(file, "c")
    assert first.get(Ref("note", "c")) is not None, "the open record reads the past"
    first.write([Put(Ref("note", "d"), {}, 0)], by="us", at=NOON)
    other_process(file, "e")
    names = {entry.ref.name for entry in first.list("note")}
    assert names == {"a", "b", "c", "d", "e"}, "a write went where nobody reads"
    assert [row["seq"] for row in first.audit()] == [1, 2, 3, 4, 5]
    first.close()
