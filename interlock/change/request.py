"""What a person says about the change they open: why, what for, how far it may go."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from interlock.change.change import Change
from interlock.define.digest import digest
from interlock.define.schema import validate
from interlock.define.yaml import parse
from interlock.errors import Invalid, Unusable


@dataclass(frozen=True)
class Request:
    """`metrics` are what to watch, `bounds` how far they may move, both as people write them.

    `emergency` is why this cannot wait; empty when it can.
    """

    title: str
    by: str
    reason: str = ""
    expected: str = ""
    rollback_criteria: str = ""
    risks: str = ""
    metrics: tuple[str, ...] = ()
    bounds: tuple[str, ...] = ()
    emergency: str = ""

    @property
    def digest(self) -> str:
        """What the plan holds of it: who signs the plan signs what was promised with it."""
        return digest({name: value for name, value in asdict(self).items() if name != "by"})


class _File(BaseModel):
    """The form of a request in a file; the words are those of the options of `propose`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str = Field(default="", max_length=200)
    reason: str = ""
    expected: str = ""
    metrics: tuple[str, ...] = ()
    bounds: tuple[str, ...] = ()
    rollback_when: str = ""
    risks: str = ""
    emergency: str = ""


def read_request(text: str, file: str, by: str) -> Request:
    """The request that `text` (YAML) makes; raises `Invalid` with every line that is wrong."""
    document, problems = parse(text, file)
    if document is not None:
        read, more = validate(_File, document)
        problems = [*problems, *more]
        if read is not None and not problems:
            said = {name: _clean(value) for name, value in read.model_dump().items()}
            return Request(by=by, rollback_criteria=said.pop("rollback_when"), **said)
    raise Invalid.of(problems)


def _clean(value: Any) -> Any:
    return value.strip() if isinstance(value, str) else tuple(value)


def request_of(change: Change) -> Request:
    """What the author of `change` said when opening it."""
    return Request(
        change.title, change.author, change.reason, change.expected, change.rollback_criteria,
        change.risks, change.metrics, change.bounds, change.emergency,
    )  # fmt: skip


def amended(request: Request, said: Mapping[str, Any]) -> Request:
    """`request` with what was said beside it: an option counts before the file."""
    found = replace(request, **{name: value for name, value in said.items() if value})
    if not found.title.strip():
        raise Unusable("the change has no title", help="give --title, or `title` in the request")
    return found
