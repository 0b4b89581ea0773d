"""One process that answers predictions and flags, takes requests of people, and shows the pages.

The two share nothing but the record: a page that fails, or waits, costs no prediction.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_address
from pathlib import Path
from types import FrameType

import uvicorn
from starlette.concurrency import run_in_threadpool
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from interlock.adapters.predictions import JsonLinesLog, new_writer
from interlock.app.mirroring import mirrors_of
from interlock.app.push import Pusher
from interlock.app.serving import Gateway
from interlock.app.workspace import Workspace
from interlock.errors import InterlockError, Unavailable
from interlock.web.api.app import api_app
from interlock.web.api.people import Backing, Rules
from interlock.web.desk import RecordDesk
from interlock.web.gateway import DataPlane, gateway_app
from interlock.web.pages import pages_app
from interlock.web.room import open_more_files
from interlock.web.signin import Gate
from interlock.web.wire import protocol_of

DATA_PLANE = ("/v1", "/v2", "/ofrep", "/interlock", "/metrics")
CONTROL = ("/api",)
# How long a thread may keep the interpreter when a prediction waits for it.
SWITCH_SECONDS = 0.0005
QUIET = 0.5  # seconds without a request after which a server that was told to stop goes
DRAIN = 15.0  # seconds after which it goes all the same
# New containers before the youngest are looked through; requests leave hardly any rings.
COLLECT = (50_000, 20, 50)
KEPT = 64 << 20  # bytes that are free and not given back
LARGEST = 16 << 20  # bytes; what is larger comes from the system, and goes back to it
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of malloc.h


def create() -> ASGIApp:
    """The application of `$INTERLOCK_PROJECT` in `$INTERLOCK_ENV`, for any ASGI server."""
    folder = os.environ.get("INTERLOCK_PROJECT", ".")
    return application(Path(folder).resolve(), os.environ.get("INTERLOCK_ENV", "prod"))


def application(folder: Path, environment: str, rules: Rules | None = None) -> Application:
    """The application of a project folder. What it opens is closed by the end of its lifespan."""
    workspace = Workspace(folder, environment, door="server")
    desk = RecordDesk(workspace)
    replayed = desk.ledger.environment.clock == "replay"
    # An environment that takes rows writes them online too, and LMDB opens a folder once.
    takes = any(table.push for table in desk.ledger.project().tables.values())
    online = workspace.open_online("push" if takes else "read")
    workspace.__dict__["online"] = online  # LMDB opens a folder once: who asks here gets this one
    log = JsonLinesLog(workspace.state / "predictions", name=new_writer("gateway"))
    gateway = Gateway(
        workspace.record, workspace.artifacts, online, log, environment, replay_clock=replayed
    )
    gateway.mirrors = mirrors_of(workspace)
    pusher = Pusher(workspace.state, online, f"gateway-{os.getpid()}")
    gateway.pusher = pusher if takes else None
    backing = Backing(workspace, desk, rules or Rules())
    planes = gateway_app(gateway), api_app(backing), pages_app(desk, Gate(backing))
    return Application(gateway, *planes, closes=(log.close, pusher.close, workspace.close))


@dataclass
class Application:
    """Data plane, control API and pages behind one door, told apart by the path."""

    gateway: Gateway
    data_plane: DataPlane
    control: ASGIApp
    pages: ASGIApp
    closes: tuple[Callable[[], None], ...] = ()
    busy: int = 0  # requests that somebody acts on, being answered
    asked: float = 0.0  # when the last of them came, by `monotonic`

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.gateway.draining:
            send = _closing(send)
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http" and scope["method"] == "POST":
            await self._counted(scope, receive, send)
        else:
            await self._answer(scope, receive, send)

    async def _counted(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.asked = time.monotonic()
        self.busy += 1
        try:
            await self._answer(scope, receive, send)
        finally:
            self.busy -= 1

    @property
    def is_quiet(self) -> bool:
        """Whether nobody is being answered, and nobody came for a while."""
        waiting = self.busy or self.data_plane.batcher.waiting()
        return not waiting and time.monotonic() - self.asked > QUIET

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and _below(scope["path"], DATA_PLANE):
            await self.data_plane(scope, receive, send)
        elif scope["type"] == "http" and _below(scope["path"], CONTROL):
            await self.control(scope, receive, send)
        else:
            await self.pages(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        await run_in_threadpool(self.gateway.start)
        settle()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await run_in_threadpool(self.close)
        await send({"type": "lifespan.shutdown.complete"})

    def close(self) -> None:
        self.gateway.stop()
        for close in self.closes:
            close()


def _closing(send: Send) -> Send:
    """As `send`; who asked over this connection opens the next one elsewhere."""

    async def close(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), (b"connection", b"close")]
        await send(message)

    return close


def settle() -> None:
    """What is loaded by now stays: looking through it for garbage was 15 % of a prediction."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT)
    _keep_memory()


