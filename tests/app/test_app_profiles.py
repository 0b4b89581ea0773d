"""Profiles of real tables: kept, laid on one frame, and a day that is gone found at its source."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import app_world as world
import pytest

from interlock.app.alerts import address, standing
from interlock.app.build import Builder
from interlock.app.checks import contract, values
from interlock.app.ingest import ingest
from interlock.app.lateness import late
from interlock.app.loop import look_after
from interlock.app.profiles import profile
from interlock.app.training import histograms
from interlock.app.versions import stable
from interlock.app.workspace import Workspace
from interlock.cli.profiles import profiled
from interlock.define.refs import Ref
from interlock.errors import NotFound, Refused, Unusable
from interlock.features.compile import physical
from interlock.features.profile import merged

SERVICES = ("service:crew", "service:gates", "service:rebooking")


@pytest.fixture(scope="module")
def unreleased(
    small_flights: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Workspace]:
    folder = world.copied(small_flights, tmp_path_factory.mktemp("profiles") / "project")
    with world.opened(folder) as workspace:
        yield workspace


def stored(workspace: Workspace, table: str) -> str:
    facts = workspace.facts
    kind = "view" if "@" in table else "table"
    return physical(table, facts.fingerprint(Ref.parse(f"{kind}:{table}")))


def test_a_profile_names_checks_and_what_stands_behind(unreleased: Workspace) -> None:  # R-A9
    found = profile(unreleased, "wh.departures")
    assert (found.broken, found.gaps) == ((), ())
    assert found.at_risk == ("model:late", *SERVICES)
    assert {"check:delay_in_minutes", "unique_key"} <= {f.check for f in found.findings}
    delay = found.whole.columns["dep_delay"]
    assert sum(delay.bins or ()) == found.whole.rows == sum(found.whole.days.values())
    json.dumps(found.to_json(), allow_nan=False)


def test_the_page_of_a_profile_draws_what_it_says(unreleased: Workspace) -> None:
    text = profiled(profile(unreleased, "wh.departures", by="origin"))
    (row,) = [line for line in text.partition("origin = ")[0].splitlines() if "dep_delay" in line]
    assert row.split()[:3] == ["dep_delay", "1.0%", "3.1%"]
    assert set(row.split()[4]) <= set("▁▂▃▄▅▆▇█")
    assert "█" in row
    assert all(f"origin = {name}: " in text for name in ("EWR", "JFK", "LGA"))
    assert text.endswith(f"behind it: model:late, {', '.join(SERVICES)}")


def test_what_a_table_held_is_kept_with_the_evidence(unreleased: Workspace) -> None:  # R-A9
    builder = Builder(unreleased, unreleased.project, unreleased.facts)
    made = contract(builder, unreleased.project.tables["wh.weather"], unreleased.now())
    assert made.verdict == "pass"
    kept = made.details["profile"]
    assert kept["rows"] == sum(kept["days"].values()) == 5400
    assert kept["columns"]["temp_f"]["low"] < kept["columns"]["temp_f"]["high"]
    json.dumps(made.to_json(), allow_nan=False)


def test_slices_add_up_and_the_frame_stays(unreleased: Workspace) -> None:
    whole = profile(unreleased, "origin_weather@1")
    parts = profile(unreleased, "view:origin_weather@1", by="origin")
    assert set(parts.slices) == {"EWR", "JFK", "LGA"}
    assert parts.frame == whole.frame
    assert merged(list(parts.slices.values())).rows == whole.whole.rows
    kept = unreleased.record.get(Ref("note", "profile-origin_weather-v1"))
    assert kept is not None
    assert kept.body["profile"] == whole.whole.to_json()
    assert not any(whole.moved.values())  # against itself
    assert profile(unreleased, "origin_weather@1", since="7d").moved["wx_temp_f"] > 0.1
    assert unreleased.record.get(kept.ref) == kept  # a part is not kept


def test_what_cannot_be_profiled_is_refused_with_a_way_on(unreleased: Workspace) -> None:
    with pytest.raises(NotFound, match=r"no table or view is called wh.departure"):
        profile(unreleased, "wh.departure")
    with pytest.raises(NotFound, match="has no column origins"):
        profile(unreleased, "wh.departures", by="origins")
    with pytest.raises(Unusable, match="which are no slices"):
        profile(unreleased, "wh.departures", by="flight_id")
    with pytest.raises(Unusable, match="neither a day nor a duration"):
        profile(unreleased, "wh.departures", since="monday")
    with pytest.raises(Unusable, match="has no time"):
        profile(unreleased, "wh.planes", since="7d")
    profile(unreleased, "wh.planes")
    unreleased.warehouse.execute(f"ALTER TABLE {stored(unreleased, 'wh.planes')} DROP seats")
    with pytest.raises(Refused) as refused:
        profile(unreleased, "wh.planes")
    assert "wh.planes.seats is not there" in refused.value.objections[0]


def test_a_missing_day_is_found_at_the_source_with_who_suffers(live: Workspace) -> None:  # R-A9
    table = stored(live, "wh.departures")
    day = (live.now() - timedelta(days=2)).date()
    assert not look_after(live).gaps
    live.warehouse.execute(f"DELETE FROM {table} WHERE available_at::DATE = DATE '{day}'")
    seen = look_after(live)
    (gap,) = seen.gaps
    assert gap.startswith(f"wh.departures has 0 rows for {day}, usually ")
    assert gap.endswith(f"at risk: model:late, {', '.join(SERVICES)}")
    assert gap in seen.sentences
    kept = standing(live.record, "prod")
    assert {(name, one["sentence"], one["team"]) for name, one in kept.items()} == {
        (f"lost table:wh.departures {day}", gap, "data-eng")
    }
    look_after(live)
    assert len(live.record.history(address("prod"))) == 1, "what goes on is written once"
    # What is computed from the table has no hole of its own: it speaks of older flights.
    average = profile(live, "origin_dep_delay_24h@1", since=str(day))
    assert average.whole.columns["origin_dep_delay_24h"].nulls == 0
    assert profile(live, "wh.departures").gaps == (gap.partition(";")[0],)


def test_rows_that_come_late_are_found_at_the_source_with_who_suffers(live: Workspace) -> None:
    """There is always a newer row: neither its age nor a day's rows say that anything is wrong."""
    table, version = stored(live, "wh.departures"), stable(live)
    assert version is not None
    assert not look_after(live).stale
    assert late(live, version, {"table:wh.departures"}, live.now()) == {}
    live.warehouse.execute(
        f"UPDATE {table} SET available_at = available_at + INTERVAL 6 HOUR "
        f"WHERE sched_dep >= DATE '{(live.now() - timedelta(days=7)).date()}'"
    )
    seen = look_after(live)
    (share, hours) = seen.stale
    assert share.startswith("wh.departures: 0.00% of ")
    assert share.endswith(f"at risk: model:late, {', '.join(SERVICES)}")
    assert hours.startswith("wh.departures has 0 rows from ")
    assert not seen.gaps
    broken = profile(live, "wh.departures").broken
    assert [one.check for one in broken] == ["arrival", "rows per hour"]
    # A rollout waits for them.
    held = late(live, version, {"table:wh.departures", "table:wh.weather"}, live.now())
    assert held == {"table:wh.departures": "; ".join(one.sentence for one in broken)}


