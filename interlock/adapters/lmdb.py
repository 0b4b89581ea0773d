"""Online rows in LMDB: one packed value per (view version, entity key), read without locks.

A value is little-endian doubles: event time, then the values. NULL is one reserved NaN
bit pattern that writing never produces for a real NaN, so a row has a fixed width and
reading is one unpack. Gateways open the same folder read-only while another process writes.
"""

from __future__ import annotations

import hashlib
import math
import struct
import threading
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import lmdb

from interlock.errors import Corrupt, Unavailable
from interlock.ports import OnlineRow

NULL = struct.pack("<Q", 0x7FF8_0000_494C_4E55)  # a quiet NaN whose payload spells ILNU
NAN = struct.pack("<d", math.nan)
LONGEST_KEY = 500  # LMDB takes 511 bytes, the view's prefix among them
Got = TypeVar("Got")


@lru_cache(maxsize=256)
def _layout(size: int) -> struct.Struct:
    return struct.Struct(f"<{size // 8}d")


@lru_cache(maxsize=256)
def _reader(size: int) -> Callable[[bytes], tuple[float, ...]]:
    return _layout(size).unpack


def pack(row: OnlineRow) -> bytes:
    """The stored form of `row`."""
    values = row.values
    if None not in values and not any(v != v for v in values):
        return _layout(8 + 8 * len(values)).pack(row.event_time, *values)
    parts = [NULL if v is None else NAN if v != v else struct.pack("<d", v) for v in values]
    return struct.pack("<d", row.event_time) + b"".join(parts)


@lru_cache(maxsize=1 << 15)
def unpack(data: bytes) -> OnlineRow:
    """The inverse of `pack`.

    Kept by content, so never out of date: most rows are asked for many times between writes.
    """
    numbers = _reader(len(data))(data)
    values: tuple[float | None, ...] = numbers[1:]
    if NULL in data:
        # The pattern may also straddle two values: only whole values are compared.
        cells = (data[at : at + 8] for at in range(8, len(data), 8))
        values = tuple(None if cell == NULL else v for cell, v in zip(cells, values, strict=True))
    return OnlineRow(numbers[0], values)


def stored_key(view: str, key: str) -> bytes:
    """Twelve characters of the fingerprint, a separator, and the key (its hash when long)."""
    text = key.encode()
    if len(text) > LONGEST_KEY - 13:
        return view[:12].encode() + b"\1" + hashlib.sha256(text).hexdigest().encode()
    return view[:12].encode() + b"\0" + text


class LmdbOnlineStore:
    """OnlineStore over one LMDB folder.

    The map starts at `map_size` bytes and doubles up to `map_limit` when full. Without
    `sync` a power cut may lose the last writes, or damage the store where the file system
    reorders writes; rows can be built again.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        readonly: bool = False,
        sync: bool = True,
        map_size: int = 1 << 28,
        map_limit: int = 1 << 40,
    ) -> None:
        self._path = Path(path)
        self._map_limit = max(map_limit, map_size)
        # Growing the map while a transaction is open in this process is undefined in LMDB.
        self._lock = threading.RLock()
        if not readonly:
            self._path.mkdir(parents=True, exist_ok=True)
        self._env = self._open(readonly, sync, map_size)
        self._env.reader_check()  # slots of killed readers would keep old pages alive

    def _open(self, readonly: bool, sync: bool, map_size: int) -> Any:
        def open_it() -> Any:
            existing = self._path / "data.mdb"
            size = max(map_size, existing.stat().st_size if existing.exists() else 0)
            return lmdb.open(
                str(self._path),
                map_size=size,
                readonly=readonly,
                sync=sync,
                metasync=sync,
                max_readers=510,
                max_spare_txns=4,
                create=not readonly,
                # Reads hop threads in tests and pools; one lock per store orders them.
                readahead=False,
            )

        return self._said(open_it)

    def write(self, view: str, rows: Iterable[tuple[str, OnlineRow]]) -> int:
        """Keep the newest row of each key, all in one transaction; equal times overwrite."""
        packed = [(stored_key(view, key), pack(row)) for key, row in rows]
        with self._lock:
            while True:
                try:
                    return self._said(lambda: self._put(packed))
                except lmdb.MapFullError:
                    self._grow()

    def _put(self, packed: Sequence[tuple[bytes, bytes]]) -> int:
        kept = 0
        with self._env.begin(write=True) as txn:
            for key, data in packed:
                old = txn.get(key)
                if old is None or _time(old) <= _time(data):
                    kept += txn.put(key, data)
        return kept

    def _grow(self) -> None:
        size = self._env.info()["map_size"]
        if size >= self._map_limit:
            raise Unavailable(
                f"the online store at {self._path} is full ({size} bytes)",
                help="drop views no release uses, or raise its limit",
            )
        self._env.set_mapsize(min(size * 2, self._map_limit))

    def read(self, wanted: Sequence[tuple[str, str]]) -> list[OnlineRow | None]:
        """One answer per (view, key), in order, from one consistent snapshot."""
        start = {view: view[:12].encode() + b"\0" for view in {view for view, _ in wanted}}
        keys = [
            # 487 bytes are at least 121 characters: shorter keys need no second look.
            start[view] + key.encode() if len(key) < 120 else stored_key(view, key)
            for view, key in wanted
        ]
        with self._lock:
            found = self._said(lambda: self._get(keys))
        try:
            return [None if data is None else unpack(data) for data in found]
        except struct.error as broken:
            raise Corrupt(f"a row of the online store at {self._path} cannot be read") from broken

    def _get(self, keys: Sequence[bytes]) -> list[bytes | None]:
        try:
            with self._env.begin() as txn:
                return list(map(txn.get, keys))
        except lmdb.MapResizedError:
            # Another process grew the map; take its size and look again.
            self._env.set_mapsize(0)
            with self._env.begin() as txn:
                return list(map(txn.get, keys))

    def drop(self, view: str) -> None:
        """Forget every row of one view version."""
        with self._lock:
            self._said(lambda: self._delete(view[:12].encode()))

    def _delete(self, prefix: bytes) -> None:
        with self._env.begin(write=True) as txn, txn.cursor() as cursor:
            found = cursor.set_range(prefix)
            while found and cursor.key().startswith(prefix):
                found = cursor.delete()

    def close(self) -> None:
        with self._lock:
            self._env.close()

    def _said(self, do: Callable[[], Got]) -> Got:
        """Whatever LMDB says no to, in our words; a full map is for `write` to mend."""
        try:
            return do()
        except lmdb.MapFullError:
            raise
        except lmdb.Error as error:
            raise Unavailable(
                f"the online store at {self._path} did not answer: {error}",
                help="is the folder there, writable, and the disk not full?",
            ) from error


def _time(data: bytes) -> float:
    return float(struct.unpack_from("<d", data)[0])
