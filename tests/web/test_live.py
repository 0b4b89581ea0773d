"""The live stream over a real socket: it sends the version, and again when it moves."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import httpx
from sample import SampleDesk
from starlette.types import ASGIApp

from interlock.errors import Unavailable
from interlock.web.pages import pages_app

Serve = Callable[[ASGIApp], str]


def sent(lines: Iterator[str]) -> str:
    """The data of the next event."""
    return next(line.removeprefix("data: ") for line in lines if line.startswith("data: "))


def test_each_move_is_one_event(desk: SampleDesk, serve: Serve) -> None:
    address = serve(pages_app(desk, poll_seconds=0.02))
    with httpx.stream("GET", f"{address}/changes/CR-4/events", timeout=20) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        lines = stream.iter_lines()
        assert sent(lines) == "1"
        desk.hold("CR-4", "ana", "look first")
        assert sent(lines) == "2"
        desk.rollback("CR-4", "ana", "labels are wrong")
        assert sent(lines) == "3"


class Flaky(SampleDesk):
    """Every second question finds the record away."""

    asked = 0

    def version(self, id: str) -> str:
        self.asked += 1
        if self.asked % 2 == 0:
            raise Unavailable("the record does not answer")
        return super().version(id)


def test_a_record_that_is_away_does_not_end_the_stream(serve: Serve) -> None:
    desk = Flaky()
    address = serve(pages_app(desk, poll_seconds=0.02))
    with httpx.stream("GET", f"{address}/changes/CR-4/events", timeout=20) as stream:
        lines = stream.iter_lines()
        assert sent(lines) == "1"
        assert (
            next(line for line in lines if line.startswith(":")) == ": the record does not answer"
        )
        desk.hold("CR-4", "ana", "look first")
        assert sent(lines) == "2"


def test_an_unknown_change_has_no_stream(desk: SampleDesk, serve: Serve) -> None:
    address = serve(pages_app(desk))
    assert httpx.get(f"{address}/changes/CR-99/events").status_code == 404


def test_the_page_knows_the_version_it_shows(desk: SampleDesk, serve: Serve) -> None:
    address = serve(pages_app(desk))
    assert 'data-version="1"' in httpx.get(f"{address}/changes/CR-4").text
    part = httpx.get(f"{address}/changes/CR-4/live").text
    assert part.count("data-part=") == 2
    assert "<html" not in part
