"""Tests of policies, as people write them: what is given, and which policies then speak."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from interlock.change.policy import ACTIONS
from interlock.define.schema import did_you_mean, validate
from interlock.define.yaml import Document, parse
from interlock.errors import Problem
from interlock.ports import Json, PolicyEngine

Who = str | dict[str, Any]
# A principal of whom only the name is said; what a case says of one counts before it.
_NOBODY: Json = {"roles": [], "teams": [], "clearance": "public"}


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Given(_Part):
    """What every case starts from."""

    principal: Who = "controller"
    change: dict[str, Any] = Field(default_factory=dict)


class _Case(_Part):
    """`change` are the facts that differ; `says` the ids of those who object, [] for allowed."""

    name: str
    action: str
    says: tuple[str, ...]
    principal: Who | None = None
    change: dict[str, Any] = Field(default_factory=dict)


class _CaseFile(_Part):
    given: _Given = _Given()
    cases: tuple[_Case, ...] = Field(min_length=1)


@dataclass(frozen=True)
class Tried:
    """One case and what came out: `got` are whole objections, `said` the ids in them."""

    file: str
    line: int
    name: str
    expected: tuple[str, ...]
    said: tuple[str, ...]
    got: tuple[str, ...]

    @property
    def passes(self) -> bool:
        return self.expected == self.said

    @property
    def sentence(self) -> str:
        """What came out, against what was expected when that differs."""
        got = "; ".join(self.got) or "allowed"
        return (
            got if self.passes else f"expected {', '.join(self.expected) or 'allowed'}, got {got}"
        )

    def to_json(self) -> Json:
        return {**self.__dict__, "passes": self.passes}


def tried(
    engine: PolicyEngine, file: str, text: str
) -> tuple[tuple[Tried, ...], tuple[Problem, ...]]:
    """Every case of a policy test file, and what is wrong with the file itself."""
    document, problems = parse(text, file)
    if document is None or problems:
        return (), tuple(problems)
    read, wrong = validate(_CaseFile, document)
    if read is None:
        return (), tuple(wrong)
    unknown = tuple(_unknown_actions(document, read))
    made = tuple(
        _try(engine, document, read.given, place, case) for place, case in enumerate(read.cases)
    )
    return made, unknown


def problems_of(cases: Sequence[Tried]) -> tuple[Problem, ...]:
    """A problem for each case that came out otherwise."""
    return tuple(
        Problem(
            case.file, case.line, f"{case.name}: {case.sentence}", "mend the policy, or the case"
        )
        for case in cases
        if not case.passes
    )


def _try(engine: PolicyEngine, document: Document, given: _Given, place: int, case: _Case) -> Tried:
    who = case.principal if case.principal is not None else given.principal
    told = _NOBODY | ({"id": who} if isinstance(who, str) else dict(who))
    got = engine.decide(told, case.action, {**given.change, **case.change})
    line = document.line(("cases", place))
    return Tried(
        document.file, line, case.name, tuple(sorted(set(case.says))), speakers(got), tuple(got)
    )


def speakers(objections: Sequence[str]) -> tuple[str, ...]:
    """The ids of the policies in `objections`; what no policy said stands as it is."""
    return tuple(sorted({said.rpartition("[")[2].removesuffix("]") for said in objections}))


def _unknown_actions(document: Document, read: _CaseFile) -> Iterator[Problem]:
    for place, case in enumerate(read.cases):
        if case.action not in ACTIONS:
            line = document.line(("cases", place, "action"))
            fix = did_you_mean(case.action, ACTIONS)
            yield Problem(document.file, line, f"no action {case.action}", fix)


def silent(ids: Sequence[str], cases: Mapping[str, Sequence[Tried]]) -> tuple[str, ...]:
    """Policies that speak in no case: nobody has seen them say no."""
    heard = {name for many in cases.values() for case in many for name in case.said}
    return tuple(name for name in ids if name not in heard)
