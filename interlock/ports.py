"""Everything needed from outside, on one page.

Planning is handed a `RecordReader`, so that it cannot write, by type. Data types
that cross these doors stand beside them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from interlock.define.refs import Kind, Ref

if TYPE_CHECKING:
    import pyarrow as pa

Json = dict[str, Any]


class Clock(Protocol):
    """The time of the environment, an aware UTC instant; only `app` holds one."""

    def now(self) -> datetime: ...


@dataclass(frozen=True)
class Abilities:
    """What an engine can do. Every default is the weaker answer.

    `dialect` names the SQL it speaks. With `parts_atomic` parts of several tables are replaced
    at one instant, with `pointers_atomic` all pointers move at one. `nanoseconds`: finer times
    than microseconds can be loaded.
    """

    dialect: str = "duckdb"
    parts_atomic: bool = False
    pointers_atomic: bool = False
    asof_join: bool = False
    nanoseconds: bool = False
    concurrent_processes: bool = False


@dataclass(frozen=True)
class Entry:
    """One version of one thing in the record. `version` counts from 1 without gaps.

    `by` wrote it from `source`; whoever was erased stands there under a pseudonym.
    """

    ref: Ref
    version: int
    body: Json
    written_at: datetime
    by: str
    source: str = ""


class Stored(NamedTuple):
    """An entry exactly as it is kept: texts, canonical JSON, pseudonyms for people."""

    ref: str
    version: int
    body: str
    written_at: str
    by: str
    source: str


@dataclass(frozen=True)
class Checkpoint:
    """The root (hex) of the first `size` leaves. Keep it where the record's writers cannot."""

    size: int
    root: str


@dataclass(frozen=True)
class Named:
    """A name and what stands for it. `salt` is hex; with it anybody can check the pseudonym."""

    pseudonym: str
    name: str
    salt: str


class Written(NamedTuple):
    """An audit leaf and the entry it speaks of; None is the one that is missing."""

    leaf: Json | None
    entry: Stored | None


@dataclass(frozen=True)
class Put:
    """A write that succeeds only if the newest version of `ref` is `expected` (0: none yet)."""

    ref: Ref
    body: Json
    expected: int


@dataclass(frozen=True)
class Bucket:
    """Additive counts of one metric: `n` units, their sum and sum of squares.

    `arm` is `stable` or `candidate`, or `paired` (values are candidate minus stable on
    the same unit). `at` is the start of the time bucket in seconds since 1970 UTC.
    """

    stage: str
    metric: str
    arm: str
    at: int
    n: float
    total: float
    squares: float
    slice: str = ""


class RecordReader(Protocol):
    """Read-only memory."""

    def get(self, ref: Ref) -> Entry | None: ...
    def list(self, kind: Kind) -> tuple[Entry, ...]:
        """The newest entry of every thing of this kind, oldest thing first."""
        ...

    def history(self, ref: Ref, after: int = 0) -> tuple[Entry, ...]:
        """Every version newer than `after`, oldest first."""
        ...

    def parts(self, kind: Kind, of: Sequence[str], since: datetime) -> tuple[Entry, ...]:
        """Every version of each thing of this kind that was written `since`, thing by thing.

        Bodies hold only the parts `of`, by path (`details.rollout.index`); None where there is
        none. For whoever asks about thousands and needs little of each.
        """
        ...

    def buckets(self, change: str) -> tuple[Bucket, ...]: ...
    def audit(self) -> tuple[Json, ...]:
        """All audit leaves in order.

        `{rules, seq, ref, version, body_digest, written_at, by, source, leaf}`.
        """
        ...

    def written(self, after: int | None = None) -> Iterator[Written]:
        """Every leaf in order with its entry, a page at a time; then entries without a leaf.

        With `after`, only leaves whose number is higher.
        """
        ...

    def head(self) -> Checkpoint:
        """The tree over all leaves, as the last write left it."""
        ...

    def origin(self) -> str:
        """What no other record is called: checkpoints and their keys carry it."""
        ...

    def names(self) -> tuple[Named, ...]:
        """Everybody who is still known by name, and the pseudonyms that stand for them."""
        ...


class Record(RecordReader, Protocol):
    """Memory that outlives the process. One call is one transaction."""

    def write(
        self,
        puts: Sequence[Put],
        *,
        by: str,
        at: datetime,
        buckets: Mapping[str, Sequence[Bucket]] | None = None,
    ) -> tuple[Entry, ...]:
        """All of `puts`, or none of them: raises `Stale` naming every ref that moved.

        `buckets` (by change) replace the stored buckets with the same address. Each put
        appends one audit leaf in the same transaction.
        """
        ...

    def forget(self, name: str, *, by: str, at: datetime) -> str:
        """From now on only the pseudonym, which is given back, stands for `name`, everywhere.

        That it was done is an entry of its own. Raises `NotFound` for an unknown name.
        """
        ...

    def written_from(self, source: str) -> Record:
        """The same record, whose writes come from elsewhere: one request of a server."""
        ...

    def claim(self, name: str, holder: str, seconds: float) -> int | None:
        """The lease `name`: a fencing number that only grows, or None if another holds it.

        Claiming again as the same holder renews. Wall-clock time, never the environment's.
        """
        ...

    def release(self, name: str, holder: str) -> None: ...


class Replacement(NamedTuple):
    """The rows of table `name` for which `where` holds become the rows of `sql`.

    `sql` gives the table's columns in the table's order, whatever else this call changes.
    """

    name: str
    where: str
    sql: str


