"""What was read and understood before, kept beside the state so that the next plan is quick.

One file, `facts.json`, of one or more parts. A part is the digest of its rest, the code that
made it, how long each entry is, then the entries as JSON, one behind the other. Only those that
are asked for are looked at. What is new goes behind the file as one more part, in one write;
when something is to be forgotten the file is written whole and swapped in. Reading ends at the
first part that is torn, edited or made by other code, and all of it may be deleted at any
time. It is written only where a state folder stands that may be written to.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterator, Mapping
from functools import cache, cached_property
from importlib.metadata import version
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import orjson

import interlock
from interlock.define.digest import digest, digest_bytes
from interlock.define.memory import Memory

_ROOMS = ("define", "impact")


class Shelf(Mapping[str, Any]):
    """Entries as they stand in a file; each becomes plain data when it is asked for."""

    def __init__(self, entries: Mapping[str, memoryview | bytes], sound: int = -1) -> None:
        self.raw = entries
        self.sound = sound  # bytes of the file that hold them; -1: it has to be written whole

    def __getitem__(self, key: str) -> Any:
        return orjson.loads(self.raw[key])

    def __contains__(self, key: object) -> bool:
        return key in self.raw

    def __iter__(self) -> Iterator[str]:
        return iter(self.raw)

    def __len__(self) -> int:
        return len(self.raw)


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
        new = {key: orjson.dumps(plain) for key, plain in self.memory.new().items()}
        old = {key: shelf.raw[key] for key in self.memory.old()}
        whole = {**old, **new}
        behind = len(old) == len(shelf) and _append(self._file, shelf.sound, new)
        sound = behind or _replace(self._file, whole)
        self.memory.settled(Shelf(whole, sound))


@cache
def made_by(package: Path = Path(interlock.__file__).parent) -> str:
    """The code that reads and understands: another one may make something else of a text."""
    files = sorted(file for room in _ROOMS for file in (package / room).glob("*.py"))
    code = [digest_bytes(file.read_bytes()) for file in (*files, package / "app" / "kept.py")]
    used = [version(name) for name in ("sqlglot", "pydantic", "pyyaml", "python-dateutil")]
    return digest([code, sys.version, *used])


def _load(file: Path) -> Shelf:
    """What was written; nothing for anything else."""
    entries: dict[str, memoryview | bytes] = {}
    sound = 0
    with contextlib.suppress(OSError, ValueError, AttributeError):
        data = memoryview(file.read_bytes())
        while sound < len(data):
            more, sound = _part(data, sound)
            entries |= more
        return Shelf(entries, sound)
    return Shelf(entries)


def _part(data: memoryview, start: int) -> tuple[dict[str, memoryview], int]:
    """The entries of the part at `start` and where it ends; ValueError for anything else."""
    (first, made, index), at = _heads(data, start)
    lengths = {str(key): int(length) for key, length in orjson.loads(index).items()}
    ends = list(accumulate(lengths.values(), initial=at))
    right = digest_bytes(data[start + len(first) + 1 : ends[-1]]).encode()
    if first != right or made != made_by().encode() or min(lengths.values(), default=0) < 0:
        raise ValueError("not a part that this code has written")
    return {key: data[a:b] for key, (a, b) in zip(lengths, pairwise(ends), strict=True)}, ends[-1]


def _heads(data: memoryview, start: int) -> tuple[list[bytes], int]:
    """The three lines at `start` and where they end; ValueError where there are none."""
    lines, whole = [], data.obj
    assert isinstance(whole, bytes)
    for _ in range(3):
        end = whole.index(b"\n", start)
        lines.append(whole[start:end])
        start = end + 1
    return lines, start


def _written(entries: Mapping[str, memoryview | bytes]) -> tuple[bytes, ...]:
    """A part, as it stands in the file."""
    lengths = {key: len(entry) for key, entry in entries.items()}
    head = b"%s\n%s\n" % (made_by().encode(), orjson.dumps(lengths))
    whole = b"".join(entries.values())  # some 20 MB on a large estate: put together once
    return digest_bytes(head, whole).encode() + b"\n", head, whole


def _append(file: Path, sound: int, entries: Mapping[str, bytes]) -> int:
    """The length of the file with `entries` behind it; 0 where they could not be put there.

    One write: of two processes at one time each adds a part of its own. What another has
    changed since it was read is left to `_replace`.
    """
    part = b"".join(_written(entries))
    with contextlib.suppress(OSError), file.open("ab", buffering=0) as out:
        if 0 < sound == out.tell() and out.write(part) == len(part):
            return sound + len(part)
    return 0


def _replace(file: Path, entries: Mapping[str, memoryview | bytes]) -> int:
    """The length of the file that holds `entries` now: all of them, or -1 and it is as it was.

    A folder that is not there or not ours to write is no mistake.
    """
    part = _written(entries)
    beside = file.with_name(f"{file.name}.{os.getpid()}.{threading.get_ident()}.tmp")
    sound = -1
    with contextlib.suppress(OSError):
        with beside.open("wb") as out:
            out.writelines(part)
        beside.replace(file)
        sound = sum(map(len, part))
    with contextlib.suppress(OSError):
        beside.unlink(missing_ok=True)
    return sound
