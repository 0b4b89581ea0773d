"""A project with many faults of many kinds: one run of `check` tells them all, each in place."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from interlock.app.templates import template_folder


def faults() -> Iterator[tuple[str, str, str, str, str, str]]:
    """File, what stands there, what is written instead (a new file when nothing stood there),
    a text on the line of the mistake (none: the whole file), what is said, what is advised."""
    for block in Path(__file__).with_name("faults.txt").read_text().strip().split("\n\n"):
        file, *rest = block.split("\n")
        old, new, at, said, fix = (line[2:].replace("\\n", "\n") for line in rest)
        yield file, old, new, at, said, fix


FAULTS = list(faults())
# The view or the spine may be the one that is wrong: both are told.
BOTH = ("the entity of origin_cancel_rate_6h@1: orign",)


@pytest.fixture(scope="module")
def problems(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    folder = tmp_path_factory.mktemp("faults") / "flights"
    shutil.copytree(template_folder("flights"), folder)
    for file, old, new, *_ in FAULTS:
        path = folder / file
        text = path.read_text() if old else ""
        assert old in text, (file, old)
        path.write_text(text.replace(old, new, 1) if old else new)
    command = [sys.executable, "-m", "interlock.cli.main", "check", "--json", "-C", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 3, done.stderr
    return folder, json.loads(done.stderr)["problems"]


@pytest.mark.parametrize(("file", "old", "new", "at", "said", "fix"), FAULTS)
def test_each_fault_is_told_with_its_line_and_what_to_do(
    problems: Any, file: str, old: str, new: str, at: str, said: str, fix: str
) -> None:
    folder, found = problems
    lines = (folder / file).read_text().splitlines()
    wanted = [n for n, line in enumerate(lines, 1) if at and at in line] or [0, 1]
    here = [p for p in found if p["file"] == file and said in p["message"]]
    assert here, [p for p in found if p["file"] == file]
    # Text that cannot be parsed is noticed where it goes on, at the latest on the next line.
    slack = [n + 1 for n in wanted] if said in ("SQL", "not YAML") else []
    assert any(p["line"] in (*wanted, *slack) and fix in p["fix"] for p in here), (wanted, here)


def test_nothing_else_is_said(problems: Any) -> None:
    """One mistake makes one problem: what only follows from another is left out."""
    _, found = problems
    extra = [
        p for p in found
        if not any(said in p["message"] for said in BOTH)
        and not any(p["file"] == file and said in p["message"] for file, _, _, _, said, _ in FAULTS)
    ]  # fmt: skip
    assert extra == []
