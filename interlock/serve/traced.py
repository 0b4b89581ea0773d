"""W3C trace context: which journey a request is part of, told on and kept with its answer.

https://www.w3.org/TR/trace-context/ . A request without a trace, or with one that breaks the
rules, begins one; light, because the request path imports it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

HEADER, RESPONSE = "traceparent", "traceresponse"
STATE = "tracestate"
MOST_STATES, LONGEST_STATE = 32, 512  # members and characters that everybody passes on
NOISE = 25  # bytes of chance that `entered` takes
ONE_IN = 16  # of the journeys that begin here, one in so many is looked at closely
_LINE = re.compile(
    "(?!ff)(?P<version>[0-9a-f]{2})-(?P<trace>(?!0{32})[0-9a-f]{32})-"
    "(?P<parent>(?!0{16})[0-9a-f]{16})-(?P<flags>[0-9a-f]{2})(?P<more>-.*)?"
)


_MEMBER = re.compile(
    r"[a-z0-9][a-z0-9_*/@-]{0,255}=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}"
    r"[\x21-\x2b\x2d-\x3c\x3e-\x7e]",
    re.ASCII,
)


class Trace(NamedTuple):
    """One step of a journey: ids in hex. `parent` is the step that asked, empty at the start.

    `sampled`: somebody wants to see it closely, so parts of the work are timed.
    """

    trace: str
    span: str
    parent: str = ""
    sampled: bool = False

    @property
    def text(self) -> str:
        """The header for whoever is called next."""
        return f"00-{self.trace}-{self.span}-{'01' if self.sampled else '00'}"


def entered(lines: Sequence[str], noise: bytes) -> Trace:
    """The step that begins with a request that came with these `traceparent` headers.

    `noise` are `NOISE` bytes of chance: the new step's id, and the journey's if it begins here.
    """
    found = _follows(lines[0]) if len(lines) == 1 else None
    span = noise[16:24].hex()
    if found is None:
        return Trace(noise[:16].hex(), span, "", noise[24] % ONE_IN == 0)
    return Trace(found["trace"], span, found["parent"], bool(int(found["flags"], 16) & 1))


def _follows(line: str) -> re.Match[str] | None:
    """The parts of a `traceparent` that keeps the rules."""
    found = _LINE.fullmatch(line.strip(" \t"))
    return None if found and found["version"] == "00" and found["more"] else found


def state_of(traces: Sequence[str], states: Sequence[str]) -> str:
    """What tracers told each other in `tracestate`, to go on with the journey of `traces`.

    Nothing where a journey begins anew, or where one member breaks the rules. Of more than
    `LONGEST_STATE` characters the first members go on, each whole.
    """
    if len(traces) != 1 or not _follows(traces[0]):
        return ""
    members = [one for said in states for part in said.split(",") if (one := part.strip(" \t"))]
    if len(members) > MOST_STATES or not all(map(_MEMBER.fullmatch, members)):
        return ""
    while members and len(",".join(members)) > LONGEST_STATE:
        members.pop()
    return ",".join(members)
