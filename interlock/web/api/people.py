"""Who asks: the person of the token they show. No body and no header names another.

Without any token, on loopback, a server is one person's own: they say who they are, and
the record says that nobody checked it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import Depends, Header
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from interlock.app.jobs import Runner
from interlock.app.once import Answer, Asked, once
from interlock.app.tokens import Door
from interlock.app.workspace import EMBEDDED, Workspace
from interlock.change.token import Token
from interlock.errors import Unidentified, Unusable
from interlock.web.api.limits import STRANGERS_BURST, STRANGERS_RATE, Pace
from interlock.web.api.saying import answered

if TYPE_CHECKING:
    from interlock.web.desk import RecordDesk

ANONYMOUS = "anonymous"
MEANT = "x-interlock-environment"
_BEARER = HTTPBearer(
    auto_error=False, description="A token, as `interlock token create` prints it."
)


@dataclass(frozen=True)
class Rules:
    """`tokens`: must people show one; None is as soon as there is one. `public`: all may look."""

    tokens: bool | None = None
    public: bool = False


@dataclass
class Backing:
    """What the routes stand on. `workspace` is shared by all; nobody closes it here."""

    workspace: Workspace
    desk: RecordDesk
    rules: Rules = field(default_factory=Rules)
    pace: Pace = field(default_factory=Pace)
    strangers: Pace = field(default_factory=lambda: Pace(STRANGERS_RATE, STRANGERS_BURST))

    def __post_init__(self) -> None:
        self.door = Door(self.workspace)
        self.runner = Runner(self.folder, self.workspace.environment)
        self._needed = False

    @property
    def folder(self) -> Path:
        return self.workspace.folder

    @property
    def needs_tokens(self) -> bool:
        """Once there is a token there always is one, so it is not asked again."""
        if self.rules.tokens is not None:
            return self.rules.tokens
        self._needed = self._needed or self.door.needed()
        return self._needed

    def caller(self, text: str, scope: str, what: str) -> Caller:
        """Who shows the token `text` (empty: none), if they may do `what`."""
        if text:
            token = self.door.enter(text)
            self.door.allow(token, scope, what)
            return Caller(token.person, f"token:{token.id}", token, self.door)
        if not self.needs_tokens:
            return Caller("", EMBEDDED)
        if self.rules.public and scope == "read":
            return Caller("", ANONYMOUS)
        raise Unidentified(
            "this server asks for a token",
            help="send `Authorization: Bearer il_...`; `interlock token create` makes one",
        )


@dataclass(frozen=True)
class Caller:
    """Who asks. `person` is empty when nobody showed a token."""

    person: str
    source: str
    token: Token | None = None
    door: Door | None = None

    def named(self, by: str) -> str:
        """The name under which things are done; `by` is what the request says of itself."""
        if self.token is not None and self.door is not None:
            self.door.refuse_other(self.token, by.strip())
            return self.person
        if not by.strip():
            raise Unusable("nobody is named", help="say who you are in `by`, or show a token")
        return by.strip()


@dataclass(frozen=True)
class Ask:
    """A request whose sender may make it."""

    stands: Backing
    caller: Caller
    request: Request


def _needs(scope: str) -> Any:
    """A dependency of a route: whoever asks may do things of `scope`."""

    def check(
        request: Request,
        shown: Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)],
    ) -> Ask:
        stands: Backing = request.app.state.backing
        _refuse_elsewhere(request.headers.get(MEANT, ""), stands.workspace.environment)
        text, host = shown.credentials if shown else "", _host(request)
        try:
            caller = stands.caller(text, scope, f"{request.method} {request.url.path}")
        except Unidentified:
            _keep_pace(stands.strangers.wait, host)
            raise
        _keep_pace(stands.pace.wait, caller.source + host * (not caller.token))
        return Ask(stands, caller, request)

    check.__doc__ = scope  # told in the description of the route
    return Depends(check)


Key = Annotated[
    str,
    Header(
        alias="Idempotency-Key", pattern=r"^[!-~]{8,200}$",
        description="your own name for this request: sent again, it is answered again, not done",
    ),
]  # fmt: skip
Match = Annotated[
    str, Header(alias="If-Match", max_length=200, description="the ETag of what you looked at")
]


@dataclass(frozen=True)
class Act:
    """A request to do something, under a key of the sender's own."""

    ask: Ask
    key: str
    match: str = ""

    @property
    def stands(self) -> Backing:
        return self.ask.stands

    def do(self, body: Signed, work: Work, status: int = 200) -> Response:
        """What `work` answers, done once however often it is sent."""
        by = self.ask.caller.named(body.by)
        workspace = self.stands.workspace.acting(self.ask.caller.source)
        what = {
            "path": self.ask.request.url.path, "match": self.match,
            "body": body.model_dump(mode="json", exclude={"by"}),
        }  # fmt: skip
        asked = replace(self._asked(by), what=what)
        found = once(workspace, asked, lambda: _answer(work(workspace, by), status))
        replayed = {"Idempotency-Replayed": "true"} if found.replayed else {}
        return answered(found.body, found.status, {**found.headers, **replayed})

    def name(self, by: str) -> str:
        """The address of this request in the record."""
        return self._asked(by).name

    def _asked(self, by: str) -> Asked:
        return Asked(by, self.key, {}, self.stands.workspace.environment)


class Signed(BaseModel):
    """What every request to do something may hold."""

    model_config = ConfigDict(extra="forbid")

    by: str = Field("", max_length=100, description="who asks: only where no token is shown")


Work = Callable[[Workspace, str], "str | Answer"]


def _answer(done: str | Answer, status: int) -> Answer:
    return Answer(status, {"said": done}) if isinstance(done, str) else done


def _does(scope: str) -> Any:
    """The same for a route that does something."""

    needed = _needs(scope)

    def check(key: Key, ask: Ask = needed, match: Match = "") -> Act:
        return Act(ask, key, match)

    return Depends(check)


Reading = Annotated[Ask, _needs("read")]
Ruling = Annotated[Ask, _needs("admin")]
Proposing = Annotated[Act, _does("propose")]
Signing = Annotated[Act, _does("sign")]
Releasing = Annotated[Act, _does("release")]
Admitting = Annotated[Act, _does("admin")]


def _refuse_elsewhere(meant: str, here: str) -> None:
    if meant and meant != here:
        raise Unusable(f"this server is for {here}, not for {meant}", help=f"say -e {here}")


def _host(request: Request) -> str:
    return request.client.host if request.client else ""


def _keep_pace(wait: Callable[[str], float], who: str) -> None:
    seconds = wait(who)
    if seconds:
        after = str(math.ceil(seconds))
        raise HTTPException(429, "too many requests at once", {"Retry-After": after})
