"""What one subject, one release costs: an assignment, a flag over HTTP, and the way back.

An assignment is timed inside this process, as a service makes it. A flag by OFREP is compared
with a Starlette route that reads the same JSON and answers the same JSON, both as real
processes, rounds alternating. The way back is the time from the write that takes a release
back, until the last answer from it has arrived, over three gateways under load; and until
three clients inside services name the stable release.
"""

from __future__ import annotations

import http.client
import json
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import timeit
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.gateway import CONNECTIONS, Server, _gateway, prepare, requests
from interlock.adapters.sqlrecord import SqlRecord
from interlock.app.workspace import WallClock
from interlock.client.client import Client
from interlock.client.elapsed import elapsed
from interlock.define.digest import digest
from interlock.define.refs import Ref
from interlock.define.release import Route
from interlock.ports import Put
from interlock.serve.published import Published

RELEASE, OTHER = digest("release"), digest("another release")
ROUTE = Ref("route", "flights")
FLAG = "/ofrep/v1/evaluate/flags/crew.release"
GATEWAYS, TIMES = 3, 21


def assignment() -> float:
    """Microseconds of CPU to assign one subject inside a service; the best of several runs."""
    route = Route("flights", 7, RELEASE, OTHER, 0.3, salt="CR-12")
    client = Client(["http://127.0.0.1:9"])
    client.take(Published(route, (RELEASE, OTHER), ("crew",)), elapsed() + 3600)
    subjects = [str(n) for n in range(1000)]
    assign = client.assign

    def all_of_them() -> None:
        for subject in subjects:
            assign(subject)

    found = timeit.repeat(all_of_them, number=20, repeat=15, timer=time.process_time)
    return min(found) / 20 / len(subjects) * 1e6


def _starlette() -> Any:
    """The least that Starlette does for a route that reads JSON and answers JSON."""
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import JSONResponse
    from starlette.routing import Route as Path_

    async def flag(request: Request) -> JSONResponse:
        asked = await request.json()
        said = {"key": "crew.release", "value": RELEASE, "reason": "STATIC", "variant": "stable"}
        held = {"epoch": 1, "release": asked["context"]["targetingKey"] and RELEASE}
        return JSONResponse({**said, "metadata": held})

    return Starlette(routes=[Path_(FLAG, flag, methods=["POST"])])


def serve(kind: str, folder: Path, listening: int) -> None:
    """A server process: `gateway`, or `starlette`."""
    import uvicorn

    app = _gateway(folder, kind) if kind == "gateway" else _starlette()
    config = uvicorn.Config(
        app, loop="uvloop", http="httptools", log_level="warning", access_log=False,
        timeout_keep_alive=60,
    )  # fmt: skip
    uvicorn.Server(config).run(sockets=[socket.socket(fileno=listening)])