def _keep_memory() -> None:
    """What a turn freed stays for the next one.

    glibc gives the end of its heap back to the system, and asks for it again: of a turn with
    many rows that was a quarter of the time. Other C libraries are left as they are.
    """
    tell = getattr(ctypes.CDLL(None), "mallopt", None)
    if tell is not None:
        tell(_TRIM_THRESHOLD, KEPT)
        tell(_MMAP_THRESHOLD, LARGEST)


def _below(path: str, prefixes: Sequence[str]) -> bool:
    return any(path == prefix or path.startswith(f"{prefix}/") for prefix in prefixes)


class _Announced(uvicorn.Server):
    """Says where it listens, on one line, once it really does; leaves when nobody asks any more.

    Told to stop (SIGTERM), it first says that it is not ready and closes each connection with
    its next answer. It goes when it was quiet for a while, at the latest after `DRAIN`.
    """

    def __init__(self, config: uvicorn.Config, app: Application) -> None:
        super().__init__(config)
        self._app = app
        self._leaves: float | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """SIGTERM drains, a second one does not wait; whoever is at the keyboard neither."""
        if sig != signal.SIGTERM:
            super().handle_exit(sig, frame)
        elif self._leaves is not None or not self.started:
            self.should_exit = True
        else:
            self._leaves = time.monotonic() + DRAIN
            self._app.asked = time.monotonic()
            self._app.gateway.drain()

    async def on_tick(self, counter: int) -> bool:
        if self._leaves is not None:
            late = time.monotonic() > self._leaves
            self.should_exit = self.should_exit or self._app.is_quiet or late
        return await super().on_tick(counter)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started and sockets:
            host, port = sockets[0].getsockname()[:2]
            shown = f"[{host}]" if ":" in host else host
            sys.stdout.write(f"serving on http://{shown}:{port}\n")
            sys.stdout.flush()


def serve(
    folder: Path,
    environment: str,
    host: str = "127.0.0.1",
    port: int = 8210,
    rules: Rules | None = None,
) -> None:
    """Serve until told to stop. Port 0 takes a free one; the line on stdout says which."""
    door = _door(host, port)
    try:
        app = application(folder, environment, _strict(rules or Rules(), door))
    except BaseException:
        door.close()
        raise
    run(app, door)


def run(app: Application, door: socket.socket) -> None:
    """Answer what comes to `door` until told to stop; what was begun is finished."""
    sys.setswitchinterval(SWITCH_SECONDS)
    open_more_files()
    config = uvicorn.Config(
        app, loop="uvloop", http=protocol_of(app.data_plane), ws="none", lifespan="on",
        log_level="warning", access_log=False, timeout_graceful_shutdown=1,
    )  # fmt: skip
    server = _Announced(config, app)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as `nohup` leaves it
        # The terminal has gone, or somebody wants new settings: both by leaving well.
        signal.signal(signal.SIGHUP, lambda _, frame: server.handle_exit(signal.SIGTERM, frame))
    server.run(sockets=[door])
    if not server.started:
        raise Unavailable("the server did not start", help="the lines above say why")


def _strict(rules: Rules, door: socket.socket) -> Rules:
    """`rules`; where other machines can come in, people show a token unless told otherwise."""
    here = ip_address(door.getsockname()[0]).is_loopback
    return rules if here or rules.tokens is not None else replace(rules, tokens=True)


def _door(host: str, port: int) -> socket.socket:
    """The socket, taken before anything is opened: a taken port should cost nothing."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except OverflowError as error:
        raise Unavailable(f"there is no port {port}", help="name one up to 65535") from error
    except OSError as error:
        raise Unavailable(
            f"{host}:{port} cannot be listened on: {error.strerror}",
            help="stop the other server, or name another port (0 picks a free one)",
        ) from error


def main(arguments: Sequence[str] | None = None) -> None:
    """`python -m interlock.web.server --project DIR --env prod --port 0`."""
    parser = argparse.ArgumentParser(prog="interlock.web.server", description=__doc__)
    parser.add_argument("--project", type=Path, default=Path(), help="the project folder")
    parser.add_argument("--env", default="prod", help="the environment")
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on")
    parser.add_argument("--port", type=int, default=8210, help="the port; 0 picks a free one")
    asked = parser.parse_args(arguments)
    try:
        serve(asked.project.resolve(), asked.env, asked.host, asked.port)
    except InterlockError as error:
        sys.stderr.write(f"interlock: {error.code}: {error}\n")
        raise SystemExit(error.exit_code) from None


if __name__ == "__main__":
    main()
