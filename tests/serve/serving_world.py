"""A small world to serve: two releases, one tiny real booster each, and readers in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np

from interlock.adapters.lmdb import LmdbOnlineStore
from interlock.adapters.predictions import JsonLinesLog
from interlock.app.mirroring import COMMAND, MirrorPlaces, Mirrors
from interlock.app.serving import Gateway, Pace
from interlock.define.digest import digest_bytes
from interlock.define.refs import Ref
from interlock.define.release import Route
from interlock.errors import Corrupt, Unavailable
from interlock.ports import Bucket, Entry, Json, OnlineRow
from interlock.serve.spec import (
    Fallback,
    FeatureInput,
    Lookup,
    ModelSpec,
    RequestInput,
    ServingSpec,
)

AT = datetime(2013, 4, 1, 12, tzinfo=UTC)
NOW = AT.timestamp()
HOUR = 3600.0
STABLE, CANDIDATE, THIRD, FOURTH = "a" * 64, "b" * 64, "c" * 64, "d" * 64
WEATHER = Lookup(
    "origin_weather@1", "1" * 64, ("origin",), 4 * HOUR, ("temp", "wind"),
    (Fallback(50.0), Fallback(None, 2 * HOUR)),
)  # fmt: skip
LATE = Lookup("late_rate@1", "2" * 64, ("carrier", "origin"), None, ("rate",), (None,))
COLUMNS = {
    "flight_id": "integer", "carrier": "string", "origin": "string", "distance": "double",
    "sched_dep": "timestamp", "local_date": "date",
}  # fmt: skip


def booster(seed: int) -> bytes:
    """A model over (temp, rate, carrier code, distance, wind)."""
    chance = np.random.default_rng(seed)
    rows = chance.normal(size=(400, 5))
    rows[:, 2] = chance.integers(0, 3, 400)
    wanted = (rows[:, 0] + rows[:, 1] + (rows[:, 2] == 1) + chance.normal(size=400) > 0) * 1
    options = {"objective": "binary", "verbose": -1, "num_leaves": 7, "num_threads": 1}
    data = lightgbm.Dataset(rows, wanted, categorical_feature=[2])
    text: str = lightgbm.train(options, data, 8).model_to_string()
    return text.encode()


def model_spec(artifact: str, version: str, **more: Any) -> ModelSpec:
    inputs = (
        FeatureInput("temp", 0, 0),
        FeatureInput("rate", 1, 0),
        RequestInput("carrier", ("UA", "DL", "B6")),
        RequestInput("distance"),
        FeatureInput("wind", 0, 1),
    )
    spec = ModelSpec(
        "late", version, artifact, "lightgbm-text", "flight_id", inputs, (WEATHER, LATE), COLUMNS
    )
    return replace(spec, **more)


@dataclass
class MemoryReader:
    """A RecordReader whose entries a test writes by hand; `away` makes it fail."""

    entries: dict[Ref, list[Entry]] = field(default_factory=dict)
    away: bool = False

    def put(self, ref: Ref, body: Json) -> None:
        found = self.entries.setdefault(ref, [])
        found.append(Entry(ref, len(found) + 1, body, AT, "test"))

    def get(self, ref: Ref) -> Entry | None:
        if self.away:
            raise Unavailable("the record is away")
        found = self.entries.get(ref)
        return found[-1] if found else None

    def list(self, kind: Any) -> tuple[Entry, ...]:
        return tuple(found[-1] for ref, found in self.entries.items() if ref.kind == kind)

    def history(self, ref: Ref, after: int = 0) -> tuple[Entry, ...]:
        return tuple(self.entries.get(ref, ())[after:])

    def buckets(self, change: str) -> tuple[Bucket, ...]:
        return ()

    def audit(self) -> tuple[Json, ...]:
        return ()


@dataclass
class MemoryArtifacts:
    """Bytes by digest."""

    kept: dict[str, bytes] = field(default_factory=dict)

    def put(self, data: bytes) -> str:
        self.kept[digest_bytes(data)] = data
        return digest_bytes(data)

    def get(self, digest: str) -> bytes:
        data = self.kept.get(digest)
        if data is None or digest_bytes(data) != digest:
            raise Corrupt(f"artifact {digest[:12]} is not what its digest says")
        return data

    def has(self, digest: str) -> bool:
        return digest in self.kept


@dataclass
class World:
    """Everything a gateway is wired to, and the gateway."""

    record: MemoryReader
    artifacts: MemoryArtifacts
    store: LmdbOnlineStore
    log: JsonLinesLog
    gateway: Gateway
    mirrored: JsonLinesLog

    def route(self, **said: Any) -> None:
        """Move the Route and let the gateway see it."""
        body = {**Route("flights", stable=STABLE, salt="s").to_json(), **said}
        self.record.put(Ref("route", "flights"), body)
        self.gateway.releases.poll()

    def release(self, digest: str, seed: int, **more: Any) -> ModelSpec:
        """A release in the record, with its booster among the artifacts."""
        spec = model_spec(self.artifacts.put(booster(seed)), f"late@{seed}", **more)
        serving = ServingSpec(digest, ("flight_id",), {"late": spec}, ("crew", "gates"))
        self.record.put(Ref("serving", digest), serving.to_json())
        return spec

    def mirrors(self) -> dict[str, Json]:
        """What the other release would have said, by the id of the answer."""
        rows = self.mirrored.read({})[0]
        found = {row["id"]: row for row in rows}
        assert len(found) == len(rows), "an answer was mirrored twice"
        return found

    def rows(self) -> list[Json]:
        return self.log.read({})[0]


def mirrors(folder: Path, artifacts: MemoryArtifacts, command: Sequence[str] = COMMAND) -> Mirrors:
    places = MirrorPlaces(("lmdb://online",), str(folder), "flights", str(folder / "mirrored"))
    return Mirrors(places, artifacts, command)


# A busy machine may not answer for seconds: who tests what a lease does brings one of its own.
STEADY = Pace(lease=120.0, retry=0.0)


def world(folder: Path, pace: Pace = STEADY) -> World:
    record, artifacts = MemoryReader(), MemoryArtifacts()
    store = LmdbOnlineStore(folder / "online", sync=False)
    log = JsonLinesLog(folder / "predictions", "one")
    gateway = Gateway(record, artifacts, store, log, "flights", True, pace)
    gateway.mirrors = mirrors(folder, artifacts)
    mirrored = JsonLinesLog(folder / "mirrored", "reader")
    made = World(record, artifacts, store, log, gateway, mirrored)
    made.release(STABLE, 1)
    made.release(CANDIDATE, 2)
    store.write(WEATHER.fingerprint, [("EWR", OnlineRow(NOW - HOUR, (40.0, 7.0)))])
    store.write(LATE.fingerprint, [("UA|EWR", OnlineRow(NOW - 9 * HOUR, (0.3,)))])
    return made


def body(flights: Sequence[int], **columns: Sequence[Any]) -> Json:
    """An infer request for `flights`, UA from EWR unless `columns` say otherwise."""
    count = len(flights)
    data: dict[str, tuple[str, Sequence[Any]]] = {
        "flight_id": ("INT64", flights),
        "carrier": ("BYTES", columns.get("carrier", ["UA"] * count)),
        "origin": ("BYTES", columns.get("origin", ["EWR"] * count)),
        "distance": ("FP64", columns.get("distance", [500.0] * count)),
    }
    inputs = [
        {"name": name, "shape": [count], "datatype": said, "data": list(values)}
        for name, (said, values) in data.items()
    ]
    return {"inputs": inputs, "parameters": {"at": "2013-04-01T12:00:00Z", "service": "crew"}}
