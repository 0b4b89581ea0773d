"""The shape of every answer, for the description of the API.

Most are read from the values themselves, so that nobody writes them a second time. What a
command says in other words than its value has is written here; requests made at random hold
real answers against all of them. Read only when somebody asks for the description.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from types import MappingProxyType
from typing import Any

Shape = dict[str, Any]
AT = "#/components/schemas/{model}"


def ref(name: str) -> Shape:
    """The shape that stands under `name`."""
    return {"$ref": AT.format(model=name)}


def _a(kind: str) -> Shape:
    return {"type": kind}


def _some(shape: Shape) -> Shape:
    return {"type": "array", "items": shape}


def _object(**named: Shape) -> Shape:
    """All of these are always there; a name that ends in `_` may be missing."""
    needed = [name for name in named if not name.endswith("_")]
    held = {name.rstrip("_"): shape for name, shape in named.items()}
    return {"type": "object", "required": needed, "properties": held}


def _both(name: str, **more: Shape) -> Shape:
    return {"allOf": [ref(name), _object(**more)]}


def _or_null(shape: Shape) -> Shape:
    return {"anyOf": [shape, _a("null")]}


_TEXT, _NUMBER, _YES, _ANY = _a("string"), _a("integer"), _a("boolean"), _a("object")
_TEXTS: Shape = _some(_TEXT)
_TIME: Shape = {"type": "string", "format": "date-time"}
_BRIEF = _object(
    id=_TEXT, title=_TEXT, author=_TEXT, environment=_TEXT, state=_TEXT, said=_TEXT,
    plan_digest=_TEXT, release=_TEXT, opened_at=_TIME,
)  # fmt: skip
_TOKEN = _object(
    id=_TEXT, person=_TEXT, scopes=_TEXTS, created_at=_TIME, by=_TEXT, environment=_TEXT,
    expires_at=_or_null(_TIME), revoked_at=_or_null(_TIME), revoked=_TEXT, used_on=_TEXT,
)  # fmt: skip
_FIGURES = _some(ref("Figure"))

# Where the value stands whose fields are the answer.
READ: Mapping[str, str] = MappingProxyType(
    {
        "Audited": "app.audit", "CalendarPage": "web.views", "Change": "change.change",
        "Comparison": "change.review", "Delegation": "change.delegation",
        "Delivery": "change.outbox", "Evidence": "change.evidence",
        "Figure": "change.scorecard", "Inbox": "app.inbox", "Listed": "app.catalog",
        "Move": "web.views", "Note": "change.notes", "ReleaseNote": "change.releasenotes",
        "Review": "change.review", "Tests": "app.policies",
    }
)  # fmt: skip
WRITTEN: Mapping[str, Shape] = MappingProxyType(
    {
        "Said": _object(said=_TEXT),
        "Me": _object(person=_TEXT, source=_TEXT, scopes=_TEXTS),
        "Brief": _BRIEF,
        "Page": _object(changes=_some(ref("Brief")), next=_or_null(_TEXT)),
        "Status": _object(
            environment=_TEXT, route=ref("Route"), changes=_some(ref("Brief")),
            stores_=_some(_ANY), stores_said_=_TEXTS, refreshes_=_TEXTS,
        ),
        "Standing": _object(
            environment=_TEXT, route=ref("Route"), change=ref("Change"),
            evidence=_some(ref("Kept")), blocking=_TEXTS, judgement=_or_null(_ANY),
            objections=_TEXTS, next=_TEXT, layers=_some(ref("Layer")), beside_=_TEXTS,
        ),
        "Route": _object(
            environment=_TEXT, epoch=_NUMBER, stable=_or_null(_TEXT), candidate=_or_null(_TEXT),
            weight=_a("number"), mirror=_YES, salt=_TEXT, change=_or_null(_TEXT),
            stage=_or_null(_TEXT), blocked=_TEXTS,
            filter_={"type": "object", "additionalProperties": _TEXTS},
            arms_=_some(_or_null(_object(release=_TEXT, change=_TEXT))),
        ),
        "Layer": _object(
            layer=_TEXT, state=_TEXT, checks=_TEXTS, lacks=_TEXTS, accountable=_TEXTS,
            signed=_TEXTS, waits_for=_TEXT,
        ),
        "Kept": _both("Evidence", digest=_TEXT),
        "Lineage": {"anyOf": [
            _object(ref=_TEXT, direction=_TEXT, nodes=_a("array"), paths=_a("array")), ref("Said"),
        ]},
        "Plan": _object(
            project=_TEXT, environment=_TEXT, kind=_TEXT, digest=_TEXT, steps=_some(_ANY),
            differences=_some(_ANY), reached=_some(_ANY), requirements=_some(_ANY),
            evidence=_TEXTS, objections=_TEXTS,
        ),
        "Planned": {"anyOf": [
            ref("Plan"), _object(why=_ANY, said=_TEXT),
            _object(marker=_TEXT, body=_TEXT, empty=_YES, objections=_TEXTS),
        ]},
        "Compared": _ANY,
        "Job": _object(
            id=_TEXT, kind=_TEXT, person=_TEXT, said=_TEXTS, change=_TEXT, error=_or_null(_ANY),
            state={"enum": ["queued", "running", "done", "failed"]},
        ),
        "Token": _TOKEN,
        "NewToken": {"allOf": [ref("Token"), _object(token_=_TEXT)]},
        "Scorecard": _object(
            since=_TIME, until=_TIME, team=_TEXT, figures=_FIGURES,
            teams={"type": "object", "additionalProperties": _FIGURES},
            parts=_some(_object(since=_TIME, until=_TIME, figures=_FIGURES)),
        ),
        "Looked": _both(
            "Review", title=_TEXT, expected=_TEXT, metrics=_TEXTS, bounds=_TEXTS,
            compared=_some(ref("Comparison")), timeline=_some(ref("Note")), questions=_ANY,
        ),
        "Agenda": _object(
            environment=_TEXT, start=_TIME, end=_TIME, conflicts=_TEXTS,
            lines=_some(_object(
                kind=_TEXT, name=_TEXT, title=_TEXT, start=_TIME, end=_TIME, standing=_TEXT,
                by=_TEXT, owners=_TEXTS, after=_TEXTS, criteria=_TEXTS, phases=_ANY, group=_TEXTS,
            )),
        ),
        "Booked": _object(change=_TEXT, standing=_TEXT, phases=_ANY, group=_TEXTS, why=_TEXT),
        "Waiting": _both("Delivery", change=_TEXT, state=_TEXT),
        "Proof": _ANY,
        "Tried": _both("Tests", failed=_NUMBER),
        "Replays": _object(asked=_NUMBER, same_policies=_YES, differing=_some(_object(
            change=_TEXT, action=_TEXT, at=_TIME, by=_or_null(_TEXT), before=_TEXTS, now=_TEXTS,
            differs=_YES,
        ))),
        "Explained": _object(change=_TEXT, by=_TEXT, facts=_ANY, actions=_some(
            _object(action=_TEXT, says=_TEXTS, needs=_or_null(_TEXTS))
        )),
    }
)  # fmt: skip


def shapes() -> dict[str, Shape]:
    """Every shape by its name, with those that they are made of."""
    from pydantic import TypeAdapter

    found: dict[str, Shape] = {}
    for name, place in READ.items():
        kind = getattr(import_module(f"interlock.{place}"), name)
        made = TypeAdapter(kind).json_schema(mode="serialization", ref_template=AT)
        found |= made.pop("$defs", {})
        found[name] = made
    return {**found, **{name: dict(shape) for name, shape in WRITTEN.items()}}
