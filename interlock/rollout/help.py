"""What a person can do about a rollout that stands still; what only needs time says so."""

from __future__ import annotations

from collections.abc import Mapping

from interlock.rollout.state import READY, HoldReason

_BACK = "interlock rollback {id} works at any time"
_HELP: Mapping[HoldReason, str] = {
    HoldReason.NO_DATA: "it goes on by itself when there is something to judge: see that "
    f"requests reach the gateways and are logged; {_BACK}",
    HoldReason.INCONCLUSIVE: "wait, or decide: interlock promote {id}, interlock retry {id} or "
    "interlock rollback {id}",
    HoldReason.FREEZE: f"it goes on by itself when that is over; {_BACK}",
    HoldReason.APPROVAL_EXPIRED: "whoever is named signs again (interlock approve {id}), and it "
    f"goes on by itself; {_BACK}",
    HoldReason.DEPENDENCY: f"it goes on by itself when that is through; {_BACK}",
    HoldReason.SRM: "find out who is counted and who is not before anything is believed; " + _BACK,
    HoldReason.MANUAL: "interlock hold {id} --resume lets it go on; " + _BACK,
    HoldReason.FALLBACK_UNHEALTHY: "bring back what is missing of the release before, from a "
    "backup: it goes on by itself",
    HoldReason.HOOK: "it goes on by itself when the answer is 200; interlock promote {id} lets it "
    f"past in your name; {_BACK}",
    HoldReason.SERIES: "it goes on by itself when that is well; interlock promote {id} waives it "
    f"in your name; {_BACK}",
    HoldReason.CHOICE: "interlock promote {id} chooses this one, and those beside it end",
}


PROMOTED = frozenset(
    {HoldReason.NO_DATA, HoldReason.INCONCLUSIVE, HoldReason.MANUAL, HoldReason.HOOK,
     HoldReason.SERIES, HoldReason.CHOICE}
)  # fmt: skip
"""Holds that may end with the word of a person; for the others it is kept until they are over."""


def help_of(change: str, hold: HoldReason | None, said: str) -> str:
    """What to do where `change` is held, or said that it waits; empty where nothing is asked."""
    if hold is not None:
        return _HELP[hold].format(id=change)
    if said.startswith(READY):
        return (
            "nothing is open here: see those it waits for; each of them can be promoted or taken "
            "back"
        )
    return ""
