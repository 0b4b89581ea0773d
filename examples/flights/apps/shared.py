"""What the three services share: how they ask a gateway and each other, and how they are started.

    G="--gateway http://127.0.0.1:8210"
    python apps/gates.py --port 8303 $G
    python apps/crew.py --port 8302 $G --next http://127.0.0.1:8303
    python apps/rebooking.py --port 8301 $G --next http://127.0.0.1:8302 --edge

One flight is asked for at the edge, and all three decide about it: `POST /flights/{flight_id}`
with the body of a prediction. Each asks a gateway for itself; the middleware sees to it that
all three are answered from one release.
"""

from __future__ import annotations

import argparse
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from http.client import HTTPConnection, HTTPException
from typing import Any
from urllib.parse import urlsplit

import orjson
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from interlock.client.asgi import OneRelease, Scope
from interlock.client.carry import agree, attempts, outgoing_headers
from interlock.client.client import Client
from interlock.errors import Stale, Unavailable, Unusable

MODEL = "late"
PATIENCE = 5.0  # seconds for one call, over all addresses that could answer it
Decide = Callable[[float], dict[str, Any]]


class Caller:
    """Calls whichever of some addresses answers, over one open line per thread and address.

    A score changes nothing: a call that broke off may be made again.
    """

    def __init__(self, addresses: Sequence[str]) -> None:
        self._addresses = [urlsplit(one).netloc for one in addresses]
        self._lines = threading.local()

    def post(self, path: str, body: bytes) -> dict[str, Any]:
        """The answer, from the release of this request. Raises `Stale` for any other release.

        What is wrong with the request is `Unusable`: nobody else would take it either.
        """
        ends, at = time.monotonic() + PATIENCE, threading.get_ident()
        while time.monotonic() < ends:
            address = self._addresses[at % len(self._addresses)]
            try:
                status, headers, said = self._once(address, path, body)
            except (OSError, HTTPException):
                self._forget(address)
                at += 1
                time.sleep(0.02)
                continue
            if status == 409:
                raise Stale(said.get("error", "the Route moved"))
            if status == 200:
                agree(headers)
                return dict(said)
            if 400 <= status < 500 and status != 429:
                raise Unusable(said.get("error", f"{address} answers {status}"))
            at += 1
            time.sleep(0.02)
        raise Unavailable(f"none of {', '.join(self._addresses)} answers")

    def _once(self, address: str, path: str, body: bytes) -> tuple[int, Mapping[str, str], Any]:
        lines: dict[str, HTTPConnection] = self._lines.__dict__
        line = lines.get(address)
        if line is None:
            line = lines[address] = HTTPConnection(address, timeout=PATIENCE)
        headers = {"content-type": "application/json", **outgoing_headers()}
        line.request("POST", path, body, headers)
        answer = line.getresponse()
        return answer.status, dict(answer.headers), orjson.loads(answer.read())

    def _forget(self, address: str) -> None:
        line = self._lines.__dict__.pop(address, None)
        if line is not None:
            line.close()


class Service:
    """One of the three: a score from a gateway, a decision, and who decides after it."""

    def __init__(self, name: str, decide: Decide, gateways: Sequence[str], next_: str | None):
        self.name, self.decide = name, decide
        self.client = Client(gateways)
        self._gateways = Caller(gateways)
        self._next = Caller([next_]) if next_ else None

    def flight(self, request: Request, body: bytes) -> Response:
        """Everybody decides from one release, or nobody has decided."""
        for assigned in attempts(self.client):
            try:
                decided = self._decided(request.path_params["flight_id"], body)
            except Stale as error:
                moved = error
                continue
            said = {"release": assigned.release, "epoch": assigned.epoch, "decided": decided}
            return Response(orjson.dumps(said), media_type="application/json")
        raise moved

    def _decided(self, flight: str, body: bytes) -> list[dict[str, Any]]:
        asked = _read(body)
        parameters = {**asked.get("parameters", {}), "service": self.name}
        mine = orjson.dumps({**asked, "parameters": parameters})
        answer = self._gateways.post(f"/v2/models/{MODEL}/infer", mine)
        out = {one["name"]: one["data"][0] for one in answer["outputs"]}
        told = {"prediction": out["prediction_id"], "release": out["release"]}
        decided = [{"service": self.name, **told, **self.decide(out["score"])}]
        others = self._next.post(f"/flights/{flight}", body)["decided"] if self._next else []
        return [*decided, *others]

    def application(self, edge: bool) -> Any:
        """At the edge the flight decides on the release; behind it, who asked has decided."""

        async def flight(request: Request) -> Response:
            from starlette.concurrency import run_in_threadpool

            body = await request.body()
            return await run_in_threadpool(self.flight, request, body)

        async def status(_: Request) -> Response:
            return Response(orjson.dumps(self.client.status()), media_type="application/json")

        inner = Starlette(
            routes=[
                Route("/flights/{flight_id}", flight, methods=["POST"]),
                Route("/status", status),
            ],
            exception_handlers={Unavailable: _away, Unusable: _refused},
        )
        return OneRelease(inner, self.client, _flight_of if edge else None)


def _flight_of(scope: Scope) -> str | None:
    """The subject: as `interlock.yaml` says, one flight."""
    path = str(scope["path"])
    return path.rpartition("/")[2] if path.startswith("/flights/") else None


def _read(body: bytes) -> dict[str, Any]:
    try:
        asked = orjson.loads(body)
    except ValueError as error:
        raise Unusable(f"the body is no JSON: {error}") from error
    if not isinstance(asked, dict):
        raise Unusable("the body is no request for a prediction")
    return asked


async def _refused(_: Request, error: Exception) -> Response:
    return Response(orjson.dumps({"error": str(error)}), 400, media_type="application/json")


async def _away(_: Request, error: Exception) -> Response:
    body = orjson.dumps({"error": str(error)})
    return Response(body, 503, {"retry-after": "1"}, "application/json")


def main(name: str, decide: Decide) -> None:
    """Serve until stopped."""
    parser = argparse.ArgumentParser(prog=name, description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--gateway", action="append", required=True, help="one or several")
    parser.add_argument("--next", help="the service that decides after this one")
    parser.add_argument("--edge", action="store_true", help="requests come in from outside here")
    asked = parser.parse_args()
    service = Service(name, decide, asked.gateway, asked.next)
    service.client.start(within=60)
    app = service.application(asked.edge)
    uvicorn.run(app, port=asked.port, log_level="warning", access_log=False, timeout_keep_alive=60)
