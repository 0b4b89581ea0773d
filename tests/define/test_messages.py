"""A service's request and response: what a change breaks, and what its models cannot keep."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from interlock.app.files import read_folder
from interlock.app.templates import template_folder
from interlock.define.load import read
from interlock.define.messages import breaks
from interlock.errors import Problem

FLIGHTS = dict(read_folder(template_folder("flights")))
BASE: Mapping[str, Any] = {
    "type": "object",
    "required": ["a"],
    "properties": {
        "a": {"type": "integer", "minimum": 0, "maximum": 9},
        "b": {"enum": ["x", "y"]},
        "old": {"type": "string", "deprecated": True},
        "list": {"type": "array", "items": {"type": "string", "maxLength": 9}},
    },
}


def changed(name: str, value: Any) -> dict[str, Any]:
    """BASE with another property `name`; None takes it out."""
    held = {k: v for k, v in {**BASE["properties"], name: value}.items() if v is not None}
    return {**BASE, "properties": held}


SAFE, RESPONSE, REQUEST, BOTH = "safe", "response", "request", "both"
# what the schema becomes, and where that breaks a caller
TABLE: list[tuple[dict[str, Any], str]] = [
    (dict(BASE), SAFE),
    ({**BASE, "description": "words", "title": "more words"}, SAFE),
    (changed("c", {"type": "string"}), SAFE),  # adding what is optional
    ({**changed("c", {"type": "string"}), "required": ["a", "c"]}, REQUEST),
    (changed("old", None), SAFE),  # its callers were told
    (changed("list", None), RESPONSE),
    ({**BASE, "required": []}, RESPONSE),
    ({**BASE, "required": ["a", "b"]}, REQUEST),
    (changed("a", {"type": "number", "minimum": 0, "maximum": 9}), RESPONSE),
    (changed("a", {"type": ["integer", "null"], "minimum": 0, "maximum": 9}), RESPONSE),
    (changed("a", {"type": "string", "minimum": 0, "maximum": 9}), BOTH),
    (changed("a", {"type": "integer", "minimum": 1, "maximum": 9}), REQUEST),
    (changed("a", {"type": "integer", "minimum": 0, "maximum": 10}), RESPONSE),
    (changed("a", {"type": "integer", "minimum": 0}), RESPONSE),
    (changed("a", {"type": "integer", "minimum": 1, "maximum": 10}), BOTH),
    (changed("b", {"enum": ["x", "y", "z"]}), RESPONSE),
    (changed("b", {"enum": ["x"]}), REQUEST),
    (changed("b", {"const": "x"}), BOTH),  # without a type it may be anything but the values
    (changed("b", {"type": "string"}), RESPONSE),
    (changed("list", {"type": "array", "items": {"type": "string", "maxLength": 8}}), REQUEST),
    (changed("list", {"type": "array", "items": {"type": "string"}}), RESPONSE),
    (changed("b", {"enum": ["x", "y"], "pattern": "^x"}), BOTH),  # not compared: never safe
    ({**BASE, "anyOf": [{"required": ["b"]}]}, BOTH),
    ({**BASE, "additionalProperties": False}, REQUEST),
]


@pytest.mark.parametrize(("new", "where"), TABLE)
def test_what_breaks_an_answer_and_what_breaks_a_request(new: dict[str, Any], where: str) -> None:
    in_answer = bool(breaks({"response": BASE}, {"response": new}))
    in_request = bool(breaks({"request": BASE}, {"request": new}))
    said = {(False, False): SAFE, (True, False): RESPONSE, (False, True): REQUEST}
    assert said.get((in_answer, in_request), BOTH) == where


def test_a_field_added_to_a_closed_answer_breaks_who_reads_strictly() -> None:
    closed = {**BASE, "additionalProperties": False}
    added = {**changed("c", {"type": "string"}), "additionalProperties": False}
    assert breaks({"response": closed}, {"response": added}) == (
        "response.c is new in a closed object",
    )
    assert breaks({"request": closed}, {"request": added}) == ()


def test_a_field_taken_out_of_a_closed_request_breaks_who_sends_it() -> None:
    closed = {**BASE, "additionalProperties": False}
    gone = {**changed("list", None), "additionalProperties": False}
    assert breaks({"request": closed}, {"request": gone}) == ("request.list is gone",)


def test_each_loss_is_said_once_and_by_name() -> None:
    new = changed("a", {"type": "number", "minimum": -1, "maximum": 9})
    assert breaks({"response": BASE}, {"response": new}) == (
        "response.a may now be number", "response.a: minimum 0 became -1",
    )  # fmt: skip


REQUEST_OF_LATE = """
  request:
    type: object
    required: [flight_id, local_hour, dow, distance, block_min, origin, carrier, dest, tailnum, flight]
    properties:
      flight_id: {type: integer}
"""  # noqa: E501  # a list of names


def problems(old: str, new: str, file: str = "services/crew.yaml") -> list[Problem]:
    assert old in FLIGHTS[file]
    return list(read({**FLIGHTS, file: FLIGHTS[file].replace(old, new, 1)}).problems)


@pytest.mark.parametrize(
    ("old", "new", "said", "fix"),
    [
        ("  response:", "  respnse:", "no part respnse", "response?"),
        ("score: {type: number", "scor: {type: number", "no field scor", "score?"),
        ("required: [score, release", "required: [score, releas", "no field releas", "release?"),
        ("score: {type: number", "score: {type: integer", "may now be number", "promise no more"),
        ("maximum: 1", "maximum: 0.5", "maximum 0.5 became 1", "promise no more"),
        ("[live, fallback, error]", "[live, fallback]", "'error'", "promise no more"),
    ],
)
def test_a_promise_that_the_answer_cannot_keep(old: str, new: str, said: str, fix: str) -> None:
    (problem,) = problems(old, new)
    assert said in problem.message
    assert fix in problem.fix
    text = FLIGHTS["services/crew.yaml"].replace(old, new, 1)
    assert new.split(":")[0].split("[")[0].strip() in text.splitlines()[problem.line - 1]


def test_a_request_must_carry_what_the_models_take() -> None:
    new = "contract:" + REQUEST_OF_LATE + "      orign: {type: string}\n      dow: {type: number}\n"
    said = {p.message: p for p in problems("contract:\n", new)}
    assert "the request lacks carrier, an input of the model" in said
    assert said["no model of the service takes orign"].fix == "did you mean origin?"
    assert said["dow is a integer for the model"].fix == "write type: integer"
    assert not any("flight_id" in message for message in said)
