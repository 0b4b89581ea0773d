"""When a model is due, and what to propose: a sentence with the facts that made it true.

Drift of features never fires. On the flights year the PSI of features is above every
usual limit each week, and highest in weeks when the model was at its best; the cells of
arrived labels decide, and drift is told beside them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from interlock.define.definitions import Model, Trigger
from interlock.define.digest import digest
from interlock.define.durations import format_duration
from interlock.define.schedules import latest
from interlock.errors import Refused
from interlock.watch.calibration import DayCells, calibration, window

HOLDOUT = timedelta(days=14)
"""The newest days, on which challenger and incumbent meet; neither has seen them."""
LEAST_HOLDOUT = timedelta(days=7)
"""A week: fewer days are too few clusters, and miss some weekdays."""


@dataclass(frozen=True)
class Facts:
    """What is known of one model when the question is asked.

    `cells` hold the arrived labels; those before `live_since` belong to a predecessor.
    `trained_until` is the end of the training rows, `new_rows` the labelled rows since.
    `last_run` is the newest retraining, whatever came of it; `budget` None is no limit.
    """

    model: str
    trained_until: date
    live_since: date
    cells: tuple[DayCells, ...] = ()
    new_rows: int = 0
    psi: Mapping[str, float] = field(default_factory=dict)
    last_run: datetime | None = None
    running: bool = False
    spent: int = 0
    budget: int | None = None


@dataclass(frozen=True)
class Due:
    """Retraining is due: the sentence, and the numbers behind it."""

    model: str
    sentence: str
    facts: Mapping[str, Any]

    @property
    def digest(self) -> str:
        return digest({"model": self.model, "sentence": self.sentence, "facts": dict(self.facts)})


@dataclass(frozen=True)
class Ruling:
    """Due or not; `held` says why a trigger that is true does not run."""

    due: Due | None
    held: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Reason:
    trigger: Trigger
    sentence: str
    facts: Mapping[str, Any]


def due(facts: Facts, triggers: Sequence[Trigger], now: datetime) -> Due | None:
    """The one run that all true triggers together ask for, or None."""
    return consider(facts, triggers, now).due


def consider(facts: Facts, triggers: Sequence[Trigger], now: datetime) -> Ruling:
    """`due`, and what held it back: a run that is under way, the cool-down, the budget."""
    reasons = [found for trigger in triggers if (found := _reason(facts, trigger, now))]
    if not reasons:
        return Ruling(None)
    if facts.running:
        # A storm of reasons makes one run: the one that has started.
        return Ruling(None, (f"{facts.model} is already being retrained",))
    cooling = [_cooling(facts, reason, now) for reason in reasons]
    ready = [reason for reason, wait in zip(reasons, cooling, strict=True) if wait is None]
    held = tuple(wait for wait in cooling if wait is not None)
    if ready and facts.budget is not None and facts.spent >= facts.budget:
        spent = f"the budget of {facts.budget} runs is spent"
        return Ruling(None, (*held, *(f"{reason.sentence}; {spent}" for reason in ready)))
    return Ruling(_due(facts, ready, now) if ready else None, held)


def _reason(facts: Facts, trigger: Trigger, now: datetime) -> _Reason | None:
    match trigger.metric:
        case "ece":
            return _ece(facts, trigger, now)
        case "age":
            return _age(facts, trigger, now)
        case "schedule":
            return _scheduled(facts, trigger, now)


def _ece(facts: Facts, trigger: Trigger, now: datetime) -> _Reason | None:
    own = [cell for cell in facts.cells if cell.day >= facts.live_since]
    found = calibration(window(own, now.date(), trigger.window))
    if trigger.over is None or not found.over(trigger.over, trigger.min_rows):
        return None
    sentence = (
        f"calibration error {found.ece:.3f} over {format_duration(trigger.window)} is over "
        f"{trigger.over:g}: predicted {found.mean_score:.3f}, true {found.mean_label:.3f} "
        f"on {found.n} rows"
    )
    return _Reason(trigger, sentence, {**found.__dict__, "over": trigger.over})


def _age(facts: Facts, trigger: Trigger, now: datetime) -> _Reason | None:
    limit = trigger.window if trigger.over is None else timedelta(days=trigger.over)
    age = now.date() - facts.trained_until
    if age < limit or facts.new_rows < trigger.min_rows:
        return None
    sentence = f"training rows end {age.days} days ago; {facts.new_rows} labelled rows came since"
    return _Reason(trigger, sentence, {"age_days": age.days, "new_rows": facts.new_rows})


def _scheduled(facts: Facts, trigger: Trigger, now: datetime) -> _Reason | None:
    """A time that came since the last run, and since this model went live."""
    came = latest(trigger.at, now) if trigger.at else None
    live = datetime.combine(facts.live_since, time(), UTC)
    before = max(live, facts.last_run) if facts.last_run else live
    if came is None or came <= before or facts.new_rows < trigger.min_rows:
        return None
    sentence = (
        f"scheduled {trigger.at}: {came:%d %b %Y %H:%M} UTC has come; "
        f"{facts.new_rows} labelled rows came since the last training"
    )
    return _Reason(trigger, sentence, {"at": came.isoformat(), "new_rows": facts.new_rows})


def _cooling(facts: Facts, reason: _Reason, now: datetime) -> str | None:
    own = reason.trigger.metric == "schedule"
    if facts.last_run is None or own or now >= facts.last_run + reason.trigger.cooldown:
        return None
    until = (facts.last_run + reason.trigger.cooldown).isoformat(timespec="minutes")
    return f"{reason.sentence}; cooling down until {until}"


def _due(facts: Facts, ready: Sequence[_Reason], now: datetime) -> Due:
    top = sorted(facts.psi.items(), key=lambda item: (-item[1], item[0]))[:3]
    return Due(
        facts.model,
        "; ".join(reason.sentence for reason in ready),
        {
            "at": now.isoformat(),
            "triggers": [{"metric": r.trigger.metric, **r.facts} for r in ready],
            "drifting": [{"feature": name, "psi": value} for name, value in top],
        },
    )


@dataclass(frozen=True)
class Proposal:
    """A challenger: rows in [train_start, train_end) with labels known by `known_by` train it.

    It meets the incumbent on [evaluate_start, evaluate_end). The model that was judged
    is the one released; it is not fitted again on the days that judged it.
    """

    model: str
    why: str
    train_start: date
    train_end: date
    known_by: datetime
    evaluate_start: date
    evaluate_end: date

    @property
    def key(self) -> str:
        """The same for every proposal of the same work, so that it is asked for once."""
        span = [day.isoformat() for day in (self.train_start, self.train_end, self.evaluate_end)]
        return digest([self.model, *span])

    @property
    def sentence(self) -> str:
        return (
            f"retrain {self.model} on {self.train_start} to {self.train_end}, compare with the "
            f"incumbent on {self.evaluate_start} to {self.evaluate_end}: {self.why}"
        )


def propose(model: Model, because: Due, mature_until: date) -> Proposal:
    """An expanding window: the declared start stays, the cut moves close to `mature_until`.

    `mature_until` is the first day whose labels are not all known. The days before it,
    two weeks or half of what is new if that is less, are held out; labels that became
    known only after the cut do not train, as they could not have. Forgetting old rows was
    tried on the flights year: a window of 90 days forgets winter and loses.
    """
    fresh = mature_until - model.training.end
    held_out = min(HOLDOUT, timedelta(days=fresh.days // 2))
    if held_out < LEAST_HOLDOUT:
        raise Refused(
            f"{because.model} has {max(fresh.days, 0)} new days with all labels; "
            f"{2 * LEAST_HOLDOUT.days} are needed to train on some and judge on the others",
            help=f"wait until {model.training.end + 2 * LEAST_HOLDOUT} is mature",
        )
    cut = mature_until - held_out
    known_by = datetime.combine(cut, time(), UTC)
    return Proposal(
        because.model, because.sentence, model.training.start, cut, known_by, cut, mature_until
    )
