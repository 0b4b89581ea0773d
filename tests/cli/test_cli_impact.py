"""`compare` and `lineage` on the command line."""

from __future__ import annotations

from pathlib import Path

import pytest
from terminal import contents, interlock, process

SCHEMA = """
wh.flights:
  columns: {id: {type: integer, nullable: false}, origin: varchar, delay: double}
  key: [id]
"""
OLD = "SELECT origin, avg(delay) AS late FROM wh.flights WHERE delay > 0 GROUP BY origin"


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "schema.yaml").write_text(SCHEMA)
    (tmp_path / "old.sql").write_text(OLD)
    return tmp_path


def compared(folder: Path, new: str, *more: object) -> tuple[int, dict[str, object]]:
    (folder / "new.sql").write_text(new)
    done = interlock(
        "compare", folder / "old.sql", folder / "new.sql", "--schema", folder / "schema.yaml",
        "--json", *more,
    )  # fmt: skip
    assert done.err == ""
    return done.code, done.json


# --- compare -------------------------------------------------------------------------


def test_what_means_the_same_is_the_same(files: Path) -> None:
    new = "-- tidied\nselect f.origin, avg(f.delay) late from wh.flights f"
    new += " where 0 < f.delay group by 1"
    code, told = compared(files, new)
    assert code == 0
    assert told == {
        "row_set": "same", "reason": "",
        "columns": {n: {"verdict": "same", "reason": ""} for n in ("origin", "late")},
    }  # fmt: skip


def test_another_filter_changes_the_rows_and_shows_the_sql(files: Path) -> None:
    code, told = compared(files, OLD.replace("delay > 0", "delay > 15"))
    assert (code, told["row_set"]) == (2, "changed")
    assert "15" in str(told["reason"])


def test_each_column_has_its_own_verdict(files: Path) -> None:
    new = OLD.replace("avg(delay) AS late", "max(delay) AS late, count(*) AS n")
    code, told = compared(files, new)
    columns = told["columns"]
    assert isinstance(columns, dict)
    assert (code, told["row_set"]) == (2, "same")
    assert {n: c["verdict"] for n, c in columns.items()} == {
        "origin": "same", "late": "changed", "n": "added",
    }  # fmt: skip
    assert "max" in columns["late"]["reason"].lower()


def test_for_people_the_rows_come_first(files: Path) -> None:
    (files / "new.sql").write_text(OLD.replace("delay > 0", "delay > 15"))
    schema = ("--schema", files / "schema.yaml")
    done = interlock("compare", files / "old.sql", files / "new.sql", *schema)
    assert done.code == 2
    assert done.out.splitlines()[0].startswith("rows: changed")
    assert [line.split()[0] for line in done.out.splitlines()[1:3]] == ["origin", "late"]


def test_what_is_not_understood_is_unknown_and_never_the_same(files: Path) -> None:
    code, told = compared(
        files, "SELECT * FROM wh.flights PIVOT (sum(delay) FOR origin IN ('JFK'))"
    )
    assert (code, told["row_set"]) == (2, "unknown")


@pytest.mark.parametrize(
    ("new", "more", "said"),
    [
        ("SELECT FROM WHERE", (), "new.sql"),
        (OLD, ("--dialect", "duckdbb"), "duckdb"),
        (OLD, ("--schema", "nowhere.yaml"), "nowhere.yaml"),
    ],
    ids=["unparsable", "dialect", "no schema"],
)
def test_what_cannot_be_compared_is_told_on_the_other_stream(
    new: str, more: tuple[str, ...], said: str, files: Path
) -> None:
    (files / "new.sql").write_text(new)
    done = interlock("compare", files / "old.sql", files / "new.sql", *more)
    assert done.code not in (0, 2)
    assert done.out == ""
    assert said in done.err


def test_a_file_that_is_not_there_is_named(files: Path) -> None:
    done = process("compare", files / "old.sql", files / "none.sql", "--json")
    assert done.code not in (0, 2)
    assert "none.sql" in str(done.error["problems"])


# --- lineage -------------------------------------------------------------------------


def test_who_stands_on_a_column_path_by_path(fresh: Path) -> None:
    before = contents(fresh)
    done = interlock("lineage", "column:wh.departures.dep_delay", "-C", fresh)
    assert (done.code, done.err) == (0, "")
    first, *lines = done.out.splitlines()
    assert first == "column:wh.departures.dep_delay"
    assert any("model:late (value) -> service:rebooking (value)" in line for line in lines)
    assert all(line.startswith("  is read by ") for line in lines)
    assert contents(fresh) == before, "looking left a trace"


def test_what_a_service_stands_on_as_json(fresh: Path) -> None:
    told = interlock("lineage", "service:rebooking", "--upstream", "-C", fresh, "--json").json
    assert (told["ref"], told["direction"]) == ("service:rebooking", "upstream")
    nodes = {node["ref"] for node in told["nodes"]}
    assert {"model:late", "table:raw.flights", "column:wh.weather.temp_f"} <= nodes
    assert all({e["reader"], e["source"]} <= nodes for e in told["edges"])
    assert {path[0]["reader"] for path in told["paths"]} == {"service:rebooking"}


def test_both_words_for_downstream_are_one(fresh: Path) -> None:
    asked = ("lineage", "view:origin_weather@1", "-C", fresh, "--json")
    assert interlock(*asked).json == interlock(*asked, "--downstream").json


def test_a_picture(fresh: Path) -> None:
    done = interlock("lineage", "feature:origin_weather@1:wx_temp_f", "--mermaid", "-C", fresh)
    assert done.code == 0
    assert done.out.startswith("flowchart LR\n")
    assert '["model:late"]' in done.out


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("column:wh.weather.tmp_f",), "column:wh.weather.temp_f"),
        (("model:late", "--upstream", "--downstream"), "ask once"),
        (("model:late", "--mermaid", "--json"), "ask once"),
        (("nonsense",), "nonsense"),
    ],
    ids=["misspelt", "both ways", "two forms", "no address"],
)
def test_a_question_without_an_answer_is_refused_with_a_way_on(
    more: tuple[str, ...], said: str, fresh: Path
) -> None:
    done = interlock("lineage", *more, "-C", fresh)
    assert done.code not in (0, 2)
    assert said in done.err
    assert done.out == ""
