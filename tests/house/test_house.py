"""The house checks itself: what it says of its rooms, files and errors is so."""

from __future__ import annotations

import ast
import inspect
import pickle
import re
import statistics
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import order
import pytest

import interlock
from interlock import errors
from interlock.errors import InterlockError, Invalid, Problem

HERE = Path(interlock.__file__).parent
ROOT = HERE.parent
FILES = sorted(file for file in HERE.rglob("*.py") if "templates" not in file.parts)
MOST_LINES, MEDIAN_LINES, MOST_PARAMETERS, BROAD_EXCEPTS = 400, 10, 7, 5
COMMANDS = tuple(
    f"cli/{name}.py"
    for name in (
        "main",
        "decisions",
        "consistency",
        "datasets",
        "tokens",
        "lookback",
        "signing",
        "privacy",
        "scores",
    )
)
HEAVY = ("duckdb", "sqlglot", "pandas", "sklearn", "interlock.plan", "interlock.impact")

Function = ast.FunctionDef | ast.AsyncFunctionDef


def name_of(file: Path) -> str:
    return str(file.relative_to(ROOT))


def functions(file: Path) -> Iterator[Function]:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, Function):
            yield node


# --- files and functions ------------------------------------------------------------


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_a_file_says_what_it_is_for_and_stays_readable(file: Path) -> None:
    text = file.read_text()
    assert ast.get_docstring(ast.parse(text)), "open the file with a sentence saying what it is for"
    assert text.count("\n") <= MOST_LINES, "past 400 lines a file is usually two nouns"


def test_functions_stay_short() -> None:
    # Of their own lines: a docstring is not what makes a function long.
    lengths = [length(function) for file in FILES for function in functions(file)]
    median = statistics.median(lengths)
    assert median < MEDIAN_LINES, (
        f"the median function has {median} lines: functions are growing; the longest are in "
        f"{longest()}"
    )


def length(function: Function) -> int:
    assert function.end_lineno is not None
    said = ast.get_docstring(function, clean=False)
    return function.end_lineno - function.lineno + 1 - (said.count("\n") + 1 if said else 0)


def longest() -> list[str]:
    every = ((length(one), f"{name_of(f)}:{one.name}") for f in FILES for one in functions(f))
    return [f"{name} ({lines})" for lines, name in sorted(every, reverse=True)[:5]]


def test_a_function_takes_few_things() -> None:
    long = [
        f"{name_of(file)}:{one.name}"
        for file in FILES
        if not name_of(file).endswith(COMMANDS)  # there a parameter is an option of a command
        for one in functions(file)
        if len(parameters(one)) > MOST_PARAMETERS
    ]
    assert long == []


def parameters(function: Function) -> list[str]:
    given = function.args
    names = [one.arg for one in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
    return [name for name in names if name not in ("self", "cls")]


def test_broad_excepts_are_few() -> None:
    broad = [
        f"{name_of(file)}:{node.lineno}"
        for file in FILES
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.ExceptHandler) and catches_all(node)
    ]
    assert len(broad) <= BROAD_EXCEPTS, broad


def catches_all(handler: ast.ExceptHandler) -> bool:
    names = (
        {node.id for node in ast.walk(handler.type) if isinstance(node, ast.Name)}
        if (handler.type)
        else {"BaseException"}
    )
    return bool(names & {"Exception", "BaseException"})


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_nothing_is_left_to_be_written(file: Path) -> None:
    # A contract suite asks whoever inherits it for an engine; nothing else may be left open.
    words = "TODO|FIXME|XXX" + ("" if file.parent.name == "testing" else "|NotImplementedError")
    found = re.findall(rf"\b(?:{words})\b", file.read_text())
    assert found == []


def test_a_room_exports_nothing_from_its_door() -> None:
    for door in HERE.rglob("__init__.py"):
        rest = ast.parse(door.read_text()).body[1:]
        # An engine in several files is one module to everybody else.
        engine = door.parent.parent == HERE / "adapters"
        allowed = rest if door.parent == HERE or engine else []
        assert rest == allowed, f"{name_of(door)} holds more than its docstring"


