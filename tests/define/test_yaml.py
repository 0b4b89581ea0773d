"""YAML keeps its lines, and is stricter than YAML."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from interlock.define.yaml import DEEPEST, parse

EXAMPLES = Path(__file__).parents[2] / "examples"
MANY = """a: |
  x
  y

b: >-
  z
  z
c: 'it''s'
d: "q\\n"
e:
- f
-
- g: &h 0x1F
  i: [1_000, 1e3, ~, .inf]
? j
: !!str 1
k: {l: {m: *h}, n: é}  # o
"""
SLIPS = [
    " ", "\n", "- ", ": ", ":", "'", '"', "|", ">", "#", " #", "[", "]", "{", "}", ",", "?", "!",
    "&a", "*a", "%", "@", "---", "...", "~", "<<", "\\", "=", "\n\n", "\n  ", "\n- ", "!!str ",
    "\t",
]  # fmt: skip


def problem(text: str) -> tuple[int, str]:
    _, problems = parse(text, "a.yaml")
    assert len(problems) == 1, problems
    assert problems[0].fix
    return problems[0].line, problems[0].message


def test_every_key_and_item_has_its_line() -> None:
    document, problems = parse("a: 1\nb:\n  c:\n    - x\n    - y\n", "a.yaml")
    assert document is not None
    assert not problems
    assert document.value == {"a": 1, "b": {"c": ["x", "y"]}}
    assert [document.line(p) for p in (("a",), ("b", "c"), ("b", "c", 1))] == [1, 3, 5]


def test_what_is_not_there_has_the_line_of_what_is_around_it() -> None:
    document, _ = parse("a: 1\nb:\n  c: 2\n", "a.yaml")
    assert document is not None
    assert document.line(("b", "missing", "deeper")) == 2


def test_lines_count_from_the_top_of_the_file_not_of_the_header() -> None:
    document, _ = parse("a: 1\nb: 2\n", "a.sql", above=10)
    assert document is not None
    assert document.line(("b",)) == 12


def test_dates_and_words_stay_text() -> None:
    document, _ = parse("day: 2013-07-03\nanswer: no\nsure: true\nt: off\n", "a.yaml")
    assert document is not None
    assert document.value == {"day": "2013-07-03", "answer": "no", "sure": True, "t": "off"}


def test_a_tag_on_a_list_makes_nothing_of_it() -> None:
    document, _ = parse("a: !!python/object/apply:os.system [ls]\n", "a.yaml")
    assert document is not None
    assert document.value == {"a": ["ls"]}


@given(st.text(alphabet=" \n:-[]{}#&*!|>'\"%@`,?~0xab_.", max_size=40))
@example("a: 0x_")  # once raised ValueError
@example("a: !!bool x")  # once raised KeyError
@settings(derandomize=True, max_examples=300, deadline=None)
def test_no_text_at_all_raises(text: str) -> None:
    document, problems = parse(text, "a.yaml")
    assert document is not None or problems


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("a: 1\nb: 2\na: 3\n", 3, "`a` is already on line 1"),
        ("a:\n  - {x: 1, x: 2}\n", 2, "`x` is already on line 2"),
        ("a: [1, 2\nb: 3\n", 2, "not YAML"),
        ("a: b: c\n", 1, "mapping values are not allowed here"),
        ("a: &x [1]\nb: *x\n", 2, "alias"),
        ("a: &x [*x]\n", 1, "alias"),
        ("a: 1\n---\nb: 2\n", 2, "not YAML"),
        ("- a\n- b\n", 1, "expected a mapping, found a list"),
        ("just text\n", 1, "expected a mapping, found a str"),
        ("", 1, "nothing is declared"),
        ("# only a comment\n", 1, "nothing is declared"),
        ("b: 1\na: !!python/name:os.system ls\n", 2, "a tag"),
        ("a: !!int x\n", 1, "a tag"),
        ("? [a, b]\n: c\n", 1, "a key must be a word"),
        ("a: \x00\n", 1, "not YAML"),
    ],
)  # fmt: skip
def test_refused_with_its_line(text: str, line: int, said: str) -> None:
    found, message = problem(text)
    assert (found, said in message) == (line, True), message


NESTED = {
    "flow lists": lambda n: "a:\n  " + "[" * n + "]" * n,
    "open lists": lambda n: "a:\n  " + "[" * n,
    "flow mappings": lambda n: "a:\n  " + "{a: " * n + "}" * n,
    "block lists": lambda n: "a:\n  " + "- " * n + "x",
    "block mappings": lambda n: "\n".join(" " * min(i, 700) + "a:" for i in range(n + 1)),
    "keys": lambda n: "a:\n  " + "? " * n + "x",
}


@pytest.mark.parametrize("quick", [True, False])
@pytest.mark.parametrize("kind", NESTED)
def test_what_is_nested_too_deep_is_told_at_its_line(
    kind: str, quick: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(yaml, "__with_libyaml__", quick)
    for many in (DEEPEST + 1, 400, 700, 100_000):
        line, message = problem(NESTED[kind](many))
        assert "nested more than 100 levels" in message
        assert line == (DEEPEST if kind == "block mappings" else 2)
    if kind not in ("open lists", "keys"):
        assert parse(NESTED[kind](DEEPEST - 2), "a.yaml")[1] == []


def chopped(text: str, chance: random.Random) -> str:
    """Some lines of `text` with a slip or two."""
    lines = text.split("\n")
    at = chance.randrange(len(lines))
    made = "\n".join(lines[at : at + chance.randint(1, 14)])
    for _ in range(chance.randint(1, 3)):
        at = chance.randrange(len(made) + 1)
        made = made[:at] + chance.choice(SLIPS) + made[at + chance.choice((0, 0, 1, 2)) :]
    return made


def test_either_parser_gives_the_same_values_and_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(11)
    texts = [MANY, *(file.read_text() for file in sorted(EXAMPLES.rglob("*.yaml")))]
    texts += [chopped(chance.choice(texts), chance) for _ in range(1200)]
    found = [parse(text, "a.yaml") for text in texts]
    monkeypatch.setattr(yaml, "__with_libyaml__", False)
    for text, (document, problems) in zip(texts, found, strict=True):
        other, others = parse(text, "a.yaml")
        assert problems == others, text
        # As text, so that 1 is not True and keys keep their order.
        assert repr(document) == repr(other), text
