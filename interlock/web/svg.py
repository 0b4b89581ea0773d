"""Our own SVG: elements, the stage track, the weight bar, the calendar lanes.

Colours are CSS classes, so that one style sheet rules and no inline style needs an
exception from the content policy. All text goes through `Markup.escape`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

from markupsafe import Markup, escape

from interlock.web.figures import Booking, Part, StageDot
from interlock.web.words import cut, instant, percent, slug

Number = float | int


def _text(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def el(name: str, *inside: str | Markup, **attributes: object) -> Markup:
    """One element. `class_` writes `class`, `text_anchor` `text-anchor`; None is left out."""
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(_text(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    body = Markup("").join(escape(part) for part in inside)
    return Markup(f"<{name}{written}>{body}</{name}>")


def drawing(
    title: str, description: str, inside: Iterable[Markup], css: str, size: tuple[Number, Number]
) -> Markup:
    """An `<svg>` that says what it shows; it scales, and `css` decides when it scrolls instead."""
    name = slug(title)
    return el(
        "svg",
        el("title", title, id=f"{name}-title"),
        el("desc", description, id=f"{name}-desc"),
        *inside,
        role="img",
        aria_labelledby=f"{name}-title {name}-desc",
        viewBox=f"0 0 {_text(size[0])} {_text(size[1])}",
        class_=css,
    )


def label(x: object, y: object, text: str, css: str = "", anchor: str = "start") -> Markup:
    """Text at a point."""
    return el("text", text, x=x, y=y, class_=css or None, text_anchor=anchor)


# --- the stage track and the weight bar: in percent, so that text keeps its size ------


def stage_track(stages: tuple[StageDot, ...]) -> Markup:
    """A dot per stage, joined; the present one is larger and bold."""
    if not stages:
        return Markup("")
    step = 100 / len(stages)
    places = [step * (i + 0.5) for i in range(len(stages))]
    parts = [
        el("line", x1=f"{a}%", x2=f"{b}%", y1=20, y2=20, class_=f"track {dot.state}")
        for a, b, dot in zip(places, places[1:], stages[1:], strict=False)
    ]
    for at, dot in zip(places, stages, strict=True):
        radius = 12 if dot.state in ("now", "failed") else 10
        parts.append(el("circle", cx=f"{at}%", cy=20, r=radius, class_=f"dot {dot.state}"))
        parts.append(label(f"{at}%", 54, dot.label, f"stage {dot.state}", "middle"))
    said = ", ".join(f"{dot.label} {dot.state}" for dot in stages)
    return _flexible("Stages", said, parts, 64)


def weight_bar(weight: float, stable: str, candidate: str) -> Markup:
    """How the requests are split now."""
    share = max(0.0, min(1.0, weight))
    parts = [el("rect", x=0, y=0, width="100%", height=24, rx=4, class_="bar stable")]
    if share > 0:
        parts.append(
            el("rect", x=f"{(1 - share) * 100}%", width=f"{share * 100}%", y=0, height=24, rx=3,
               class_="bar candidate")
        )  # fmt: skip
        # Also a share too thin to see is there.
        parts.append(
            el("rect", x="100%", y=0, width=3, height=24, rx=1, class_="bar candidate sliver")
        )
    said = f"{stable} takes {percent(1 - share)}, {candidate} takes {percent(share)} of requests"
    return _flexible("Share of requests", said, parts, 24)


def _flexible(title: str, said: str, parts: list[Markup], height: int) -> Markup:
    """Full width without a viewBox: percent places stretch, letters and radii do not."""
    name = slug(title)
    return el(
        "svg",
        el("title", title, id=f"{name}-title"),
        el("desc", said, id=f"{name}-desc"),
        *parts,
        role="img",
        aria_labelledby=f"{name}-title {name}-desc",
        width="100%",
        height=height,
        class_="flexible",
    )


# --- calendar lanes -------------------------------------------------------------------

_LEFT, _RIGHT, _TOP, _ROW = 210, 1140, 40, 34


def calendar_lanes(
    bookings: tuple[Booking, ...], start: datetime, end: datetime, now: datetime
) -> Markup:
    """A lane per change, window or schedule; freezes are hatched; a line marks now."""
    span = (end - start).total_seconds() or 1.0

    def place(at: datetime) -> float:
        share = (at - start).total_seconds() / span
        return _LEFT + (_RIGHT - _LEFT) * max(0.0, min(1.0, share))

    lanes: dict[tuple[str, ...], list[Booking]] = {}
    for one in bookings:
        lanes.setdefault(one.lane, []).append(one)
    bottom = _TOP + _ROW * max(1, len(lanes))
    parts = [_hatch(), *(_tick(place(day), day, bottom) for day in _days(start, end))]
    for row, held in enumerate(lanes.values()):
        y = _TOP + row * _ROW
        parts.append(label(0, y + 15, cut(_lane_name(held[0]), 28), "lane-name"))
        for booking in held:
            parts += _bars(booking, y, place)
    if start <= now <= end:
        x = place(now)
        parts.append(el("line", x1=x, x2=x, y1=_TOP - 12, y2=bottom, class_="today"))
        parts.append(label(x, 12, "now", "small today-label", "middle"))
    said = "; ".join(f"{b.label} {instant(b.start)} to {instant(b.end)}" for b in bookings)
    return drawing(
        "Change calendar", said or "Nothing is booked.", parts, "lanes", (1160, bottom + 6)
    )


def _hatch() -> Markup:
    stripe = el("rect", x=0, y=0, width=6, height=12, class_="stripe")
    ground = el("rect", x=0, y=0, width=12, height=12, class_="ground")
    pattern = el("pattern", ground, stripe, id="hatch", width=12, height=12,
                 patternUnits="userSpaceOnUse", patternTransform="rotate(-45)")  # fmt: skip
    return el("defs", pattern)


def _days(start: datetime, end: datetime) -> list[datetime]:
    """Midnights, thinned out so that at most about fourteen are labelled."""
    first = start.replace(hour=0, minute=0, second=0, microsecond=0)
    first += timedelta(days=0 if first == start else 1)
    every = max(1, -(-(end - start).days // 14))
    count = max(0, (end - first).days + 1)
    days = (first + timedelta(days=i) for i in range(0, count, every))
    return [day for day in days if day < end]


def _tick(x: float, day: datetime, bottom: float) -> Markup:
    line = el("line", x1=x, x2=x, y1=_TOP - 8, y2=bottom, class_="grid")
    return line + label(x + 4, 26, f"{day:%a} {day.day}", "small")


def _lane_name(booking: Booking) -> str:
    return f"{booking.change} {booking.label}" if booking.change else booking.label


def _bars(booking: Booking, y: float, place: Callable[[datetime], float]) -> list[Markup]:
    """One bar, or one per phase of a change."""
    if booking.kind == "freeze":
        css = "freeze"
    else:
        css = f"book {booking.kind} {booking.tone}"
    parts = booking.parts or (Part("", booking.start, booking.end),)
    return [_bar(booking, part, y, (place(part.start), place(part.end)), css) for part in parts]


def _bar(booking: Booking, part: Part, y: float, ends: tuple[float, float], css: str) -> Markup:
    phase = f", {part.name}" if part.name else ""
    said = f"{booking.label}{phase}: {instant(part.start)} to {instant(part.end)} UTC"
    wide = max(4.0, ends[1] - ends[0])
    css = f"{css} {part.name}".rstrip()
    return el("rect", el("title", said), x=ends[0], y=y, width=wide, height=20, rx=4, class_=css)
