"""Artifacts as files named by their SHA-256, in folders of their first two digits.

A file appears under its name only when it is whole and on the disk: written aside,
flushed, then renamed.
"""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from interlock.define.digest import digest_bytes
from interlock.errors import Corrupt, NotFound, Unavailable

_DIGEST = re.compile(r"[0-9a-f]{64}")


class FileArtifacts:
    """The Artifacts port over `folder`, which is made when first written to."""

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)

    def put(self, data: bytes) -> str:
        digest = digest_bytes(data)
        path = self._path(digest)
        with _errors(path):
            # A damaged file is mended by putting its bytes again, so existing is not enough.
            if not path.is_file() or digest_bytes(path.read_bytes()) != digest:
                path.parent.mkdir(parents=True, exist_ok=True)
                _write_aside(path, data)
        return digest

    def get(self, digest: str) -> bytes:
        path = self._path(digest)
        try:
            with _errors(path):
                data = path.read_bytes()
        except FileNotFoundError:
            raise _missing(digest, self.folder) from None
        if digest_bytes(data) != digest:
            raise Corrupt(
                f"the artifact {path} does not have the bytes its name promises",
                help="put the artifact again, or restore it from a backup",
            )
        return data

    def has(self, digest: str) -> bool:
        return bool(_DIGEST.fullmatch(digest)) and self._path(digest).is_file()

    def _path(self, digest: str) -> Path:
        # A digest comes from outside; nothing else may become part of a path.
        if not _DIGEST.fullmatch(digest):
            raise _missing(digest, self.folder)
        return self.folder / digest[:2] / digest


def _missing(digest: str, folder: Path) -> NotFound:
    return NotFound(f"no artifact {digest} in {folder}", help="an address is 64 hex digits")


def _write_aside(path: Path, data: bytes) -> None:
    aside = path.parent / f".{uuid.uuid4().hex}"
    try:
        with aside.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
        _flush_folder(path.parent)
    finally:
        aside.unlink(missing_ok=True)


def _flush_folder(folder: Path) -> None:
    # A rename is on the disk only when its folder is.
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _errors(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        raise Unavailable(
            f"the artifact {path} could not be read or written: {error}",
            help="is there room on the disk, and may this user write there?",
        ) from error
