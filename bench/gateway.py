"""What the gateway costs over a bare server that is handed every feature and runs the same model.

The gateway reads 12 views from LMDB, assigns the cohort, scores, answers in the protocol
and logs each row; the bare Starlette app parses a ready matrix and scores it. A second gateway
mirrors every row to a process beside it. All are real processes behind uvicorn. Rounds
alternate, so that a busy machine is busy for all.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from interlock.adapters.files import FileArtifacts
from interlock.adapters.lightgbm import load
from interlock.adapters.lmdb import LmdbOnlineStore
from interlock.adapters.predictions import JsonLinesLog
from interlock.adapters.sqlrecord import SqlRecord
from interlock.define.digest import digest
from interlock.define.refs import Ref
from interlock.define.release import Route
from interlock.ports import OnlineRow, Put
from interlock.serve.spec import FeatureInput, Input, Lookup, ModelSpec, RequestInput, ServingSpec

AT = datetime(2013, 4, 1, 12, tzinfo=UTC)
VIEWS: tuple[tuple[str, tuple[str, ...], int], ...] = (
    ("weather", ("origin",), 5), ("delay_2h", ("origin",), 1), ("delay_24h", ("origin",), 1),
    ("overdue", ("origin",), 1), ("cancel_6h", ("origin",), 1),
    ("carrier_3h", ("carrier", "origin"), 1), ("carrier_7d", ("carrier",), 1),
    ("route_28d", ("origin", "dest"), 1), ("number_28d", ("carrier", "flight", "origin"), 1),
    ("dest_24h", ("dest",), 1), ("tail_last", ("tailnum",), 1), ("load_1h", ("origin", "sched"), 1),
)  # fmt: skip
SENT = ("local_hour", "dow", "distance", "block_min", "plane_age", "plane_seats")
CODES = {"origin": ("EWR", "JFK", "LGA"), "carrier": tuple(f"C{i}" for i in range(16))}
STRINGS = ("origin", "carrier", "dest", "tailnum", "sched")
CONNECTIONS = 32
GATEWAYS = ("gateway", "mirrored")
PAIRS = (("gateway", "bare"), ("gateway", "booster"), ("mirrored", "gateway"))


class Measured(NamedTuple):
    """What all connections together saw; `p99` of the wait for an answer, in milliseconds."""

    speed: float  # requests a second
    cpu: float  # microseconds of the server for each
    p99: float


def booster() -> bytes:
    """200 trees over 24 inputs, the last two of them codes."""
    import lightgbm  # here: the served processes must not import it

    chance = np.random.default_rng(1)
    rows = chance.normal(size=(5000, 24))
    rows[:, 22], rows[:, 23] = chance.integers(0, 3, 5000), chance.integers(0, 16, 5000)
    wanted = (rows[:, :4].sum(axis=1) + chance.normal(size=5000) > 0) * 1
    options = {"objective": "binary", "verbose": -1, "num_leaves": 31, "num_threads": 1}
    data = lightgbm.Dataset(rows, wanted, categorical_feature=[22, 23])
    text: str = lightgbm.train(options, data, 200).model_to_string()
    return text.encode()


def spec(artifact: str, release: str) -> ServingSpec:
    lookups = tuple(
        Lookup(
            f"{name}@1", digest(name), entity, 86400.0,
            tuple(f"{name}_{i}" for i in range(width)), (None,) * width,
        )
        for name, entity, width in VIEWS
    )  # fmt: skip
    inputs: list[Input] = [
        FeatureInput(feature, at, i)
        for at, lookup in enumerate(lookups)
        for i, feature in enumerate(lookup.features)
    ]
    inputs += [RequestInput(name) for name in SENT]
    inputs += [RequestInput(name, codes) for name, codes in CODES.items()]
    columns = {"flight_id": "integer", "flight": "integer"} | dict.fromkeys(STRINGS, "string")
    columns |= dict.fromkeys(SENT, "double")
    model = ModelSpec(
        "late", "late@1", artifact, "lightgbm-text", "flight_id", tuple(inputs), lookups, columns
    )
    return ServingSpec(release, ("flight_id",), {"late": model}, ("crew",))


def flights(count: int) -> list[dict[str, Any]]:
    chance = np.random.default_rng(2)
    return [
        {
            "flight_id": i, "flight": int(chance.integers(1, 2000)),
            "origin": CODES["origin"][i % 3], "carrier": CODES["carrier"][int(chance.integers(16))],
            "dest": f"D{int(chance.integers(100))}", "tailnum": f"N{int(chance.integers(3000))}",
            "sched": f"2013-04-01T{int(chance.integers(10, 24))}:00:00Z",
            **{name: float(chance.normal()) for name in SENT},
        }
        for i in range(count)
    ]  # fmt: skip


def prepare(folder: Path) -> None:
    """A released model, its rows online, and the route: everything a gateway process opens."""
    data = booster()
    (folder / "model.txt").write_bytes(data)
    release = digest("release")
    made = spec(FileArtifacts(folder / "artifacts").put(data), release)
    other = replace(made, release=digest("candidate"))
    record = SqlRecord(folder / "record.db")
    route = Route("flights", stable=release, salt="s")
    mirrors = replace(route, environment="mirrored", candidate=other.release, mirror=True)
    puts = [
        *(Put(Ref("serving", one.release), one.to_json(), 0) for one in (made, other)),
        *(Put(Ref("route", one.environment), one.to_json(), 0) for one in (route, mirrors)),
    ]
    record.write(puts, by="bench", at=AT)
    record.close()
    store = LmdbOnlineStore(folder / "online", sync=False)
    chance = np.random.default_rng(3)
    for lookup in made.models["late"].lookups:
        keys = {"|".join(str(row[name]) for name in lookup.entity) for row in flights(4000)}
        width = len(lookup.features)
        store.write(
            lookup.fingerprint,
            ((k, OnlineRow(time.time() - 60, tuple(chance.normal(size=width)))) for k in keys),
        )
    store.close()


def serve(kind: str, folder: Path, listening: int) -> None:
    """A server process: `gateway`, `mirrored`, `bare` (our scorer), or `booster` (LightGBM's)."""
    import uvicorn

    from interlock.web.wire import protocol_of

    app = _gateway(folder, kind) if kind in GATEWAYS else _bare(folder, kind)
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http=protocol_of(app) if kind in GATEWAYS else "httptools",
        log_level="warning",
        access_log=False,
        timeout_keep_alive=60,
    )
    uvicorn.Server(config).run(sockets=[socket.socket(fileno=listening)])


