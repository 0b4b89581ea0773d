"""Who is told of what happens to a change, and which systems are asked before it goes on.

Addresses and secrets are variables of the process that delivers: they never stand in a file.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from interlock.define.base import Definition, Name
from interlock.define.durations import Duration
from interlock.define.privacy import Variable

WebAddress = Annotated[str, StringConstraints(pattern=r"^(\$\{\w+\}|https?://)\S*$")]
COMMIT = "commit"
"""What stands for the end of a rollout where stages are named."""
Audience = Literal["executive", "engineer", "both"]
Moment = Literal[
    "DRAFT", "PLANNED", "DEFERRED", "EVIDENCE", "REVIEW", "REJECTED", "APPROVED", "SCHEDULED",
    "PREPARING", "SHADOW", "STEP", "SOAKING", "HOLD", "RESUMED", "COMMITTED", "RETIRED",
    "ABORTING", "REVERTING", "ABORTED", "UNCHOSEN", "WITHDRAWN",
]  # fmt: skip
"""A state that a change enters, or what may happen inside one: HOLD, RESUMED, REJECTED."""
Occasion = Literal["TRIGGER", "ALERT"]
"""What is told that is no transition: a model is due, something is wrong or over."""


class Notification(Definition):
    """One place that is told: a `url` of Apprise (chat, mail, ...) or a signed `webhook`.

    `transitions` and `owners` narrow what is told: to these moments, and to changes that ask
    these teams to agree, or triggers and alerts of what they own. Nothing named is everything.
    `secrets` of a webhook are `whsec_` texts, or `whsk_` (Ed25519); with two, each signs, so
    that a receiver may move from one to the other.
    """

    url: Variable | None = None
    webhook: WebAddress | None = None
    secrets: tuple[Variable, ...] = ()
    audience: Audience = "both"
    transitions: tuple[Moment | Occasion, ...] = ()
    owners: tuple[str, ...] = ()
    timeout: Duration = timedelta(seconds=10)

    @model_validator(mode="after")
    def _one_place(self) -> Notification:
        if (self.url is None) == (self.webhook is None):
            raise ValueError("give one of url and webhook")
        if (self.webhook is None) == bool(self.secrets):
            raise ValueError("a webhook needs secrets to be signed with, and a url has none")
        _short(self.timeout)
        return self


class Hook(Definition):
    """A system outside that is asked before stage `before` begins (`commit`: before the end).

    It is sent the change as JSON. 200 lets the rollout go on; anything else holds it, until
    the answer is 200. The way back is never asked.
    """

    before: Name
    url: WebAddress
    secrets: tuple[Variable, ...] = Field(min_length=1)
    timeout: Duration = timedelta(seconds=10)

    @model_validator(mode="after")
    def _in_time(self) -> Hook:
        _short(self.timeout)
        return self


def _short(timeout: timedelta) -> None:
    """Whoever waits longer looks after nothing else meanwhile."""
    if not timedelta(0) < timeout <= timedelta(seconds=30):
        raise ValueError("a timeout is more than 0s and at most 30s")
