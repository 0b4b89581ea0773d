"""Every silent schema and unit change of the scenario, on the project's own tables and views.

On the real flights where they are installed, on made-up ones elsewhere: each change must be
called by its name, whatever it does to the metrics of a model.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pytest

from interlock.app.build import Builder
from interlock.app.templates import init
from interlock.app.workspace import Workspace
from interlock.define.definitions import ColumnType
from interlock.errors import Unavailable
from interlock.features.compare import ValueComparison, compare_sql, judge_values
from interlock.features.compile import build_view_sql
from interlock.impact.sql import tables_read

DELAY = ("origin_dep_delay_2h", "origin_dep_delay_24h", "carrier_origin_delay_3h",
         "tail_last_delay")  # fmt: skip


@dataclass(frozen=True)
class World:
    """The project's tables, built, and whether they hold real flights."""

    builder: Builder
    real: bool

    def compared(
        self, old: str, new: str, on: list[str], features: Mapping[str, ColumnType],
        units: Mapping[str, str | None],
    ) -> dict[str, ValueComparison]:  # fmt: skip
        sql = compare_sql(old, new, on, features)
        (row,) = self.builder.workspace.warehouse.query(sql).to_pylist()
        return {one.feature: one for one in judge_values(row, features, units)}

    def view(self, name: str, table: str, columns: str) -> dict[str, ValueComparison]:
        """A view over `table` as it is, and with `columns` replaced."""
        view = self.builder.project.views[f"{name}@1"]
        bound = self.builder.bindings(tables_read(view.sql))
        changed = {**bound, table: f"(SELECT * REPLACE ({columns}) FROM {bound[table]})"}
        features = {n: f.type for n, f in view.features.items()}
        units = {n: f.unit for n, f in view.features.items()}
        old, new = (f"({build_view_sql(view, b)})" for b in (bound, changed))
        return self.compared(old, new, [*view.entity, view.event_time], features, units)

    def column(self, table: str, name: str, value: str) -> ValueComparison:
        """A column that requests send, as it is and as `value`."""
        built, declared = self.builder.table(table), self.builder.project.tables[table]
        new = f"(SELECT * REPLACE ({value} AS {name}) FROM {built})"
        of = declared.columns[name]
        on = list(declared.key)
        return self.compared(built, new, on, {name: of.type}, {name: of.unit})[name]


@pytest.fixture(scope="module")
def flights(tmp_path_factory: pytest.TempPathFactory, small_flights: Path) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("named") / "flights"
    try:
        init("flights", folder, until=date(2013, 3, 20))  # both sides of the change of clocks
        real = True
    except Unavailable:
        init("flights", folder, generated_days=75)
        real = False
    workspace = Workspace(folder)
    yield World(Builder(workspace, workspace.project, workspace.facts), real)
    workspace.close()


# R-A6: rows of SCENARIO section 4 (a) that change one column of a view by a formula.
@pytest.mark.parametrize(
    ("view", "table", "column", "feature", "verdict", "name"),
    [
        *(
            (view, "wh.departures", "dep_delay * 60 AS dep_delay", view, "scaled",
             "minutes -> seconds (x60)")
            for view in DELAY
        ),
        ("origin_weather", "wh.weather", "(temp_f - 32) * 5 / 9 AS temp_f", "wx_temp_f",
         "affine", "Fahrenheit -> Celsius"),
        ("origin_weather", "wh.weather", "wind_mph * 1.609344 AS wind_mph", "wx_wind_mph",
         "scaled", "mph -> km/h (x1.609344)"),
        ("origin_weather", "wh.weather", "visib_mi * 1.609344 AS visib_mi", "wx_visib_mi",
         "scaled", "miles -> km (x1.609344)"),
        ("origin_weather", "wh.weather", "precip_in * 25.4 AS precip_in", "wx_precip_in",
         "scaled", "inches -> mm (x25.4)"),
        ("origin_weather", "wh.weather", "pressure_mb * 0.029529983 AS pressure_mb",
         "wx_pressure_mb", "scaled", "hPa -> inHg (x1/33.86389)"),
    ],
)  # fmt: skip
def test_a_silent_unit_change_is_called_by_its_name(
    flights: World, view: str, table: str, column: str, feature: str, verdict: str, name: str
) -> None:
    found = flights.view(view, table, column)
    assert (found[feature].verdict, found[feature].name) == (verdict, name)
    assert name in found[feature].sentence
    others = [one for other, one in found.items() if other != feature]
    assert all(one.verdict == "equal" for one in others)
    assert (found[feature].spread.psi or 0) > 0.02  # rain in millimetres too


def test_a_renamed_column_is_seen_as_what_is_missing(flights: World) -> None:
    for view in DELAY[:3]:
        found = flights.view(view, "wh.departures", "NULL::BIGINT AS dep_delay")[view]
        assert found.verdict == "changed"
        assert found.null_new == 1.0 > found.null_old
        assert "to 100.0%" in found.sentence


def test_a_threshold_on_another_unit_is_a_change_without_a_formula(flights: World) -> None:
    """`dep_delay > 15` on seconds: nothing is scaled, and most rows count other flights."""
    columns = "dep_delay * 60 AS dep_delay"
    found = flights.view("origin_overdue", "wh.departures", columns)["origin_overdue"]
    assert (found.verdict, found.ratio) == ("changed", None)
    assert found.changed_share + found.missing_old / found.rows > 0.3
    assert (found.spread.ks or 0) > 0.05


def test_a_distance_in_kilometres_is_called_by_its_name(flights: World) -> None:
    found = flights.column("wh.spine", "distance", "distance * 1.609344")
    assert (found.verdict, found.name) == ("scaled", "miles -> km (x1.609344)")


def test_local_hours_served_in_utc_are_called_by_their_name(flights: World) -> None:
    utc = "extract(hour FROM sched_dep)"
    found = flights.column("wh.spine", "local_hour", utc)
    assert found.name == "hour of day in another time zone (+4 to 5 h)"


def test_codes_shifted_by_one_new_carrier_are_called_by_their_name(flights: World) -> None:
    """One carrier more in the list, and every code after it is another number."""
    carriers = f"(SELECT DISTINCT carrier FROM {flights.builder.table('wh.spine')})"
    rows = flights.builder.table("wh.spine")
    code = f"(SELECT count(*) FROM {carriers} AS c WHERE c.carrier < s.carrier)"
    old, new = (
        f"(SELECT flight_id, {code}{more} AS code FROM {rows} AS s)"
        for more in ("", " + (s.carrier > 'AS')::INT")
    )
    features: Mapping[str, ColumnType] = {"code": "integer"}
    found = flights.compared(old, new, ["flight_id"], features, {})["code"]
    assert (found.verdict, found.name) == ("changed", "values relabelled one to one")
    assert 0.5 < found.changed_share < 1
