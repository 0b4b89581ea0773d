"""One page per service: its data, its models and its answers, with the changes marked."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from interlock.web.chart import line_chart
from interlock.web.figures import Chart, Line, Mark, Point

NOON = datetime(2013, 6, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def chart(*marks: Mark) -> Chart:
    points = tuple(Point(NOON + DAY * n, float(n)) for n in range(5, 9))
    return Chart("a", "A", (Line("a", "candidate", points),), marks=marks,
                 span=(NOON, NOON + 10 * DAY))  # fmt: skip


def places(svg: str, css: str) -> list[float]:
    return [float(x) for x in re.findall(rf'<line x1="([\d.]+)"[^>]*class="{css}', svg)]


# R-C12
def test_marks_stand_at_their_instant_on_the_shared_axis() -> None:
    begun, ended = (
        Mark(NOON, "CR-1 answers", "CR-1"),
        Mark(NOON + 10 * DAY, "CR-1 committed", "CR-1"),
    )
    middle, outside = (
        Mark(NOON + 5 * DAY, "CR-2 went back", "CR-2", "bad"),
        Mark(NOON - DAY, "no", ""),
    )
    svg = str(line_chart(chart(begun, middle, ended, outside)))
    first, half, last = places(svg, "mark-line")
    assert half == pytest.approx((first + last) / 2, abs=1)
    # The line of the chart begins where its first day is, not where the axis begins.
    (start, *_) = re.findall(r'points="([\d.]+),', svg)
    assert float(start) == pytest.approx(half, abs=1)
    assert "CR-2 went back" in svg
    assert ">no<" not in svg


def test_names_of_marks_that_would_touch_stand_in_rows_of_their_own() -> None:
    many = [Mark(NOON + timedelta(hours=n), f"CR-{n} committed", f"CR-{n}") for n in range(4)]
    svg = str(line_chart(chart(*many)))
    heights = re.findall(r'y="([\d.]+)"[^>]*mark-name', svg)
    assert len(places(svg, "mark-line")) == 4
    assert len(set(heights)) == len(heights) == 3


def test_a_name_that_stands_on_the_left_of_its_line_touches_none_before_it() -> None:
    late = [Mark(NOON + DAY * n, f"CR-{n} committed", f"CR-{n}") for n in (8, 10)]
    svg = str(line_chart(chart(*late)))
    begun, ended = re.findall(r'<text x="([\d.]+)" y="([\d.]+)"[^>]*mark-name', svg)
    assert (begun[1] != ended[1]) or float(ended[0]) - float(begun[0]) > 2 * 80


def test_names_of_lines_that_end_together_stay_apart_and_on_the_paper() -> None:
    points = (Point(NOON, 0.0), Point(NOON + DAY, 0.0))
    lines = tuple(Line(name, "stable", points) for name in ("one", "two", "three"))
    high = Line("high", "candidate", (Point(NOON, 9.0), Point(NOON + DAY, 9.0)))
    svg = str(line_chart(Chart("a", "A", (*lines, high))))
    heights = sorted(float(y) for y in re.findall(r'y="([\d.]+)"[^>]*line-name', svg))
    assert len(heights) == 4
    assert all(b - a >= 16 for a, b in pairwise(heights))
    assert heights[-1] < 270 - 12
