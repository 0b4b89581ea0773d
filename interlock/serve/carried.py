"""How a release travels from the edge to everybody behind it: one header, and W3C baggage.

`x-interlock-release: <digest>;e=<epoch>`, and in baggage the member
`interlock-release=<digest>;e=<epoch>`. Only a digest of 64 hex digits is ever written, so
nothing that somebody sent can break out of a header. What cannot be read is no digest: who
receives it answers from the stable release, and counts it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from interlock.errors import Unusable

HEADER = "x-interlock-release"
BAGGAGE = "baggage"
MEMBER = "interlock-release"
LARGEST_BAGGAGE, MOST_MEMBERS = 8192, 64  # what W3C Baggage lets a receiver count on
_SAID = re.compile(r"[ \t]*([0-9a-f]{64})(?:[ \t]*;[ \t]*e=([0-9]{1,15}))?[ \t]*", re.ASCII)
# A token, `=`, and printable ASCII without what ends a member: no line break gets through.
_PASSED_ON = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+[ \t]*=[\x20-\x2b\x2d-\x7e\t]*", re.ASCII)


class Carried(NamedTuple):
    """The release that upstream decided on, and the epoch at which it did; 0: it did not say."""

    release: str
    epoch: int = 0

    @property
    def text(self) -> str:
        """The value of the header."""
        return f"{self.release};e={self.epoch}"


NOTHING = Carried("")
"""What was carried and cannot be read: it names no release that anybody knows."""


def read_header(said: str) -> Carried:
    """What one header says; `NOTHING` when it is not in the one form."""
    found = _SAID.fullmatch(said)
    return Carried(found[1], int(found[2] or 0)) if found else NOTHING


def carried(headers: Iterable[str], baggage: Iterable[str] = ()) -> Carried | None:
    """What a request carries; None when it carries nothing.

    The header counts before baggage, which a tracer may have kept from an earlier request.
    Said twice and differently, it is `NOTHING`: nobody can know which one was meant.
    """
    found = {read_header(one) for one in headers} or set(_in_baggage(baggage))
    if len(found) > 1:
        return NOTHING
    return found.pop() if found else None


def _in_baggage(lines: Iterable[str]) -> Iterable[Carried]:
    for member in _members(lines):
        name, _, value = member.partition("=")
        if name.strip() == MEMBER:
            yield read_header(value)


def _members(lines: Iterable[str]) -> list[str]:
    text = ",".join(lines)
    return text.split(",")[:MOST_MEMBERS] if len(text) <= LARGEST_BAGGAGE else []


def with_release(said: Carried, baggage: Iterable[str] = ()) -> dict[str, str]:
    """The headers of a request that goes on: the release, and `baggage` with it inside.

    Members of others are passed on as they are; former ones of ours and malformed ones are not.
    Raises `Unusable` for what is not a digest.
    """
    text = said.text
    if not _SAID.fullmatch(text):
        raise Unusable(f"{said.release[:80]!r} is not the digest of a release")
    others = [
        one.strip()
        for one in _members(baggage)
        if _PASSED_ON.fullmatch(one.strip()) and one.partition("=")[0].strip() != MEMBER
    ]
    mine = f"{MEMBER}={text}"
    return {HEADER: text, BAGGAGE: ",".join([*others[: MOST_MEMBERS - 1], mine])}
