"""Definitions are read from texts; what is wrong comes all at once, each with line and fix."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.app.files import open_project, read_folder
from interlock.app.templates import template_folder
from interlock.define.load import read
from interlock.define.schema import schemas
from interlock.errors import Invalid, Problem

FLIGHTS = dict(read_folder(template_folder("flights")))


def change(file: str, old: str, new: str) -> dict[str, str]:
    assert FLIGHTS[file].count(old) >= 1, f"{old!r} is not in {file}"
    return {**FLIGHTS, file: FLIGHTS[file].replace(old, new, 1)}


def line_of(files: Mapping[str, str], file: str, text: str) -> int:
    return files[file][: files[file].index(text)].count("\n") + 1


def only(files: Mapping[str, str]) -> Problem:
    reading = read(files)
    assert reading.project is None
    assert len(reading.problems) == 1, [str(problem) for problem in reading.problems]
    return reading.problems[0]


def test_the_flights_project_reads_without_a_problem() -> None:
    reading = read(FLIGHTS)
    assert reading.problems == ()
    project = reading.project
    assert project is not None
    assert project.texts == FLIGHTS
    late = project.models["late"]
    assert late.training.code == FLIGHTS["models/late.py"]
    assert (late.file, late.training.start) == ("models/late.yaml", date(2013, 1, 8))
    assert project.tables["wh.spine"].sql == FLIGHTS["tables/wh_spine.sql"].strip()
    weather = project.views["origin_weather@1"]
    assert weather.ttl == timedelta(hours=5)
    assert weather.sql.startswith("SELECT")
    assert project.owner_of(weather.ref) == "data-eng"
    assert {owner.name for owner in project.owners} >= {"data-eng", "ops-gates"}


def test_the_texts_of_a_project_read_to_the_same_project() -> None:
    project = read(FLIGHTS).project
    assert project is not None
    assert read(project.texts).project == project


def mistakes() -> Iterator[tuple[str, str, str, list[str]]]:
    """File, what stands there, what is written instead, what is said of it (mistakes.txt)."""
    for block in Path(__file__).with_name("mistakes.txt").read_text().strip().split("\n\n"):
        file, old, new, *said = block.split("\n")
        yield file, old[2:], new[2:], [line[2:] for line in said]


def test_a_model_cannot_read_what_the_online_store_does_not_hold() -> None:
    """Trained on text and asked without it, it would be another model online than offline."""
    old = "{type: integer, unit: min, range: [-60, 1440]}"
    files = change("features/tail_last_delay.sql", old, "{type: string}")
    problem = only(files)
    assert problem.file == "models/late.yaml"
    assert problem.line == line_of(files, "models/late.yaml", "tail_last_delay@1")
    assert "tail_last_delay is a string, and the online store holds numbers" in problem.message
    assert "request" in problem.fix


def test_a_stage_asks_for_columns_that_every_door_writes_alike_and_of_which_a_subject_has_one() -> (
    None
):
    old, new = "plane_age: {type: integer", "plane_age: {type: double"
    files = change("tables/wh_spine.yaml", old, new)
    shadow = "{name: shadow, weight: 0, hold: 3d"
    text = files["interlock.yaml"].replace(shadow, f"{shadow}, only: {{plane_age: [7]}}")
    found = read({**files, "interlock.yaml": text}).problems
    assert ["plane_age is double" in one.message for one in found] == [True]
    text = text.replace("plane_age: [7]", "dest: [BOS]")
    text = text.replace("subject: [flight_id]", "subject: [origin, local_date]")
    found = read({**FLIGHTS, "interlock.yaml": text}).problems
    assert ["let in by one row and not by another" in one.message for one in found] == [True]
    text = text.replace("dest: [BOS]", "origin: [JFK]")
    assert read({**FLIGHTS, "interlock.yaml": text}).problems == ()


@pytest.mark.parametrize(("file", "old", "new", "said"), list(mistakes()))
def test_one_mistake_makes_one_problem_with_file_line_and_fix(
    file: str, old: str, new: str, said: list[str]
) -> None:
    problem = only(change(file, old, new))
    assert problem.file == file
    assert problem.line >= 1
    assert problem.fix
    for part in said:
        assert part in str(problem)


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("services/gates.yaml", "  margin: 0.08", "  margn: 0.08"),
        ("features/origin_weather.sql", "  wx_visib_mi:", "  Wx-Visib:"),
        ("models/late.yaml", "  - dest_late_rate_24h@1:dest", "  - dest_late_rate_24h@9:dest"),
        ("tables/raw_flights.yaml", "  dep_delay: {type: integer", "  dep_delay: {type: intege"),
        ("interlock.yaml", "- {name: step_25, weight: 0.25,", "- {name: step-25, weight: 0.25,"),
    ],
)
def test_the_line_is_that_of_the_mistake(file: str, old: str, new: str) -> None:
    files = change(file, old, new)
    # A view that fails to read takes its readers' complaints away with it, not its own line.
    problem = only(files)
    assert problem.line == line_of(files, file, new)


NESTED = "a:\n  " + "[" * 100_000


@pytest.mark.parametrize(
    ("file", "text", "line"),
    [
        ("interlock.yaml", NESTED, 2),
        ("calendar.yaml", NESTED, 2),
        ("tables/deep.yaml", NESTED, 2),
        ("tables/deep.yaml", '{"apiVersion": "v3.1.0",\n"a": ' + '{"a": ' * 400 + "}" * 401, 2),
        ("features/deep.sql", f"\n/*\n{NESTED}\n*/ SELECT 1", 4),
        ("models/deep.yaml", NESTED, 2),
        ("services/deep.yaml", NESTED, 2),
    ],
)
def test_a_file_nested_too_deep_is_told_like_any_other(file: str, text: str, line: int) -> None:
    problem = next(p for p in read({**FLIGHTS, file: text}).problems if p.file == file)
    assert (problem.line, problem.message) == (line, "not YAML: nested more than 100 levels deep")
    assert "never closed" in problem.fix


@pytest.mark.parametrize("text", ["x = " + "-" * 100_000 + "1", "x = " + "-" * 5_000 + "1"])
def test_training_code_that_no_parser_can_hold_is_a_problem(text: str) -> None:
    assert "cannot be read by Python" in only({**FLIGHTS, "models/late.py": text}).message


def test_all_mistakes_of_a_run_come_at_once() -> None:
    files = {
        **FLIGHTS,
        "tables/wh_planes.yaml": FLIGHTS["tables/wh_planes.yaml"].replace("owner:", "ownr:"),
        "services/crew.yaml": FLIGHTS["services/crew.yaml"] + "tier: 3\n",
        "models/broken.yaml": "model: [\n",
        "features/bare.sql": "SELECT 1\n",
        "tables/other.yml": "name: wh.other\n",
    }
    files["calendar.yaml"] = FLIGHTS["calendar.yaml"].replace("freezes:", "freeze:")
    found = {problem.file for problem in read(files).problems}
    assert found == {
        "tables/wh_planes.yaml", "services/crew.yaml", "models/broken.yaml", "features/bare.sql",
        "tables/other.yml", "calendar.yaml",
    }  # fmt: skip
    with pytest.raises(Invalid, match="did you mean owner"):
        raise Invalid.of(read(files).problems)


@pytest.mark.parametrize(
    "file",
    [
        "tables/wh_planes.yaml",
        "features/origin_load_1h.sql",
        "models/late.yaml",
        "services/crew.yaml",
    ],
)
def test_a_second_declaration_names_both_files(file: str) -> None:
    folder, name = file.split("/")
    problem = only({**FLIGHTS, f"{folder}/zz_{name}": FLIGHTS[file]})
    assert "already declared" in problem.message
    assert file in problem.fix
    assert f"zz_{name}" in str(problem)


def test_files_of_other_tools_are_left_alone() -> None:
    assert read({**FLIGHTS, "compose.yml": "a: [", "dags/x.sql": "?", "notes.yaml": "]"}).project


def test_two_versions_of_a_view_stand_side_by_side() -> None:  # R-A3
    second = FLIGHTS["features/origin_overdue.sql"].replace("version: 1", "version: 2")
    project = read({**FLIGHTS, "features/origin_overdue_2.sql": second}).project
    assert project is not None
    assert {"origin_overdue@1", "origin_overdue@2"} <= set(project.views)


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("models/late.yaml", "training:\n", "training:\n  code: import os\n"),
        ("services/crew.yaml", "service: crew", "service: crew\nfile: other.yaml"),
        (
            "features/origin_load_1h.sql",
            "view: origin_load_1h",
            "view: origin_load_1h\nsql: SELECT 1",
        ),
    ],
)
def test_what_is_filled_in_for_you_cannot_be_written(file: str, old: str, new: str) -> None:
    assert "unknown key" in only(change(file, old, new)).message


def test_a_folder_without_its_main_file_says_so() -> None:
    files = {name: text for name, text in FLIGHTS.items() if name != "interlock.yaml"}
    assert only(files) == Problem(
        "interlock.yaml", 0, "is missing", "write name, owners, environments"
    )


def test_a_secret_comes_from_the_environment_and_never_enters_the_snapshot() -> None:
    files = change("interlock.yaml", "by: carlos", "by: ${WHO}")
    project = read(files, {"WHO": "carlos"}).project
    assert project is not None
    assert project.environments["prod"].mixed_decisions[0].by == "carlos"
    assert "${WHO}" in project.texts["interlock.yaml"]
    again = read(project.texts).project
    assert again is not None
    assert again.environments["prod"].mixed_decisions[0].by == "${WHO}"
    (problem,) = read(files, {}).problems
    assert (problem.line, problem.message) == (
        line_of(files, "interlock.yaml", "${WHO}"), "${WHO} is not set"
    )  # fmt: skip


@given(st.data())
@settings(derandomize=True, max_examples=60, deadline=None)
def test_a_cut_file_is_a_problem_or_a_project_but_never_an_exception(data: st.DataObject) -> None:
    file = data.draw(st.sampled_from(sorted(FLIGHTS)))
    length = data.draw(st.integers(0, len(FLIGHTS[file])))
    reading = read({**FLIGHTS, file: FLIGHTS[file][:length]})
    assert (reading.project is None) == bool(reading.problems)
    assert all(problem.fix and problem.line >= 0 for problem in reading.problems)


def test_schemas_are_published_for_every_form_without_what_is_ours() -> None:
    made = schemas()
    assert set(made) == {
        "interlock.yaml", "tables/*.yaml", "features/*.sql", "models/*.yaml", "services/*.yaml",
        "calendar.yaml",
    }  # fmt: skip
    assert "sql" in made["tables/*.yaml"]["properties"]
    assert "sql" not in made["features/*.sql"]["properties"]
    assert "sql" not in made["features/*.sql"]["required"]
    assert "file" not in made["services/*.yaml"]["properties"]
    assert "code" not in made["models/*.yaml"]["$defs"]["Training"]["properties"]


def test_a_folder_is_read_without_state_data_and_hidden_files(tmp_path: Path) -> None:
    (tmp_path / "interlock.yaml").write_text("name: x\n")
    for name in (".interlock/a.yaml", "data/b.yaml", ".hidden.yaml", "tables/c.yaml", "notes.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x: 1\n")
    assert set(read_folder(tmp_path)) == {"interlock.yaml", "tables/c.yaml"}


@pytest.mark.parametrize("make", [False, True])
def test_a_folder_that_is_no_project_says_what_to_do(tmp_path: Path, make: bool) -> None:
    folder = tmp_path / "nothing"
    if make:
        folder.mkdir()
    with pytest.raises(Invalid, match="interlock init"):
        open_project(folder)


def test_a_file_that_is_not_utf8_is_named_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "interlock.yaml").write_bytes(b"name: x\nowners: {caf\xe9: {}}\n")
    with pytest.raises(Invalid) as caught:
        read_folder(tmp_path)
    assert [(p.file, p.line) for p in caught.value.problems] == [("interlock.yaml", 2)]
