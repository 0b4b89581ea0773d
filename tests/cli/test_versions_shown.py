"""`catalog`, `versions`, `deprecate`, `retire` and `replan` as people and programs meet them."""

from __future__ import annotations

from pathlib import Path

import pytest
from terminal import edit, interlock

VIEW = "view:origin_weather@1"
FILE = "features/origin_weather.sql"


@pytest.fixture
def second(project: Path) -> Path:
    """A second version of the weather stands in the files."""
    text = (project / FILE).read_text().replace("version: 1", "version: 2")
    (project / "features/weather_2.sql").write_text(text)
    return project


def test_the_catalog_lists_what_has_every_word(second: Path) -> None:  # R-A12
    done = interlock("catalog", "weather", "view", "-C", second)
    assert done.code == 0
    assert [line.split()[1] for line in done.out.splitlines()[1:] if "view:" in line] == [
        VIEW, "view:origin_weather@2",
    ]  # fmt: skip
    rows = interlock("catalog", "-C", second, "--json").json
    assert {row["state"] for row in rows} == {"new"}  # nothing is released here
    assert all(len(row["label"]) == 12 for row in rows)
    assert "has all of these words" in interlock("catalog", "zeppelin", "-C", second).out


def test_versions_say_where_the_label_is(second: Path) -> None:  # R-A2
    one, other = interlock("versions", "view:origin_weather", "-C", second, "--json").json
    assert (one["ref"], other["ref"]) == (VIEW, "view:origin_weather@2")
    # CR-1 has built it and trained on it; nobody has proposed the other.
    assert one["store"]["table"] == f"il.origin_weather_1__{one['label'][:12]}"
    assert one["store"]["rows"] > 0
    assert list(one["datasets"]) == ["late"]
    assert one["needed"][0]["why"] == "CR-1 leads to it and is REVIEW"
    assert (other["store"]["rows"], other["datasets"]) == (None, {})
    text = interlock("versions", VIEW, "-C", second).out
    assert f"{VIEW}  {one['label'][:12]}" in text
    assert "read by   model:late, service:crew, service:gates, service:rebooking" in text


def test_a_deprecation_is_written_warned_of_and_refused_too_late(second: Path) -> None:  # R-A3
    said = interlock(
        "deprecate", VIEW, "-C", second, "--until", "2013-04-30",
        "--replacement", "view:origin_weather@2",
    )  # fmt: skip
    assert (said.code, said.out.splitlines()[1].startswith("read by model:late")) == (0, True)
    warned = interlock("check", "-C", second)
    assert warned.code == 0
    assert f"warning: {VIEW} is deprecated until 30 Apr 2013" in warned.out
    assert interlock("check", "-C", second, "--json").json["warnings"]
    (row,) = interlock("catalog", VIEW, "-C", second, "--json").json
    assert "until 30 Apr 2013" in row["note"]
    # Nothing runs yet, so whoever reads it after its day begins to.
    edit(second / FILE, "2013-04-30", "2013-01-31")
    late = interlock("check", "-C", second)
    assert (late.code, f"model:late begins to read {VIEW}" in late.err) == (3, True)
    assert interlock("plan", "-C", second).code == 3


def test_retire_names_who_declares_it(second: Path) -> None:
    done = interlock("retire", VIEW, "-C", second, "--by", "amina", "--json")
    assert done.code == 3
    files, change = done.error["objections"]
    assert "declared in the files here" in files
    assert "model:late, service:crew, service:gates, service:rebooking" in change
    assert "CR-1 leads to it and is REVIEW" in change


def test_a_change_on_top_of_another_waits_at_the_command_line(project: Path) -> None:
    edit(project / "services/crew.yaml", "margin: 0.05", "margin: 0.06")
    done = interlock(
        "propose",
        "-C",
        project,
        "--title",
        "On top",
        "--by",
        "wei",
        "--after",
        "CR-1",
        "--json",
        "--rollback-when",
        "harm",
    )
    assert done.code == 0
    assert done.json["change"]["state"] == "DEFERRED"
    assert done.json["objections"] == ["waits for CR-1, which is REVIEW"]
    status = interlock("status", "CR-2", "-C", project).out
    assert "next: interlock replan CR-2" in status
    early = interlock("replan", "CR-2", "-C", project)
    assert (early.code, "still waits for CR-1" in early.err) == (3, True)
    body = interlock("plan", "-C", project, "--after", "CR-1", "--json").json
    assert (body["after"], body["direct"]) == ("CR-1", ["service:crew"])