def _gateway(folder: Path, kind: str) -> Any:
    from interlock.app.mirroring import MirrorPlaces, Mirrors
    from interlock.app.serving import Gateway
    from interlock.web.gateway import gateway_app
    from interlock.web.server import settle

    gateway = Gateway(
        SqlRecord(folder / "record.db"), FileArtifacts(folder / "artifacts"),
        LmdbOnlineStore(folder / "online", readonly=True),
        JsonLinesLog(folder / "predictions", f"gateway-{os.getpid()}"),
        "mirrored" if kind == "mirrored" else "flights",
    )  # fmt: skip
    places = MirrorPlaces(("lmdb://online",), str(folder), "", str(folder / "mirrored"))
    gateway.mirrors = Mirrors(places, FileArtifacts(folder / "artifacts"))
    app = gateway_app(gateway.start())
    settle()
    return app


def _bare(folder: Path, kind: str) -> Any:
    import orjson
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route as Path_

    data = (folder / "model.txt").read_bytes()
    score: Any
    if kind == "booster":
        import lightgbm

        score = partial(lightgbm.Booster(model_str=data.decode()).predict, num_threads=1)
    else:
        score = load(data).score

    async def infer(request: Request) -> Response:
        tensor = orjson.loads(await request.body())["inputs"][0]
        rows = np.array(tensor["data"], dtype=np.float64).reshape(tensor["shape"])
        scores = score(rows).tolist()
        said = {"name": "score", "shape": [len(scores)], "datatype": "FP64", "data": scores}
        body = orjson.dumps({"model_name": "late", "outputs": [said]})
        return Response(body, media_type="application/json")

    return Starlette(routes=[Path_("/v2/models/late/infer", infer, methods=["POST"])])


def requests(kind: str, rows: int) -> list[bytes]:
    """64 prepared requests of `rows` rows, as bytes on the wire."""
    known = flights(4000)
    chance = np.random.default_rng(4)
    bodies: list[Any] = []
    for at in range(64):
        picked = known[at * rows : at * rows + rows]
        if kind in GATEWAYS:
            bodies.append(
                {
                    "parameters": {"service": "crew"},
                    "inputs": [_tensor(name, [row[name] for row in picked]) for name in picked[0]],
                }
            )
        else:
            matrix = chance.normal(size=rows * 24).tolist()
            bodies.append({"inputs": [{"name": "matrix", "shape": [rows, 24],
                                       "datatype": "FP64", "data": matrix}]})  # fmt: skip
    return [_wire(json.dumps(body).encode()) for body in bodies]


