"""What is said on standard error when something is refused, and the exit code that goes with it."""

from __future__ import annotations

import json
import sys
from typing import Any

from interlock.errors import InterlockError

# Not 2, which is the usual one: a script must not take a misspelt option for a plan.
USAGE = 3


def tell(error: InterlockError, as_json: bool) -> int:
    """Say all of `error` on standard error; its exit code."""
    sys.stderr.write((_json(error) if as_json else _text(error)) + "\n")
    sys.stderr.flush()
    return error.exit_code


def tell_usage(message: str, help: str, as_json: bool) -> int:
    """The same for a command line that cannot be understood."""
    if as_json:
        text = json.dumps(_body("usage", message, help))
    else:
        text = f"interlock: usage: {message}\nhelp: {help}"
    sys.stderr.write(text + "\n")
    return USAGE


def _text(error: InterlockError) -> str:
    notes = "".join(f"\n  {note}" for note in _notes(error))
    return f"interlock: {error.code}: {error}{notes}"


def _json(error: InterlockError) -> str:
    from interlock.app.answers import error_json

    return json.dumps(error_json(error), default=str)


def _body(code: str, message: str, help: str) -> dict[str, Any]:
    return {"error": code, "message": message, "help": help, "objections": [], "problems": []}


def _notes(error: InterlockError) -> tuple[str, ...]:
    return tuple(getattr(error, "__notes__", ()))
