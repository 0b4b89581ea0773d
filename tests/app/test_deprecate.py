"""`deprecate` writes one line into a header and leaves every other byte where it was."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import app_world as world
import pytest

from interlock.app.deprecate import deprecate
from interlock.app.planning import plan_now
from interlock.app.workspace import Workspace
from interlock.errors import NotFound, Refused, Unusable

FILE, OLD, NEW = "features/origin_weather.sql", "view:origin_weather@1", "view:origin_weather@2"
LINE = b"deprecation: {date: 2013-08-31, replacement: origin_weather@2}"


@pytest.fixture
def folder(small_flights: Path, tmp_path: Path) -> Path:
    """A project with a second version of the weather."""
    project = world.copied(small_flights, tmp_path / "project")
    text = (project / FILE).read_text()
    (project / "features/weather_2.sql").write_text(text.replace("version: 1", "version: 2"))
    return project


@pytest.fixture
def workspace(folder: Path) -> Iterator[Workspace]:
    with world.opened(folder) as found:
        yield found


def words(folder: Path) -> bytes:
    return (folder / FILE).read_bytes()


def test_one_line_is_put_in_and_every_other_byte_stays(workspace: Workspace) -> None:  # R-A3
    before = words(workspace.folder)
    said = deprecate(workspace, OLD, "2013-08-31", NEW)
    after = words(workspace.folder)
    assert after == before.replace(b"version: 1\n", b"version: 1\n" + LINE + b"\n")
    assert (said.changed, said.file, said.until) == (True, FILE, date(2013, 8, 31))
    assert said.readers[0] == "model:late"
    view = workspace.project.views["origin_weather@1"]
    assert view.deprecation is not None
    assert view.deprecation.replacement == "origin_weather@2"


def test_saying_it_again_writes_nothing(workspace: Workspace) -> None:
    deprecate(workspace, OLD, "2013-08-31", NEW)
    file = workspace.folder / FILE
    before = file.stat()
    assert not deprecate(workspace, OLD, "2013-08-31", NEW).changed
    assert file.stat().st_mtime_ns == before.st_mtime_ns


def test_another_day_takes_the_place_of_the_first(workspace: Workspace) -> None:
    deprecate(workspace, OLD, "2013-07-01", NEW)
    deprecate(workspace, OLD, "2013-08-31", NEW)
    assert words(workspace.folder).count(b"deprecation:") == 1
    assert LINE in words(workspace.folder)


WRITTEN = {
    "as a block": "deprecation:\n  # soon\n  date: 2013-07-01\n  replacement: origin_weather@2\n",
    "over two lines": "deprecation: {date: 2013-07-01,\n  replacement: origin_weather@2}\n",
}


@pytest.mark.parametrize("earlier", WRITTEN.values(), ids=WRITTEN)
def test_what_somebody_wrote_otherwise_is_replaced_whole(folder: Path, earlier: str) -> None:
    text = (folder / FILE).read_text()
    note = "# who reads it: late\n"
    (folder / FILE).write_text(text.replace("owner:", f"{earlier}{note}owner:", 1))
    with world.opened(folder) as workspace:
        deprecate(workspace, OLD, "2013-08-31", NEW)
    wanted = text.replace("owner:", f"{LINE.decode()}\n{note}owner:", 1)
    assert (folder / FILE).read_text() == wanted


def test_line_ends_a_mark_and_permissions_of_the_file_stay(folder: Path) -> None:
    file = folder / FILE
    dos = b"\xef\xbb\xbf" + file.read_bytes().replace(b"\n", b"\r\n")
    file.write_bytes(dos)
    file.chmod(0o640)
    with world.opened(folder) as workspace:
        deprecate(workspace, OLD, "2013-08-31", NEW)
    line = LINE + b"\r\n"
    assert words(folder) == dos.replace(b"version: 1\r\n", b"version: 1\r\n" + line)
    assert file.stat().st_mode & 0o777 == 0o640
    assert [path.name for path in file.parent.glob(".*")] == []


def test_a_header_that_leaves_no_place_is_refused_and_kept(folder: Path) -> None:
    text = (folder / FILE).read_text()
    (folder / FILE).write_text(text.replace("view: origin_weather\nversion: 1\n", "").replace(
        "/*\n", "/*\n? view\n: origin_weather\n? version\n: 1\n"))  # fmt: skip
    before = words(folder)
    with world.opened(folder) as workspace, pytest.raises(Refused) as refused:
        deprecate(workspace, OLD, "2013-08-31", NEW)
    assert LINE.decode() in refused.value.help
    assert words(folder) == before


def test_every_objection_is_said_at_once(workspace: Workspace) -> None:
    with pytest.raises(Refused) as refused:
        deprecate(workspace, OLD, "2012-12-31", "view:tail_last_delay@1")
    first, second = refused.value.objections
    assert first == (
        "view:tail_last_delay@1 is looked up by (tailnum), not (origin): "
        "it is no replacement for view:origin_weather@1"
    )
    assert second.startswith("2012-12-31 is over")
    with pytest.raises(Refused, match="own place"):
        deprecate(workspace, OLD, "2013-08-31", OLD)
    deprecate(workspace, OLD, "2013-08-31", NEW)
    with pytest.raises(Refused, match="is deprecated itself"):
        deprecate(workspace, NEW, "2013-08-31", OLD)


@pytest.mark.parametrize(
    ("view", "until", "kind"),
    [
        ("view:origin_wether@1", "2013-08-31", NotFound), ("model:late", "2013-08-31", Unusable),
        (OLD, "31.8.2013", Unusable), ("origin_weather", "2013-08-31", Unusable),
    ],
)  # fmt: skip
def test_what_cannot_be_understood_says_how_to_write_it(
    workspace: Workspace, view: str, until: str, kind: type[Exception]
) -> None:
    with pytest.raises(kind) as said:
        deprecate(workspace, view, until, NEW)
    assert getattr(said.value, "help", "")


def test_it_is_planned_like_any_change(workspace: Workspace) -> None:
    deprecate(workspace, OLD, "2013-08-31", NEW)
    notes = plan_now(workspace).notes
    assert any(f"{OLD} is deprecated until 31 Aug 2013, use {NEW}" in note for note in notes)
