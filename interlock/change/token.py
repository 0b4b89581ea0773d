"""Who asks: a token stands for one person, may do some things, somewhere, until a day.

The secret itself is never kept, only its salted SHA-256. A slow hash protects what people
choose; a secret of 256 random bits cannot be guessed, and a fast hash keeps the door cheap
for everybody else.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any, Literal, get_args

from interlock.define.refs import Ref

Scope = Literal["read", "propose", "sign", "release", "admin"]
SCOPES: tuple[str, ...] = get_args(Scope)
_TEXT = re.compile(r"il_([a-z0-9]{4,32})_([A-Za-z0-9_-]{43})")


@dataclass(frozen=True)
class Token:
    """What the record holds of a token. `used_on` is a day (UTC): more would be a timesheet.

    All times are UTC. An empty `environment` is any; no `expires_at` is never.
    """

    id: str
    person: str
    scopes: tuple[str, ...]
    salt: str
    hash: str
    created_at: datetime
    by: str
    environment: str = ""
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    revoked: str = ""
    used_on: str = ""

    @property
    def ref(self) -> Ref:
        return Ref("token", self.id)

    def matches(self, secret: str) -> bool:
        """Is this its secret? Takes the same time whatever is wrong with it."""
        return hmac.compare_digest(hashed(self.salt, secret), self.hash)

    def unusable(self, environment: str, now: datetime) -> str:
        """Why nobody may come in with it now; empty when they may."""
        if self.revoked_at is not None:
            return f"token {self.id} was revoked on {self.revoked_at.date()}"
        if self.expires_at is not None and now >= self.expires_at:
            return f"token {self.id} expired on {self.expires_at.date()}"
        if self.environment and self.environment != environment:
            return f"token {self.id} is for {self.environment}, not for {environment}"
        return ""

    def may(self, scope: str) -> bool:
        """Everybody who may do something may also look; an admin may do everything."""
        return scope == "read" or scope in self.scopes or "admin" in self.scopes

    def shown(self) -> dict[str, Any]:
        """What a person may see of it: everything but salt and hash."""
        return {k: v for k, v in self.to_json().items() if k not in ("salt", "hash")}

    def to_json(self) -> dict[str, Any]:
        return {name: _plain(value) for name, value in self.__dict__.items()}

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Token:
        known = {f.name: body[f.name] for f in fields(cls) if f.name in body}
        times = {n: _instant(known.get(n)) for n in ("created_at", "expires_at", "revoked_at")}
        return cls(**{**known, **times, "scopes": tuple(known["scopes"])})


def hashed(salt: str, secret: str) -> str:
    """What is kept of a secret."""
    return hashlib.sha256(f"{salt}:{secret}".encode()).hexdigest()


def written(id: str, secret: str) -> str:
    """The one text that its holder keeps."""
    return f"il_{id}_{secret}"


def parts(text: str) -> tuple[str, str] | None:
    """The id and the secret of a token's text; None when it is no token."""
    found = _TEXT.fullmatch(text)
    return (found[1], found[2]) if found else None


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    return list(value) if isinstance(value, tuple) else value


def _instant(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
