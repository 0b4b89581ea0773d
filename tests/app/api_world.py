"""A real server on loopback, and people who ask it with their tokens."""

from __future__ import annotations

import socket
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import app_world as world
import httpx
import uvicorn

from interlock.app.files import read_folder
from interlock.app.tokens import Wish, create
from interlock.web import server
from interlock.web.api.people import Rules


@contextmanager
def serving(folder: Path, rules: Rules | None = None) -> Iterator[str]:
    """The application of a folder behind a real port; gives its address."""
    app = server.application(folder, "prod", rules)
    with socket.create_server(("127.0.0.1", 0)) as door:
        config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1)
        runs = uvicorn.Server(config)
        thread = threading.Thread(target=runs.run, args=([door],), daemon=True)
        thread.start()
        try:
            while not runs.started:
                time.sleep(0.01)
            yield f"http://127.0.0.1:{door.getsockname()[1]}"
        finally:
            runs.should_exit = True
            thread.join(10)


@dataclass
class Person:
    """Somebody at the other end. `token` empty: they show none."""

    url: str
    token: str = ""

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}

    def get(self, path: str, **query: Any) -> httpx.Response:
        return httpx.get(f"{self.url}/api/v1{path}", params=query, headers=self.headers, timeout=60)

    def post(
        self, path: str, body: Mapping[str, Any], key: str = "", **headers: str
    ) -> httpx.Response:
        more = {name.replace("_", "-"): value for name, value in headers.items()}
        named = {"Idempotency-Key": key or uuid.uuid4().hex}
        return httpx.post(
            f"{self.url}/api/v1{path}", json=body, headers={**self.headers, **named, **more},
            timeout=120,
        )  # fmt: skip

    def sign(self, id: str, role: str, team: str, **more: Any) -> httpx.Response:
        """Look at the plan, then sign what was seen."""
        tag = self.get(f"/changes/{id}").headers["etag"]
        return self.post(
            f"/changes/{id}/signoffs", {"role": role, "team": team, **more}, If_Match=tag
        )

    def finished(self, job: str) -> dict[str, Any]:
        """The job when it is over; however long that takes."""
        while True:
            found: dict[str, Any] = self.get(f"/jobs/{job}").json()
            if found["state"] in ("done", "failed"):
                return found
            time.sleep(0.1)


def token(folder: Path, person: str, *scopes: str, **more: str) -> str:
    with world.opened(folder) as workspace:
        return create(workspace, Wish(person, scopes, **more), "root").text


def files(folder: Path) -> dict[str, str]:
    return dict(read_folder(folder))
