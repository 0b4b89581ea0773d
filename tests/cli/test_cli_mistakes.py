"""Every mistake of a project is told at once, with its file and line, and nothing is written."""

from __future__ import annotations

from pathlib import Path

import pytest
from terminal import Done, contents, edit, interlock, process

# What is broken, and what must be said of it: file, what is replaced, by what, file and
# text of the problem, the text at whose line it must point.
MISTAKES = {
    "unknown column": (
        "features/tail_last_delay.sql", "max(dep_delay)", "max(dep_dely)",
        "features/tail_last_delay.sql", "dep_dely", "max(dep_dely)",
    ),
    "wrong type": (
        "tables/wh_planes.yaml", "seats: {type: integer}", "seats: {type: intger}",
        "tables/wh_planes.yaml", "intger", "intger",
    ),
    "missing file": (
        "tables/wh_weather.yaml", "sql_file: wh_weather.sql", "sql_file: wh_wether.sql",
        "tables/wh_weather.yaml", "wh_wether.sql is not in", "wh_wether.sql",
    ),
    "bad YAML": (
        "services/gates.yaml", "models: [late]", "models: [late",
        "services/gates.yaml", "not YAML", "",
    ),
    "bad SQL": (
        "features/origin_overdue.sql", "GROUP BY origin, ts", "GROP BY origin, ts",
        "features/origin_overdue.sql", "", "",
    ),
    "unknown key": (
        "services/crew.yaml", "decision_unit:", "decision_units:",
        "services/crew.yaml", "decision_units", "decision_units",
    ),
}  # fmt: skip


@pytest.fixture
def broken(fresh: Path) -> Path:
    """A project with every mistake there is, at the same time."""
    for file, old, new, *_ in MISTAKES.values():
        edit(fresh / file, old, new)
    again = (fresh / "features/dest_late_rate_24h.sql").read_text()
    (fresh / "features/dest_again.sql").write_text(again)
    a, b = "wh.ring_a", "wh.ring_b"
    for name, other in ((a, b), (b, a)):
        (fresh / f"tables/{name.replace('.', '_')}.yaml").write_text(
            f"name: {name}\nowner: data-eng\nsql: SELECT x FROM {other}\n"
            "columns:\n  x: {type: integer}\n"
        )
    return fresh


def found(done: Done, file: str) -> list[dict[str, object]]:
    return [one for one in done.error["problems"] if one["file"] == file]


# R-B4
def test_every_mistake_is_told_at_once(broken: Path) -> None:
    done = interlock("check", "-C", broken, "--json")
    assert done.code == 3
    assert done.out == ""
    assert done.error["error"] == "invalid"
    for _, _, _, file, words, at in MISTAKES.values():
        said = found(done, file)
        assert any(words in str(one["message"]) for one in said), (file, words, said)
        lines = (broken / file).read_text().splitlines()
        assert any(at in lines[int(str(one["line"])) - 1] for one in said), (file, at, said)


def test_a_duplicate_and_a_cycle_are_told_with_the_rest(broken: Path) -> None:
    done = interlock("check", "-C", broken, "--json")
    said = [f"{one['file']}:{one['line']}: {one['message']}" for one in done.error["problems"]]
    assert any("dest_late_rate_24h@1 is already declared in" in line for line in said), said
    assert any("tables read each other: wh.ring_a" in line for line in said), said


def test_one_mistake_makes_one_problem(broken: Path) -> None:
    done = interlock("check", "-C", broken, "--json")
    problems = done.error["problems"]
    # Six edits, one file too many, one ring.
    assert len(problems) == 8, [f"{p['file']}:{p['line']}: {p['message']}" for p in problems]


def test_a_broken_main_file_hides_no_other_mistake(fresh: Path) -> None:
    edit(fresh / "interlock.yaml", "environments:", "environments: [")
    edit(fresh / "features/tail_last_delay.sql", "max(dep_delay)", "max(dep_dely)")
    done = interlock("plan", "-C", fresh, "--json")
    assert {one["file"] for one in done.error["problems"]} == {
        "interlock.yaml",
        "features/tail_last_delay.sql",
    }


@pytest.mark.parametrize("command", ["check", "plan"])
def test_people_read_file_line_and_fix(broken: Path, command: str) -> None:
    before = contents(broken)
    done = process(command, "-C", broken)
    assert (done.code, done.out) == (3, "")
    assert "tables/wh_planes.yaml:11: " in done.err
    assert "integer?" in done.err
    assert "Traceback" not in done.err
    assert contents(broken) == before


def test_a_folder_without_a_project_says_what_to_do(tmp_path: Path) -> None:
    done = interlock("plan", "-C", tmp_path)
    assert done.code == 3
    assert "holds no interlock.yaml" in done.err
    assert "interlock init" in done.err


def test_an_unknown_environment_names_the_known_ones(fresh: Path) -> None:
    done = interlock("plan", "-C", fresh, "--env", "prd")
    assert done.code == 3
    assert "environments: prod" in done.err
