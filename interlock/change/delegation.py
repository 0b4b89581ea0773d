"""A role lent for a while: who may sign for whom, and until when.

Nothing is lent twice: only who holds a role can lend it. What was signed while it was lent
stays signed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from typing import Any

from interlock.change.signoff import SignOff, holders
from interlock.define.digest import digest
from interlock.define.environment import Owner
from interlock.define.refs import Ref
from interlock.errors import Refused


@dataclass(frozen=True)
class Delegation:
    """`to` may sign as `role` of `team` for `by`, from `since` until `until` (UTC, exclusive)."""

    by: str
    to: str
    role: str
    team: str
    since: datetime
    until: datetime

    @property
    def ref(self) -> Ref:
        """One for each who lends what to whom: lending again moves its end."""
        return Ref("delegation", digest([self.by, self.to, self.role, self.team])[:16])

    def covers(self, signing: SignOff) -> bool:
        """Is `signing` in this role, for this team, at a time at which it is lent?"""
        same = (self.to, self.role, self.team) == (signing.person, signing.role, signing.team)
        return same and self.since <= signing.at < self.until

    def to_json(self) -> dict[str, Any]:
        times = {name: getattr(self, name).astimezone(UTC).isoformat() for name in _TIMES}
        # Under a key for people, so that the record can keep the name apart.
        said = {"delegate" if name == "to" else name: held for name, held in self.__dict__.items()}
        return {**said, **times}

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Delegation:
        said = {**body, "to": body["delegate"]}
        known = {f.name: said[f.name] for f in fields(cls)}
        return cls(**{**known, **{name: datetime.fromisoformat(body[name]) for name in _TIMES}})


_TIMES = ("since", "until")


def lend(wanted: Delegation, owners: Sequence[Owner]) -> Delegation:
    """`wanted`, if it may be; else `Refused` with every reason."""
    found = []
    if wanted.by not in holders(owners, wanted.role, wanted.team):
        found.append(f"{wanted.by} is not {wanted.role} of {wanted.team}: nobody lends on")
    if not any(wanted.to in owner.people for owner in owners):
        found.append(f"{wanted.to} is in no team of this project")
    if wanted.to == wanted.by:
        found.append(f"{wanted.by} has the role already")
    if wanted.until <= wanted.since:
        found.append(f"it would end at {wanted.until:%d %b %Y %H:%M} UTC, which is over")
    if found:
        raise Refused(
            f"{wanted.by} cannot lend {wanted.role} to {wanted.to}", "see `owners`", found
        )
    return wanted


def ended(delegation: Delegation, now: datetime) -> Delegation:
    """The same, over at `now`; one that is over already stays as it was."""
    return replace(delegation, until=min(now, delegation.until))


def lender(
    delegations: Sequence[Delegation], owners: Sequence[Owner], author: str, signing: SignOff
) -> str:
    """For whom `signing` may be given; empty when nobody has lent what it needs.

    Never for the author of the change: that would be the author's own signature.
    """
    direct = holders(owners, signing.role, signing.team)
    if signing.person in direct:
        return ""
    mine = (d for d in delegations if d.covers(signing) and d.by in direct and d.by != author)
    return next((one.by for one in sorted(mine, key=lambda d: (d.since, d.by))), "")
