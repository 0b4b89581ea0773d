"""A change, CR-n: what is proposed, who agreed, how far it has come.

Values and pure transitions; `app` stores each result as one version of `change:CR-n`.
Which checks, people and windows a change still lacks is asked in `ready`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from typing import Any, Literal

from interlock.change.evidence import SHORTEST_REASON, Evidence, Waiver
from interlock.change.signoff import SignOff, holders, holds
from interlock.define.environment import Owner
from interlock.define.refs import Ref
from interlock.errors import Refused, Stale

State = Literal[
    "DRAFT", "PLANNED", "DEFERRED", "EVIDENCE", "REVIEW", "APPROVED", "SCHEDULED",
    "PREPARING", "SHADOW", "STEP", "SOAKING", "COMMITTED", "RETIRED",
    "ABORTING", "REVERTING", "ABORTED", "UNCHOSEN", "WITHDRAWN",
]  # fmt: skip

_BEFORE: tuple[State, ...] = (
    "DRAFT", "PLANNED", "DEFERRED", "EVIDENCE", "REVIEW", "APPROVED", "SCHEDULED",
)  # fmt: skip
_UNDER_WAY: tuple[State, ...] = ("PREPARING", "SHADOW", "STEP", "SOAKING")

THROUGH: tuple[State, ...] = ("COMMITTED", "RETIRED")
NEVER: tuple[State, ...] = ("ABORTING", "REVERTING", "ABORTED", "UNCHOSEN", "WITHDRAWN")

# Planning again is always possible until something runs. Stages may be skipped by a
# strategy that has none of them, never repeated backwards; the first release has none at all.
NEXT: Mapping[State, tuple[State, ...]] = {
    "DRAFT": ("PLANNED", "WITHDRAWN"),
    "PLANNED": ("PLANNED", "DEFERRED", "EVIDENCE", "WITHDRAWN"),
    # It waits for the change it builds on, and is planned again when that is through. When
    # that is taken back, it waits again, however far its own review had come.
    "DEFERRED": ("PLANNED", "WITHDRAWN"),
    "EVIDENCE": ("EVIDENCE", "PLANNED", "REVIEW", "DEFERRED", "WITHDRAWN"),
    "REVIEW": ("EVIDENCE", "PLANNED", "APPROVED", "DEFERRED", "WITHDRAWN"),
    # A rejection, or a signature that is taken back, opens the review again.
    "APPROVED": ("PLANNED", "REVIEW", "SCHEDULED", "PREPARING", "DEFERRED", "WITHDRAWN"),
    "SCHEDULED": ("PLANNED", "REVIEW", "PREPARING", "DEFERRED", "WITHDRAWN"),
    "PREPARING": ("SHADOW", "STEP", "SOAKING", "COMMITTED", "ABORTING"),
    # UNCHOSEN: of several candidates another went on. Nothing harmed, and nothing is blocked.
    "SHADOW": ("STEP", "SOAKING", "ABORTING", "UNCHOSEN"),
    "STEP": ("STEP", "SOAKING", "ABORTING", "UNCHOSEN"),
    "SOAKING": ("COMMITTED", "ABORTING"),
    "COMMITTED": ("RETIRED", "REVERTING"),
    "RETIRED": (),
    "ABORTING": ("ABORTED",),
    "REVERTING": ("ABORTED",),
    "ABORTED": (),
    "UNCHOSEN": (),
    "WITHDRAWN": (),
}


GRAPH = "graph"
"""Detail of a planned change: the digest of the artifact that draws what it reaches."""


@dataclass(frozen=True)
class Change:
    """`plan` is the plan as JSON and `plan_digest` its address; `made_against` the stable release.

    `evidence` are digests. `because` is the trigger that proposed it, when one did.
    `metrics` and `bounds` are what people watch and how far it may go. `emergency` is why it
    cannot wait (empty: it can); `review_due` is why it must be looked back at, once it ended.
    """

    id: str
    title: str
    author: str
    environment: str
    opened_at: datetime
    state: State = "DRAFT"
    reason: str = ""
    expected: str = ""
    rollback_criteria: str = ""
    risks: str = ""
    metrics: tuple[str, ...] = ()
    bounds: tuple[str, ...] = ()
    emergency: str = ""
    review_due: str = ""
    plan: Mapping[str, Any] | None = None
    plan_digest: str = ""
    release: str = ""
    made_against: str | None = None
    evidence: tuple[str, ...] = ()
    waivers: tuple[Waiver, ...] = ()
    signoffs: tuple[SignOff, ...] = ()
    because: Mapping[str, Any] | None = None
    said: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def ref(self) -> Ref:
        return Ref("change", self.id)

    @property
    def drawing(self) -> str:
        """The digest of the drawing of what it reaches; "" where it keeps none by its digest."""
        kept = self.details.get(GRAPH)
        return kept if isinstance(kept, str) else ""

    @property
    def under_way(self) -> bool:
        """Is it between the first step and the last: may it have to go back?"""
        return self.state in _UNDER_WAY

    @property
    def experiment(self) -> str:
        """The change that was first in the experiment it runs in; itself where it is alone."""
        return str((self.plan or {}).get("beside") or self.id)

    @property
    def open(self) -> bool:
        return self.state in _BEFORE or self.under_way or self.state in ("ABORTING", "REVERTING")

    def to_json(self) -> dict[str, Any]:
        return {
            **self.__dict__,
            "opened_at": self.opened_at.astimezone(UTC).isoformat(),
            "metrics": list(self.metrics),
            "bounds": list(self.bounds),
            "evidence": list(self.evidence),
            "waivers": [waiver.to_json() for waiver in self.waivers],
            "signoffs": [signoff.to_json() for signoff in self.signoffs],
        }

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Change:
        # Keys of a newer writer are passed over: code may be upgraded during a rollout.
        known = {f.name: body[f.name] for f in fields(cls) if f.name in body}
        read = {
            "opened_at": datetime.fromisoformat(body["opened_at"]),
            "metrics": tuple(body.get("metrics", ())),
            "bounds": tuple(body.get("bounds", ())),
            "evidence": tuple(body.get("evidence", ())),
            "waivers": tuple(map(Waiver.from_json, body.get("waivers", ()))),
            "signoffs": tuple(map(SignOff.from_json, body.get("signoffs", ()))),
        }
        return cls(**{**known, **read})


@dataclass(frozen=True)
class Planned:
    """What planning gives a change: the plan, its address, and the two releases it goes between."""

    plan: Mapping[str, Any]
    plan_digest: str
    release: str
    made_against: str | None


def next_id(taken: Sequence[str]) -> str:
    """`CR-n`, one higher than every id of `taken`."""
    numbers = [int(t[3:]) for t in taken if t.startswith("CR-") and t[3:].isdigit()]
    return f"CR-{max(numbers, default=0) + 1}"


def moved(change: Change, to: State, said: str = "", objections: Sequence[str] = ()) -> Change:
    """`change` in state `to`; refuses with every objection, and any move that does not exist."""
    found = list(objections)
    if to not in NEXT[change.state]:
        ways = ", ".join(NEXT[change.state]) or "nowhere"
        found.insert(0, f"from {change.state} a change goes to {ways}, not to {to}")
    if found:
        raise Refused(
            f"{change.id} cannot move to {to}",
            help="mend what is listed; `interlock status` shows where it stands",
            objections=found,
        )
    return replace(change, state=to, said=said)


def with_review_due(change: Change) -> Change:
    """`change` with the review that it owes once it has ended: every emergency owes one."""
    if not change.emergency or change.review_due or change.state not in ("COMMITTED", "ABORTED"):
        return change
    return replace(change, review_due=f"released as an emergency: {change.emergency}")


def planned(change: Change, made: Planned) -> Change:
    """`change` with a (new) plan. Another plan drops the waivers: they lifted checks of the old."""
    same = made.plan_digest == change.plan_digest
    return replace(
        moved(change, "PLANNED"),
        plan=made.plan,
        plan_digest=made.plan_digest,
        release=made.release,
        made_against=made.made_against,
        waivers=change.waivers if same else (),
    )


def with_evidence(change: Change, made: Sequence[Evidence]) -> Change:
    """`change` in EVIDENCE, with the addresses of `made` added."""
    return replace(moved(change, "EVIDENCE"), evidence=_with(change, made))


def _with(change: Change, made: Sequence[Evidence]) -> tuple[str, ...]:
    """Addresses in the order in which they were taken up last."""
    digests = dict.fromkeys(piece.digest for piece in made)
    return (*(one for one in change.evidence if one not in digests), *digests)


def with_more(change: Change, made: Sequence[Evidence]) -> Change:
    """`change` where it stands, with evidence that no gate asked for; nothing signed moves."""
    if not change.open:
        raise Refused(f"{change.id} is {change.state}: it takes no evidence any more")
    return replace(change, evidence=_with(change, made))


def with_waiver(change: Change, waiver: Waiver, owners: Sequence[Owner]) -> Change:
    """`change` with one check lifted, by somebody who may and says why."""
    found = waiver_objections(change, waiver, owners)
    if change.state not in (*_BEFORE, *_UNDER_WAY):
        found = (*found, f"{change.id} is {change.state}: nothing is waived any more")
    if found:
        raise Refused(f"{waiver.check} cannot be waived", "make the evidence instead", found)
    mine = (waiver.check, waiver.by, waiver.role)
    # Said again, it counts once: who was cut off asks a second time.
    others = [w for w in change.waivers if (w.check, w.by, w.role) != mine]
    return replace(change, waivers=(*others, waiver))


def waiver_objections(change: Change, waiver: Waiver, owners: Sequence[Owner]) -> tuple[str, ...]:
    """Why `waiver` does not count."""
    found = []
    if waiver.by == change.author:
        found.append(f"{waiver.by} is the author and cannot waive {waiver.check}")
    if not holds(owners, waiver.by, waiver.role):
        found.append(f"{waiver.by} does not hold the role {waiver.role}")
    if not waiver.counts:
        found.append(f"a waiver needs a reason of {SHORTEST_REASON} characters")
    return tuple(found)


def signed(change: Change, signoff: SignOff, owners: Sequence[Owner]) -> Change:
    """`change` with one more decision. Only the exact plan under review can be signed."""
    if signoff.plan_digest != change.plan_digest:
        raise Stale(
            f"{change.id} has another plan now than the one {signoff.person} read",
            help="read the plan again, then sign that one",
        )
    found = []
    # What runs may be signed again: a signature that expired holds it until then.
    if change.state not in ("REVIEW", "APPROVED", "SCHEDULED", *_UNDER_WAY):
        found.append(f"{change.id} is {change.state}: it is not up for review")
    if signoff.agrees and change.author in (signoff.person, signoff.on_behalf_of):
        found.append(f"{change.author} is the author: somebody else must approve")
    if signoff.holder not in holders(owners, signoff.role, signoff.team):
        found.append(f"{signoff.person} is not {signoff.role} of {signoff.team}")
    if signoff.decision == "reject" and not signoff.reason.strip():
        found.append("a rejection needs a reason, so that the author can act on it")
    if found:
        raise Refused(f"{signoff.person} cannot sign {change.id}", "see `owners`", found)
    kept = [s for s in change.signoffs if _desk(s) != _desk(signoff)]
    return replace(change, signoffs=(*kept, signoff))


def sent_back(change: Change, said: str) -> Change:
    """`change` in review again, when it was past that and has not started."""
    if change.state in ("APPROVED", "SCHEDULED"):
        return moved(change, "REVIEW", said)
    return replace(change, said=said) if change.state == "REVIEW" else change


def _desk(signoff: SignOff) -> tuple[str, ...]:
    return (signoff.person, signoff.role, signoff.team, signoff.plan_digest)
