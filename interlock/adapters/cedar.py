"""Policies in Cedar. Cedar alone fails open in two ways, so three rules hold here.

The schema is always passed (without it an attribute that is missing or misspelt makes a
`forbid` fail, and a failed `forbid` forbids nothing). Allowed means the decision is Allow
AND no policy had an error. Whatever goes wrong is an objection, never an allow.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import cedarpy

from interlock.change.policy import ACTIONS, SCHEMA
from interlock.errors import Invalid, Problem
from interlock.ports import Json

_EFFECT = re.compile(r"\b(?:permit|forbid)\s*\(")
_NOT_CODE = re.compile(r'//[^\n]*|"(?:\\.|[^"\\])*"')
# Cedar counts policies; the line says where, so its own name for one says nothing more.
_POLICY_NAME = re.compile(r"^for policy `policy\d+`, ")
_ECHO = re.compile(r"failed to parse entities from:.*?\}\]: ", re.DOTALL)


@dataclass(frozen=True)
class _Policy:
    """One policy of a file: where it stands, and what it says when it says no."""

    file: str
    line: int
    effect: str
    id: str
    message: str


class CedarPolicies:
    """The PolicyEngine port. `policies` maps a file's name to its text; all are in force.

    Every `forbid` carries `@id("...")` and `@message("...")`: the message is the objection.
    Without any `permit` nothing is allowed.
    """

    def __init__(self, policies: Mapping[str, str]) -> None:
        problems = [said for file in sorted(policies) for said in _wrong(file, policies[file])]
        found = [p for file in sorted(policies) for p in _parsed(file, policies[file])]
        problems += [*_without_names(found), *_named_twice(found)]
        if problems:
            raise Invalid.of(problems)
        self.ids = tuple(policy.id for policy in found if policy.effect == "forbid")
        self._said = {policy.id: f"{policy.message} [{policy.id}]" for policy in found}
        text = "\n".join(policies[file] for file in sorted(policies))
        self._policies = cedarpy.PolicySet.from_str(text)
        self._schema = cedarpy.Schema.from_str(SCHEMA)

    def decide(self, principal: Json, action: str, change: Json) -> tuple[str, ...]:
        try:
            answer = self._ask(principal, action, change)
        except (KeyError, TypeError, ValueError, RecursionError) as error:
            return (f"policy could not be asked: {error!r}",)
        errors = tuple(f"policy could not decide: {_short(e)}" for e in answer.diagnostics.errors)
        if answer.decision == cedarpy.Decision.Allow:
            return errors
        # Ids are unique and every forbid has one; the order is that of the files.
        fired = set(answer.diagnostics.id_annotations_by_reason.values())
        said = tuple(message for id, message in self._said.items() if id in fired)
        return (*said, *errors) or (f"no policy permits {action}",)

    def _ask(self, principal: Json, action: str, change: Json) -> cedarpy.AuthzResult:
        person = {"type": "Person", "id": str(principal["id"])}
        thing = {"type": "Change", "id": str(change["id"])}
        who = {**principal, "name": principal["id"]}
        entities = [_entity(person, who), _entity(thing, change)]
        request = {
            "principal": person,
            "action": {"type": "Action", "id": action},
            "resource": thing,
            "context": {},
        }
        return cedarpy.is_authorized(
            request, self._policies, json.dumps(entities, allow_nan=False), self._schema
        )


def _entity(uid: Json, attributes: Json) -> Json:
    told = {name: value for name, value in attributes.items() if name != "id"}
    return {"uid": uid, "attrs": told, "parents": []}


def _short(error: str) -> str:
    """Cedar's sentence without the echo of everything that it was told."""
    return _ECHO.sub("", error)[:300]


# --- reading policy files -----------------------------------------------------------


def _wrong(file: str, text: str) -> Iterator[Problem]:
    try:
        cedarpy.PolicySet.from_str(text)
    except ValueError as error:
        fix = "see https://docs.cedarpolicy.com for the language"
        yield Problem(file, _line_of(text, str(error)), f"not a Cedar policy: {error}", fix)
        return
    lines = _lines(text)
    for wrong in cedarpy.validate_policies(text, SCHEMA).errors:
        number = int(wrong.policy_id.removeprefix("policy") or 0)
        line = lines[number] if number < len(lines) else 0
        fix = f"actions: {', '.join(sorted(ACTIONS))}, forward; facts: those of the schema"
        yield Problem(file, line, _POLICY_NAME.sub("", wrong.error), fix)


def _parsed(file: str, text: str) -> Iterator[_Policy]:
    try:
        static = json.loads(cedarpy.policies_to_json_str(text))["staticPolicies"]
    except ValueError:
        return
    lines = _lines(text)
    for name, policy in static.items():
        number = int(name.removeprefix("policy"))
        line = lines[number] if number < len(lines) else 0
        notes = policy.get("annotations") or {}
        id, message = notes.get("id") or "", notes.get("message") or ""
        yield _Policy(file, line, policy["effect"], id, message)


def _lines(text: str) -> list[int]:
    """The line on which each policy of `text` begins, in order."""
    code = _NOT_CODE.sub(lambda found: " " * len(found[0]), text)
    return [code.count("\n", 0, found.start()) + 1 for found in _EFFECT.finditer(code)]


def _line_of(text: str, error: str) -> int:
    # Cedar names the token that it stumbled over, not the place.
    token = re.search(r"`([^`]+)`", error)
    at = text.find(token[1]) if token and text.count(token[1]) == 1 else -1
    return text.count("\n", 0, at) + 1 if at >= 0 else 0


def _without_names(found: list[_Policy]) -> Iterator[Problem]:
    for policy in found:
        if policy.effect == "forbid" and not (policy.id and policy.message):
            yield Problem(
                policy.file,
                policy.line,
                "a forbid says who speaks and what to do",
                'write @id("short_name") @message("A sentence a person can act on.") above it',
            )


def _named_twice(found: list[_Policy]) -> Iterator[Problem]:
    count = Counter(policy.id for policy in found if policy.id)
    for policy in found:
        if count[policy.id] > 1:
            yield Problem(
                policy.file, policy.line, f"the id {policy.id} is used twice", "rename one"
            )
