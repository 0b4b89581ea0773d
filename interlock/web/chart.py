"""A line chart with bands, right-hand labels, and an honest empty state."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby

from markupsafe import Markup

from interlock.web.figures import Chart, Line, Point
from interlock.web.svg import drawing, el, label
from interlock.web.words import number, tick

_H, _TOP, _FOOT = 270, 14, 34
_NAME = 16  # from one name beside a line to the next
WIDE, SLIM = 660, 440
_STEPS = [timedelta(minutes=m) for m in (5, 15, 30, 60, 120, 180, 360, 720)] + [
    timedelta(days=d) for d in (1, 2, 7, 14, 28, 91, 365)
]


def line_chart(chart: Chart, wide: int = WIDE) -> Markup:
    """The chart, or one sentence saying that nothing was measured."""
    css = "chart" if wide == WIDE else "chart slim"
    frame = _Frame.of(chart, wide)
    if frame is None:
        empty = label(wide / 2, 60, "No measurements yet.", "muted", "middle")
        return drawing(chart.title, "No measurements yet.", [empty], css, (wide, 110))
    parts = [*_y_axis(frame), *_x_axis(frame), *_marks(chart, frame), *_bound(chart, frame)]
    ordered = sorted(chart.lines, key=lambda line: line.role == "candidate")
    for line in ordered:
        parts += _band(line, frame)
    for line in ordered:
        parts += _strokes(line, frame)
    parts += [*_names(ordered, frame), *_bound_name(chart, frame)]
    return drawing(chart.title, _summary(chart), parts, css, (wide, _H))


@dataclass(frozen=True)
class _Frame:
    """Where an instant and a value lie on the paper."""

    left: float
    right: float
    first: float
    last: float
    ticks: tuple[float, ...]

    @classmethod
    def of(cls, chart: Chart, wide: int) -> _Frame | None:
        drawn = [p for line in chart.lines for p in line.points if _is(p.value)]
        if not drawn:
            return None
        low, high = _domain(drawn, chart.bound)
        ticks = _ticks(low, high)
        longest = max(len(_name(line)) for line in chart.lines)
        left = 10 + 7.0 * max(len(number(t)) for t in ticks)
        times = [at.timestamp() for at in (chart.span or [p.at for p in drawn])]
        return cls(left, wide - 18 - 7.4 * longest, min(times), max(times), ticks)

    @property
    def room(self) -> int:
        """How many labels fit under the time axis."""
        return max(2, int((self.right - self.left) // 62))

    def x(self, at: datetime) -> float:
        span = self.last - self.first
        share = (at.timestamp() - self.first) / span if span else 0.5
        return self.left + (self.right - self.left) * share

    def y(self, value: float) -> float:
        # A band is often endless at first: it is cut at the frame rather than flattening the line.
        share = (value - self.ticks[0]) / (self.ticks[-1] - self.ticks[0])
        return _H - _FOOT - (_H - _FOOT - _TOP) * max(0.0, min(1.0, share))


def _is(value: float | None) -> bool:
    # Past 1e300 even a difference of two values overflows: not drawn rather than drawn wrong.
    return value is not None and abs(value) < 1e300


def _domain(points: list[Point], bound: float | None) -> tuple[float, float]:
    """All values, the bound, and as much of the bands as leaves the lines readable."""
    values = [p.value for p in points if p.value is not None]
    values += [bound] if bound is not None else []
    low, high = min(values), max(values)
    reach = high - low
    if reach <= max(abs(low), abs(high)) * 1e-9:
        reach = abs(high) * 0.1 or 1.0
    edges = [e for p in points for e in (p.low, p.high) if e is not None and _is(e)]
    low = min([low, *(max(e, low - reach) for e in edges)])
    high = max([high, *(min(e, high + reach) for e in edges)])
    # A span near the rounding of its own values cannot carry five different ticks.
    least = max(abs(low), abs(high)) * 1e-9 + 1e-300
    return (low, high) if high - low > least else (low - reach, high + reach)


def _ticks(low: float, high: float) -> tuple[float, ...]:
    """Four to eight round numbers that hold [low, high]."""
    raw = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * m for m in (1, 2, 2.5, 5, 10) if power * m >= raw * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return tuple(i * step for i in range(first, max(last, first + 1) + 1))


def _y_axis(frame: _Frame) -> Iterator[Markup]:
    for value in frame.ticks:
        y = frame.y(value)
        yield el("line", x1=frame.left, x2=frame.right, y1=y, y2=y, class_="grid")
        yield label(frame.left - 8, y + 4, number(value), "small", "end")


def _x_axis(frame: _Frame) -> Iterator[Markup]:
    span = frame.last - frame.first
    step = next((s for s in _STEPS if span / s.total_seconds() <= frame.room), _STEPS[-1])
    size = step.total_seconds()
    at = math.ceil(frame.first / size) * size
    while at <= frame.last:
        when = datetime.fromtimestamp(at, UTC)
        yield label(frame.x(when), _H - 12, tick(when, step), "small", "middle")
        at += size


def _marks(chart: Chart, frame: _Frame) -> Iterator[Markup]:
    """A line for each thing that happened, its name beside it, lower where two would touch."""
    taken = [frame.left] * 3  # how far to the right each row of names is written
    for mark in sorted(chart.marks, key=lambda one: one.at):
        if not frame.first <= mark.at.timestamp() <= frame.last:
            continue
        x, wide = frame.x(mark.at), 7 * len(mark.label) + 8  # of wide fonts
        ends = x + wide > frame.right  # then its name stands on the other side
        begins = x - wide if ends else x
        row = next((n for n, until in enumerate(taken) if until <= begins), None)
        yield el("line", x1=x, x2=x, y1=_TOP, y2=_H - _FOOT, class_=f"mark-line {mark.tone}")
        if row is not None:
            place, anchor = (x - 4, "end") if ends else (x + 4, "start")
            taken[row] = begins + wide
            yield label(place, _TOP + 10 + 13 * row, mark.label, "small mark-name", anchor)


def _bound(chart: Chart, frame: _Frame) -> Iterator[Markup]:
    if chart.bound is not None:
        y = frame.y(chart.bound)
        yield el("line", x1=frame.left, x2=frame.right, y1=y, y2=y, class_="bound")


def _bound_name(chart: Chart, frame: _Frame) -> Iterator[Markup]:
    # Last, so that no line is drawn over it.
    if chart.bound is not None:
        y = frame.y(chart.bound)
        yield label(frame.left + 6, y - 5, chart.bound_label, "small bound-label")


def _runs(line: Line, keep: Callable[[Point], bool]) -> Iterator[list[Point]]:
    """Unbroken stretches: a bucket without a measurement is a gap, not a straight line."""
    for kept, points in groupby(line.points, keep):
        if kept:
            yield list(points)


def _banded(point: Point) -> bool:
    return not any(e is None or math.isnan(e) for e in (point.low, point.high)) and _is(point.value)


def _band(line: Line, frame: _Frame) -> Iterator[Markup]:
    for run in _runs(line, _banded):
        there = [(frame.x(p.at), frame.y(p.high or 0.0)) for p in run]
        back = [(frame.x(p.at), frame.y(p.low or 0.0)) for p in reversed(run)]
        corners = " ".join(f"{x:.1f},{y:.1f}" for x, y in there + back)
        yield el("polygon", points=corners, class_=f"band {line.role}")


def _strokes(line: Line, frame: _Frame) -> Iterator[Markup]:
    for run in _runs(line, lambda p: _is(p.value)):
        places = [(frame.x(p.at), frame.y(p.value or 0.0)) for p in run]
        if len(places) == 1:
            yield el("circle", cx=places[0][0], cy=places[0][1], r=3, class_=f"spot {line.role}")
        else:
            path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
            yield el("polyline", points=path, class_=f"line {line.role}")


def _last(line: Line) -> Point | None:
    return next((p for p in reversed(line.points) if _is(p.value)), None)


def _name(line: Line) -> str:
    last = _last(line)
    return f"{line.label} {number(last.value)}" if last else line.label


def _names(lines: list[Line], frame: _Frame) -> list[Markup]:
    """Labels beside the ends of the lines, pushed apart until they do not touch."""
    ends = [(last, line) for line in lines if (last := _last(line))]
    placed = sorted(ends, key=lambda pair: frame.y(pair[0].value or 0.0))
    heights: list[float] = []
    lowest = _TOP - 10.0
    for last, _ in placed:
        lowest = max(lowest + _NAME, frame.y(last.value or 0.0) + 4)
        heights.append(lowest)
    # What was pushed below the time axis moves up, and moves up what it touches then.
    highest = float(_H - _FOOT + 4 + _NAME)
    for at in reversed(range(len(heights))):
        highest = heights[at] = min(heights[at], highest - _NAME)
    return [
        label(frame.right + 10, y, _name(line), f"line-name {line.role}")
        for y, (_, line) in zip(heights, placed, strict=True)
    ]


def _summary(chart: Chart) -> str:
    said = [f"{_name(line)} {chart.unit}".strip() for line in chart.lines if _last(line)]
    limit = f"; {chart.bound_label} {number(chart.bound)}" if chart.bound is not None else ""
    marks = f" Marked: {', '.join(mark.label for mark in chart.marks)}." if chart.marks else ""
    return f"Latest: {', '.join(said)}{limit}.{marks}"
