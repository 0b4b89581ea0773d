"""One process, two doors: predictions and pages, told apart by the path."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from desk_world import copied, serving
from starlette.testclient import TestClient

from interlock.errors import NotFound, Unavailable
from interlock.web import server

pytestmark = pytest.mark.slow


@pytest.fixture
def empty(small_flights: Path, tmp_path: Path) -> Path:
    """A project of which nothing was released."""
    return copied(small_flights, tmp_path / "empty")


def ask(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_a_server_says_where_it_is_and_answers_at_both_doors(empty: Path) -> None:
    with serving(empty) as url:
        status, page = ask(url)
        assert status == 200
        assert "Nothing is under way." in page
        status, ready = ask(f"{url}/v2/health/ready")
        assert (status, json.loads(ready)["ready"]) == (503, False)
        assert "no release is loaded" in json.loads(ready)["why"][0]
        assert json.loads(ask(f"{url}/interlock/status")[1])["environment"] == "prod"
        assert ask(f"{url}/v2/models/late")[0] == 503
        assert ask(f"{url}/nothing")[0] == 404


def test_a_taken_port_is_said_and_nothing_is_opened(empty: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(Unavailable, match=f"127.0.0.1:{port} cannot be listened on"):
            server.serve(empty, "prod", "127.0.0.1", port)
        command = [sys.executable, "-m", "interlock.web.server", "--project", str(empty)]
        done = subprocess.run([*command, "--port", str(port)], capture_output=True, text=True)
    assert done.returncode == Unavailable.exit_code
    assert done.stderr.startswith("interlock: unavailable: ")
    assert not (empty / ".interlock").exists()


def test_an_unknown_environment_names_those_that_are(empty: Path) -> None:
    with pytest.raises(NotFound, match="staging"):
        server.application(empty, "staging")


def test_the_factory_reads_its_project_from_the_environment(
    empty: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(os.environ, "INTERLOCK_PROJECT", str(empty))
    monkeypatch.setitem(os.environ, "INTERLOCK_ENV", "prod")
    with TestClient(server.create()) as client:
        assert client.get("/v2/health/live").json() == {"live": True}
        assert client.get("/.json").json()["environment"] == "flights · prod"
    # Closed by the end of the lifespan: the same folder can be opened again.
    with TestClient(server.create()) as client:
        assert client.get("/catalog").status_code == 200
