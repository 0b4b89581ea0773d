"""W3C trace context: which journey a request is part of, told on and kept with its answer.

https://www.w3.org/TR/trace-context/ . A request without a trace, or with one that breaks the
rules, begins one; light, because the request path imports it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

HEADER, RESPONSE = "traceparent", "traceresponse"
NOISE = 25  # bytes of chance that `entered` takes
ONE_IN = 16  # of the journeys that begin here, one in so many is looked at closely
_LINE = re.compile(
    "(?!ff)(?P<version>[0-9a-f]{2})-(?P<trace>(?!0{32})[0-9a-f]{32})-"
    "(?P<parent>(?!0{16})[0-9a-f]{16})-(?P<flags>[0-9a-f]{2})(?P<more>-.*)?"
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
    found = _LINE.fullmatch(lines[0].strip()) if len(lines) == 1 else None
    span = noise[16:24].hex()
    if found is None or (found["version"] == "00" and found["more"]):
        return Trace(noise[:16].hex(), span, "", noise[24] % ONE_IN == 0)
    return Trace(found["trace"], span, found["parent"], bool(int(found["flags"], 16) & 1))