def _tensor(name: str, data: list[Any]) -> dict[str, Any]:
    datatype = {int: "INT64", float: "FP64", str: "BYTES"}[type(data[0])]
    return {"name": name, "shape": [len(data)], "datatype": datatype, "data": data}


def _wire(body: bytes) -> bytes:
    head = f"POST /v2/models/late/infer HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


class Server:
    """One server process, and the open connections to it."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind = kind
        listening = socket.socket()
        listening.bind(("127.0.0.1", 0))
        listening.listen(64)
        address, number = listening.getsockname(), listening.fileno()
        command = [sys.executable, "-m", "bench.gateway", kind, str(folder), str(number)]
        self.process = subprocess.Popen(command, pass_fds=[number])
        self.sockets = [socket.create_connection(address) for _ in range(CONNECTIONS)]
        listening.close()

    def measure(self, wires: list[bytes], seconds: float) -> Measured:
        """Ask over all connections at once, each again when it was answered."""
        before, began, waits = self._cpu(), time.perf_counter(), []
        sent = [0.0] * len(self.sockets)
        for at, one in enumerate(self.sockets):
            sent[at] = time.perf_counter()
            one.sendall(wires[at])
        while (now := time.perf_counter()) < began + seconds:
            for at, one in enumerate(self.sockets):
                _response(one)
                waits.append(time.perf_counter() - sent[at])
                sent[at] = time.perf_counter()
                one.sendall(wires[len(waits) % len(wires)])
        for one in self.sockets:
            _response(one)
        count, worst = len(waits), sorted(waits)[int(len(waits) * 0.99)]
        return Measured(count / (now - began), (self._cpu() - before) / count * 1e6, worst * 1e3)

    def _cpu(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self) -> None:
        for one in self.sockets:
            one.close()
        self.process.terminate()
        self.process.wait()


def _response(one: socket.socket) -> bytes:
    data = one.recv(1 << 20)
    while b"\r\n\r\n" not in data:
        data += one.recv(1 << 20)
    head, body = data.split(b"\r\n\r\n", 1)
    if not head.startswith(b"HTTP/1.1 200"):
        raise SystemExit(f"the server said {data[:400]!r}")
    length = int(head.lower().split(b"content-length: ", 1)[1].split(b"\r\n", 1)[0])
    while len(body) < length:
        body += one.recv(1 << 20)
    return body


@contextlib.contextmanager
def running(folder: Path) -> Iterator[dict[str, Server]]:
    servers = {kind: Server(kind, folder) for kind in (*GATEWAYS, "bare", "booster")}
    try:
        for kind, server in servers.items():
            server.measure(requests(kind, 1), 0.2)  # also waits until it is up
        yield servers
    finally:
        for server in servers.values():
            server.stop()


def main(rounds: int = 5, seconds: float = 0.8) -> dict[str, float]:
    """Print the table; the throughput ratios by name."""
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder))
        with running(Path(folder)) as servers:
            for rows in (1, 32):
                wires = {kind: requests(kind, rows) for kind in servers}
                found |= compare(servers, wires, rows, PAIRS, (rounds, seconds))
    return found


def compare(
    servers: Mapping[str, Server], wires: Mapping[str, list[bytes]], rows: int,
    pairs: Sequence[tuple[str, str]], measured: tuple[int, float],
) -> dict[str, float]:  # fmt: skip
    """Print the table of one size; how many times the throughput of the other each one has.

    `measured`: so many rounds, of so many seconds for each server.
    """
    rounds, seconds = measured
    taken = [
        {kind: server.measure(wires[kind], seconds) for kind, server in servers.items()}
        for _ in range(rounds)
    ]
    ratios: dict[str, float] = {}
    for kind in servers:
        speed, cpu, p99 = (statistics.median(each[kind][at] for each in taken) for at in range(3))
        print(
            f"{rows:>3} rows  {kind:<9} {speed:8.0f} requests/s  {cpu:7.0f} us CPU each  "
            f"p99 {p99:6.1f} ms"
        )
    for one, against in pairs:
        both = [(each[one], each[against]) for each in taken]
        wall = statistics.median(mine.speed / theirs.speed for mine, theirs in both)
        cpu = statistics.median(theirs.cpu / mine.cpu for mine, theirs in both)
        p99 = statistics.median(mine.p99 / theirs.p99 for mine, theirs in both)
        name = f"{rows:>3} rows  {one}/{against}"
        print(f"{name}: throughput {wall:.2f}, CPU {cpu:.2f}, p99 {p99:.2f}")
        ratios[f"{one}/{against} {rows} rows"] = wall
    return ratios


if __name__ == "__main__":
    if len(sys.argv) == 4:
        serve(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
    else:
        main()
