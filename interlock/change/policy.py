"""What policies are told about a change: one flat set of facts, and the schema that holds it.

Facts and schema stand side by side because they must agree: an engine refuses a fact the
schema does not know, and a schema attribute without a fact.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from interlock.change.change import Change
from interlock.define.environment import Owner
from interlock.define.yaml import parse
from interlock.errors import Problem
from interlock.ports import Json, PolicyEngine

# Forward moves obey freezes; scheduling needs everything else but may look past a freeze.
FORWARD = frozenset({"start", "advance", "commit"})
STEPS_UP = FORWARD | {"schedule"}
BACKWARD = frozenset({"rollback", "hold", "withdraw"})
ACTIONS = STEPS_UP | BACKWARD | {"propose", "approve", "waive"}

SCHEMA = """
entity Person {
  name: String,
  roles: Set<String>,
  teams: Set<String>,
};
entity Change {
  author: String,
  environment: String,
  state: String,
  reason: String,
  expected: String,
  rollback_criteria: String,
  risks: String,
  approved_by: Set<String>,
  evidence_lacking: Set<String>,
  signoffs_lacking: Set<String>,
  frozen: Bool,
  waived: Set<String>,
  tiers: Set<Long>,
  cards_missing: Set<String>,
  has_soak: Bool,
  soak_hours: Long,
  emergency: Bool,
  rolled_back_before: Bool,
};
action forward;
action start, advance, commit in [forward] appliesTo { principal: Person, resource: Change };
action propose, approve, waive, schedule, rollback, hold, withdraw
  appliesTo { principal: Person, resource: Change };
"""


def facts(
    change: Change,
    *,
    lacking: Sequence[str],
    unsigned: Sequence[str],
    frozen: bool,
    surroundings: Json,
) -> Json:
    """`change` as policies see it; `id` is its address, the rest are attributes of the schema."""
    approved = {
        s.person
        for s in change.signoffs
        if s.decision == "approve" and s.plan_digest == change.plan_digest
    }
    return {
        "id": change.id,
        "author": change.author,
        "environment": change.environment,
        "state": change.state,
        "reason": change.reason.strip(),
        "expected": change.expected.strip(),
        "rollback_criteria": change.rollback_criteria.strip(),
        "risks": change.risks.strip(),
        "approved_by": sorted(approved),
        "evidence_lacking": list(lacking),
        "signoffs_lacking": list(unsigned),
        "frozen": frozen,
        **surroundings,
    }


def principal(owners: Sequence[Owner], person: str) -> Json:
    """A person as policies see one, with the roles and teams the project gives them."""
    mine = [owner for owner in owners if person in owner.people]
    roles = {role for owner in mine for role in owner.people[person]}
    return {"id": person, "roles": sorted(roles), "teams": sorted({o.name for o in mine})}


def check_cases(engine: PolicyEngine, file: str, text: str) -> tuple[Problem, ...]:
    """Runs the cases of a policy test file; a problem for each that comes out otherwise.

    A file has `given` (the facts all cases start from) and `cases`: `name`, `principal`
    (its id, or all of it), `action`, `change` (facts that differ), `says`, the ids of the
    policies that object ([] for allowed).
    """
    document, problems = parse(text, file)
    if document is None or problems:
        return tuple(problems)
    given = document.value.get("given", {})
    return tuple(
        Problem(file, 0, f"{case['name']}: {said}", "mend the policy, or the case")
        for case in document.value["cases"]
        for said in _differs(engine, case, given)
    )


def _differs(
    engine: PolicyEngine, case: Mapping[str, Any], given: Mapping[str, Any]
) -> Iterator[str]:
    who = case.get("principal", given.get("principal", "controller"))
    person = who if isinstance(who, dict) else {"id": who, "roles": [], "teams": []}
    told = {**given.get("change", {}), **case.get("change", {})}
    got = engine.decide(person, case["action"], told)
    named = {said.rpartition("[")[2].removesuffix("]") for said in got}
    wanted = set(case["says"])
    if named != wanted:
        yield f"expected {sorted(wanted) or 'allowed'}, got {sorted(got) or 'allowed'}"
