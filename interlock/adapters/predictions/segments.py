"""One part of one writer's log: lines as they were written, packed as Parquet, or elsewhere."""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import orjson

from interlock.ports import Json

if TYPE_CHECKING:
    import pyarrow as pa

_NAME = re.compile(r"(?P<writer>.+)-(?P<number>\d{6})(?:\.jsonl|\.(?P<size>\d+)\.parquet)")
_TEXTS = ("id", "at", "model", "service", "release", "arm", "stage", "change", "subject", "error")
_NUMBERS = ("served_at", "epoch", "score", "latency_us", "oldest_s")
_BATCH = 8192  # lines


class Elsewhere(Protocol):
    """Whole files in another place: by name their bytes, one more, and what Arrow reads of one.

    Once `put` returns, all of the file is there. Each raises `Unavailable`.
    """

    def sizes(self) -> Mapping[str, int]: ...
    def put(self, file: Path) -> None: ...
    def open(self, name: str) -> Any: ...


class Segment(NamedTuple):
    """One part of one writer's log, in any form. `size` is that of its lines, in bytes."""

    writer: str
    number: int
    path: Path
    size: int
    elsewhere: Elsewhere | None = None  # set for one that can be found only there

    @property
    def name(self) -> str:
        """The same in both forms: what cursors hold offsets by."""
        return f"{self.writer}-{self.number:06d}.jsonl"

    @property
    def is_packed(self) -> bool:
        return self.path.suffix == ".parquet"

    def read(self, offset: int) -> bytes:
        """Its lines from the byte `offset` on. Raises `FileNotFoundError` when it changed form."""
        if self.is_packed:
            return self._unpacked()[offset:] if offset < self.size else b""
        with self.path.open("rb") as file:
            file.seek(offset)
            return file.read()

    def lines_with(self, id: str) -> Sequence[bytes]:
        """Lines that may be about `id`; of packed ones only its column is searched."""
        if self.is_packed:
            return self._lines([("id", "=", id)])
        wanted = orjson.dumps(id)
        return [line for line in self.read(0).split(b"\n") if wanted in line]

    def _unpacked(self) -> bytes:
        """The bytes that were packed; `size` tells whether the last line had its end."""
        return (b"\n".join(self._lines()) + b"\n")[: self.size]

    def _lines(self, where: Any = None) -> Sequence[bytes]:
        import pyarrow.parquet as pq

        source = self.elsewhere.open(self.path.name) if self.elsewhere else self.path
        found = pq.read_table(source, columns=["line"], filters=where)
        return found.column("line").to_pylist()  # type: ignore[no-any-return]  # binary


def segments_in(folder: Path) -> Iterator[Segment]:
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
                yield Segment(*key, path, size)


def given_up(one: Segment, read: int, before: float) -> bool:
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


def segments_at(elsewhere: Elsewhere) -> Iterator[Segment]:
    for name in elsewhere.sizes():
        found = _NAME.fullmatch(name)
        if found is not None and found["size"]:
            number, size = int(found["number"]), int(found["size"])
            yield Segment(found["writer"], number, Path(name), size, elsewhere)


def pack(one: Segment, before: float) -> bool:
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

    rows = [parsed(line) or {} for line in lines]
    columns: Json = {
        name: [value if type(value := row.get(name)) is str else None for row in rows]
        for name in _TEXTS
    }
    for name in _NUMBERS:
        values = (row.get(name) for row in rows)
        columns[name] = [float(v) if isinstance(v, int | float) else None for v in values]
    return pa.table({**columns, "line": list(lines)}, schema=_schema())


def _flush(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def parsed(line: bytes) -> Json | None:
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return row if isinstance(row, dict) else None
