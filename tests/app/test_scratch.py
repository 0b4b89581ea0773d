"""A folder for a while: in use it stays, and of a killed process it goes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from interlock.app.scratch import scratch

WORKING = """
import sys, time
from pathlib import Path
from interlock.app.scratch import scratch
with scratch(Path(sys.argv[1]), "training") as folder:
    (folder / "rows").write_text("many")
    print(folder.name, flush=True)
    time.sleep(60)
"""


def working(state: Path) -> tuple[subprocess.Popen[str], Path]:
    process = subprocess.Popen(
        [sys.executable, "-c", WORKING, str(state)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    return process, state / process.stdout.readline().strip()


def test_what_a_killed_process_left_goes_and_what_is_in_use_stays(tmp_path: Path) -> None:
    (dead, left), (alive, used) = working(tmp_path), working(tmp_path)
    try:
        dead.kill()
        dead.wait()
        assert left.exists()
        with scratch(tmp_path, "training") as own:
            assert own.exists()
            assert not left.exists()
            assert (used / "rows").read_text() == "many"
        assert list(tmp_path.iterdir()) == [used]
    finally:
        alive.kill()
        alive.wait()


def test_others_are_not_ours_to_remove(tmp_path: Path) -> None:
    (tmp_path / "staging-kept").mkdir()
    with scratch(tmp_path, "training"):
        assert (tmp_path / "staging-kept").exists()
