"""Artifacts on disk: damaged, missing, and on a disk without room."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from interlock.adapters.files import FileArtifacts
from interlock.errors import Corrupt, Unavailable


def _file(artifacts: FileArtifacts, digest: str) -> Path:
    return next(artifacts.folder.rglob(digest))


def test_damaged_bytes_are_never_given_out_and_can_be_mended(tmp_path: Path) -> None:  # R-B9
    artifacts = FileArtifacts(tmp_path)
    digest = artifacts.put(b"a model")
    _file(artifacts, digest).write_bytes(b"a mod")
    with pytest.raises(Corrupt, match=digest):
        artifacts.get(digest)
    artifacts.put(b"a model")
    assert artifacts.get(digest) == b"a model"


def test_nothing_is_left_beside_the_file(tmp_path: Path) -> None:
    artifacts = FileArtifacts(tmp_path)
    digest = artifacts.put(b"a model")
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == [digest]


FULL = """
import resource, sys
from pathlib import Path
from interlock.adapters.files import FileArtifacts
from interlock.errors import Unavailable
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    FileArtifacts(Path(sys.argv[1])).put(b"x" * 5000)
except Unavailable as error:
    print(error.code)
"""


@pytest.mark.slow
def test_no_room_is_unavailable_and_leaves_no_file(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "unavailable"
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_folder_that_cannot_be_made_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file, not a folder")
    with pytest.raises(Unavailable):
        FileArtifacts(tmp_path / "taken").put(b"x")
