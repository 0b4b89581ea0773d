"""Everything Interlock can say no to.

InterlockError
  Invalid        definition files are wrong; the person who wrote them can fix them
  Refused        well formed, but policy, evidence, a sign-off or the calendar says no
    Conflict     another change holds what this one needs
    Unidentified a server does not know who asks
    Denied       a server knows who asks, and they may not do this
  Stale          made against a state that has since moved
  Unavailable    an engine did not answer, is held by another process, or is out of room
    Corrupt      stored bytes are not what their digest says
  NotFound       nothing has this address
  Unusable       the request cannot be understood

Each class has a stable `code` and the exit code of the command line; a message names
the thing and `help` says what to do next.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, order=True)
class Problem:
    """One thing wrong in a definition file: where, what was expected, how to mend it.

    `line` counts from 1; 0 means the whole file.
    """

    file: str
    line: int
    message: str
    fix: str = ""

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        return f"{where}: {self.message}" + (f"\n    {self.fix}" if self.fix else "")


class InterlockError(Exception):
    """The root: `message` says what happened, `help` what to do next."""

    code = "interlock-error"
    exit_code = 1

    def __init__(self, message: str, help: str = "", objections: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.help = help
        self.objections = tuple(objections)

    def __reduce__(self) -> tuple[type[InterlockError], tuple[Any, ...]]:
        # Training runs in workers: an error must survive the way home.
        return type(self), (self.message, self.help, self.objections)

    def __str__(self) -> str:
        lines = [self.message, *(f"  - {said}" for said in self.objections)]
        return "\n".join([*lines, *([f"help: {self.help}"] if self.help else [])])


class Invalid(InterlockError):
    """Definition files are wrong. Holds every problem of the run, sorted by file and line."""

    code = "invalid"
    exit_code = 3

    def __init__(
        self,
        message: str,
        help: str = "",
        objections: Sequence[str] = (),
        problems: Sequence[Problem] = (),
    ) -> None:
        self.problems = tuple(sorted(set(problems)))
        super().__init__(message, help, objections or tuple(str(p) for p in self.problems))

    @classmethod
    def of(cls, problems: Sequence[Problem]) -> Invalid:
        """One error for all `problems`."""
        count = len(set(problems))
        noun = "problem" if count == 1 else "problems"
        return cls(f"{count} {noun} in the definitions", "mend the lines named above", (), problems)

    def __reduce__(self) -> tuple[type[InterlockError], tuple[Any, ...]]:
        return type(self), (self.message, self.help, self.objections, self.problems)


class Refused(InterlockError):
    """Well formed, but not allowed. `objections` lists every reason, never only the first."""

    code = "refused"
    exit_code = 3


class Conflict(Refused):
    """Another change holds what this one needs; it is named, and so is the way to wait for it."""

    code = "conflict"
    exit_code = 4


class Unidentified(Refused):
    """A server does not know who asks: no token, or one that does not count any more."""

    code = "unidentified"


class Denied(Refused):
    """Who asks is known, and their token does not cover this."""

    code = "denied"


class Stale(InterlockError):
    """Made against a state that has since moved; nothing was changed."""

    code = "stale"
    exit_code = 5


class Unavailable(InterlockError):
    """An engine did not answer; trying again may work."""

    code = "unavailable"
    exit_code = 6


class Corrupt(Unavailable):
    """Stored bytes are not what their digest says; they are never used."""

    code = "corrupt"


class NotFound(InterlockError):
    """Nothing has this address."""

    code = "not-found"
    exit_code = 3


class Unusable(InterlockError):
    """The request cannot be understood; the caller can fix it."""

    code = "unusable"
    exit_code = 3


@contextmanager
def about(thing: object) -> Iterator[None]:
    """Whatever goes wrong inside, say which thing it was about - once, here."""
    try:
        yield
    except InterlockError as error:
        error.add_note(f"while working on {thing}")
        raise
