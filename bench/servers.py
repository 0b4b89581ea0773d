"""What the gateway answers beside MLflow's model server, with the same booster.

The peer is handed the ready matrix; the gateway reads 12 views, assigns the cohort, answers and
logs each row. One process each, 32 connections, one row a request. Rounds alternate.
"""

from __future__ import annotations

import json
import os
import socket
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench.gateway import CONNECTIONS, Server, _response, prepare, requests
from bench.peers import python_of

MLFLOW = (
    "mlflow-skinny==3.17.2",
    "fastapi",
    "uvicorn",
    "pandas",
    "numpy",
    "lightgbm==4.7.0",
    "scikit-learn",
    "flask",
)
READY = 120.0  # seconds that a peer may take to start
_SAVE = (
    "import lightgbm, mlflow.lightgbm, sys\n"
    "booster = lightgbm.Booster(model_file=sys.argv[1])\n"
    "mlflow.lightgbm.save_model(booster, sys.argv[2])\n"
)


class Peer(Server):
    """Somebody else's server, which takes a port and not a socket."""

    def __init__(self, command: Sequence[str], port: int, first: bytes, home: Path) -> None:
        self.kind = "peer"
        with (home / "peer.out").open("wb") as out:
            self.process = subprocess.Popen(command, cwd=home, stdout=out, stderr=out)
        until = time.monotonic() + READY
        while not _answers(port, first):
            if time.monotonic() > until or self.process.poll() is not None:
                self.process.kill()
                raise SystemExit((home / "peer.out").read_text()[-2000:])
            time.sleep(0.2)
        address = ("127.0.0.1", port)
        self.sockets = [socket.create_connection(address) for _ in range(CONNECTIONS)]


def _answers(port: int, first: bytes) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as link:
            link.sendall(first)
            return bool(_response(link))
    except (OSError, SystemExit, IndexError):
        return False


def _free() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        return port


def wires(path: str, bodies: Sequence[object]) -> list[bytes]:
    """Requests as bytes on the wire."""
    found = []
    for body in bodies:
        data = json.dumps(body).encode()
        head = (
            f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
            f"content-length: {len(data)}\r\n\r\n"
        )
        found.append(head.encode() + data)
    return found


def matrices() -> list[list[float]]:
    """The rows that the bare server gets, out of its requests."""
    bodies = (json.loads(one.split(b"\r\n\r\n", 1)[1]) for one in requests("bare", 1))
    return [body["inputs"][0]["data"] for body in bodies]


def mlflow_wires() -> list[bytes]:
    return wires("/invocations", [{"inputs": [row]} for row in matrices()])


def mlflow(folder: Path, home: Path) -> Peer | None:
    python = python_of("mlflow", MLFLOW)
    if python is None:
        return None
    saved = [str(python), "-c", _SAVE, str(folder / "model.txt"), str(home / "model")]
    subprocess.run(saved, check=True, capture_output=True)
    port = _free()
    command = [
        str(python), "-m", "uvicorn", "mlflow.pyfunc.scoring_server.app:app", "--port", str(port),
        "--no-access-log", "--log-level", "warning", "--timeout-keep-alive", "60",
    ]  # fmt: skip
    os.environ["__pyfunc_model_path__"] = str(home / "model")  # noqa: SIM112  # MLflow's name
    return Peer(command, port, mlflow_wires()[0], home)


@contextmanager
def running(folder: Path) -> Iterator[dict[str, tuple[Server, list[bytes]]]]:
    """Every server that can be had here, and what is sent to it."""
    found: dict[str, tuple[Server, list[bytes]]] = {}
    try:
        found["gateway"] = Server("gateway", folder), requests("gateway", 1)
        home = folder / "mlflow"
        home.mkdir()
        peer = mlflow(folder, home)
        if peer is not None:
            found["mlflow"] = peer, mlflow_wires()
        for server, sent_ in found.values():
            server.measure(sent_, 0.5)
        yield found
    finally:
        for server, _ in found.values():
            server.stop()


def main(rounds: int = 5, seconds: float = 1.0) -> dict[str, float]:
    """Print the table; how many times their throughput the gateway has, by peer."""
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder))
        with running(Path(folder)) as servers:
            taken = [
                {name: server.measure(sent, seconds)[0] for name, (server, sent) in servers.items()}
                for _ in range(rounds)
            ]
    ratios = {}
    for name in taken[0]:
        print(f"{name:<9} {statistics.median(one[name] for one in taken):8.0f} requests/s")
        ratios[name] = statistics.median(one["gateway"] / one[name] for one in taken)
    for name, ratio in ratios.items():
        if name != "gateway":
            print(f"gateway/{name}: throughput {ratio:.1f}")
    return ratios


if __name__ == "__main__":
    main()