class Warehouse(Protocol):
    """Where tables live and feature SQL runs. All times are UTC; who drops nothing is not told."""

    abilities: Abilities

    def query(self, sql: str) -> pa.Table: ...
    def batches(self, sql: str) -> pa.RecordBatchReader:
        """The rows of `sql` as they come, for results that should not be held in memory."""
        ...

    def execute(self, sql: str) -> None: ...
    def build(self, name: str, sql: str) -> int:
        """`name` (schema.table) as the rows of `sql`, atomically; the row count. Replaces."""
        ...

    def replace(self, parts: Sequence[Replacement]) -> None:
        """Parts of tables, all at one instant; `Unusable` on an engine that cannot."""
        ...

    def point(self, pointers: Mapping[str, str]) -> None:
        """Views `name -> physical table`; killed and asked again, it ends where it would have."""
        ...

    def columns(self, sql: str) -> dict[str, str]:
        """Column names and types of a query, without running it; types in DuckDB's spelling."""
        ...

    def has(self, name: str) -> bool: ...
    def drop(self, name: str) -> None: ...
    def load(self, name: str, rows: pa.Table, append: bool = False) -> None: ...
    def close(self) -> None: ...


class OnlineRow(NamedTuple):
    """The newest row of one entity in one view version.

    Times are seconds since 1970 UTC. `values` are in the order of the view's features;
    None is NULL, which is not NaN. Rows of one key are ordered by event time, then by when
    they became available (-inf: not declared), then by the declared tie-break.
    """

    event_time: float
    values: tuple[float | None, ...]
    available_at: float = -math.inf
    tie: float = 0.0

    @property
    def order(self) -> tuple[float, float, float]:
        return self.event_time, self.available_at, self.tie


Span = tuple[float | None, float]
"""(since, until]: instants in seconds; None is the beginning."""


class OnlineStore(Protocol):
    """Feature rows by (view fingerprint, entity key); versions live side by side."""

    def write(
        self, view: str, rows: Iterable[tuple[str, OnlineRow]], span: Span | None = None
    ) -> int:
        """Keep the row of each key that is last in `OnlineRow.order`; the number kept.

        Equal order overwrites. With `span`, `rows` are all that became known in it: rows
        stamped after its end are left out, as they must not hide an older one yet, and the
        view's watermark moves to the end, unless it stands before the span's beginning.
        """
        ...

    def read(self, wanted: Sequence[tuple[str, str]]) -> list[OnlineRow | None]:
        """One answer per (view, key), in order, from one consistent snapshot."""
        ...

    def packed(self, wanted: Sequence[tuple[str, str]]) -> list[bytes | None]:
        """As `read`, each as it is stored (`serve.packed`), for many at once; or `Corrupt`."""
        ...

    def watermarks(self) -> dict[str, float]:
        """Per view, the instant up to which nothing is missing here."""
        ...

    def drop(self, view: str) -> None: ...
    def close(self) -> None: ...


class Artifacts(Protocol):
    """Bytes by their SHA-256. `get` raises `Corrupt` rather than return other bytes."""

    def put(self, data: bytes) -> str: ...
    def get(self, digest: str) -> bytes: ...
    def has(self, digest: str) -> bool: ...


@dataclass(frozen=True)
class Trained:
    """What a trainer gives back: a native-format model, and what serving must know of it.

    `categories` maps a categorical input to its values; a value's code is its index.
    `importance` maps input name to its share of the total gain (sums to 1).
    """

    model: bytes
    format: str
    inputs: tuple[str, ...]
    categories: Mapping[str, tuple[str, ...]]
    importance: Mapping[str, float]


class Trainer(Protocol):
    """Runs a project's train entry away from this process."""

    def train(
        self, code: str, entry: str, rows: pa.Table, options: Mapping[str, Any], work: Path
    ) -> Trained: ...


class Scorer(Protocol):
    """A loaded model: `matrix` float64 [rows, inputs], NaN is missing -> float64 [rows]."""

    def score(self, matrix: Any) -> Any: ...


class PredictionLog(Protocol):
    """What was answered. Append survives the death of the process once it returns."""

    def append(self, rows: Sequence[Json]) -> None: ...
    def check(self) -> None:
        """Raises `Unavailable` when a row could not be appended now."""
        ...

    def read(self, after: Json) -> tuple[list[Json], Json]:
        """Rows appended since the cursor `after` ({} = from the start), and the next cursor."""
        ...

    def find(self, id: str) -> list[Json]:
        """Every row with this id."""
        ...


class PolicyEngine(Protocol):
    """May `principal` do `action` to `change`? Objections of every policy that says no."""

    def decide(self, principal: Json, action: str, change: Json) -> tuple[str, ...]:
        """Empty means allowed; an error inside the engine is an objection, never an allow."""
        ...


class Signer(Protocol):
    """A private Ed25519 key that never leaves its place; `public` is its public half, 32 bytes."""

    public: bytes

    def sign(self, data: bytes) -> bytes: ...


@dataclass(frozen=True)
class Message:
    """What one place is told. `id` is the same at every attempt, so that twice is known as twice.

    `at` is when it happened, in the time of the environment; `type` and `subject` are those
    of CloudEvents. `data` is everything that is known, for machines.
    """

    id: str
    type: str
    source: str
    subject: str
    at: datetime
    title: str
    text: str
    data: Json


class Notifier(Protocol):
    """One place that is told. Failing to tell never stops a change."""

    def tell(self, message: Message) -> None:
        """Raises `Unavailable` when it was not taken; what it says holds no secret."""
        ...
