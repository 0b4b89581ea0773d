"""What every test may ask for."""

from __future__ import annotations

from pathlib import Path

import pytest

from interlock.app.templates import init


@pytest.fixture(scope="session")
def small_flights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The flights project on 75 made-up days of 120 flights. Shared: copy it before you write."""
    folder = tmp_path_factory.mktemp("flights") / "small"
    init("flights", folder, generated_days=75, flights_per_day=120, seed=1)
    return folder
