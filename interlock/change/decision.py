"""One question put to the policies, with everything they were told, so that it can be asked again.

What a policy said is only worth reading with the facts it was said about: a decision keeps
both, and the digest of the policies that decided.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any

from interlock.define.digest import digest
from interlock.define.refs import Ref
from interlock.ports import Json, PolicyEngine


@dataclass(frozen=True)
class PolicyDecision:
    """`said` are the objections of policies, empty for allowed; `policies` their digest."""

    change: str
    action: str
    at: datetime
    principal: Json
    facts: Json
    said: tuple[str, ...]
    policies: str

    @property
    def ref(self) -> Ref:
        """Its address: the same question answered alike at the same time is one decision."""
        return Ref("decision", f"{self.change}-{digest(self.to_json())[:16]}")

    @property
    def allowed(self) -> bool:
        return not self.said

    def to_json(self) -> Json:
        # Who asked stands under a key for people, so that the record can keep the name apart.
        who = {"person" if name == "id" else name: held for name, held in self.principal.items()}
        at = self.at.astimezone(UTC).isoformat()
        return {**self.__dict__, "principal": who, "at": at, "said": list(self.said)}

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> PolicyDecision:
        known = {f.name: body[f.name] for f in fields(cls)}
        who = body["principal"].items()
        read = {
            "at": datetime.fromisoformat(body["at"]),
            "said": tuple(body["said"]),
            "principal": {"id" if name == "person" else name: held for name, held in who},
        }
        return cls(**{**known, **read})


@dataclass(frozen=True)
class Replayed:
    """A past decision and what other policies say to the same question."""

    decision: PolicyDecision
    now: tuple[str, ...]

    @property
    def differs(self) -> bool:
        """Would it be allowed instead of refused, or the other way round?"""
        return self.decision.allowed == bool(self.now)

    def to_json(self) -> Json:
        made = self.decision
        return {
            "change": made.change, "action": made.action, "at": made.to_json()["at"],
            "by": made.principal.get("id"), "before": list(made.said), "now": list(self.now),
            "differs": self.differs,
        }  # fmt: skip


def replay(engine: PolicyEngine, made: Sequence[PolicyDecision]) -> tuple[Replayed, ...]:
    """Every decision asked again, oldest first.

    A fact that was not kept then makes the answer a refusal, as always.
    """
    in_order = sorted(made, key=lambda one: (one.at, str(one.ref)))
    return tuple(
        Replayed(one, engine.decide(one.principal, one.action, one.facts)) for one in in_order
    )


def still_needed(
    engine: PolicyEngine, principal: Json, action: str, facts: Json
) -> tuple[str, ...] | None:
    """The facts that must become otherwise before `action` is allowed: none of them alone is left.

    Found by asking: from facts as good as they can be, each is put back to what it is while
    that stays allowed. None when even the best facts do not help: it is about the person,
    or about a fact that nothing done to this change moves.
    """
    best = {**facts, **BEST, "approved_by": sorted({*facts["approved_by"], "somebody else"})}
    best["cleared_approvers"] = best["approved_by"]
    if engine.decide(principal, action, best):
        return None
    for name in best:
        back = {**best, name: facts[name]}
        if not engine.decide(principal, action, back):
            best = back
    return tuple(sorted(name for name in best if best[name] != facts[name]))


# What the people of a change can still bring about; who wrote it and what it reaches is given.
BEST: Json = {
    "reason": "given",
    "expected": "given",
    "rollback_criteria": "given",
    "risks": "given",
    "evidence_lacking": [],
    "signoffs_lacking": [],
    "frozen": False,
    "cards_missing": [],
    "has_soak": True,
    "soak_hours": 24 * 365,
    "over_budget": [],
}
