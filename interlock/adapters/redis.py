"""Online rows in Redis or Valkey: one string per (view version, entity key), for many machines.

A read is one MGET, so one round trip and one moment. A write is one script per chunk: it
compares and sets on the server, so writers at the same time cannot undo each other. Rows
and watermarks are saved together, so a server that comes back with an older copy also
says how far that copy reaches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, TypeVar

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from interlock.errors import Unavailable
from interlock.ports import OnlineRow, Span
from interlock.serve.packed import due, pack, stored_key, stored_keys, unpack_all, whole

CHUNK = 1000  # rows per script: about two milliseconds in which the server answers nobody else
Got = TypeVar("Got")

# The last row in the order of (event time, availability, tie-break) stays; see `packed.pack`.
_WRITE = """
local kept = 0
for i = 1, #KEYS - 1 do
  local old, newer = redis.call('GET', KEYS[i]), true
  if old then
    local e, a, t = struct.unpack('<ddd', ARGV[i + 3])
    local oe, oa, ot = struct.unpack('<ddd', old)
    newer = e > oe or (e == oe and (a > oa or (a == oa and t >= ot)))
  end
  if newer then
    redis.call('SET', KEYS[i], ARGV[i + 3])
    kept = kept + 1
  end
end
local marks, view, since, to = KEYS[#KEYS], ARGV[1], ARGV[2], ARGV[3]
if to ~= '' then
  local stood = redis.call('HGET', marks, view)
  local reaches = since == '' or (stood and tonumber(stood) >= tonumber(since))
  if reaches and (not stood or tonumber(to) > tonumber(stood)) then
    redis.call('HSET', marks, view, to)
  end
end
return kept
"""


class RedisOnlineStore:
    """OnlineStore over one Redis database.

    `prefix` keeps projects and environments apart. `timeout` is in seconds, for connecting
    and for each answer; nothing is tried again but a connection that the server had closed.
    A write of more than `CHUNK` rows is several moments; its watermark moves in the last.
    """

    def __init__(self, url: str, prefix: str = "interlock", timeout: float = 0.1) -> None:
        self._where = url.rpartition("@")[2]  # a password is never shown
        self._prefix = f"{prefix}:".encode()
        self._marks = self._prefix + b"watermarks"
        try:
            self._client: Any = redis.Redis.from_url(
                url,
                socket_timeout=timeout,
                socket_connect_timeout=timeout,
                retry=Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,)),
                protocol=2,
            )
        except ValueError as error:
            raise Unavailable(
                f"{self._where} is no Redis address: {error}", help="write redis://host:6379/0"
            ) from error
        self._script: Any = self._client.register_script(_WRITE)

    def write(
        self, view: str, rows: Iterable[tuple[str, OnlineRow]], span: Span | None = None
    ) -> int:
        """Keep the last row of each key; concurrent writers cannot undo each other."""
        packed = [(self._prefix + stored_key(view, key), pack(row)) for key, row in due(rows, span)]
        chunks = list(_chunks(packed)) or [[]]
        kept = 0
        for at, chunk in enumerate(chunks):
            # A write that stops halfway has not moved the watermark: it is done again.
            told = _told(span) if at == len(chunks) - 1 else [b"", b""]
            keys = [*(key for key, _ in chunk), self._marks]
            data = [view.encode(), *told, *(data for _, data in chunk)]
            kept += self._said(lambda k=keys, d=data: self._script(keys=k, args=d))  # type: ignore[misc]  # bound now
        return kept

    def read(self, wanted: Sequence[tuple[str, str]]) -> list[OnlineRow | None]:
        """One answer per (view, key), in order, from one consistent snapshot."""
        return unpack_all(self.packed(wanted))

    def packed(self, wanted: Sequence[tuple[str, str]]) -> list[bytes | None]:
        """As `read`, each row as it is stored."""
        if not wanted:
            return []
        keys = [self._prefix + key for key in stored_keys(wanted)]
        found = self._said(lambda: self._client.execute_command("MGET", *keys))
        return whole(found)

    def watermarks(self) -> dict[str, float]:
        """Per view, the instant up to which nothing is missing here."""
        found = self._said(lambda: self._client.hgetall(self._marks))
        return {view.decode(): float(at) for view, at in found.items()}

    def drop(self, view: str) -> None:
        """Forget every row of one view version; the watermark first, so that a stop is safe."""
        self._said(lambda: self._client.hdel(self._marks, view))
        self._said(lambda: self._unlink(_literal(self._prefix + view[:12].encode()) + b"*"))

    def _unlink(self, pattern: bytes) -> None:
        found = self._client.scan_iter(match=pattern, count=CHUNK)
        while some := list(islice(found, CHUNK)):
            self._client.unlink(*some)

    def close(self) -> None:
        self._client.close()

    def _said(self, do: Callable[[], Got]) -> Got:
        """Whatever Redis says no to, in our words."""
        try:
            return do()
        except (redis.RedisError, OSError) as error:
            full = isinstance(error, redis.exceptions.OutOfMemoryError)
            raise Unavailable(
                f"the online store at {self._where} "
                + ("is full" if full else f"did not answer: {error}"),
                help="drop views no release uses, or give it more memory"
                if full
                else "is the server there, and does it take this user?",
            ) from error


def _chunks(packed: Sequence[tuple[bytes, bytes]]) -> Iterator[list[tuple[bytes, bytes]]]:
    for at in range(0, len(packed), CHUNK):
        yield list(packed[at : at + CHUNK])


def _told(span: Span | None) -> list[bytes]:
    """`span` as the script reads it: seconds as text, nothing for no bound."""
    if span is None:
        return [b"", b""]
    return [b"" if one is None else repr(float(one)).encode() for one in span]


def _literal(text: bytes) -> bytes:
    """`text` for a MATCH pattern, in which these characters would mean something."""
    return b"".join(b"\\" + c if c in b"*?[]\\^" else c for c in (bytes([b]) for b in text))
