"""A request in a file: every mistake at its line; every word of it is bound to the plan."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest

from interlock.change.request import Request, amended, read_request
from interlock.errors import Invalid, Unusable

WHOLE = """\
title: Weather in Celsius
reason: one unit everywhere
expected: nothing moves
metrics: [log_loss, "kpi:rebooking"]
bounds: [log-loss worse by 2 % at most]
rollback_when: any bound is broken
risks: a reader nobody knows
emergency: the airport sends Fahrenheit since noon
"""


def test_a_file_says_what_the_options_say() -> None:  # R-C1
    read = read_request(WHOLE, "r.yaml", "amina")
    assert read == Request(
        "Weather in Celsius", "amina", "one unit everywhere", "nothing moves",
        "any bound is broken", "a reader nobody knows", ("log_loss", "kpi:rebooking"),
        ("log-loss worse by 2 % at most",), "the airport sends Fahrenheit since noon",
    )  # fmt: skip
    assert amended(read, {"title": "Celsius", "risks": ""}) == replace(read, title="Celsius")


@pytest.mark.parametrize(
    ("text", "line", "word"),
    [
        ("title: a\nrollback: b\n", 2, "rollback"),
        ("title: a\nmetrics: one\n", 2, "metrics"),
        ("title: [a\n", 2, "YAML"),
        ("- title\n", 1, "mapping"),
        ("", 1, "nothing"),
    ],
)
def test_a_wrong_file_is_told_by_its_line(text: str, line: int, word: str) -> None:
    with pytest.raises(Invalid) as caught:
        read_request(text, "r.yaml", "amina")
    (problem,) = caught.value.problems
    assert (problem.file, problem.line) == ("r.yaml", line)
    assert word in str(problem)


def test_without_a_title_nothing_is_asked() -> None:
    with pytest.raises(Unusable, match="no title"):
        amended(read_request("reason: because\n", "r.yaml", "amina"), {"title": " "})


@pytest.mark.parametrize("name", [f.name for f in fields(Request) if f.name != "by"])
def test_every_word_of_it_changes_what_is_signed(name: str) -> None:  # R-C4
    read = read_request(WHOLE, "r.yaml", "amina")
    value: Any = getattr(read, name)
    other = (*value, "more") if isinstance(value, tuple) else f"{value}."
    assert replace(read, **{name: other}).digest != read.digest
