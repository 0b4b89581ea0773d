"""Three services that decide about the same flights at once, and remember what they were told."""

from __future__ import annotations

import http.client
import random
import threading
import time
from bisect import bisect_left
from collections import Counter, deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from interlock.app.traffic import request_columns, tensor
from interlock.app.workspace import Workspace
from interlock.define.refs import Ref
from interlock.serve.spec import ServingSpec

SERVICES = ("rebooking", "crew", "gates")
MODEL = "late"
HEADER = "x-interlock-release"
PENDING = 25  # decisions under way at any moment, so that the Route moves in the middle of some


@dataclass(frozen=True)
class Told:
    """One answer for one flight: to whom, and everything that names a version in it."""

    service: str
    subject: str
    header: str | None  # what was sent along; None: the gateway decided
    given: str  # what came back
    release: str
    epoch: int
    id: str
    score: float | None
    model_version: str
    versions: dict[str, Any]


@dataclass(frozen=True)
class Pending:
    """A decision that one service has begun and the others will act on a second later."""

    row: int
    now: datetime
    first: Told
    services: list[str]


@dataclass(frozen=True)
class Decision:
    """What the services heard about one flight, in the order they asked."""

    told: tuple[Told, ...]


@dataclass(frozen=True)
class Flagged:
    """What the flag of one service said about one subject."""

    subject: str
    release: str
    epoch: int


@dataclass
class Flights:
    """Request rows in the order of their prediction times."""

    at: list[datetime]
    columns: dict[str, list[Any]]
    types: dict[str, str]

    @classmethod
    def read(cls, folder: Path) -> Flights:
        """All rows of the spine, as the release that runs wants them sent."""
        workspace = Workspace(folder)
        release = workspace.route().stable or ""
        entry = workspace.record.get(Ref("serving", release))
        assert entry is not None
        spec = ServingSpec.from_json(entry.body)
        model = workspace.project.models[MODEL]
        columns = request_columns(model, spec)
        picked = ", ".join(f'"{name}"' for name in columns)
        rows = workspace.warehouse.query(
            f"SELECT {picked}, {model.time} AS at__ FROM {model.spine} ORDER BY at__, {model.key}"
        ).to_pydict()
        workspace.close()
        at = [moment.replace(tzinfo=UTC) for moment in rows.pop("at__")]
        return cls(at, rows, dict(spec.models[MODEL].columns))

    def near(self, now: datetime, chance: random.Random) -> int:
        """One of the last flights before `now`: the recorded traffic has asked for it already,
        so what is counted (first answers) does not depend on how fast this crowd asks."""
        return max(bisect_left(self.at, now) - 1 - chance.randrange(40), 0)

    def body(self, row: int, service: str, now: datetime) -> bytes:
        inputs = [tensor(name, [v[row]], self.types[name]) for name, v in self.columns.items()]
        at = now.strftime("%Y-%m-%dT%H:%M:%SZ")
        return orjson.dumps({"inputs": inputs, "parameters": {"at": at, "service": service}})

    def subject(self, row: int) -> str:
        return str(self.columns["flight_id"][row])


@dataclass
class Crowd:
    """Asks until told to stop. A gateway that is away is asked again, with the same header."""

    folder: Path
    ports: list[int]  # of gateways, each of which must know what the others know
    flights: Flights
    seed: int
    decisions: list[Decision] = field(default_factory=list)
    flagged: list[Flagged] = field(default_factory=list)
    trouble: Counter[str] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._chance = random.Random(self.seed)
        self._stop = threading.Event()
        self._link: http.client.HTTPConnection | None = None
        self._record = Workspace(self.folder)
        self._thread = threading.Thread(target=self._ask_on, name="crowd", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(20)
        self._close()
        self._record.close()

    def _ask_on(self) -> None:
        pending: deque[Pending] = deque()
        while not self._stop.is_set():
            now = self._record.now()
            row = self.flights.near(now, self._chance)
            services = self._chance.sample(SERVICES, len(SERVICES))
            first = self._ask(services[0], row, now, None)
            if first is not None:
                pending.append(Pending(row, now, first, services[1:]))
            if len(pending) > PENDING:
                self._finish(pending.popleft())
            # Not flat out: two cores are shared with the processes under test.
            time.sleep(0.1)

    def _finish(self, begun: Pending) -> None:
        """The other services, each with the release that the first one was given."""
        told = [begun.first]
        for service in begun.services:
            one = self._ask(service, begun.row, begun.now, begun.first.given)
            if one is None:
                break
            told.append(one)
        self.decisions.append(Decision(tuple(told)))
        self._flag(self._chance.choice(SERVICES), self.flights.subject(begun.row))

    def _ask(self, service: str, row: int, now: datetime, header: str | None) -> Told | None:
        if self._chance.random() < len(self.ports) / 4 - 0.25:
            self._close()  # another gateway, perhaps
        sent = {HEADER: header} if header else {}
        got = self._post(f"/v2/models/{MODEL}/infer", self.flights.body(row, service, now), sent)
        return None if got is None else self._told(service, row, header, got)

    def _told(self, service: str, row: int, header: str | None, got: tuple[Any, str]) -> Told:
        answer, given = got
        out = {item["name"]: item["data"][0] for item in answer["outputs"]}
        said = answer["parameters"]
        if said.get("release") != out["release"]:
            self.broken.append(f"one row, two names: {said.get('release')} and {out['release']}")
        return Told(
            service, self.flights.subject(row), header, given, out["release"], said["epoch"],
            out["prediction_id"], out["score"], answer["model_version"], said["releases"],
        )  # fmt: skip

    def _flag(self, service: str, subject: str) -> None:
        path = f"/ofrep/v1/evaluate/flags/{service}.release"
        got = self._post(path, orjson.dumps({"context": {"targetingKey": subject}}), {})
        if got is not None:
            said = got[0]
            self.flagged.append(Flagged(subject, said["value"], said["metadata"]["epoch"]))

    def _post(self, path: str, body: bytes, headers: dict[str, str]) -> tuple[Any, str] | None:
        """Answer and release header; asked again while the gateway is down, until stopped."""
        ends = time.monotonic() + 20
        while time.monotonic() < ends and not self._stop.is_set():
            try:
                return self._once(path, body, headers)
            except (OSError, http.client.HTTPException) as error:
                self.trouble[type(error).__name__] += 1
                self._close()
                time.sleep(0.02)
        return None

    def _once(self, path: str, body: bytes, headers: dict[str, str]) -> tuple[Any, str]:
        if self._link is None:
            port = self._chance.choice(self.ports)
            self._link = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        self._link.request("POST", path, body, {"content-type": "application/json", **headers})
        response = self._link.getresponse()
        text = response.read()
        if response.status != 200:
            # Killing may cost an answer, never give a wrong one: every refusal is kept.
            self.broken.append(f"{response.status} for {path}: {text[:200]!r}")
            raise ConnectionError("refused")
        return orjson.loads(text), response.headers.get(HEADER, "")

    def _close(self) -> None:
        if self._link is not None:
            self._link.close()
            self._link = None