# --- the map ------------------------------------------------------------------------


def contract() -> list[str]:
    """Rooms as the contract lists them, from the doors down."""
    body = tomllib.loads((ROOT / "pyproject.toml").read_text())
    layers = next(c for c in body["tool"]["importlinter"]["contracts"] if c["type"] == "layers")
    return [room for line in layers["layers"] for room in re.split(r"\s*[|:]\s*", line)]


def test_the_map_lists_exactly_the_rooms_of_the_contract() -> None:
    lines = (interlock.__doc__ or "").splitlines()
    named = [match[1] for line in lines if (match := re.match(r" {4}(\S.*?) {2,}\S", line))]
    rooms = [room for text in named for room in text.split(", ")]
    assert sorted(rooms) == sorted([*contract(), "testing"])


def test_every_room_there_is_stands_in_the_contract() -> None:
    here = {p.stem for p in HERE.iterdir() if p.suffix == ".py" or (p / "__init__.py").exists()}
    assert here - {"__init__", "__main__", "testing"} == set(contract())


@pytest.mark.parametrize("module", ["interlock.web.gateway", "interlock.app.serving"])
def test_serving_starts_light(module: str) -> None:
    code = f"import sys, {module}\nprint([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n", f"a process that answers requests pays for {done.stdout}"


# --- errors -------------------------------------------------------------------------

TREE = [
    thing
    for thing in vars(errors).values()
    if inspect.isclass(thing) and issubclass(thing, InterlockError)
]


def test_every_error_has_a_code_of_its_own() -> None:
    twice = [code for code, n in Counter(one.code for one in TREE).items() if n > 1]
    assert twice == []
    assert all(re.fullmatch(r"[a-z]+(-[a-z]+)*", one.code) for one in TREE)


def test_every_exit_code_is_one_that_is_documented() -> None:
    text = (ROOT / "docs" / "reference" / "commands.md").read_text()
    known = {int(code) for code in re.findall(r"^\| (\d+) \|", text, re.M)}
    assert {one.exit_code for one in TREE} <= known


@pytest.mark.parametrize("kind", TREE, ids=lambda kind: kind.__name__)
def test_an_error_survives_the_way_home_from_a_worker(kind: type[InterlockError]) -> None:
    error = kind("what", "help", ("first", "second"))
    error.add_note("while working on table:x.y")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind
    assert str(again) == str(error)
    assert (again.objections, again.help) == (error.objections, error.help)


def test_problems_survive_too() -> None:
    error = Invalid.of([Problem("b.yaml", 2, "m"), Problem("a.yaml", 9, "m", "f")])
    again = pickle.loads(pickle.dumps(error))
    assert again.problems == error.problems
    assert [problem.file for problem in again.problems] == ["a.yaml", "b.yaml"]


def test_every_error_has_a_heading() -> None:
    text = (ROOT / "docs" / "reference" / "errors.md").read_text()
    missing = [one.code for one in TREE if f"\n## {one.code}\n" not in text]
    assert missing == []


def test_every_error_stands_in_the_tree_drawn_on_top() -> None:
    drawn = (errors.__doc__ or "").splitlines()
    for one in TREE:
        assert any(line.split()[:1] == [one.__name__] for line in drawn), one.__name__


# --- the order of the tests ---------------------------------------------------------


def test_every_file_that_asks_for_spark_is_one_of_those_that_one_process_runs() -> None:
    asking = {
        name_of(file)
        for file in (ROOT / "tests").rglob("test_*.py")
        if re.search(r"\bspark_warehouse\b", file.read_text()) and file != Path(__file__)
    }
    assert asking == set(order.ON_SPARK)
    assert [file for file in order.LONG if not (ROOT / file).is_file()] == []
    assert len({order.piece_of(f"{file}::test") for file in asking}) == 1
