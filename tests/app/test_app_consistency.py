"""Served values against what training would have seen; a feed that stands still is found."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import app_world as world
import pytest

from interlock.app.consistency import Asked, compare_versions, consistency
from interlock.app.play import new_replayer, play_through
from interlock.app.workspace import Workspace
from interlock.change.evidence import Evidence
from interlock.errors import NotFound, Refused
from interlock.serve.request import SAMPLED

WEATHER = "origin_weather@1"


def play(workspace: Workspace, hours: int, *withheld: str) -> int:
    """Recorded requests of some hours, with views whose feed stands still; how many rows."""
    with world.serving(workspace) as (_, url):
        replayer = new_replayer(workspace, url, world.MODEL)
        now = workspace.now()
        if replayer.feeder is not None:
            replayer.feeder.withheld.update(withheld)
        return play_through(replayer, now, now + timedelta(hours=hours), drive=False).rows


# R-B3
def test_what_was_served_is_what_training_would_have_seen(live: Workspace) -> None:
    with pytest.raises(Refused, match="no sampled request"):
        consistency(live, Asked())
    rows = play(live, 72)
    (found,) = consistency(live, Asked())
    assert (found.verdict, found.worst, found.unanswered) == ("pass", 0.0, 0)
    assert rows / SAMPLED / 2 < found.requests < rows / SAMPLED * 2
    assert len(found.features) == len(world_features(live))
    kept = [Evidence.from_json(entry.body) for entry in live.record.list("evidence")]
    (piece,) = [one for one in kept if one.check == "consistency"]
    assert (piece.verdict, piece.n, piece.value) == ("pass", found.requests, 0.0)
    assert f"view:{WEATHER}" in piece.subjects
    (few,) = consistency(live, Asked(sample=3))
    assert few.requests == 3
    with pytest.raises(Refused):
        consistency(live, Asked(since=live.now() + timedelta(days=1)))


def world_features(workspace: Workspace) -> tuple[str, ...]:
    return workspace.project.models[world.MODEL].features


# R-B3, R-A14
def test_a_feed_that_stands_still_is_told_feature_by_feature(live: Workspace) -> None:
    play(live, 36)
    since = live.now()
    play(live, 12, WEATHER)
    (found,) = consistency(live, Asked(since=since))
    assert found.verdict == "fail"
    wrong = {one.feature for one in found.features if one.rate > 0}
    assert wrong
    assert {name.partition(":")[0] for name in wrong} == {WEATHER}
    first = found.features[0]
    assert first.mismatch > 0, "at first, what was served was older"
    assert first.missing > 0, "then it was over its TTL, and nothing of it was served"
    assert first.example is not None
    assert {"id", "key", "at", "kind"} <= first.example.keys()
    wrong_now = sum(one.mismatch for one in found.features)
    patient = [consistency(live, Asked(since=since, lag=timedelta(hours=h)))[0] for h in range(6)]
    assert patient[0] == found
    least = min(patient, key=lambda one: sum(f.mismatch for f in one.features))
    late = sum(one.late for one in least.features)
    assert late > 0, "a value is late when it was right a while ago"
    assert sum(one.mismatch for one in least.features) < wrong_now
    (lenient,) = consistency(live, Asked(since=since, bound=1.0))
    assert lenient.verdict == "pass"


def test_two_versions_of_a_view_are_compared_on_the_same_requests(live: Workspace) -> None:
    play(live, 48)
    file = next((live.folder / "features").glob("origin_weather*"))
    text = file.read_text().replace("version: 1\n", "version: 2\n")
    file.with_name("origin_weather_2.sql").write_text(
        text.replace("  temp_f AS", "  temp_f + 1 AS")
    )
    live.reread()
    found = compare_versions(live, WEATHER, "origin_weather@2", Asked())
    assert found.verdict == "fail"
    assert [one.feature for one in found.features if one.rate] == ["wx_temp_f"]
    assert found.features[0].mismatch > 0
    same = compare_versions(live, WEATHER, WEATHER, Asked())
    assert (same.verdict, same.worst) == ("pass", 0.0)
    with pytest.raises(NotFound, match="no view origin_weather@9"):
        compare_versions(live, WEATHER, "origin_weather@9", Asked())


def test_the_command_says_it_and_fails_over_the_bound(live: Workspace, tmp_path: Path) -> None:
    play(live, 24)
    live.close()
    good = world.command(live.folder, "consistency")
    assert good.code == 0, good.err
    assert '"verdict": "pass"' in good.out
    bad = world.command(live.folder, "consistency", "--lag", "soon")
    assert (bad.code, bad.error["error"]) == (3, "unusable")
    odd = world.command(live.folder, "consistency", "--views", "origin_weather@1")
    assert (odd.code, odd.error["error"]) == (3, "unusable")
