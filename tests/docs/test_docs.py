"""The reference names everything there is, its made parts are fresh, and its examples run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from reference import PAGES, commands, error_classes, made, port_classes

from interlock.app.templates import template_folder
from interlock.define.load import _READERS  # the patterns of files that are read

ALL = sorted(PAGES.glob("*.md"))
_HEADING = re.compile(r"^## (.+)$", re.M)
_RUN = re.compile(r"<!-- run -->\n```(console|python)\n(.*?)```", re.S)
_EXIT = re.compile(r"\s+# exit (\d+)$")
_LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")


def headings(page: str) -> list[str]:
    return _HEADING.findall((PAGES / page).read_text())


def examples() -> Iterator[tuple[str, str, str]]:
    for page in ALL:
        for number, (kind, text) in enumerate(_RUN.findall(page.read_text()), 1):
            yield f"{page.name}-{number}", kind, text


def test_every_command_has_a_heading() -> None:
    assert set(commands()) <= set(headings("commands.md"))
    known = {*commands(), "Exit codes", "A first look"}
    assert set(headings("commands.md")) <= known, "a heading for a command that is not there"


def test_every_error_code_has_a_heading() -> None:
    codes = {one.code for one in error_classes()}
    assert codes | {"usage"} == set(headings("errors.md"))


def test_every_port_has_a_heading() -> None:
    assert [one.__name__ for one in port_classes()] == headings("ports.md")


def test_every_kind_of_definition_file_has_a_heading() -> None:
    said = set(headings("definitions.md"))
    # Files ending in .yml are read only to say that they should end in .yaml.
    assert set(_READERS) - {"*.yml"} <= said
    suffixes = {
        f"{path.parent.name}/*{path.suffix}"
        for folder in ("tables", "features", "models", "services", "policies")
        for path in (template_folder("flights") / folder).iterdir()
        if path.is_file()
    }
    assert suffixes <= said


def test_every_policy_of_the_template_has_a_heading() -> None:
    files = (template_folder("flights") / "policies").glob("*.cedar")
    ids = re.findall(r'@id\("(\w+)"\)', "".join(file.read_text() for file in files))
    assert ids
    assert sorted(ids) == sorted(headings("policies.md"))
    quoted = (PAGES / "policies.md").read_text()
    for file in (template_folder("flights") / "policies").glob("*.cedar"):
        for message in re.findall(r'@message\("(.*?)"\)', file.read_text()):
            assert f"> {message}\n" in quoted


@pytest.mark.parametrize("page", ALL, ids=lambda page: page.name)
def test_made_parts_are_fresh(page: Path) -> None:
    text = page.read_text()
    assert made(text) == text, "run: python tests/docs/reference.py"
    assert text.count("<!-- made: ") == text.count("<!-- end -->"), "a made part has no end"


@pytest.mark.parametrize("page", ALL, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    missing = [to for to in _LINK.findall(page.read_text()) if not (page.parent / to).exists()]
    assert missing == []


@pytest.mark.parametrize(
    ("kind", "text"), [(k, t) for _, k, t in examples()], ids=[name for name, _, _ in examples()]
)
def test_an_example_does_what_it_says(kind: str, text: str, tmp_path: Path) -> None:
    if kind == "python":
        ended = shell([sys.executable, "-c", text], tmp_path)
        assert ended.returncode == 0, ended.stdout
        return
    for line, expected in sessions(text):
        code = _EXIT.search(line)
        ended = shell(["bash", "-c", _EXIT.sub("", line)], tmp_path)
        assert ended.returncode == int(code[1] if code else 0), f"{line}\n{ended.stdout}"
        assert matches(expected, ended.stdout), f"{line}\n{ended.stdout}\nexpected:\n{expected}"


def shell(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Both streams as one, as a reader of the page would see them."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PATH": path, "COLUMNS": "80"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


def sessions(text: str) -> Iterator[tuple[str, str]]:
    """Each command line of a console example, and what it should print."""
    for part in re.split(r"^\$ ", text, flags=re.M)[1:]:
        line, _, expected = part.partition("\n")
        yield line, expected


def matches(expected: str, found: str) -> bool:
    """`...` stands for anything."""
    pattern = ".*".join(re.escape(part) for part in expected.strip().split("..."))
    return re.fullmatch(pattern, found.strip(), re.S) is not None


def test_a_wrong_example_would_be_noticed() -> None:
    assert matches("a ... c", "a b c\n")
    assert not matches("a ... d", "a b c")
    assert list(sessions("$ x    # exit 2\nout\n$ y\n")) == [("x    # exit 2", "out\n"), ("y", "")]
