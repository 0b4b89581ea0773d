"""In a real browser: nothing overflows sideways, the live parts move, a page works without script.

A probe page beside the pages shows one of them in a frame of a given width, measures
it when it has loaded, and writes the measurement into its own text, which
`--dump-dom` prints.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from sample import ANSWER, SampleDesk
from sample_change import EVIDENCE
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from interlock.web.pages import pages_app

Serve = Callable[[ASGIApp], str]
Look = Callable[..., Any]
pytestmark = pytest.mark.browser

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync",
         "--disable-dev-shm-usage")  # fmt: skip
PAGES = ("/", "/changes/CR-4", "/changes/CR-4/rollback", "/calendar", "/catalog", "/nothing",
         "/notes/CR-4", "/scorecard", "/services/rebooking", "/inbox?by=ana",
         "/changes/CR-4/reject",
         f"/evidence/{EVIDENCE[2].digest}", f"/predictions/{ANSWER}")  # fmt: skip
PROBE = """<!doctype html><title>probe</title>
<iframe id="page" src="/ui{path}" width="{width}" height="900" {sandbox}></iframe>{wait}
<pre id="found"></pre>
<script>
onload = () => {{
  const seen = document.getElementById("page").contentDocument;
  document.getElementById("found").textContent = "FOUND" + JSON.stringify({ask}) + "END";
}};
</script>"""
SIDEWAYS = """{
  wide: seen.documentElement.scrollWidth, room: seen.documentElement.clientWidth,
  styled: getComputedStyle(seen.querySelector("header")).backgroundColor,
  drawn: [...seen.querySelectorAll("svg")].every(s => s.getBoundingClientRect().height > 20),
}"""


class Framed:
    """The pages with the one header removed that forbids the probe's frame."""

    def __init__(self, inner: ASGIApp) -> None:
        self.inner = inner

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def pass_on(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [
                    (key, value.replace(b"frame-ancestors 'none';", b""))
                    for key, value in message["headers"]
                ]
            await send(message)

        await self.inner(scope, receive, pass_on)


@pytest.fixture(scope="module")
def chromium() -> str:
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    if found is None and os.environ.get("CI"):
        pytest.fail("CI must have chromium: without it nobody has looked at the pages")
    if found is None:
        pytest.skip("no chromium on this machine")
    return found


@pytest.fixture
def look(chromium: str, serve: Serve, desk: SampleDesk, tmp_path: Path) -> Look:
    """Ask a page in a frame a question in JavaScript; `after` is awaited before asking."""

    def ask(
        path: str, question: str, width: int = 1280, sandbox: str = "", after: Any = None
    ) -> Any:
        async def probe(_: Request) -> Response:
            wait = '<img src="/wait" alt="">' if after else ""
            text = PROBE.format(path=path, width=width, sandbox=sandbox, wait=wait, ask=question)
            return HTMLResponse(text)

        async def wait(_: Request) -> Response:
            await after()
            return Response(status_code=204)

        pages = Framed(pages_app(desk, poll_seconds=0.05))
        routes = [Route("/probe", probe), Route("/wait", wait), Mount("/ui", pages)]
        address = serve(Starlette(routes=routes))
        command = [
            chromium,
            *FLAGS,
            f"--user-data-dir={tmp_path}",
            "--dump-dom",
            f"{address}/probe",
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=True)
        found = re.search("FOUND(.*)END</pre>", done.stdout, re.S)
        assert found, done.stdout[:2000] + done.stderr[-2000:]
        return json.loads(unescape(found[1]))

    return ask


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("path", PAGES)
def test_no_page_is_wider_than_its_window(look: Look, path: str, width: int) -> None:
    seen = look(path, SIDEWAYS, width)
    assert seen["wide"] <= seen["room"] <= width
    assert seen["styled"] == "rgb(29, 39, 51)"
    assert seen["drawn"]


def test_the_live_parts_follow_the_change(look: Look, desk: SampleDesk) -> None:
    async def move() -> None:
        await asyncio.sleep(0.5)
        desk.hold("CR-4", "ana", "look first")
        await asyncio.sleep(2)

    seen = look("/changes/CR-4", """{
        head: seen.querySelector("h1").textContent,
        first: seen.querySelector(".timeline li").textContent,
        parts: seen.querySelectorAll("[data-part]").length,
    }""", after=move)  # fmt: skip
    assert "HOLD[MANUAL]" in seen["head"]
    assert "look first" in seen["first"]
    assert seen["parts"] == 2


def test_without_script_the_page_is_whole(look: Look) -> None:
    seen = look("/changes/CR-4", """{
        rows: seen.querySelectorAll("#live table tbody tr").length,
        drawings: seen.querySelectorAll("svg[role=img]").length,
        away: [...seen.querySelectorAll(".actions a")].map(a => new URL(a.href).pathname),
    }""", sandbox='sandbox="allow-same-origin"')  # fmt: skip
    assert seen["rows"] > 10
    assert seen["drawings"] == 4
    assert "/ui/changes/CR-4/rollback" in seen["away"]


def test_letters_stand_out_from_their_ground(look: Look) -> None:
    """Contrast of every text that is shown, against the nearest painted ground: 4.5 : 1."""
    faint = look("/changes/CR-4", """(() => {
        const light = c => { const v = c.match(/[\\d.]+/g).slice(0, 3).map(n => n / 255)
            .map(n => n <= .03928 ? n / 12.92 : ((n + .055) / 1.055) ** 2.4);
            return .2126 * v[0] + .7152 * v[1] + .0722 * v[2]; };
        const ground = e => { for (; e; e = e.parentElement) {
            const c = getComputedStyle(e).backgroundColor; if (c !== "rgba(0, 0, 0, 0)") return c; }
            return "rgb(255, 255, 255)"; };
        const said = [];
        for (const e of seen.querySelectorAll("body :not(svg *, script)")) {
            if (![...e.childNodes].some(n => n.nodeType === 3 && n.data.trim())) continue;
            const a = light(getComputedStyle(e).color), b = light(ground(e));
            const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
            if (ratio < 4.5) said.push(`${e.className} ${e.textContent.trim()} ${ratio}`);
        }
        return said; })()""")  # fmt: skip
    assert faint == []
