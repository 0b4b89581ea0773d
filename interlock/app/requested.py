"""A request as a person gives it: a file, options beside it, or both."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from interlock.change.request import Request, amended, read_request
from interlock.errors import Invalid


def requested(file: Path | None, by: str, said: Mapping[str, Any]) -> Request:
    """What `by` asks for: `file`, if there is one, and what was `said` beside it counts first.

    Raises `Invalid` for a file that cannot be read, `Unusable` without a title.
    """
    read = read_request(_text(file), file.name, by) if file else Request("", by)
    return amended(read, said)


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise Invalid(f"{file} cannot be read: {error}", help="name a YAML file") from error
