"""The pages hold together: links lead somewhere, and nothing names one person's machine."""

from __future__ import annotations

import re
import subprocess
import tomllib
from functools import lru_cache
from itertools import chain
from pathlib import Path
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).parents[2]
_FENCED = re.compile(r"^(`{3,}|~{3,}).*?^\1", re.DOTALL | re.MULTILINE)
_CODE = re.compile(r"`[^`\n]*`")
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)(?:\s+\"[^\"]*\")?\)")
_HEADING = re.compile(r"^#{1,6}\s+(.+?)\s*#*$", re.MULTILINE)
# In pieces, or this file would find itself. Folders of a home, a job or a mounted disk say
# nothing to a reader elsewhere; a package index is the reader's own choice.
_FOLDERS = ("work", "tmp", "root", "home", "Users", "opt", "mnt")
_HOSTS = ("pypi" + ".org", "python" + "hosted", "index" + "-url")
_MACHINE = re.compile(rf"(?<![\w./<>~*-])/(?:{'|'.join(_FOLDERS)})/\w")


@lru_cache(maxsize=1)
def tracked() -> tuple[Path, ...]:
    """What belongs to the project: tracked, or about to be."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    names = subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout
    paths = (ROOT / name for name in names.decode().split("\0") if name)
    return tuple(path for path in paths if path.is_file())


def pages() -> list[Path]:
    return [path for path in tracked() if path.suffix == ".md"]


def prose(page: Path) -> str:
    """The page without its examples: brackets in code are no links."""
    return _CODE.sub("", _FENCED.sub("", page.read_text(encoding="utf-8")))


def anchors(page: Path) -> set[str]:
    """The addresses that a forge gives to the headings of `page`."""
    text = _FENCED.sub("", page.read_text(encoding="utf-8"))
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in _HEADING.findall(text))
    return {heading.replace(" ", "-") for heading in plain}


def broken(page: Path, link: str) -> str:
    """Why `link`, found in `page`, leads nowhere; empty when it leads somewhere."""
    where, _, part = unquote(link).partition("#")
    target = (page.parent / where).resolve() if where else page
    if not target.is_relative_to(ROOT):
        return f"{link} leaves the project"
    if not target.exists():
        return f"{link}: there is no {target.relative_to(ROOT)}"
    if part and target.suffix == ".md" and part not in anchors(target):
        return f"{link}: {target.relative_to(ROOT)} has no heading {part!r}"
    return ""


def named(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("page", pages(), ids=named)
def test_every_link_leads_somewhere(page: Path) -> None:
    links = [link for link in _LINK.findall(prose(page)) if "://" not in link]
    found = [said for link in links if (said := broken(page, link))]
    assert not found, "\n".join(found)


def test_a_link_that_leads_nowhere_is_found(tmp_path: Path) -> None:
    page = ROOT / "README.md"
    assert broken(page, "docs/no_such_page.md") == (
        "docs/no_such_page.md: there is no docs/no_such_page.md"
    )
    assert "no heading" in broken(page, "docs/architecture.md#no-such-heading")
    assert "leaves the project" in broken(page, "../elsewhere.md")
    assert not broken(page, "docs/architecture.md")
    example = tmp_path / "page.md"
    example.write_text("```\n[a](b.md)\n```\n`[c](d.md)` and [e](f.md)\n")
    assert _LINK.findall(prose(example)) == ["f.md"]


@pytest.mark.parametrize("page", pages(), ids=named)
def test_a_page_opens_with_what_it_is_about(page: Path) -> None:
    assert page.read_text(encoding="utf-8").startswith("# "), "open the page with its heading"


def machine_names(text: str) -> list[str]:
    """Folders and hosts that only exist where the text was written."""
    hosts = [host for host in _HOSTS if host in text]
    return [*(found[0] for found in _MACHINE.finditer(text)), *hosts]


def test_nothing_names_the_machine_it_was_written_on() -> None:
    found = []
    for path in tracked():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # a picture names nothing
        found += [f"{named(path)}: {name}" for name in machine_names(text)]
    assert not found, "\n".join(found)


def test_a_machine_name_is_found() -> None:
    assert machine_names("open /" + "home/ann/x.md") == ["/" + "home/a"]
    assert machine_names("cp a /" + "tmp/b")
    assert machine_names(_HOSTS[0]) == [_HOSTS[0]]
    assert not machine_names("see docs/work/home.md, https://example.org/home/x, <folder>/opt/x")


def test_every_declared_dependency_has_its_licence_written_down() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*declared["dependencies"], *chain(*declared["optional-dependencies"].values())]
    page = (ROOT / "docs/decisions/0011-dependencies-and-licences.md").read_text()
    names = {re.split(r"[<>=\[ ]", text)[0].lower() for text in wanted}
    lacking = sorted(name for name in names if f"\n| {name} | " not in page)
    assert not lacking, f"look at the metadata of {lacking} and write a line for each"
