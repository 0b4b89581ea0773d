"""The prediction log as JSON lines: whole lines in one write, read on by byte offset.

A row is safe from the death of the process once `append` returned (from a power cut
only as far as the file system goes: nothing is synced per request). Segments that nobody
writes any more become Parquet, line by line: columns for whoever queries them, and the line
itself, so that a reader finds the same bytes at the same offsets. From there they may go
elsewhere (an object store), where every reader finds them again under the same names.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import socket
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import orjson

from interlock.adapters.predictions.segments import (
    Elsewhere,
    Segment,
    given_up,
    pack,
    parsed,
    segments_at,
    segments_in,
)
from interlock.errors import Unavailable
from interlock.ports import Json

__all__ = ["SEGMENT", "SETTLED", "Elsewhere", "JsonLinesLog", "new_writer"]

_PROBE = 4096  # bytes
SEGMENT = 64 * 1024 * 1024
SETTLED = 3600.0  # seconds without a write after which a closed segment is packed


def new_writer(role: str) -> str:
    """A name that no other process has or will have: segments of all of them meet elsewhere."""
    host = re.sub(r"[^A-Za-z0-9.]", "-", socket.gethostname())
    return f"{role}-{host}-{os.getpid()}-{secrets.token_hex(4)}"


class JsonLinesLog:
    """One writer's segments `<name>-000001.jsonl` in `folder`, and a reader over all writers'.

    Opened lazily: a log that only reads leaves no file behind. With `sync`, what was appended
    also survives a power cut. Segments that are `elsewhere` are read from there; the names of
    its writers must be of `new_writer`.
    """

    def __init__(
        self,
        folder: Path | str,
        name: str = "gateway",
        segment: int = SEGMENT,
        sync: bool = False,
        elsewhere: Elsewhere | None = None,
    ) -> None:
        self._sync = sync
        self._elsewhere = elsewhere
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
        mine = (one.number for one in segments_in(self._folder) if one.writer == self._name)
        number = max(mine, default=0)
        while True:
            number += 1
            path = self._folder / f"{self._name}-{number:06d}.jsonl"
            try:
                opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o644)
            except FileExistsError:
                continue
            # As long as we live and write here, nobody packs it.
            fcntl.flock(opened, fcntl.LOCK_EX)
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
        segments = self._segments()
        newest = {one.writer: one.number for one in segments}
        for one in segments:
            offset = offsets.get(one.name, 0)
            data = self._from(one, offset)
            end = data.rfind(b"\n") + 1
            is_closed = one.is_packed or one.number < newest[one.writer]
            if end < len(data) and is_closed:
                skipped += 1
                offsets[one.name] = offset + len(data)
            else:
                offsets[one.name] = offset + end
            for line in data[:end].splitlines():
                row = parsed(line)
                if row is None:
                    skipped += 1
                else:
                    rows.append(row)
        return rows, {"offsets": offsets, "skipped": skipped}

    def find(self, id: str) -> list[Json]:
        """Every row with this id. Lines are searched as bytes: the others are not understood."""
        found: list[Json] = []
        for one in self._segments():
            try:
                lines = one.lines_with(id)
            except FileNotFoundError:
                lines = self._again(one).lines_with(id)
            rows = map(parsed, lines)
            found += [row for row in rows if row is not None and row.get("id") == id]
        return found

    def _from(self, one: Segment, offset: int) -> bytes:
        try:
            return one.read(offset)
        except FileNotFoundError:
            return self._again(one).read(offset)

    def _again(self, one: Segment) -> Segment:
        """`one` in the form that it took since we looked."""
        (found,) = (other for other in self._segments() if other.name == one.name)
        return found

    def _segments(self) -> list[Segment]:
        """Each segment once, wherever it is. Where a kill left two, the one that was first."""
        # In the order in which they move: one that moves meanwhile is found twice, not lost.
        here = list(segments_in(self._folder))
        known = {one.name for one in here}
        there = segments_at(self._elsewhere) if self._elsewhere else ()
        return sorted([*here, *(one for one in there if one.name not in known)])

    def waiting(self, after: Json) -> int:
        """Bytes of every writer that the cursor `after` has not read."""
        offsets = after.get("offsets", {})
        segments = self._segments()
        return sum(max(0, one.size - int(offsets.get(one.name, 0))) for one in segments)

    def pack(self, most: int = 1, settled: float = SETTLED) -> int:
        """Turn up to `most` segments that nobody wrote to for `settled` seconds into Parquet.

        Returns how many. Killed at any place, it leaves each line to be read once: the new
        form appears whole, beside the old one, which goes afterwards. Raises `Unavailable`.
        """
        done = 0
        for one in sorted(segments_in(self._folder)):
            if done < most and not one.is_packed:
                try:
                    done += pack(one, time.time() - settled)
                except OSError as error:
                    raise self._unavailable(error) from error
        return done

    def give_up(self, read: Json, kept: float) -> int:
        """Remove what the cursor `read` has read of writers that are gone, after `kept` seconds.

        Returns how many segments. Only for writers whose names never come again: a new segment
        under an old name would count as read. Raises `Unavailable`.
        """
        offsets, before = read.get("offsets", {}), time.time() - kept
        done = 0
        for one in segments_in(self._folder):
            try:
                done += given_up(one, int(offsets.get(one.name, 0)), before)
            except OSError as error:
                raise self._unavailable(error) from error
        return done

    def pruned(self, read: Json) -> Json:
        """The cursor `read` without segments that are gone for good."""
        there = {one.name for one in self._segments()}
        offsets = read.get("offsets", {})
        return {**read, "offsets": {name: at for name, at in offsets.items() if name in there}}

    def ship(self, most: int = 1) -> int:
        """Bring up to `most` packed segments elsewhere, and forget them here; how many.

        Killed at any place, each line is still read once: what is in both places is read here,
        and is brought again. Raises `Unavailable`. Nothing, where there is no other place.
        """
        packed = [one for one in sorted(segments_in(self._folder)) if one.is_packed]
        if self._elsewhere is None or not packed:
            return 0
        there = self._elsewhere.sizes()
        for one in packed[:most]:
            with suppress(FileNotFoundError):  # somebody else was faster
                if there.get(one.path.name) != one.path.stat().st_size:
                    self._elsewhere.put(one.path)
                one.path.unlink()
        return len(packed[:most])

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None
