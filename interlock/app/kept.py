"""What was read and understood before, kept beside the state so that the next plan is quick.

One file, `facts.json`: the digest of the rest, the code that made it, where each entry
stands, then the entries as JSON, one behind the other. Only those that are asked for are
looked at. A torn, edited or older file is as good as none. It is written whole and swapped
in, only where a state folder stands that may be written to, and may be deleted at any time.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterator, Mapping
from functools import cache, cached_property
from importlib.metadata import version
from itertools import accumulate
from pathlib import Path
from typing import Any

import orjson

import interlock
from interlock.define.digest import digest, digest_bytes
from interlock.define.memory import Memory

_ROOMS = ("define", "impact")


class Shelf(Mapping[str, Any]):
    """Entries as they stand in a file; each becomes plain data when it is asked for."""

    def __init__(self, lengths: Mapping[str, int], data: memoryview) -> None:
        ends = accumulate(lengths.values())
        self._ends = dict(zip(lengths, ends, strict=True))
        self._lengths, self._data = lengths, data

    def __getitem__(self, key: str) -> Any:
        return orjson.loads(self.raw(key))

    def raw(self, key: str) -> memoryview:
        end = self._ends[key]
        return self._data[end - self._lengths[key] : end]

    def __contains__(self, key: object) -> bool:
        return key in self._ends

    def __iter__(self) -> Iterator[str]:
        return iter(self._ends)

    def __len__(self) -> int:
        return len(self._ends)


class KeptFolder:
    """What one state folder keeps; everything it says is checked before it is believed."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "facts.json"

    @cached_property
    def memory(self) -> Memory:
        return Memory(_load(self._file))

    def save(self) -> None:
        """Write down what is new, with what is still of use."""
        if not self.memory.more or not self._file.parent.is_dir():
            return
        shelf = self.memory.plain
        assert isinstance(shelf, Shelf)
        entries: dict[str, bytes | memoryview] = {key: shelf.raw(key) for key in self.memory.old()}
        entries |= {key: orjson.dumps(plain) for key, plain in self.memory.new().items()}
        lengths = {key: len(entry) for key, entry in entries.items()}
        whole = b"".join(entries.values())  # some 20 MB on a large estate: put together once
        _save(self._file, lengths, whole)
        self.memory.settled(Shelf(lengths, memoryview(whole)))


@cache
def made_by(package: Path = Path(interlock.__file__).parent) -> str:
    """The code that reads and understands: another one may make something else of a text."""
    files = sorted(file for room in _ROOMS for file in (package / room).glob("*.py"))
    code = [digest_bytes(file.read_bytes()) for file in (*files, package / "app" / "kept.py")]
    used = [version(name) for name in ("sqlglot", "pydantic", "pyyaml", "python-dateutil")]
    return digest([code, sys.version, *used])


def _load(file: Path) -> Shelf:
    """What `_save` wrote; nothing for anything else."""
    try:
        data = file.read_bytes()
        first, made, index = (data[a:b] for a, b in _heads(data))
        rest = memoryview(data)[len(first) + 1 :]
        if first == digest_bytes(rest).encode() and made == made_by().encode():
            lengths = {str(key): int(length) for key, length in orjson.loads(index).items()}
            return Shelf(lengths, rest[len(made) + len(index) + 2 :])
    except (OSError, ValueError, AttributeError):
        pass
    return Shelf({}, memoryview(b""))


def _heads(data: bytes) -> Iterator[tuple[int, int]]:
    """Where the first three lines begin and end; ValueError where there are none."""
    start = 0
    for _ in range(3):
        end = data.index(b"\n", start)
        yield start, end
        start = end + 1


def _save(file: Path, lengths: Mapping[str, int], whole: bytes) -> None:
    """All of it or nothing; a folder that is not there or not ours to write is no mistake."""
    head = b"%s\n%s\n" % (made_by().encode(), orjson.dumps(lengths))
    beside = file.with_name(f"{file.name}.{os.getpid()}.{threading.get_ident()}.tmp")
    with contextlib.suppress(OSError):
        with beside.open("wb") as out:
            out.writelines((digest_bytes(head, whole).encode(), b"\n", head, whole))
        beside.replace(file)
    with contextlib.suppress(OSError):
        beside.unlink(missing_ok=True)
