"""The same project twice: in a folder of this machine, and behind a server."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import api_world as api
import app_world as world
from app_world import Done

from interlock.app.audit import signer_of
from interlock.web.api.people import Rules

# What two runs of the same story may differ in: when, and what follows from that.
TIMES = ("at", "opened_at", "made_at", "expires_at", "due_at", "digest", "id", "token",
         "created_at", "last_used")  # fmt: skip
_OF_ONE_RECORD = re.compile(r"[0-9a-f]{16,}|il_[\w-]+|\b[0-9a-f]{10}\b|\d+")


@dataclass
class Side:
    """Where commands are run: in the folder itself, or by a server of another."""

    folder: Path
    server: str = ""
    tokens: dict[str, str] = field(default_factory=dict)

    def run(self, who: str, *arguments: str, as_json: bool = True) -> Done:
        """A command, done by `who`: `--as` in its arguments stands for how that is said here."""
        more = ["--server", self.server] if self.server else []
        if self.server:
            if who not in self.tokens:
                self.tokens[who] = api.token(self.folder, who, "admin")
            os.environ["INTERLOCK_TOKEN"] = self.tokens[who]
        named = [] if self.server or "--as" not in arguments else ["--by", who]
        given = [a for a in arguments if a != "--as"]
        where = ("-C", str(self.folder), *(["--json"] if as_json else []))
        return world.done(*given, *named, *where, *more)


@contextmanager
def two_sides(folder: Path, keep: Path) -> Iterator[tuple[Side, Side]]:
    """A copy of the project here, and one behind a server."""
    here = world.copied(folder, keep / "here")
    with world.opened(here) as workspace:
        signer_of(workspace)  # one key for both: what it signs differs by the record alone
    there = world.copied(here, keep / "there")
    with api.serving(there, Rules(tokens=True)) as url:
        yield Side(here), Side(there, url)


def same(one: Done, other: Done) -> None:
    assert (one.code, one.out) == (other.code, other.out), other.err
    last = [done.err.splitlines()[-1:] if done.code else [] for done in (one, other)]
    assert last[0] == last[1]


def alike(one: Done, other: Done) -> None:
    """The same but for numbers and digests, which are those of two different records."""
    same(*(Done(done.code, _plain(done.out), _plain(done.err)) for done in (one, other)))


def _plain(text: str) -> str:
    return _OF_ONE_RECORD.sub("#", text)


def stripped(value: Any) -> Any:
    """`value` without what depends on when it was made."""
    if isinstance(value, dict):
        return {k: stripped(v) for k, v in value.items() if k not in TIMES}
    return [stripped(one) for one in value] if isinstance(value, list) else value
