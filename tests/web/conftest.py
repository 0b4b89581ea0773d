"""The sample desk behind a client, and behind a real server on a free port of loopback."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest
import uvicorn
from sample import SampleDesk
from starlette.testclient import TestClient
from starlette.types import ASGIApp

from interlock.web.pages import pages_app

Serve = Callable[[ASGIApp], str]


@pytest.fixture
def desk() -> SampleDesk:
    return SampleDesk()


@pytest.fixture
def client(desk: SampleDesk) -> TestClient:
    return TestClient(pages_app(desk), base_url="http://pages.test", follow_redirects=False)


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Serve an app until the test ends; gives its address."""
    servers: list[tuple[uvicorn.Server, threading.Thread]] = []

    def start(app: ASGIApp) -> str:
        door = socket.create_server(("127.0.0.1", 0))
        config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([door],), daemon=True)
        thread.start()
        servers.append((server, thread))
        while not server.started:
            time.sleep(0.01)
        return f"http://127.0.0.1:{door.getsockname()[1]}"

    yield start
    for server, thread in servers:
        server.should_exit = True
        thread.join(10)
