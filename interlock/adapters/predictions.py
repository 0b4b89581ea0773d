"""The prediction log as JSON lines: whole lines in one write, read on by byte offset.

A row is safe from the death of the process once `append` returned (from a power cut
only as far as the file system goes: nothing is synced per request). Segments that nobody
writes any more become Parquet, line by line: columns for whoever queries them, and the line
itself, so that a reader finds the same bytes at the same offsets.
"""

from __future__ import annotations

import fcntl
import os
import re
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import orjson

from interlock.errors import Unavailable
from interlock.ports import Json

_PROBE = 4096  # bytes
SEGMENT = 64 * 1024 * 1024
SETTLED = 3600.0  # seconds without a write after which a closed segment is packed
_NAME = re.compile(r"(?P<writer>.+)-(?P<number>\d{6})(?:\.jsonl|\.(?P<size>\d+)\.parquet)")
_TEXTS = ("id", "at", "model", "service", "release", "arm", "stage", "change", "subject", "error")
_NUMBERS = ("served_at", "epoch", "score", "latency_us", "oldest_s")
_BATCH = 8192  # lines

if TYPE_CHECKING:
    import pyarrow as pa


class _Segment(NamedTuple):
    """One part of one writer's log, in either form. `size` is that of its lines, in bytes."""

    writer: str
    number: int
    path: Path
    size: int

    @property
    def name(self) -> str:
        """The same in both forms: what cursors hold offsets by."""
        return f"{self.writer}-{self.number:06d}.jsonl"

    @property
    def is_packed(self) -> bool:
        return self.path.suffix == ".parquet"

    def read(self, offset: int) -> bytes:
        """Its lines from the byte `offset` on, whichever form it has by now."""
        if self.is_packed:
            return _unpacked(self.path, self.size)[offset:] if offset < self.size else b""
        try:
            with self.path.open("rb") as file:
                file.seek(offset)
                return file.read()
        except FileNotFoundError:  # packed since we looked
            (packed,) = (s for s in _segments(self.path.parent) if s.name == self.name)
            return packed.read(offset)


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
        mine = (one.number for one in _segments(self._folder) if one.writer == self._name)
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
        segments = sorted(_segments(self._folder))
        newest = {one.writer: one.number for one in segments}
        for one in segments:
            offset = offsets.get(one.name, 0)
            data = one.read(offset)
            end = data.rfind(b"\n") + 1
            is_closed = one.is_packed or one.number < newest[one.writer]
            if end < len(data) and is_closed:
                skipped += 1
                offsets[one.name] = offset + len(data)
            else:
                offsets[one.name] = offset + end
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
        for one in _segments(self._folder):
            rows = (_parsed(line) for line in one.read(0).split(b"\n") if wanted in line)
            found += [row for row in rows if row is not None and row.get("id") == id]
        return found

    def waiting(self, after: Json) -> int:
        """Bytes of every writer that the cursor `after` has not read."""
        offsets = after.get("offsets", {})
        segments = _segments(self._folder)
        return sum(max(0, one.size - int(offsets.get(one.name, 0))) for one in segments)

    def pack(self, most: int = 1, settled: float = SETTLED) -> int:
        """Turn up to `most` segments that nobody wrote to for `settled` seconds into Parquet.

        Returns how many. Killed at any place, it leaves each line to be read once: the new
        form appears whole, beside the old one, which goes afterwards. Raises `Unavailable`.
        """
        done = 0
        for one in sorted(_segments(self._folder)):
            if done < most and not one.is_packed:
                try:
                    done += _pack(one, time.time() - settled)
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
        for one in _segments(self._folder):
            try:
                done += _given_up(one, int(offsets.get(one.name, 0)), before)
            except OSError as error:
                raise self._unavailable(error) from error
        return done

    def pruned(self, read: Json) -> Json:
        """The cursor `read` without segments that are gone for good."""
        there = {one.name for one in _segments(self._folder)}
        offsets = read.get("offsets", {})
        return {**read, "offsets": {name: at for name, at in offsets.items() if name in there}}

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


def _segments(folder: Path) -> Iterator[_Segment]:
    """Each segment once. Where a kill left both forms, the lines as they were written."""
    seen = set()
    # The old form first: one that is packed meanwhile is found a second time, not lost.
    for pattern in ("*.jsonl", "*.parquet"):
        for path in folder.glob(pattern):
            found = _NAME.fullmatch(path.name)
            key = (found["writer"], int(found["number"])) if found else None
            if found is None or key is None or key in seen:
                continue
            with suppress(FileNotFoundError):
                size = int(found["size"]) if found["size"] else path.stat().st_size
                seen.add(key)
                yield _Segment(*key, path, size)


def _given_up(one: _Segment, read: int, before: float) -> bool:
    """Whether it went: not while it is written, nor with a whole line that was not read."""
    with one.path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        file.seek(read)
        if os.fstat(file.fileno()).st_mtime > before or b"\n" in file.read():
            return False
        one.path.unlink(missing_ok=True)
    return True


def _pack(one: _Segment, before: float) -> bool:
    """Whether it was packed: not while it is written, nor when it was lately."""
    try:
        file = one.path.open("rb")
    except FileNotFoundError:  # somebody else was faster
        return False
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        found = os.fstat(file.fileno())
        # An empty one may be somebody's who is about to write.
        if not found.st_size or found.st_mtime > before or not found.st_nlink:
            return False
        stem = one.name.removesuffix(".jsonl")
        target = one.path.with_name(f"{stem}.{found.st_size}.parquet")
        aside = target.with_name(f"{target.name}.new")  # no name of a segment
        _write(aside, file.read())
        os.replace(aside, target)
        _flush(target.parent)
        one.path.unlink()
    return True


def _write(path: Path, data: bytes) -> None:
    """The lines of `data` as Parquet, on the disk when this returns."""
    import pyarrow.parquet as pq

    lines = data.removesuffix(b"\n").split(b"\n")
    with path.open("wb") as file:
        with pq.ParquetWriter(file, _schema(), compression="zstd") as writer:
            for at in range(0, len(lines), _BATCH):
                writer.write_table(_columns(lines[at : at + _BATCH]))
        file.flush()
        os.fsync(file.fileno())


def _schema() -> pa.Schema:
    import pyarrow as pa

    texts = [(name, pa.string()) for name in _TEXTS]
    numbers = [(name, pa.float64()) for name in _NUMBERS]
    return pa.schema([*texts, *numbers, ("line", pa.binary())])


def _columns(lines: Sequence[bytes]) -> pa.Table:
    """What is asked for most, beside each line; NULL where a line does not say it."""
    import pyarrow as pa

    rows = [_parsed(line) or {} for line in lines]
    columns: Json = {
        name: [value if type(value := row.get(name)) is str else None for row in rows]
        for name in _TEXTS
    }
    for name in _NUMBERS:
        values = (row.get(name) for row in rows)
        columns[name] = [float(v) if isinstance(v, int | float) else None for v in values]
    return pa.table({**columns, "line": list(lines)}, schema=_schema())


def _unpacked(path: Path, size: int) -> bytes:
    """The bytes that were packed; `size` tells whether the last line had its end."""
    import pyarrow.parquet as pq

    lines = pq.read_table(path, columns=["line"]).column("line").to_pylist()
    data = b"\n".join(lines) + b"\n"
    return data[:size]


def _flush(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _parsed(line: bytes) -> Json | None:
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return row if isinstance(row, dict) else None