class Process(Server):
    """A server of this module."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind = kind
        listening = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.address, number = listening.getsockname(), listening.fileno()
        command = [sys.executable, "-m", "bench.edge", kind, str(folder), str(number)]
        self.process = subprocess.Popen(command, pass_fds=[number])
        self.sockets = [socket.create_connection(self.address) for _ in range(CONNECTIONS)]
        listening.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.address[1]}"


@contextmanager
def running(folder: Path, *kinds: str) -> Iterator[list[Process]]:
    with ExitStack() as stack:
        servers = []
        for kind in kinds:
            servers.append(Process(kind, folder))
            stack.callback(servers[-1].stop)
        yield servers


def flag_wires() -> list[bytes]:
    wires = []
    for subject in range(64):
        body = json.dumps({"context": {"targetingKey": str(subject), "team": "ops"}}).encode()
        head = f"POST {FLAG} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
        wires.append(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
    return wires


def flags(folder: Path, rounds: int, seconds: float) -> float:
    """Time of one evaluation over time of a bare route; the median of alternating rounds."""
    wires, found = flag_wires(), []
    with running(folder, "gateway", "starlette") as (gateway, bare):
        for server in (gateway, bare):
            server.measure(wires, 0.3)
        for _ in range(rounds):
            (mine, mine_cpu, _), (theirs, theirs_cpu, _) = (
                one.measure(wires, seconds) for one in (gateway, bare)
            )
            found.append((theirs / mine, mine, theirs, mine_cpu, theirs_cpu))
    ratio, mine, theirs, mine_cpu, theirs_cpu = map(statistics.median, zip(*found, strict=True))
    print(f"flag by OFREP {mine:8.0f}/s  {mine_cpu:5.0f} us CPU each")
    print(f"bare Starlette {theirs:7.0f}/s  {theirs_cpu:5.0f} us CPU each")
    print(f"one evaluation takes {ratio:.2f} of a bare Starlette JSON route (1.2 is allowed)")
    return float(ratio)


@dataclass
class Load:
    """One line to one gateway, asking without a pause; when the candidate last answered."""

    address: tuple[str, int]
    last: float = 0.0
    seen: int = 0
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        link = http.client.HTTPConnection(*self.address)
        body = requests("gateway", 1)[0].partition(b"\r\n\r\n")[2]
        while not self.stop.is_set():
            link.request("POST", "/v2/models/late/infer", body)
            answer = link.getresponse()
            answer.read()
            if answer.headers["x-interlock-release"].startswith(OTHER):
                self.last, self.seen = time.perf_counter(), self.seen + 1
        link.close()


def way_back(folder: Path, times: int) -> tuple[float, float]:
    """Milliseconds from the write to the last candidate answer, and to the last client; medians."""
    record, clock = SqlRecord(folder / "record.db"), WallClock()
    served = record.get(Ref("serving", RELEASE))
    assert served is not None
    body = {**served.body, "release": OTHER}
    record.write([Put(Ref("serving", OTHER), body, 0)], by="bench", at=clock.now())

    def move(candidate: str | None) -> None:
        now = record.get(ROUTE)
        assert now is not None
        route = Route("flights", 0, RELEASE, candidate, float(candidate is not None), salt="s")
        record.write([Put(ROUTE, route.to_json(), now.version)], by="bench", at=clock.now())

    answers, told = [], []
    with running(folder, *["gateway"] * GATEWAYS) as servers:
        for one in servers:
            one.measure(requests("gateway", 1), 0.3)
        clients = [Client([one.url]).start() for one in servers]
        loads = [Load(one.address) for one in servers]
        threads = [threading.Thread(target=one.run) for one in loads]
        for thread in threads:
            thread.start()
        for _ in range(times):
            for load in loads:
                load.seen = 0
            move(OTHER)
            while min(load.seen for load in loads) < 20:
                time.sleep(0.01)
            move(None)
            taken_back = time.perf_counter()
            while any(client.assign("7").release == OTHER for client in clients):
                time.sleep(0.0005)
            told.append((time.perf_counter() - taken_back) * 1e3)
            time.sleep(0.3)
            answers.append(max(max(load.last for load in loads) - taken_back, 0.0) * 1e3)
        for load in loads:
            load.stop.set()
        for thread in threads:
            thread.join()
        for client in clients:
            client.stop()
    record.close()
    return statistics.median(answers), statistics.median(told)


def main(rounds: int = 7, seconds: float = 0.6, times: int = TIMES) -> None:
    """Print the figures."""
    print(f"an assignment inside a service: {assignment():.2f} us (3 are allowed)")
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder))
        flags(Path(folder), rounds, seconds)
        answered, named = way_back(Path(folder), times)
    print(
        f"{GATEWAYS} gateways, from the write to the last answer of the candidate:"
        f" median {answered:.0f} ms of {times} (50 are allowed)"
    )
    print(
        f"{GATEWAYS} clients, from the write until all name the stable one: median {named:.0f} ms"
    )


if __name__ == "__main__":
    if len(sys.argv) == 4:
        serve(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
    else:
        main()
