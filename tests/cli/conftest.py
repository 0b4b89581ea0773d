"""One project that a change went through, shared by the tests of the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from terminal import Opened, copy_of, interlock


@pytest.fixture(scope="session")
def opened(small_flights: Path, tmp_path_factory: pytest.TempPathFactory) -> Opened:
    """The first change, up for review. Shared: copy the folder before you write."""
    folder = copy_of(small_flights, tmp_path_factory.mktemp("opened") / "project")
    proposed = interlock(
        "propose", "-C", folder, "--title", "First release", "--by", "wei",
        "--rollback-when", "calibration breaks",
    )  # fmt: skip
    status = interlock("status", "CR-1", "-C", folder, "--json")
    return Opened(folder, proposed, json.loads(status.out))


@pytest.fixture
def project(opened: Opened, tmp_path: Path) -> Path:
    """CR-1 up for review, in a folder of its own."""
    return copy_of(opened.folder, tmp_path / "project")


@pytest.fixture
def fresh(small_flights: Path, tmp_path: Path) -> Path:
    """A project in which nothing was ever run."""
    return copy_of(small_flights, tmp_path / "project")
