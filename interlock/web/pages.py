"""The browser pages: routes, forms, and what is answered when something says no.

Every page also answers as JSON under the same path + `.json`. Reads and acts go
through a `Desk`, in threads, because a desk may block. Nothing here plans, judges or
opens an engine.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from interlock.change.review import QUESTIONS
from interlock.errors import InterlockError, NotFound, Unavailable, Unidentified, Unusable
from interlock.web import words
from interlock.web.catalog_views import CatalogPage
from interlock.web.chart import line_chart
from interlock.web.figures import Chart, tone_of
from interlock.web.forms import (
    DONE,
    MUST_EXPLAIN,
    SIGNS,
    WORDS,
    act_of,
    fields,
    nothing,
    refuse_incomplete,
    refuse_moved,
    refuse_other_origins,
    seen_in,
)
from interlock.web.graph import impact_graph
from interlock.web.inbox_views import InboxPage
from interlock.web.signin import (
    FEED,
    SIGN_IN,
    SIGN_OUT,
    Gate,
    Watch,
    forgotten,
    remembered,
    visitor_of,
)
from interlock.web.svg import calendar_lanes, stage_track, weight_bar
from interlock.web.to_json import iso, to_json
from interlock.web.views import Act, ChangePage, Desk, Overview

HERE = Path(__file__).parent
POLL_SECONDS = 0.5
SHOWN = 50
STATUS = {
    "unidentified": 401,
    "denied": 403,
    "not-found": 404,
    "unusable": 400,
    "unavailable": 503,
    "corrupt": 503,
}
# same-origin, not no-referrer: the latter makes browsers send `Origin: null` with our own forms.
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "
        "img-src 'self' data:; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}


@dataclass(frozen=True)
class _Asked:
    """What the address asks of a page, beside its path."""

    q: str = ""
    metric: str = ""
    done: str = ""
    team: str = ""
    by: str = ""

    @classmethod
    def of(cls, request: Request) -> _Asked:
        query = request.query_params
        told = (query.get(name, "") for name in ("metric", "done", "team", "by"))
        return cls(query.get("q", "").strip(), *told)


Read = Callable[[Request, _Asked], Any]


class Pages:
    """The handlers. One per process; holds nothing but the desk, the gate and the templates."""

    def __init__(self, desk: Desk, gate: Gate | None, poll_seconds: float) -> None:
        self.desk = desk
        self.gate = gate
        self.poll_seconds = poll_seconds
        self.templates = _templates()

    def routes(self) -> list[BaseRoute]:
        live, events = "/changes/{id}/live", "/changes/{id}/events"
        confirm = "/changes/{id}/{act}"
        return [
            *self._page("/", "overview.html",
                        lambda _, asked: found(self.desk.overview(), asked.q)),
            *self._page("/inbox", "inbox.html", self._inbox),
            Route(FEED, self.feed),
            *self._page("/calendar", "calendar.html", lambda *_: self.desk.calendar()),
            *self._page("/catalog", "catalog.html",
                        lambda _, asked: catalog_found(self.desk.catalog(), asked.q)),
            *self._page("/notes/{about}", "notes.html",
                        lambda request, _: self.desk.notes(request.path_params["about"])),
            *self._page("/scorecard", "scorecard.html",
                        lambda _, asked: self.desk.scorecard(asked.team)),
            *self._page("/services/{name}", "service.html",
                        lambda request, _: self.desk.service(request.path_params["name"])),
            *self._page("/evidence/{digest}", "evidence.html",
                        lambda request, _: self.desk.evidence(request.path_params["digest"])),
            Route("/predictions", self.look_for),
            *self._page("/predictions/{which}", "prediction.html",
                        lambda request, _: self.desk.prediction(request.path_params["which"])),
            *self._page("/changes/{id}", "change.html", self._change),
            Route(live, self._html("live.html", self._change)),
            Route(events, self.events),
            Route(confirm, self.confirm, methods=["GET"]),
            Route(confirm, self.act, methods=["POST"]),
            Route(SIGN_IN, self.sign_in, methods=["GET", "POST"]),
            Route(SIGN_OUT, self.sign_out, methods=["POST"]),
            Mount("/static", StaticFiles(directory=HERE / "static")),
        ]  # fmt: skip

    async def look_for(self, request: Request) -> Response:
        """From the form to the page."""
        id = request.query_params.get("id", "").strip().removeprefix("prediction:")
        base = request.scope.get("root_path", "")
        return RedirectResponse(f"{base}/predictions/{quote(id, safe='')}", 303, headers=HEADERS)

    async def feed(self, _: Request) -> Response:
        """What calendar programs subscribe to."""
        text = await run_in_threadpool(self.desk.feed)
        return Response(text, headers=HEADERS, media_type="text/calendar; charset=utf-8")

    def _page(self, path: str, template: str, read: Read) -> list[BaseRoute]:
        # The twin goes first: `{id}` would also match `CR-4.json`.
        return [Route(f"{path}.json", self._json(read)), Route(path, self._html(template, read))]

    def _json(self, read: Read) -> Callable[[Request], Any]:
        async def answer(request: Request) -> Response:
            page = await self._read(request, read)
            return await run_in_threadpool(lambda: JSONResponse(to_json(page), headers=HEADERS))

        return answer

    def _html(self, template: str, read: Read) -> Callable[[Request], Any]:
        async def answer(request: Request) -> Response:
            # Asked before the page: a move in between refreshes once too often, never too little.
            id = request.path_params.get("id")
            version = await run_in_threadpool(self.version, id) if id else ""
            page = await self._read(request, read)
            # Drawing takes longer than reading: in a thread too, or predictions would wait.
            return await run_in_threadpool(self.html, request, template, page=page, version=version)

        return answer

    async def _read(self, request: Request, read: Read) -> Any:
        page = await run_in_threadpool(read, request, _Asked.of(request))
        if page is None:
            raise nothing(request)
        return page

    def _change(self, request: Request, asked: _Asked) -> ChangePage | None:
        return self.desk.change(request.path_params["id"])

    def _inbox(self, request: Request, asked: _Asked) -> InboxPage:
        """Of the person of the token; where nobody shows one, of whom they say they are."""
        visitor = visitor_of(request)
        by = self.gate.whose(visitor, asked.by) if self.gate else asked.by
        if not by and request.url.path.endswith(".json"):
            raise Unusable("nobody is named", "show a token, or ask for /inbox.json?by=NAME")
        return self.desk.inbox(by) if by else InboxPage("")

    def version(self, id: str) -> str:
        """The version on one line, as an event must be."""
        return " ".join(self.desk.version(id).split())

    def html(self, request: Request, template: str, status: int = 200, **values: Any) -> Response:
        asked, visitor, gate = _Asked.of(request), visitor_of(request), self.gate
        text = self.templates.get_template(template).render(
            base=request.scope.get("root_path", ""), path=request.url.path, asked=asked,
            query=request.url.query, visitor=visitor,
            may=lambda act: gate is None or gate.may(visitor, act),
            stranger=gate is not None and visitor is None and gate.backing.needs_tokens, **values,
        )  # fmt: skip
        return Response(text, status, HEADERS, "text/html; charset=utf-8")

    # --- live ---------------------------------------------------------------------

    async def events(self, request: Request) -> Response:
        id = request.path_params["id"]
        first = await run_in_threadpool(self.version, id)  # an unknown change is a plain 404
        return StreamingResponse(
            self._versions(id, first), media_type="text/event-stream", headers=HEADERS
        )

    async def _versions(self, id: str, version: str) -> AsyncIterator[str]:
        sent, quiet = "", 0
        while True:
            if version != sent:
                yield f"data: {version}\n\n"
                sent, quiet = version, 0
            elif quiet * self.poll_seconds >= 10:
                yield ": still here\n\n"  # a write is how a closed browser is noticed
                quiet = 0
            quiet += 1
            await asyncio.sleep(self.poll_seconds)
            try:
                version = await run_in_threadpool(self.version, id)
            except Unavailable:
                yield ": the record does not answer\n\n"
            except NotFound:
                return

    # --- acts ---------------------------------------------------------------------

    async def confirm(self, request: Request) -> Response:
        act = act_of(request)
        page = await self._read(request, self._change)
        said, sentence = WORDS[act]
        query = request.query_params
        refuse_moved(page.id, query.get("plan", ""), page.plan)
        return self.html(
            request, "confirm.html", page=page, act=act, said=said, sentence=sentence,
            role=query.get("role", ""), team=query.get("team", ""),
            must_explain=act in MUST_EXPLAIN, signs=act in SIGNS,
        )  # fmt: skip

    async def act(self, request: Request) -> Response:
        act = act_of(request)
        refuse_other_origins(request)
        form = fields(await request.body())
        by = await run_in_threadpool(self._person, request, act, form)
        refuse_incomplete(act, by, form)
        await run_in_threadpool(self._do, request, act, by, form)
        return RedirectResponse(_onward(request, act, form), 303, HEADERS)

    def _person(self, request: Request, act: Act, form: Mapping[str, str]) -> str:
        if self.gate is None:
            return form.get("by", "")
        return self.gate.person(visitor_of(request), act, form)

    def _do(self, request: Request, act: Act, by: str, form: Mapping[str, str]) -> None:
        id, reason, visitor = request.path_params["id"], form.get("reason", ""), visitor_of(request)
        desk = self.desk.acting(visitor.source) if visitor else self.desk
        match act:
            case "hold":
                desk.hold(id, by, reason)
            case "rollback":
                desk.rollback(id, by, reason)
            case "promote":
                desk.promote(id, by, reason)
            case "withdraw":
                desk.withdraw(id, by, reason)
            case "approve":
                desk.approve(id, seen_in(form), by)
            case "reject":
                desk.reject(id, seen_in(form), by, reason)

    # --- who --------------------------------------------------------------------------

    async def sign_in(self, request: Request) -> Response:
        """A form that takes a token; it is kept in the browser if it lets somebody in."""
        if request.method == "GET" or self.gate is None:
            return self.html(request, "signin.html", said="")
        refuse_other_origins(request)
        text = fields(await request.body()).get("token", "")
        try:
            await run_in_threadpool(self.gate.enter, text)
        except Unidentified as error:
            return self.html(request, "signin.html", 401, said=error.message)
        return remembered(request, text)

    async def sign_out(self, request: Request) -> Response:
        refuse_other_origins(request)
        return forgotten()

    # --- no ------------------------------------------------------------------------

    async def refused(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, InterlockError)
        return self._say_no(request, error, STATUS.get(error.code, 409))

    async def http_error(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        if error.status_code == 404:
            return self._say_no(request, nothing(request), 404)
        return self._say_no(request, InterlockError(error.detail), error.status_code)

    async def broken(self, request: Request, _: Exception) -> Response:
        said = InterlockError("this page could not be made", "the log of the server says why")
        return self._say_no(request, said, 500)

    def _say_no(self, request: Request, error: InterlockError, status: int) -> Response:
        if request.url.path.endswith(".json"):
            body = {"error": error.code, "message": error.message, "help": error.help,
                    "objections": list(error.objections)}  # fmt: skip
            return JSONResponse(body, status, HEADERS)
        id = request.path_params.get("id")
        return self.html(request, "refusal.html", status, error=error, code=status, id=id)


def _templates() -> Environment:
    made = Environment(
        loader=FileSystemLoader(HERE / "templates"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    made.filters.update(
        number=words.number, percent=words.percent, instant=words.instant, iso=iso,
        short=words.short, tone=tone_of, slug=words.slug, line_chart=line_chart,
        stage_track=stage_track, impact_graph=impact_graph,
    )  # fmt: skip
    made.globals.update(
        interval=words.interval, weight_bar=weight_bar, calendar_lanes=calendar_lanes,
        chosen=chosen, shown=SHOWN, done_words=DONE, act_words=WORDS,
        questions=QUESTIONS,
    )  # fmt: skip
    return made


def _onward(request: Request, act: Act, form: Mapping[str, str]) -> str:
    """Where somebody is led after an act: back to the page that they decided on."""
    base, done = request.scope.get("root_path", ""), {"done": act}
    if form.get("from") != "inbox":
        return f"{base}/changes/{request.path_params['id']}?{urlencode(done)}"
    # Who shows no token is told apart by the name alone.
    mine = {} if visitor_of(request) else {"by": form.get("by", "")}
    return f"{base}/inbox?{urlencode({**mine, **done})}"


def chosen(charts: tuple[Chart, ...], metric: str) -> Chart | None:
    """The chart of `metric`, else the first."""
    return next((c for c in charts if c.metric == metric), charts[0] if charts else None)


def found(page: Overview, q: str) -> Overview:
    """The overview with only the recent changes in which every word of `q` occurs."""
    rows = [r for r in page.recent if _matches(q, r.id, r.title, r.team, r.state, *r.waits_for)]
    return replace(page, recent=tuple(rows))


def catalog_found(page: CatalogPage, q: str) -> CatalogPage:
    """The catalog with only the rows in which every word of `q` occurs."""
    rows = (
        row
        for row in page.rows
        if _matches(q, row.ref, row.owner, row.description, *(f.name for f in row.fields))
    )
    return replace(page, rows=tuple(rows))


def _matches(q: str, *texts: str) -> bool:
    text = " ".join(texts).lower()
    return all(word in text for word in q.lower().split())


def pages_app(
    desk: Desk, gate: Gate | None = None, poll_seconds: float = POLL_SECONDS
) -> Starlette:
    """The pages as an app of their own, to serve alone or to mount beside a gateway.

    `gate` knows who looks and may act; without one, a form asks for the name.
    """
    pages = Pages(desk, gate, poll_seconds)
    handlers = {InterlockError: pages.refused, HTTPException: pages.http_error, 500: pages.broken}
    watch = [Middleware(Watch, gate=gate)] if gate else []
    return Starlette(
        routes=pages.routes(), exception_handlers=handlers, middleware=watch,
        max_body_size=64 * 1024,
    )  # fmt: skip
