"""What policies are told about a change: one flat set of facts, and the schema that holds it.

Facts and schema stand side by side because they must agree: an engine refuses a fact the
schema does not know, and a schema attribute without a fact.
"""

from __future__ import annotations

from collections.abc import Sequence

from interlock.change.change import Change
from interlock.define.environment import Owner
from interlock.define.privacy import Privacy
from interlock.ports import Json

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
  clearance: String,
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
  sensitive: Set<String>,
  cleared_approvers: Set<String>,
  over_budget: Set<String>,
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
    return {
        "id": change.id,
        "author": change.author,
        "environment": change.environment,
        "state": change.state,
        "reason": change.reason.strip(),
        "expected": change.expected.strip(),
        "rollback_criteria": change.rollback_criteria.strip(),
        "risks": change.risks.strip(),
        "approved_by": sorted(approvers(change)),
        "evidence_lacking": list(lacking),
        "signoffs_lacking": list(unsigned),
        "frozen": frozen,
        **surroundings,
    }


def approvers(change: Change) -> frozenset[str]:
    """Who approved exactly this plan."""
    return frozenset(
        s.person for s in change.signoffs if s.agrees and s.plan_digest == change.plan_digest
    )


def principal(owners: Sequence[Owner], person: str, privacy: Privacy | None = None) -> Json:
    """A person as policies see one, with the roles, teams and clearance the project gives."""
    mine = [owner for owner in owners if person in owner.people]
    roles = {role for owner in mine for role in owner.people[person]}
    return {
        "id": person,
        "roles": sorted(roles),
        "teams": sorted({o.name for o in mine}),
        "clearance": (privacy or Privacy()).cleared(person, frozenset(roles)),
    }
