"""What the gateway answers beside the model servers of MLflow and MLServer, with the same booster.

A peer is handed the ready rows; the gateway reads 12 views, assigns the cohort, answers and
logs each row. MLflow serves the model twice: with a signature and asked by named columns, as its
documentation has it and as the gateway is asked, and without both, which is the least it can do.
One process each, 32 connections, 1 and 32 rows a request. Rounds alternate. On a
machine that is busy with other work only the CPU of an answer can be compared.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench.gateway import CONNECTIONS, Server, _response, compare, prepare, requests
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
MLSERVER = ("mlserver==1.7.1", "mlserver-lightgbm==1.7.1", "lightgbm==4.7.0")
ROWS = (1, 32)  # of a request
READY = 120.0  # seconds that a peer may take to start
COLUMNS = [f"column_{i}" for i in range(24)]
_SAVE = (
    "import lightgbm, mlflow.lightgbm, sys\n"
    "from mlflow.models import ModelSignature\n"
    "from mlflow.types import ColSpec, Schema\n"
    "booster = lightgbm.Booster(model_file=sys.argv[1])\n"
    "columns = [ColSpec('double', name) for name in sys.argv[3:]]\n"
    "signed = ModelSignature(Schema(columns), Schema([ColSpec('double')])) if columns else None\n"
    "mlflow.lightgbm.save_model(booster, sys.argv[2], signature=signed)\n"
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


def matrices(rows: int) -> list[list[list[float]]]:
    """The rows that the bare server gets, out of its requests."""
    bodies = (json.loads(one.split(b"\r\n\r\n", 1)[1]) for one in requests("bare", rows))
    flat = (body["inputs"][0]["data"] for body in bodies)
    return [[one[at : at + 24] for at in range(0, len(one), 24)] for one in flat]


def sent_to(name: str, rows: int) -> list[bytes]:
    """Requests as the server called `name` takes them."""
    if name == "mlflow":
        split = ({"columns": COLUMNS, "data": matrix} for matrix in matrices(rows))
        return wires("/invocations", [{"dataframe_split": one} for one in split])
    if name == "mlflow unsigned":
        return wires("/invocations", [{"inputs": matrix} for matrix in matrices(rows)])
    return requests("gateway" if name == "gateway" else "bare", rows)


def mlflow(folder: Path, home: Path, columns: Sequence[str] = COLUMNS) -> Peer | None:
    """MLflow's server; with `columns` the model has a signature, and is asked by their names."""
    python = python_of("mlflow", MLFLOW)
    if python is None:
        return None
    saved = [str(python), "-c", _SAVE, str(folder / "model.txt"), str(home / "model"), *columns]
    subprocess.run(saved, check=True, capture_output=True)
    port = _free()
    command = [
        str(python), "-m", "uvicorn", "mlflow.pyfunc.scoring_server.app:app", "--port", str(port),
        "--no-access-log", "--log-level", "warning", "--timeout-keep-alive", "60",
    ]  # fmt: skip
    os.environ["__pyfunc_model_path__"] = str(home / "model")  # noqa: SIM112  # MLflow's name
    first = sent_to("mlflow" if columns else "mlflow unsigned", 1)[0]
    return Peer(command, port, first, home)


def unsigned(folder: Path, home: Path) -> Peer | None:
    """MLflow's server of a model that says nothing of what it takes."""
    return mlflow(folder, home, ())


def mlserver(folder: Path, home: Path) -> Peer | None:
    """MLServer, which scores in the process that answers: a worker of its own costs it more."""
    python = python_of("mlserver", MLSERVER)
    if python is None:
        return None
    port = _free()
    settings = {
        "host": "127.0.0.1", "http_port": port, "grpc_port": _free(), "metrics_port": _free(),
        "parallel_workers": 0, "debug": False, "use_structured_logging": False,
    }  # fmt: skip
    model = {
        "name": "late", "implementation": "mlserver_lightgbm.LightGBMModel",
        "parameters": {"uri": str(folder / "model.txt")},
    }  # fmt: skip
    (home / "settings.json").write_text(json.dumps(settings))
    (home / "model-settings.json").write_text(json.dumps(model))
    command = [str(python.with_name("mlserver")), "start", str(home)]
    return Peer(command, port, sent_to("mlserver", 1)[0], home)


@contextmanager
def running(folder: Path) -> Iterator[dict[str, Server]]:
    """Every server that can be had here."""
    found: dict[str, Server] = {}
    try:
        found["gateway"] = Server("gateway", folder)
        peers = (("mlflow", mlflow), ("mlflow unsigned", unsigned), ("mlserver", mlserver))
        for name, start in peers:
            home = folder / name.replace(" ", "-")
            home.mkdir()
            peer = start(folder, home)
            if peer is not None:
                found[name] = peer
        for name, server in found.items():
            server.measure(sent_to(name, 1), 0.5)
        yield found
    finally:
        for server in found.values():
            server.stop()


def main(rounds: int = 5, seconds: float = 1.0) -> dict[str, float]:
    """Print the tables; the throughput ratios by peer and size."""
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder))
        with running(Path(folder)) as servers:
            for rows in ROWS:
                sent = {name: sent_to(name, rows) for name in servers}
                pairs = [("gateway", name) for name in servers if name != "gateway"]
                found |= compare(servers, sent, rows, pairs, (rounds, seconds))
    return found


if __name__ == "__main__":
    main()
