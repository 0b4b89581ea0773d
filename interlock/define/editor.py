"""JSON Schema for editors: one for every kind of definition file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args

from pydantic import Field

from interlock.define.base import Definition
from interlock.define.schema import schemas

Kind = Literal["project", "table", "view", "model", "service", "calendar", "policy_tests"]
KINDS: tuple[Kind, ...] = get_args(Kind)
_FILES: Mapping[Kind, str] = {
    "project": "interlock.yaml", "table": "tables/*.yaml", "view": "features/*.sql",
    "model": "models/*.yaml", "service": "services/*.yaml", "calendar": "calendar.yaml",
}  # fmt: skip
_DURATION = {"type": "string", "pattern": r"^\s*\d+(\.\d+)?\s*[smhdw]\s*$"}


class PolicyCase(Definition):
    """One case: who does what, what differs from `given`, and the policies that object."""

    name: str
    action: str
    says: tuple[str, ...]
    principal: str | Mapping[str, Any] | None = None
    change: Mapping[str, Any] = Field(default_factory=dict)


class PolicyTests(Definition):
    """`policies/tests/*.yaml`: what all cases start from, and the cases."""

    given: Mapping[str, Any] = Field(default_factory=dict)
    cases: tuple[PolicyCase, ...]


def editor_schema(kind: Kind) -> dict[str, Any]:
    """The schema of a kind of file; of a feature view, of the YAML in its header.

    A table may also be written in the Open Data Contract Standard, which has its own schema.
    """
    of = _FILES.get(kind)
    made = _plain(schemas()[of] if of else PolicyTests.model_json_schema())
    top = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": f"Interlock {kind}"}
    if kind != "table":
        return {**made, **top}
    defs = made.pop("$defs")
    standard = {"type": "object", "required": ["apiVersion"]}
    return {**top, "if": standard, "then": True, "else": made, "$defs": defs}


def _plain(value: Any) -> Any:
    """Durations as people write them here, which is not the format that JSON Schema calls so."""
    if isinstance(value, dict):
        if value.get("format") == "duration":
            rest = {key: held for key, held in value.items() if key not in ("format", "type")}
            return {**_plain(rest), **_DURATION}
        return {key: _plain(held) for key, held in value.items()}
    return [_plain(held) for held in value] if isinstance(value, list) else value
