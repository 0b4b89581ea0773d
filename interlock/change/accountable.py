"""Who answers for each layer of proof, and where it stands: data, feature, model, and on.

Nobody signs for what stands on data or features that have not passed: that order is kept by
the state machine, not by discipline.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from interlock.change.change import Change
from interlock.change.layers import LAYERS, Layer, in_layer
from interlock.change.ready import Standing, lacking_by_check
from interlock.change.signoff import holders
from interlock.errors import Refused
from interlock.ports import Json

# A steward answers for tables and for the views that are made of them.
_ANSWERS: Mapping[Layer, str] = {
    "data": "data_steward",
    "feature": "data_steward",
    "model": "model_validator",
    "integration": "service_owner",
    "release": "change_sponsor",
}


@dataclass(frozen=True)
class LayerStanding:
    """One layer: its checks, what it `lacks`, and the people who answer for it.

    `passed`: nothing is lacking here. `waits_for` is the layer that must pass first.
    """

    layer: Layer
    checks: tuple[str, ...]
    lacks: tuple[str, ...]
    accountable: tuple[str, ...]
    signed: tuple[str, ...]
    waits_for: str = ""

    @property
    def passed(self) -> bool:
        return not self.lacks and not self.waits_for

    @property
    def word(self) -> str:
        """Where it stands, in one word or three."""
        if self.waits_for:
            return f"waits for {self.waits_for}"
        if self.passed and not self.checks:
            return "nothing to prove"
        return "passed" if self.passed else "open"

    def to_json(self) -> Json:
        return {
            "layer": self.layer, "state": self.word, "checks": list(self.checks),
            "lacks": list(self.lacks), "accountable": list(self.accountable),
            "signed": list(self.signed), "waits_for": self.waits_for,
        }  # fmt: skip

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> LayerStanding:
        checks, lacks, people, signed = (
            tuple(body[name]) for name in ("checks", "lacks", "accountable", "signed")
        )
        return cls(body["layer"], checks, lacks, people, signed, body["waits_for"])


def layers(change: Change, standing: Standing) -> tuple[LayerStanding, ...]:
    """Every layer in order; one that has nothing to prove has passed, unless it must wait."""
    found: list[LayerStanding] = []
    by_check, waiting = lacking_by_check(change, standing), ""
    for layer in LAYERS:
        checks = in_layer(layer, standing.required)
        lacks = tuple(said for check in checks for said in by_check.get(check, ()))
        people, signed = _people(change, standing, layer)
        found.append(LayerStanding(layer, checks, lacks, people, signed, waiting))
        waiting = waiting or (layer if lacks else "")
    return tuple(found)


def _people(
    change: Change, standing: Standing, layer: Layer
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Who answers for `layer` in this change, and who of them has signed this plan."""
    desks = {(r.role, r.team) for r in standing.requirements if r.role == _ANSWERS[layer]}
    able = {person for desk in desks for person in holders(standing.owners, *desk)}
    signed = {
        s.person
        for s in change.signoffs
        if (s.role, s.team) in desks and s.agrees and s.plan_digest == change.plan_digest
    }
    return tuple(sorted(able - {change.author})), tuple(sorted(signed))


def early(role: str, change: Change, standing: Standing) -> tuple[str, ...]:
    """What data and features lack, for a `role` that answers for what is made of them.

    A model that is worse is still a measurement; one trained on unproven data is none.
    """
    if role == _ANSWERS["data"]:
        return ()
    ground = (one for one in layers(change, standing) if one.layer in ("data", "feature"))
    return tuple(f"{one.layer}: {said}" for one in ground for said in one.lacks)


def refuse_early(role: str, change: Change, standing: Standing) -> None:
    """Nobody agrees to what stands on data or features that have not passed; raises `Refused`."""
    lacking = early(role, change, standing)
    if lacking:
        raise Refused(
            f"{role} signs {change.id} once its data and features have passed",
            help="mend it or have it waived; a rejection is always possible",
            objections=lacking,
        )
