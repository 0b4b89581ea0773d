"""Files that appear whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from interlock.errors import Unavailable

ROOM = "is it writable, and the disk not full?"


@contextmanager
def replaced(out: Path, help: str = ROOM) -> Iterator[Path]:
    """A hidden file beside `out` to write; it becomes `out` when everything went well.

    Hidden, so that reading a folder passes over what a kill leaves behind. Raises
    `Unavailable` at once where nothing can be written.
    """
    beside = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    try:
        beside.touch()
        yield beside
        with beside.open("rb") as data:
            os.fsync(data.fileno())
        beside.replace(out)
    except OSError as error:
        said = error.strerror or str(error)
        raise Unavailable(f"{out} cannot be written: {said}", help=help) from error
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
