"""Folders that work needs for a while, and that no kill leaves behind for good."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def scratch(state: Path, what: str) -> Iterator[Path]:
    """A folder of our own below `state`, gone at the end; what killed processes left goes first.

    A lock on the folder says that somebody is at work in it; the kernel takes it from the dead.
    """
    for left in state.glob(f"{what}-*"):
        _removed(left)
    made = Path(tempfile.mkdtemp(prefix=f".{what}-", dir=state))
    held = os.open(made, os.O_RDONLY)
    try:
        # Locked before it has the name that others look for.
        fcntl.flock(held, fcntl.LOCK_EX)
        folder = made.rename(state / made.name.removeprefix("."))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(held)


def _removed(folder: Path) -> None:
    """`folder`, unless somebody works in it."""
    with suppress(OSError):
        held = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
        finally:
            os.close(held)
