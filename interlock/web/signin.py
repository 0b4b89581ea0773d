"""Who looks at the pages: the person of the token they signed in with.

The token stays in a cookie that scripts cannot read and other sites cannot send. A form
carries a word that is made from it, so that only our own pages can make one. Without any
token, on loopback, the pages are one person's own and ask for the name, as they always did.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from interlock.change.token import Token
from interlock.errors import Denied, Unidentified
from interlock.web.api.people import Backing
from interlock.web.api.problems import response

COOKIE, FIELD = "interlock-token", "csrf"
FEED = "/calendar.ics"
SIGN_IN, SIGN_OUT = "/sign-in", "/sign-out"
OPEN = ("/static/", SIGN_IN, SIGN_OUT)
SCOPE_OF = {
    "approve": "sign", "reject": "sign", "withdraw": "propose",
    "hold": "release", "promote": "release", "rollback": "release",
}  # fmt: skip


@dataclass(frozen=True)
class Visitor:
    """Somebody who is known. `word` is what their forms must carry."""

    person: str
    source: str
    word: str
    token: Token

    @classmethod
    def of(cls, token: Token, text: str) -> Visitor:
        word = hmac.new(text.encode(), b"forms", hashlib.sha256).hexdigest()
        return cls(token.person, f"token:{token.id}", word, token)


class Gate:
    """Stands before the pages. Asks what the control API asks, by the same rules."""

    def __init__(self, backing: Backing) -> None:
        self.backing = backing

    @property
    def closed(self) -> bool:
        """Must somebody sign in to look?"""
        return self.backing.needs_tokens and not self.backing.rules.public

    def enter(self, text: str) -> Visitor:
        """Who comes with the token `text`; raises `Unidentified`."""
        return Visitor.of(self.backing.door.enter(text.strip()), text.strip())

    def visitor(self, request: Request) -> Visitor | None:
        """Who is known by their cookie, by a header, or as calendar programs can say it."""
        text, written = _shown(request)
        if not text:
            return None
        try:
            found = self.enter(text)
        except Unidentified:
            return None
        # Addresses stand in histories and logs: what they give away must be good for nothing more.
        return None if written and found.token.scopes != ("read",) else found

    def whose(self, visitor: Visitor | None, by: str) -> str:
        """Whose inbox is shown: of the token's person, else of `by`; raises `Denied`."""
        if visitor is None:
            return by
        self.backing.door.refuse_other(visitor.token, by)
        return visitor.person

    def may(self, visitor: Visitor | None, act: str) -> bool:
        """Would `act` get through here? What does not is not offered."""
        if visitor is None:
            return not self.backing.needs_tokens
        return visitor.token.may(SCOPE_OF[act])

    def person(self, visitor: Visitor | None, act: str, form: Mapping[str, str]) -> str:
        """Under which name `act` is done; raises `Unidentified` or `Denied`."""
        if visitor is None:
            if self.backing.needs_tokens:
                raise Unidentified("sign in to do this", help="signing in asks for your token")
            return form.get("by", "")
        if not hmac.compare_digest(visitor.word, form.get(FIELD, "")):
            raise Denied("the form was not made for you", help="open the page again")
        self.backing.door.allow(visitor.token, SCOPE_OF[act], f"to {act}")
        self.backing.door.refuse_other(visitor.token, form.get("by", ""))
        return visitor.person


def visitor_of(request: Request) -> Visitor | None:
    """Who was seen at the gate; None where nobody was, or no gate stands."""
    found: Visitor | None = request.scope.get("visitor")
    return found


def _shown(request: Request) -> tuple[str, bool]:
    """The token of a request, empty when there is none; and was it written into the address?

    Calendar programs know a name and a password, or nothing but an address: for the feed the
    token may be either.
    """
    kind, _, said = request.headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer":
        return said, False
    if request.url.path.endswith(FEED):
        if kind.lower() == "basic":
            return _password(said), False
        if "token" in request.query_params:
            return request.query_params["token"], True
    return request.cookies.get(COOKIE, ""), False


def _password(said: str) -> str:
    try:
        return base64.b64decode(said, validate=True).decode().partition(":")[2]
    except ValueError:
        return ""


class Watch:
    """Lets requests through to the pages, with whom they come from; others go to sign in."""

    def __init__(self, app: ASGIApp, gate: Gate) -> None:
        self.app = app
        self.gate = gate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request = Request(scope)
        visitor = await run_in_threadpool(self.gate.visitor, request)
        apart = visitor is None and not request.url.path.startswith(OPEN)
        if apart and await run_in_threadpool(lambda: self.gate.closed):
            await _elsewhere(request)(scope, receive, send)
            return
        await self.app({**scope, "visitor": visitor}, receive, send)


def _elsewhere(request: Request) -> Response:
    """A person is sent to sign in; a program is told."""
    path = request.url.path
    if request.method == "GET" and "text/html" in request.headers.get("accept", ""):
        return RedirectResponse(f"{SIGN_IN}?next={quote(path)}", 303)
    if path.endswith(FEED):
        help = "give it as the password; in the address, ?token=, one that may only read"
        no = Unidentified("this calendar asks for a token", help=help)
        # The word by which a calendar program asks its user for name and password.
        return response(no, path, headers={"WWW-Authenticate": 'Basic realm="interlock"'})
    return response(
        Unidentified("this server asks for a token", help="sign in, or send it as a header"), path
    )


def remembered(request: Request, text: str) -> Response:
    """Back to where somebody wanted to go, with the token in their browser."""
    onward = request.query_params.get("next", "/")
    # Only paths of our own: `//elsewhere` is another server.
    safe = onward.startswith("/") and not onward.startswith(("//", "/\\"))
    answer = RedirectResponse(onward if safe else "/", 303)
    answer.set_cookie(
        COOKIE, text.strip(), httponly=True, samesite="strict", path="/",
        secure=request.url.scheme == "https",
    )  # fmt: skip
    return answer


def forgotten() -> Response:
    """Signed out."""
    answer = RedirectResponse(SIGN_IN, 303)
    answer.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict")
    return answer
