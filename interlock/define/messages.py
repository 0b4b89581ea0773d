"""A service's request and response as JSON Schema: held against its models, and against change.

Only what can be compared is compared: types, properties, required, enum, const, bounds,
lengths, items. Any other keyword that changes may let more or less through, so it counts as
both: unknown is never safe.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from interlock.define.definitions import Model, Service
from interlock.define.project import Project
from interlock.define.schema import did_you_mean
from interlock.define.yaml import Path

Way = Literal["looser", "tighter"]
PARTS = ("request", "response")
ANSWERED: Mapping[str, Mapping[str, Any]] = {
    "score": {"type": "number", "minimum": 0, "maximum": 1},
    "release": {"type": "string"},
    "reason": {"enum": ["live", "fallback", "error"]},
    "id": {"type": "string"},
}
_JSON = {
    "boolean": "boolean", "integer": "integer", "double": "number", "string": "string",
    "date": "string", "timestamp": "string",
}  # fmt: skip
_WORDS = frozenset(["title", "description", "examples", "default", "deprecated", "$comment"])
_UPPER = ("maximum", "exclusiveMaximum", "maxLength", "maxItems")
_LOWER = ("minimum", "exclusiveMinimum", "minLength", "minItems")
_SEEN = frozenset(
    ["type", "properties", "required", "enum", "const", "items", "additionalProperties"]
) | {*_UPPER, *_LOWER}


@dataclass(frozen=True)
class Step:
    """One way in which a schema lets through more (`looser`) or less (`tighter`) than before."""

    path: str
    way: Way
    sentence: str


def breaks(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[str, ...]:
    """What callers of a service lose between two contracts, in sentences.

    They rely on the response to hold what it held, and on their requests to be taken. A field
    that was marked `deprecated: true` may go: its callers were told.
    """
    answers = [
        step.sentence
        for step in _steps(_part(old, "response"), _part(new, "response"), "response")
        if step.way == "looser"
    ]
    asked = [
        step.sentence
        for step in _steps(_part(old, "request"), _part(new, "request"), "request")
        if step.way == "tighter"
    ]
    return tuple(dict.fromkeys([*answers, *asked]))


def mistakes(project: Project, service: Service) -> Iterator[tuple[Path, str, str]]:
    """Where the contract says what its models cannot keep: path, message, fix."""
    for name, held in service.contract.items():
        path: Path = ("contract", name)
        if name not in PARTS:
            yield path, f"a contract has no part {name}", did_you_mean(name, PARTS)
        elif not isinstance(held, Mapping):
            yield path, f"the {name} is no JSON Schema", "write type: object and properties:"
    models = [project.models[name] for name in service.models if name in project.models]
    yield from _answers(_part(service.contract, "response"))
    if models and "request" in service.contract:
        yield from _asks(project, models, _part(service.contract, "request"))


def _part(contract: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    held = contract.get(name)
    return held if isinstance(held, Mapping) else {}


def _properties(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    held = schema.get("properties")
    return held if isinstance(held, Mapping) else {}


def _required(schema: Mapping[str, Any]) -> list[str]:
    held = schema.get("required")
    return [str(name) for name in held] if isinstance(held, list | tuple) else []


def _answers(schema: Mapping[str, Any]) -> Iterator[tuple[Path, str, str]]:
    base: Path = ("contract", "response")
    for i, name in enumerate(_required(schema)):
        if name not in ANSWERED and name not in _properties(schema):
            message = f"the answer has no field {name}"
            yield (*base, "required", i), message, did_you_mean(name, ANSWERED)
    for name, promised in _properties(schema).items():
        path = (*base, "properties", name)
        if name not in ANSWERED:
            yield path, f"the answer has no field {name}", did_you_mean(name, ANSWERED)
        elif isinstance(promised, Mapping):
            # What is answered must be among what was promised.
            for step in _steps(promised, ANSWERED[name], name):
                if step.way == "looser":
                    yield path, f"not what is answered: {step.sentence}", "promise no more"


def _asks(
    project: Project, models: list[Model], schema: Mapping[str, Any]
) -> Iterator[tuple[Path, str, str]]:
    """A request must carry every input that the models take from it, as what it is."""
    base: Path = ("contract", "request")
    inputs = signature(project, models)
    said, required = _properties(schema), _required(schema)
    for name, (type_, needed) in inputs.items():
        if name not in said:
            message = f"the request lacks {name}, an input of the model"
            yield (*base, "properties"), message, f"add {name}: {{type: {type_}}}"
        elif needed and name not in required:
            message = f"the model needs {name}, and the request may leave it out"
            yield (*base, "required"), message, f"add {name} to required"
    for name, held in said.items():
        path = (*base, "properties", name)
        if name not in inputs:
            fix = did_you_mean(name, inputs)
            yield path, f"no model of the service takes {name}", fix
        elif isinstance(held, Mapping):
            wanted = {"type": inputs[name][0]}
            for step in _steps({"type": _types(wanted)}, {"type": _types(held)}, name):
                if step.way == "looser" and "null" not in step.sentence:
                    fix = f"write type: {inputs[name][0]}"
                    yield path, f"{name} is a {inputs[name][0]} for the model", fix


def signature(project: Project, models: list[Model]) -> dict[str, tuple[str, bool]]:
    """Inputs that come with a request: JSON type, and whether the model has to be told."""
    found: dict[str, tuple[str, bool]] = {}
    for model in models:
        spine = project.tables.get(model.spine)
        views = (project.views.get(f"{ref.name}@{ref.version}") for ref in model.view_refs)
        entities = [name for view in views if view for name in view.entity]
        for name in dict.fromkeys([model.key, *model.request, *entities]):
            column = spine.columns.get(name) if spine else None
            if column is not None:
                needed = name == model.key or not column.nullable
                found[name] = (_JSON.get(column.type, "string"), needed)
    return found


# --- what a schema lets through -----------------------------------------------------------


def _steps(old: Mapping[str, Any], new: Mapping[str, Any], path: str) -> Iterator[Step]:
    yield from _type_steps(old, new, path)
    yield from _value_steps(old, new, path)
    yield from _bound_steps(old, new, path)
    yield from _property_steps(old, new, path)
    if isinstance(old.get("items"), Mapping) and isinstance(new.get("items"), Mapping):
        yield from _steps(old["items"], new["items"], f"{path}[]")
    for word in sorted({*old, *new} - _SEEN - _WORDS):
        if old.get(word) != new.get(word):
            said = f"{path}: `{word}` changed, and what that lets through is not known"
            yield Step(path, "looser", said)
            yield Step(path, "tighter", said)


def _types(schema: Mapping[str, Any]) -> frozenset[str]:
    """Types that are let through; every one when nothing is said."""
    held = schema.get("type")
    if held is None and "enum" in schema:
        held = [_type_of(value) for value in schema["enum"]]
    every = ("null", "boolean", "integer", "number", "string", "array", "object")
    names = {held} if isinstance(held, str) else set(held or every)
    return frozenset(names | ({"integer"} if "number" in names else set()))


def _type_of(value: Any) -> str:
    kinds = ((bool, "boolean"), (int, "integer"), (float, "number"), (str, "string"))
    return next((name for kind, name in kinds if isinstance(value, kind)), "null")


def _type_steps(old: Mapping[str, Any], new: Mapping[str, Any], path: str) -> Iterator[Step]:
    before, after = _types(old), _types(new)
    if more := after - before:
        yield Step(path, "looser", f"{path} may now be {', '.join(sorted(more))}")
    if less := before - after:
        yield Step(path, "tighter", f"{path} may no longer be {', '.join(sorted(less))}")


def _value_steps(old: Mapping[str, Any], new: Mapping[str, Any], path: str) -> Iterator[Step]:
    before, after = _values(old), _values(new)
    if before is not None and (after is None or after - before):
        more = ", ".join(sorted((after or frozenset()) - before)) or "anything"
        yield Step(path, "looser", f"{path} may now be {more}")
    if after is not None and (before is None or before - after):
        less = ", ".join(sorted((before or frozenset()) - after)) or "anything else"
        yield Step(path, "tighter", f"{path} may no longer be {less}")


def _values(schema: Mapping[str, Any]) -> frozenset[str] | None:
    if "const" in schema:
        return frozenset({repr(schema["const"])})
    held = schema.get("enum")
    return frozenset(repr(value) for value in held) if isinstance(held, list | tuple) else None


def _bound_steps(old: Mapping[str, Any], new: Mapping[str, Any], path: str) -> Iterator[Step]:
    for words, sign in ((_UPPER, 1.0), (_LOWER, -1.0)):
        for word in words:
            was, now = (_limit(one.get(word), sign) for one in (old, new))
            if was != now:
                way: Way = "looser" if now > was else "tighter"
                said = f"{path}: {word} {old.get(word, 'none')} became {new.get(word, 'none')}"
                yield Step(path, way, said)


def _limit(value: Any, sign: float) -> float:
    """A bound as a number that grows with what it lets through; none lets everything through."""
    return sign * value if isinstance(value, int | float) else float("inf")


def _property_steps(old: Mapping[str, Any], new: Mapping[str, Any], path: str) -> Iterator[Step]:
    before, after = _properties(old), _properties(new)
    closed = new.get("additionalProperties") is False
    for name, held in before.items():
        inner = f"{path}.{name}"
        told = isinstance(held, Mapping) and held.get("deprecated") is True
        if name not in after and not told:
            yield Step(inner, "tighter" if closed else "looser", f"{inner} is gone")
            if closed:  # no request may hold it, and no answer does
                yield Step(inner, "looser", f"{inner} is gone")
        elif isinstance(held, Mapping) and isinstance(after.get(name), Mapping):
            yield from _steps(held, after[name], inner)
    was_closed = old.get("additionalProperties") is False
    for name in after.keys() - before.keys():
        if was_closed:
            yield Step(f"{path}.{name}", "looser", f"{path}.{name} is new in a closed object")
    if was_closed and not closed:
        yield Step(path, "looser", f"{path} may now hold other fields")
    if closed and not was_closed:
        yield Step(path, "tighter", f"{path} may no longer hold other fields")
    for name in sorted({*_required(old)} - {*_required(new)}):
        if name in after:
            yield Step(f"{path}.{name}", "looser", f"{path}.{name} may now be missing")
    for name in sorted({*_required(new)} - {*_required(old)}):
        yield Step(f"{path}.{name}", "tighter", f"{path}.{name} must now be there")