def test_values_are_compared_on_what_was_served_too(live: Workspace) -> None:  # R-A6
    """A change that history hides: it begins when the answers do."""
    began = live.now()
    world.play(live, timedelta(days=1))
    ingest(live)
    version = stable(live)
    assert version is not None
    builder, view = version.builder(live), version.project.views["origin_weather@1"]
    model = version.project.models[world.MODEL]
    same = values(builder, builder, view, view, model)
    assert (same.verdict, len(same.details["served"])) == ("pass", 5)
    assert "that were served" in same.sentence
    assert same.details["served"][0]["rows"] > 50
    table = stored(live, "origin_weather@1")
    live.warehouse.execute(
        f"UPDATE {table} SET wx_temp_f = (wx_temp_f - 32) * 5 / 9 WHERE ts > '{began:%F %T}'"
    )
    now = live.with_texts(
        {
            **version.project.texts,
            view.file: version.project.texts[view.file].replace("temp_f AS", "0 + temp_f AS"),
        }
    )
    found = values(Builder(now, now.project, now.facts), builder, view, view, model)
    assert found.verdict == "fail"
    assert "as served, wx_temp_f: " in found.sentence
    assert "Celsius -> Fahrenheit" in found.sentence or "Fahrenheit -> Celsius" in found.sentence


def test_the_bins_of_training_are_frozen_in_the_manifest(live: Workspace) -> None:  # R-B2
    version = stable(live)
    assert version is not None
    model, trained = version.project.models[world.MODEL], version.models[world.MODEL]
    kept = trained.manifest["histograms"]
    assert set(kept) == set(trained.inputs) - set(trained.categories)
    assert histograms(version.builder(live), model, sorted(kept)) == kept
    assert "wx_temp_f" in {one.feature for one in look_after(live).seen[0].drift}
