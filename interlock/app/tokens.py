"""Tokens in the record: made, listed, revoked, and asked for at the door of a server.

Who comes with a token that is known and may not be used is told why, and that is recorded.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta

from interlock.app.workspace import WallClock, Workspace
from interlock.change.token import SCOPES, Token, hashed, parts, written
from interlock.define.refs import Ref
from interlock.define.schema import did_you_mean
from interlock.errors import Denied, NotFound, Stale, Unidentified, Unusable
from interlock.ports import Clock, Json, Put

LONGEST_NAME = 100
_QUIET = timedelta(minutes=1)  # a stolen token must not fill the record
_AGAIN = "ask whoever runs the server for a token: interlock token create"


@dataclass(frozen=True)
class Made:
    """A new token, and the only time that its text is seen."""

    token: Token
    text: str

    def to_json(self) -> Json:
        return {**self.token.shown(), "token": self.text}


@dataclass(frozen=True)
class Wish:
    """The token somebody asks for. `expires` is a day that still counts, or an instant."""

    person: str
    scopes: Sequence[str]
    expires: str = ""
    environment: str = ""


def create(workspace: Workspace, wish: Wish, by: str, clock: Clock | None = None) -> Made:
    """A new token; raises `Unusable` with everything that is wrong with the wish."""
    now = (clock or WallClock()).now()
    expires, wrong = _wrong(wish, now)
    if wrong:
        raise Unusable("this token cannot be made", "mend what is listed", wrong)
    id, salt, secret = secrets.token_hex(5), secrets.token_hex(16), secrets.token_urlsafe(32)
    scopes = tuple(one for one in SCOPES if one in wish.scopes)
    token = Token(
        id, wish.person.strip(), scopes, salt, hashed(salt, secret), now, by,
        wish.environment, expires,
    )  # fmt: skip
    workspace.record.write([Put(token.ref, token.to_json(), 0)], by=by, at=workspace.now())
    return Made(token, written(id, secret))


def _wrong(wish: Wish, now: datetime) -> tuple[datetime | None, list[str]]:
    person, said = wish.person.strip(), []
    if not 0 < len(person) <= LONGEST_NAME or not person.isprintable():
        said.append(f"name a person, in at most {LONGEST_NAME} printable letters")
    if not wish.scopes:
        said.append(f"name at least one scope of {', '.join(SCOPES)}")
    for scope in wish.scopes:
        if scope not in SCOPES:
            said.append(f"there is no scope {scope!r}: {did_you_mean(scope, SCOPES)}")
    try:
        expires = until(wish.expires)
    except ValueError:
        return None, [*said, f"{wish.expires!r} is no day, as 2027-01-31"]
    if expires is not None and expires <= now:
        said.append(f"{wish.expires} is over already")
    return expires, said


def until(text: str) -> datetime | None:
    """The instant from which on a token no longer counts: the end of a day, or just that."""
    if not text:
        return None
    if len(text) == len("2027-01-31"):
        return datetime.combine(date.fromisoformat(text) + timedelta(days=1), time(), UTC)
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError("an instant without a time zone")
    return at.astimezone(UTC)


def listed(workspace: Workspace) -> tuple[Token, ...]:
    """Every token there ever was, the oldest first."""
    return tuple(Token.from_json(entry.body) for entry in workspace.record.list("token"))


def revoke(workspace: Workspace, id: str, by: str, reason: str = "") -> Token:
    """No longer lets anybody in, from the next request on. Again is no harm."""
    entry = workspace.record.get(Ref("token", id))
    if entry is None:
        known = ", ".join(token.id for token in listed(workspace)) or "none"
        raise NotFound(f"there is no token {id}", help=f"tokens: {known}")
    token = Token.from_json(entry.body)
    if token.revoked_at is not None:
        return token
    gone = replace(token, revoked_at=WallClock().now(), revoked=reason or f"by {by}")
    put = Put(token.ref, gone.to_json(), entry.version)
    workspace.record.write([put], by=by, at=workspace.now())
    return gone


@dataclass
class Door:
    """Lets people into one environment. Safe to ask from many threads."""

    workspace: Workspace
    clock: Clock = field(default_factory=WallClock)
    _told: dict[tuple[str, str], datetime] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def needed(self) -> bool:
        """Must people show a token here? As soon as there is one."""
        return bool(self.workspace.record.list("token"))

    def enter(self, text: str) -> Token:
        """Whose token `text` is; raises `Unidentified` when it is nobody's, or no longer."""
        found = parts(text)
        entry = self.workspace.record.get(Ref("token", found[0])) if found else None
        if found is None or entry is None:
            raise Unidentified("this is no token of this server", _AGAIN)
        token, now = Token.from_json(entry.body), self.clock.now()
        wrong = token.unusable(self.workspace.environment, now)
        if not token.matches(found[1]):
            wrong = "this is no token of this server"
        if wrong:
            self._keep_refusal(token, wrong, now)
            raise Unidentified(wrong, _AGAIN)
        self._keep_use(token, entry.version, now)
        return token

    def allow(self, token: Token, scope: str, what: str) -> None:
        """Raises `Denied` when this token may not do `what`."""
        if token.may(scope):
            return
        wrong = f"{what} needs the scope {scope}; token {token.id} has {', '.join(token.scopes)}"
        self._keep_refusal(token, wrong, self.clock.now())
        raise Denied(wrong, "ask for a token with that scope: interlock token create")

    def refuse_other(self, token: Token, named: str) -> None:
        """Raises `Denied` when somebody names another than the person the token is for."""
        if not named or named == token.person:
            return
        self._keep_refusal(token, f"token {token.id} was used to act for another", self.clock.now())
        raise Denied(
            f"token {token.id} is for {token.person}, and cannot act for {named}",
            "leave the name out: it is taken from the token",
        )

    def _keep_use(self, token: Token, version: int, now: datetime) -> None:
        today = now.date().isoformat()
        if token.used_on == today:
            return
        put = Put(token.ref, replace(token, used_on=today).to_json(), version)
        try:
            self.workspace.record.write([put], by=token.person, at=self.workspace.now())
        except Stale:
            return  # another request of the same day, or a revocation, which must win

    def _keep_refusal(self, token: Token, said: str, now: datetime) -> None:
        with self._lock:
            before = self._told.get((token.id, said))
            if before is not None and now - before < _QUIET:
                return
            self._told[(token.id, said)] = now
        ref = Ref("refusal", token.id)
        body = {"token": token.id, "person": token.person, "said": said, "wall": now.isoformat()}
        entry = self.workspace.record.get(ref)
        try:
            put = Put(ref, body, entry.version if entry else 0)
            self.workspace.record.write([put], by=token.person, at=self.workspace.now())
        except Stale:
            return  # another was recorded at the same moment: that the token is refused is known
