"""What is drawn stays on the paper, says what was not measured, and never fails."""

from __future__ import annotations

import math
import re
from datetime import timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markup import read
from sample_change import CHARTS, NOW, graph

from interlock.web.chart import line_chart
from interlock.web.figures import Chart, Edge, Graph, Line, Node, Point, StageDot, tone_of
from interlock.web.graph import impact_graph
from interlock.web.svg import stage_track, weight_bar
from interlock.web.to_json import to_json
from interlock.web.words import ABSENT, instant, number, percent

fixed = settings(derandomize=True, max_examples=80, deadline=None)
reals = st.one_of(st.none(), st.floats(allow_nan=True, allow_infinity=True, width=32))


def numbers_in(svg: str) -> list[float]:
    texts = re.findall(r'(?:points|x|y|x1|x2|y1|y2|cx|cy|d)="([^"]*)"', svg)
    return [float(n) for text in texts for n in re.findall(r"-?\d+(?:\.\d+)?(?:e[-+]?\d+)?", text)]


@fixed
@given(st.lists(st.tuples(reals, reals, reals), max_size=12), reals)
def test_any_series_can_be_drawn(rows, bound) -> None:  # type: ignore[no-untyped-def]  # hypothesis fills it
    points = tuple(Point(NOW + timedelta(hours=i), *row) for i, row in enumerate(rows))
    limit = bound if bound is not None and math.isfinite(bound) else None
    svg = str(line_chart(Chart("m", "M", (Line("a", "candidate", points),), "", limit, "limit")))
    assert read(svg).wrong == []
    assert not re.search(r'"[^"]*\b(nan|inf)\b[^"]*"', svg)
    assert all(-10 <= n <= 700 for n in numbers_in(svg))


def test_a_bucket_without_measurement_breaks_the_line() -> None:
    values = (1.0, 2.0, None, 3.0, 4.0)
    points = tuple(Point(NOW + timedelta(hours=i), v) for i, v in enumerate(values))
    svg = str(line_chart(Chart("m", "M", (Line("a", "stable", points),))))
    assert svg.count("<polyline") == 2
    assert "No measurements yet" in str(line_chart(Chart("m", "M", (Line("a", "stable", ()),))))


def test_labels_at_the_right_do_not_touch() -> None:
    close = tuple(
        Line(name, "stable", (Point(NOW, 1.0), Point(NOW + timedelta(hours=1), 1.0)))
        for name in ("a", "b", "c")
    )
    svg = str(line_chart(Chart("m", "M", close)))
    ys = sorted(float(y) for y in re.findall(r'y="([\d.]+)" class="line-name', svg))
    assert len(ys) == 3
    assert all(b - a >= 15 for a, b in pairwise(ys))


nodes = st.lists(
    st.builds(Node, st.sampled_from("abcdefgh"), st.text(max_size=40),
              st.sampled_from(("Tables", "Views", "Models", "Services"))),
    unique_by=lambda n: n.ref, max_size=8,
)  # fmt: skip
ends = st.sampled_from("abcdefghz")
edges = st.lists(st.builds(Edge, ends, ends, st.booleans()), max_size=20)


@fixed
@given(nodes, edges)
def test_any_graph_can_be_drawn_and_boxes_do_not_overlap(some, links) -> None:  # type: ignore[no-untyped-def]  # hypothesis fills it
    svg = str(impact_graph(Graph(tuple(some), tuple(links))))
    assert read(svg).wrong == []
    found = re.findall(r'<rect x="([\d.]+)" y="([\d.]+)" width="([\d.]+)"', svg)
    boxes = [tuple(float(n) for n in box) for box in found]
    assert len(boxes) == len(some)
    for i, (x, y, wide) in enumerate(boxes):
        for x2, y2, _ in boxes[i + 1 :]:
            assert abs(y - y2) >= 34 or not x - 1 < x2 < x + wide


def test_the_way_the_change_travels_is_marked() -> None:
    # R-C2
    svg = str(impact_graph(graph()))
    assert (
        svg.count('class="edge hot"') == 4
    )  # one view into the model, the model into three services
    assert svg.count('class="box changed"') == 2
    assert "Changed: origin_overdue@2, late. Reached: rebooking, crew, gates." in svg


@pytest.mark.parametrize("weight", [0.0, 0.0001, 0.05, 0.25, 1.0])
def test_the_bar_shows_the_share(weight: float) -> None:
    svg = str(weight_bar(weight, "old", "new"))
    assert (f'width="{weight * 100}%"' in svg) == (weight > 0)
    assert ("candidate" in svg) == (weight > 0)


def test_stage_track_says_each_stage() -> None:
    svg = str(stage_track((StageDot("Shadow", "done"), StageDot("5 %", "now"))))
    assert "Shadow done, 5 % now" in svg
    assert str(stage_track(())) == ""


@pytest.mark.parametrize(
    ("value", "said"),
    [(None, ABSENT), (math.nan, ABSENT), (math.inf, "∞"), (0.0, "0"), (-0.0208, "−0.0208"),
     (18412, "18\u202f412"), (0.99998, "0.99998"), (2.5e9, "2.5 × 10⁹"), (1e-7, "1.0 × 10⁻⁷")],
)  # fmt: skip
def test_numbers_read_as_they_are(value: float | None, said: str) -> None:
    assert number(value) == said


def test_a_small_share_is_not_zero() -> None:
    assert percent(0.0001) == "0.01\u00a0%"
    assert instant(None) == ABSENT


def test_json_has_no_infinity_and_keeps_unmeasured_apart() -> None:
    assert to_json((math.inf, -math.inf, math.nan, None)) == [
        1.7976931348623157e308, -1.7976931348623157e308, None, None,
    ]  # fmt: skip
    assert to_json(CHARTS[0])["lines"][0]["points"][0]["at"] == "2013-05-14T15:20:00Z"


@pytest.mark.parametrize(
    ("word", "tone"),
    [("COMMITTED", "good"), ("ABORTED", "bad"), ("STEP[25 %]", "wait"), ("HOLD[NO_DATA]", "wait"),
     ("inconclusive", "wait"), ("needs data", "wait"), ("harm", "bad"), ("rolled back", "bad"),
     ("not measured", "wait"), ("an unheard-of word", "wait"), ("", "quiet")],
)  # fmt: skip
def test_nothing_unknown_is_green(word: str, tone: str) -> None:
    assert tone_of(word) == tone
