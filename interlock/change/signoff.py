"""Sign-offs: who must agree, who did, and to exactly which plan.

A sign-off holds for one plan digest, one role and one team: any byte of the plan that
changes makes it void. A person signs once per role and team; who holds roles in two
teams signs for each of them, because each team is asked a different question.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from interlock.define.environment import Owner

Word = Literal["approve", "reject", "withdrawn"]


@dataclass(frozen=True, order=True)
class Requirement:
    """Someone of `team` who holds `role` must sign, and why."""

    role: str
    team: str
    why: str = ""


@dataclass(frozen=True)
class SignOff:
    """One decision of one person. A rejection needs a reason.

    `on_behalf_of` is who lent the role, when the person does not hold it.
    """

    person: str
    role: str
    team: str
    plan_digest: str
    at: datetime
    decision: Word = "approve"
    reason: str = ""
    on_behalf_of: str = ""

    @property
    def holder(self) -> str:
        """Whose role it is signed with."""
        return self.on_behalf_of or self.person

    @property
    def agrees(self) -> bool:
        return self.decision == "approve"

    def to_json(self) -> dict[str, Any]:
        return {**self.__dict__, "at": self.at.astimezone(UTC).isoformat()}

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> SignOff:
        return cls(**{**body, "at": datetime.fromisoformat(body["at"])})


def holders(owners: Sequence[Owner], role: str, team: str) -> tuple[str, ...]:
    """The people of `team` who hold `role`, by name."""
    return tuple(
        sorted(
            person
            for owner in owners
            if owner.name == team
            for person, roles in owner.people.items()
            if role in roles
        )
    )


def holds(owners: Sequence[Owner], person: str, role: str) -> bool:
    """Does `person` hold `role` in any team?"""
    return any(role in owner.people.get(person, ()) for owner in owners)


def waiting(
    requirements: Sequence[Requirement],
    signoffs: Sequence[SignOff],
    owners: Sequence[Owner],
    plan_digest: str,
    author: str,
) -> tuple[str, ...]:
    """Who has still to sign this plan, and who said no; empty when all agreed."""
    counting = [s for s in _latest(signoffs) if s.holder in holders(owners, s.role, s.team)]
    here = [signoff for signoff in counting if signoff.plan_digest == plan_digest]
    rejected = [
        f"rejected by {s.person} ({s.role} of {s.team}): {s.reason or 'no reason given'}"
        for s in here
        if s.decision == "reject"
    ]
    agreed = {(s.role, s.team) for s in here if s.agrees and author not in (s.person, s.holder)}
    before = {
        (s.role, s.team): s.person for s in counting if s.agrees and s.plan_digest != plan_digest
    }
    missing = [
        _sentence(needed, holders(owners, *needed), author, before.get(needed, ""), whys)
        for needed, whys in _whys(requirements).items()
        if needed not in agreed
    ]
    return (*rejected, *missing)


def _latest(signoffs: Sequence[SignOff]) -> list[SignOff]:
    """The last word of each person per role, team and plan."""
    words = {
        (s.person, s.role, s.team, s.plan_digest): s for s in sorted(signoffs, key=lambda s: s.at)
    }
    return list(words.values())


def _whys(requirements: Sequence[Requirement]) -> dict[tuple[str, str], list[str]]:
    found: dict[tuple[str, str], list[str]] = {}
    for needed in requirements:
        found.setdefault((needed.role, needed.team), []).append(needed.why)
    return found


def _sentence(
    needed: tuple[str, str],
    people: Sequence[str],
    author: str,
    before: str,
    whys: Sequence[str],
) -> str:
    role, team = needed
    others = [person for person in people if person != author]
    why = "; ".join(dict.fromkeys(filter(None, whys)))
    because = f" ({why})" if why else ""
    if not people:
        return f"nobody of {team} holds the role {role}, which must sign{because}"
    if not others:
        return f"only {author}, the author, is {role} of {team}: somebody else must sign{because}"
    void = f"; {before} signed another plan, which no longer counts" if before else ""
    return f"waiting for {role} of {team} to sign: {' or '.join(others)}{because}{void}"
