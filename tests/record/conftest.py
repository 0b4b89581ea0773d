"""Where a record of these tests stands: on either engine."""

from __future__ import annotations

import secrets
from pathlib import Path

import pytest


@pytest.fixture(params=["sqlite", "postgres"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a record is to be made: a file, or a schema of its own on a real server."""
    if request.param == "sqlite":
        return str(tmp_path / "record.db")
    url = request.getfixturevalue("postgres_url")
    return f"{url}&schema=t{secrets.token_hex(6)}"
