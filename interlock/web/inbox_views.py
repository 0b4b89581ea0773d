"""What the pages show of the inbox, and what a signature on a page names.

Flat values, as in `views`. A form carries `Seen`: the plan that was on the page when its
reader decided, so that a plan that moved since is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Decided = Literal["approve", "reject", "promote", "rollback", "withdraw"]


@dataclass(frozen=True)
class Seen:
    """As whom somebody decides, and the digest of the plan that the page showed them."""

    role: str
    team: str
    plan: str


@dataclass(frozen=True)
class Option:
    """One thing a person can do now, and what it would lead to."""

    act: Decided
    leads_to: str


@dataclass(frozen=True)
class InboxRow:
    """One change that waits: what for, why, and the options.

    `seen` is empty where nothing is to be signed.
    """

    change: str
    title: str
    state: str
    what: str
    why: str
    plan: str
    options: tuple[Option, ...] = ()
    seen: Seen | None = None


@dataclass(frozen=True)
class InboxPage:
    """`waiting` needs `by`; `opened` are theirs, and wait for others or for themselves."""

    by: str
    waiting: tuple[InboxRow, ...] = ()
    opened: tuple[InboxRow, ...] = ()
