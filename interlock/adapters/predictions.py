"""The prediction log as JSON lines: whole lines in one write, read on by byte offset.

A row is safe from the death of the process once `append` returned (from a power cut
only as far as the file system goes: nothing is synced per request).
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import orjson

from interlock.errors import Unavailable
from interlock.ports import Json

_PROBE = 4096  # bytes
SEGMENT = 64 * 1024 * 1024
_NAME = re.compile(r"(?P<writer>.+)-(?P<number>\d{6})\.jsonl")


class JsonLinesLog:
    """One writer's segments `<name>-000001.jsonl` in `folder`, and a reader over all writers'.

    Opened lazily: a log that only reads leaves no file behind. With `sync`, what was appended
    also survives a power cut.
    """

    def __init__(
        self,
        folder: Path | str,
        name: str = "gateway",
        segment: int = SEGMENT,
        sync: bool = False,
    ) -> None:
        self._sync = sync
        self._folder = Path(folder)
        self._name = name
        self._segment = segment
        self._file: int | None = None
        self._size = 0
        self._torn = False
        self._lock = threading.Lock()

    def append(self, rows: Sequence[Json]) -> None:
        """Add `rows`; once this returns, killing the process loses none of them."""
        if not rows:
            return
        data = b"".join(
            orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_SERIALIZE_NUMPY)
            for row in rows
        )
        try:
            with self._lock:
                self._write(data)
        except OSError as error:
            raise self._unavailable(error) from error

    def check(self) -> None:
        """Try the disk with a file of our own: a full one is not seen by looking."""
        probe = self._folder / f".{self._name}-{os.getpid()}-{threading.get_ident()}"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            try:
                with probe.open("wb") as file:
                    file.write(b"\0" * _PROBE)
            finally:
                probe.unlink(missing_ok=True)
        except OSError as error:
            raise self._unavailable(error) from error

    def _unavailable(self, error: OSError) -> Unavailable:
        return Unavailable(
            f"the log at {self._folder} cannot be written: {error}",
            help="is the folder writable, and the disk not full?",
        )

    def _write(self, data: bytes) -> None:
        if self._file is None or self._size >= self._segment:
            self._open_next()
        assert self._file is not None
        # After a short write the line is closed first, so that only it is lost.
        data = b"\n" + data if self._torn else data
        written = os.write(self._file, data)
        self._size += written
        self._torn = written < len(data)
        if self._torn:
            raise OSError(f"only {written} of {len(data)} bytes fitted")
        if self._sync:
            os.fsync(self._file)

    def _open_next(self) -> None:
        """A new segment, never an old one: appending after a torn line would spoil two rows."""
        self._folder.mkdir(parents=True, exist_ok=True)
        number = max((n for w, n, _ in _segments(self._folder) if w == self._name), default=0)
        while True:
            number += 1
            path = self._folder / f"{self._name}-{number:06d}.jsonl"
            try:
                opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o644)
            except FileExistsError:
                continue
            self.close()
            self._file, self._size, self._torn = opened, 0, False
            return

    def read(self, after: Json) -> tuple[list[Json], Json]:
        """Rows of every writer since `after`, and the next cursor.

        The cursor holds a byte offset per file and counts lines `skipped` because they
        were torn or not JSON. A last line without an end is left for the next read,
        or skipped when its writer has moved on to another segment.
        """
        offsets: dict[str, int] = dict(after.get("offsets", {}))
        skipped = int(after.get("skipped", 0))
        rows: list[Json] = []
        files = sorted(_segments(self._folder))
        newest = {writer: number for writer, number, _ in files}
        for writer, number, path in files:
            data = _from(path, offsets.get(path.name, 0))
            end = data.rfind(b"\n") + 1
            if end < len(data) and number < newest[writer]:
                skipped, data = skipped + 1, data[:end]
                offsets[path.name] = path.stat().st_size
            else:
                offsets[path.name] = offsets.get(path.name, 0) + end
            for line in data[:end].splitlines():
                row = _parsed(line)
                if row is None:
                    skipped += 1
                else:
                    rows.append(row)
        return rows, {"offsets": offsets, "skipped": skipped}

    def find(self, id: str) -> list[Json]:
        """Every row with this id. Lines are searched as bytes: the others are not understood."""
        wanted, found = orjson.dumps(id), []
        for _, _, path in _segments(self._folder):
            with path.open("rb") as lines:
                rows = (_parsed(line) for line in lines if wanted in line)
                found += [row for row in rows if row is not None and row.get("id") == id]
        return found

    def waiting(self, after: Json) -> int:
        """Bytes of every writer that the cursor `after` has not read."""
        offsets = after.get("offsets", {})
        return sum(
            max(0, path.stat().st_size - int(offsets.get(path.name, 0)))
            for _, _, path in _segments(self._folder)
        )

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


def _segments(folder: Path) -> Iterator[tuple[str, int, Path]]:
    if not folder.is_dir():
        return
    for path in folder.iterdir():
        found = _NAME.fullmatch(path.name)
        if found:
            yield found["writer"], int(found["number"]), path


def _from(path: Path, offset: int) -> bytes:
    with path.open("rb") as file:
        file.seek(offset)
        return file.read()


def _parsed(line: bytes) -> Json | None:
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return row if isinstance(row, dict) else None
