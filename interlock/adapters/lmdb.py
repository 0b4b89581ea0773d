"""Online rows in LMDB: one packed value per (view version, entity key), read without locks.

Gateways open the same folder read-only while another process writes.
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import lmdb

from interlock.errors import Unavailable
from interlock.ports import OnlineRow, Span
from interlock.serve.packed import (
    due,
    moved,
    order,
    pack,
    stored_key,
    stored_keys,
    unpack_all,
    whole,
)

MARK = b"\0watermark\0"
FORMAT_KEY, FORMAT = b"\0format", b"2"
_DOUBLE = struct.Struct("<d")
Got = TypeVar("Got")


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
        self._said(lambda: self._check_format(readonly))

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

    def _check_format(self, readonly: bool) -> None:
        """Rows of an older layout are forgotten: they can be pushed again, not misread."""
        with self._env.begin(write=not readonly) as txn:
            if txn.get(FORMAT_KEY) == FORMAT:
                return
            if readonly:
                raise Unavailable(
                    f"the online store at {self._path} has another layout of rows",
                    help="any command that writes (`interlock tick`) makes it anew",
                )
            txn.drop(self._env.open_db(None, txn=txn), delete=False)
            txn.put(FORMAT_KEY, FORMAT)

    def write(
        self, view: str, rows: Iterable[tuple[str, OnlineRow]], span: Span | None = None
    ) -> int:
        """Keep the last row of each key, and the watermark, all in one transaction."""
        packed = [(stored_key(view, key), pack(row)) for key, row in due(rows, span)]
        with self._lock:
            while True:
                try:
                    return self._said(lambda: self._put(view, packed, span))
                except lmdb.MapFullError:
                    self._grow()

    def _put(self, view: str, packed: Sequence[tuple[bytes, bytes]], span: Span | None) -> int:
        kept = 0
        with self._begin(write=True) as txn:
            for key, data in packed:
                old = txn.get(key)
                if old is None or order(old) <= order(data):
                    kept += txn.put(key, data)
            mark, stood = MARK + view.encode(), txn.get(MARK + view.encode())
            at = moved(None if stood is None else _DOUBLE.unpack(stood)[0], span)
            if at is not None:
                txn.put(mark, _DOUBLE.pack(at))
        return kept

    def watermarks(self) -> dict[str, float]:
        """Per view, the instant up to which nothing is missing here."""
        with self._lock:
            return self._said(self._marks)

    def _marks(self) -> dict[str, float]:
        found: dict[str, float] = {}
        with self._begin() as txn, txn.cursor() as cursor:
            more = cursor.set_range(MARK)
            while more and cursor.key().startswith(MARK):
                found[cursor.key()[len(MARK) :].decode()] = _DOUBLE.unpack(cursor.value())[0]
                more = cursor.next()
        return found

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
        return unpack_all(self.packed(wanted))

    def packed(self, wanted: Sequence[tuple[str, str]]) -> list[bytes | None]:
        """As `read`, each row as it is stored."""
        keys = stored_keys(wanted)
        with self._lock:
            try:
                txn = self._env.begin()
            except lmdb.Error:
                txn = self._said(self._begin)
            try:
                found = list(map(txn.get, keys))
            except lmdb.Error as error:
                raise self._away(error) from error
            finally:
                txn.abort()  # of a read: gives its snapshot back
        return whole(found)

    def _begin(self, write: bool = False) -> Any:
        try:
            return self._env.begin(write=write)
        except lmdb.MapResizedError:
            # Another process grew the map; take its size and look again.
            self._env.set_mapsize(0)
            return self._env.begin(write=write)

    def drop(self, view: str) -> None:
        """Forget every row of one view version."""
        with self._lock:
            self._said(lambda: self._delete(view))

    def _delete(self, view: str) -> None:
        prefix = view[:12].encode()
        with self._env.begin(write=True) as txn, txn.cursor() as cursor:
            found = cursor.set_range(prefix)
            while found and cursor.key().startswith(prefix):
                found = cursor.delete()
            txn.delete(MARK + view.encode())

    def copy_to(self, folder: Path) -> None:
        """Every row of one moment in a new store at `folder`, while others write."""
        folder.mkdir()
        self._said(lambda: self._env.copy(str(folder)))

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
            raise self._away(error) from error

    def _away(self, error: Exception) -> Unavailable:
        return Unavailable(
            f"the online store at {self._path} did not answer: {error}",
            help="is the folder there, writable, and the disk not full?",
        )
