"""Gateways and services on free ports of this machine, and services that misbehave."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from serving_world import World

from interlock.client.follow import Pace
from interlock.web.gateway import gateway_app

QUICK = Pace(lease=0.6, poll=0.02, patience=0.2)


def until(true: Callable[[], Any], seconds: float = 20.0) -> bool:
    """Whether it came true; how soon is not asked."""
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        if true():
            return True
        time.sleep(0.005)
    return False


@contextmanager
def serving(app: Any, http: Any = "auto") -> Iterator[str]:
    """The address of an ASGI application behind a real server that speaks by `http`."""
    door = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        app, http=http, log_level="error", lifespan="off", timeout_graceful_shutdown=1, ws="none"
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([door],), daemon=True)
    thread.start()
    assert until(lambda: server.started)
    try:
        yield f"http://127.0.0.1:{door.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)


@contextmanager
def gateway_at(made: World) -> Iterator[str]:
    """A gateway over `made`, with the watcher that a real process has."""
    made.gateway.start()
    with serving(gateway_app(made.gateway)) as url:
        try:
            yield url
        finally:
            made.gateway.stop()


@contextmanager
def speaking(say: Callable[[socket.socket, str], None]) -> Iterator[str]:
    """A server that does with each connection what `say(connection, path)` does."""
    door = socket.create_server(("127.0.0.1", 0))
    links: list[socket.socket] = []

    def answer(link: socket.socket) -> None:
        try:
            path = link.recv(4096).split(b" ")[1].decode()
            say(link, path)
        except (OSError, IndexError):
            link.close()

    def listen() -> None:
        while True:
            try:
                link, _ = door.accept()
            except OSError:
                return
            links.append(link)
            threading.Thread(target=answer, args=(link,), daemon=True).start()

    threading.Thread(target=listen, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{door.getsockname()[1]}"
    finally:
        door.close()
        for link in links:
            link.close()
