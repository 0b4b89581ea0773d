"""Which server is meant, if any: `--server URL` anywhere on the line, or a variable."""

from __future__ import annotations

import os
from collections.abc import Sequence

from interlock.errors import Unusable

OPTION, VARIABLE = "--server", "INTERLOCK_SERVER"


def server_in(given: Sequence[str]) -> tuple[list[str], str, bool]:
    """The arguments without `--server URL`, the address (or the variable's), and was it said."""
    rest, url = [], ""
    words = iter(given)
    for word in words:
        if word == OPTION:
            url = next(words, "")
        elif word.startswith(f"{OPTION}="):
            url = word.partition("=")[2]
        else:
            rest.append(word)
            continue
        if not url:
            raise Unusable("--server names no server", help="write --server https://host:port")
    return rest, url or os.environ.get(VARIABLE, ""), bool(url)
