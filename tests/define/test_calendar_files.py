"""calendar.yaml with its .ics files: read together, every mistake at its line."""

from __future__ import annotations

from interlock.app.files import read_folder
from interlock.app.templates import template_folder
from interlock.define.load import Reading, read

FLIGHTS = dict(read_folder(template_folder("flights")))
HOLIDAYS = """\
BEGIN:VCALENDAR
VERSION:2.0
BEGIN:VEVENT
UID:1
SUMMARY:Labor Day
DTSTART;VALUE=DATE:20130902
END:VEVENT
END:VCALENDAR
"""
IMPORT = """\
imports:
  - {file: holidays.ics, kind: KIND, timezone: America/New_York, scope: ["service:*"]}
"""


def reading(kind: str = "freeze", holidays: str = HOLIDAYS, more: str = "") -> Reading:
    calendar = FLIGHTS["calendar.yaml"] + IMPORT.replace("KIND", kind) + more
    files = {**FLIGHTS, "calendar.yaml": calendar}
    return read({**files, "holidays.ics": holidays} if holidays else files)


def test_holidays_stand_beside_declared_freezes() -> None:
    found = reading()
    assert found.problems == ()
    freezes = found.partial.calendar.freezes
    assert [one.name for one in freezes] == ["independence_day", "labor_day"]
    assert (freezes[1].start, freezes[1].timezone) == ("2013-09-02T00:00:00", "America/New_York")
    assert freezes[1].scope == ("service:*",)


def test_mistakes_are_told_where_they_stand() -> None:
    line = FLIGHTS["calendar.yaml"].count("\n") + 2
    (away,) = reading(holidays="").problems
    assert (away.file, away.line) == ("calendar.yaml", line)
    assert "holidays.ics is not there" in away.message
    (nobody,) = reading(kind="absence").problems
    assert (nobody.file, nobody.line) == ("calendar.yaml", line)
    (broken,) = reading(holidays=HOLIDAYS.replace("20130902", "2013-09-02")).problems
    assert (broken.file, broken.line) == ("holidays.ics", 6)


def test_an_absence_is_of_somebody_we_know() -> None:
    away = 'absences: [{person: PERSON, start: "2013-01-01", end: "2013-01-02", timezone: UTC}]\n'
    assert reading(more=away.replace("PERSON", "dana")).problems == ()
    (problem,) = reading(more=away.replace("PERSON", "danna")).problems
    assert problem.file == "calendar.yaml"
    assert "did you mean dana?" in problem.fix


def test_an_allow_window_that_ends_before_it_starts_is_told() -> None:
    wrong = 'allows: [{name: a, start: "2013-01-02", end: "2013-01-01", timezone: UTC}]\n'
    (problem,) = reading(more=wrong).problems
    assert "allow a ends before it starts" in problem.message
