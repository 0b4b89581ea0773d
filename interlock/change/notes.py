"""Every transition of a change in words: a summary for everybody, the detail for engineers.

Pure functions of two versions of a change in the record. The summary says what happened, why,
who is affected and what happens next, and uses no word that only engineers know. Nothing here
is written by hand per change: what is said can be read in the record again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from interlock.change.change import Change
from interlock.define.notifications import Moment, Occasion

Json = Mapping[str, Any]

_WAITS: Mapping[str, str] = {
    "no_data": "there is nothing measured yet to judge it by",
    "inconclusive": "what was measured does not decide it, and the owner has to",
    "freeze": "nothing may move in this period",
    "approval_expired": "an agreement has run out",
    "dependency": "it waits for something else to be ready",
    "srm": "the comparison cannot be trusted, and has to be looked at",
    "manual": "somebody asked for it",
    "fallback_unhealthy": "the way back is not safe at the moment",
    "series": "what is monitored speaks against going on, or says nothing",
    "hook": "a check outside of Interlock has not said yes",
    "choice": "several candidates are as good, and somebody has to choose one",
}
_SILENT = "Nobody notices anything of it yet."


@dataclass(frozen=True)
class Note:
    """What is said of one moment. `at` is the time of the environment, an aware UTC instant.

    `teams` are those who are asked to agree: the owners of what the change touches. `about` is
    an address where it is no change.
    """

    change: str
    version: int
    moment: Moment | Occasion
    at: datetime
    by: str
    title: str
    summary: str
    detail: str
    teams: tuple[str, ...]
    about: str = ""

    @property
    def subject(self) -> str:
        """The address of what it is about."""
        return self.about or f"change:{self.change}"

    def text_for(self, audience: str) -> str:
        """The words for `executive`, `engineer` or `both`."""
        told = {"executive": self.summary, "engineer": self.detail}
        return told.get(audience, f"{self.summary}\n\n{self.detail}")

    def to_json(self) -> dict[str, Any]:
        return {**self.__dict__, "at": self.at.isoformat(), "teams": list(self.teams)}


def moments(before: Change | None, after: Change) -> tuple[Moment, ...]:
    """What happened between two versions of a change, in order; often nothing."""
    found: list[Moment] = []
    if before is not None and len(_rejections(after)) > len(_rejections(before)):
        found.append("REJECTED")
    same = before is not None and _place(before) == _place(after)
    if not same:
        found.append(after.state)
    was, now = (_hold(before) if before else ""), _hold(after)
    if now and now != was:
        found.append("HOLD")
    if same and was and not now:
        found.append("RESUMED")
    return tuple(found)


def note(
    moment: Moment, after: Change, version: int, at: datetime, by: str, judgement: Json | None
) -> Note:
    """`moment` in words. `judgement` is what the judge had said by then, as stored."""
    return Note(
        after.id, version, moment, at, by,
        f"{after.id} {after.title}: {_HEADLINES[moment](after)}",
        summary(moment, after, judgement),
        detail(moment, after, judgement),
        tuple(sorted({need["team"] for need in _plan(after).get("requirements", ())})),
    )  # fmt: skip


def summary(moment: Moment, change: Change, judgement: Json | None = None) -> str:
    """What, why, who is affected, what next: one line each, for people who do not build it."""
    lines = [
        ("What", _happened(moment, change, judgement)),
        ("Why", change.reason.strip()),
        ("Urgent", change.emergency.strip()),
        ("Expected", change.expected.strip() if moment in _BEFORE else ""),
        ("Affected", affected(change)),
        ("Next", _NEXT[moment](change)),
    ]
    return "\n".join(f"{name}: {_sentence(said)}" for name, said in lines if said)


def detail(moment: Moment, change: Change, judgement: Json | None = None) -> str:
    """States, digests, numbers of the judge and paths, one per line."""
    return "\n".join(_detail(moment, change, judgement))


def affected(change: Change) -> str:
    """The services that act on what changes, in words; empty before the plan is made."""
    if change.plan is None:
        return ""
    names = [one["ref"].partition(":")[2].replace("_", " ") for one in _moved_services(change)]
    if not names:
        return "no service sees other numbers"
    # Everything is new to the first release: that is no news about any one of them.
    return f"{_listed(names)}, which {'acts' if len(names) == 1 else 'act'} on these numbers"


# --- what happened --------------------------------------------------------------------


def _happened(moment: Moment, change: Change, judgement: Json | None) -> str:
    said = _HAPPENED[moment](change)
    if moment in ("ABORTING", "REVERTING", "ABORTED"):
        return f"{said}, {_why_back(change, judgement)}"
    return said


def _why_back(change: Change, judgement: Json | None) -> str:
    """Why it went back, from the line of history that began it."""
    history = rollout_of(change).get("history", ())
    said = next(
        (line["sentence"] for line in history if line["state"] in ("aborting", "reverting")),
        change.said,
    )
    if not said.startswith("harm seen"):
        return f"because {said.replace(' to roll back:', ':')}"
    rulings = (judgement or {}).get("per_guardrail", ())
    worse = dict.fromkeys(in_words(one["name"]) for one in rulings if one["verdict"] == "harm")
    named = f": {_listed(list(worse))}" if worse else ""
    return f"because a number that was promised not to get worse got worse{named}"


def in_words(guardrail: str) -> str:
    """`kpi:crew` -> `the business figure of crew`: what a guardrail watches, in plain words."""
    kind, _, name = guardrail.partition(":")
    plain = name.replace("_", " ")
    known = {
        "kpi": f"the business figure of {plain}", "errors": "answers that failed",
        "slow": "answers that came late", "latency": "how long answers take",
        "decisions": f"how often {plain} acts", "fallbacks": "answers given without all data",
        "label_missing": "outcomes that did not come back",
        "score_shift": "how the answers are spread", "log_loss": "how often the model is right",
        "log_loss_paired": "how often the model is right", "split": "how requests are shared out",
    }  # fmt: skip
    return known.get(kind, guardrail.replace("_", " ").replace(":", " of "))


def _stage_share(change: Change) -> str:
    rollout = rollout_of(change)
    stages, index = rollout.get("stages", ()), rollout.get("index", -1)
    if not 0 <= index < len(stages):
        return "a part"
    return f"{stages[index]['weight'] * 100 / rollout.get('places', 1):.3g} %"


def _who_signs(change: Change) -> str:
    teams = dict.fromkeys(need["team"] for need in _plan(change).get("requirements", ()))
    return _listed(list(teams)) or "nobody"


def _starts(change: Change) -> str:
    slot = _plan(change).get("slot")
    when = f", planned for {_day(slot[0])}" if slot else ""
    return f"somebody starts it{when}"


def _until(change: Change) -> str:
    rollout = rollout_of(change)
    if not rollout:
        return "it runs"
    days = rollout["rollback_window"] / 86400
    return f"it can be taken back at once for {days:.3g} days"


def _rejected(change: Change) -> str:
    last = max(_rejections(change), key=lambda s: s.at)
    return f"{last.person} ({last.team}) said no: {last.reason}"


def _held(change: Change) -> str:
    return f"the change stands still: {_WAITS.get(_hold(change), _hold(change))}"


def _after_hold(change: Change) -> str:
    asked = {
        "manual": "somebody lets it go on", "inconclusive": "its owner decides",
        "choice": "somebody says which one goes on",
    }  # fmt: skip
    ends = asked.get(_hold(change), "it goes on by itself when the reason is gone")
    return f"{ends}; going back is always open"


def _waits_for(change: Change) -> str:
    return str(_plan(change).get("after") or "another change")


def _stopped(change: Change) -> bool:
    return bool(change.details.get("stopped"))


Words = Mapping[Moment, Callable[[Change], str]]

_HEADLINES: Words = {
    "DRAFT": lambda c: "proposed", "PLANNED": lambda c: "planned",
    "DEFERRED": lambda c: f"waits for {_waits_for(c)}", "EVIDENCE": lambda c: "tested",
    "REVIEW": lambda c: "waits for agreement", "REJECTED": lambda c: "rejected",
    "APPROVED": lambda c: "agreed", "SCHEDULED": lambda c: "has its time",
    "PREPARING": lambda c: "being prepared", "SHADOW": lambda c: "being tried on copies",
    "STEP": lambda c: f"answers {_stage_share(c)} of requests",
    "SOAKING": lambda c: "answers all requests", "HOLD": lambda c: "stands still",
    "RESUMED": lambda c: "goes on", "COMMITTED": lambda c: "done",
    "RETIRED": lambda c: "final", "ABORTING": lambda c: "being taken back",
    "REVERTING": lambda c: "being taken back", "ABORTED": lambda c: "taken back",
    "UNCHOSEN": lambda c: "not chosen", "WITHDRAWN": lambda c: "withdrawn",
}  # fmt: skip

_HAPPENED: Words = {
    "DRAFT": lambda c: f"{c.author} proposes a change",
    "PLANNED": lambda c: "it is known now what the change touches",
    "DEFERRED": lambda c: f"the change builds on {_waits_for(c)}, which is not done yet",
    "EVIDENCE": lambda c: (
        "a first check of the change failed, and the rest waits for that"
        if _stopped(c)
        else "the change was tried on what happened in the past"
    ),
    "REVIEW": lambda c: "the results are there; the people responsible are asked to agree",
    "REJECTED": _rejected,
    "APPROVED": lambda c: "everybody who has to agree has agreed",
    "SCHEDULED": lambda c: "the change has its time",
    "PREPARING": lambda c: f"the new version is being made ready beside the one in use. {_SILENT}",
    "SHADOW": lambda c: f"the new version answers copies of real requests. {_SILENT}",
    "STEP": lambda c: f"the new version answers {_stage_share(c)} of requests",
    "SOAKING": lambda c: "the new version answers all requests; the old one stays ready",
    "HOLD": _held,
    "RESUMED": lambda c: "what the change waited for is there, and it goes on",
    "COMMITTED": lambda c: "the change is done: everybody gets the new version",
    "RETIRED": lambda c: "the change is final",
    "ABORTING": lambda c: "everybody gets the version from before again",
    "REVERTING": lambda c: "everybody gets the version from before again",
    "ABORTED": lambda c: "the change is taken back, and the version from before answers everybody",
    "UNCHOSEN": lambda c: f"another candidate goes on, and this one ends: {c.said}",
    "WITHDRAWN": lambda c: "the change was withdrawn before it started. Nobody noticed anything",
}

_NEXT: Words = {
    "DRAFT": lambda c: "it is worked out what it touches, and tried",
    "PLANNED": lambda c: "it is tried on what happened in the past",
    "DEFERRED": lambda c: f"it goes on when {_waits_for(c)} is done",
    "EVIDENCE": lambda c: (
        "the author mends it, or somebody takes it upon himself"
        if _stopped(c)
        else f"{_who_signs(c)} are asked to agree"
    ),
    "REVIEW": lambda c: f"{_who_signs(c)} have to agree before anything starts",
    "REJECTED": lambda c: "the author changes it or withdraws it",
    "APPROVED": _starts,
    "SCHEDULED": _starts,
    "PREPARING": lambda c: "it is compared with the version in use",
    "SHADOW": lambda c: "if it is no worse, a few requests get its answers",
    "STEP": lambda c: "if nothing gets worse it takes more, otherwise it goes back by itself",
    "SOAKING": lambda c: "if nothing gets worse the change is done, otherwise it goes back",
    "HOLD": _after_hold,
    "RESUMED": lambda c: "the next step follows as planned",
    "COMMITTED": _until,
    "RETIRED": lambda c: "nothing; to undo it now is a change of its own",
    "ABORTING": lambda c: "it is checked that the version from before is well",
    "REVERTING": lambda c: "it is checked that the version from before is well",
    "ABORTED": lambda c: "everybody involved looks back together, without blame",
    "UNCHOSEN": lambda c: "nothing; it harmed nobody, and may be proposed again",
    "WITHDRAWN": lambda c: "nothing",
}
_BEFORE = ("DRAFT", "REVIEW", "APPROVED", "SCHEDULED", "PREPARING")


# --- the engineer's detail ------------------------------------------------------------


def _detail(moment: Moment, change: Change, judgement: Json | None) -> Iterator[str]:
    yield f"{change.ref} {moment} in {change.environment}: {change.said or 'nothing more said'}"
    rollout = rollout_of(change)
    if rollout:
        index = rollout["index"]
        stage = rollout["stages"][index] if index >= 0 else None
        where = f"{stage['name']} (weight {stage['weight']:g})" if stage else "no stage yet"
        hold = f", hold {rollout['hold']}: {rollout['said']}" if rollout["hold"] else ""
        yield f"rollout {rollout['state']}, {where}{hold}"
    if change.plan_digest:
        yield f"plan {change.plan_digest}"
    if change.release:
        yield f"release {change.release}, made against {change.made_against or 'nothing'}"
    if change.evidence:
        signed = sum(s.plan_digest == change.plan_digest for s in change.signoffs)
        yield f"{len(change.evidence)} pieces of evidence, {signed} sign-offs of this plan"
    yield from (f"waived: {waiver}" for waiver in change.waivers)
    if rollout and judgement:
        yield from _judged(judgement)
    yield from (f"path: {one['sentence']}" for one in _moved_services(change))


def _judged(judgement: Json) -> Iterator[str]:
    yield f"judge {judgement['verdict']} at {judgement.get('stage') or '-'}"
    for one in judgement["per_guardrail"]:
        yield (
            f"  {one['name']}: {one['verdict']}, e(harm) {_number(one['e_fail'])}, "
            f"e(safe) {_number(one['e_pass'])}, n {_number(one['n_stable'])} / "
            f"{_number(one['n_candidate'])}"
        )


# --- parts ----------------------------------------------------------------------------


def rollout_of(change: Change) -> Json:
    """Where the rollout stands, as stored; empty before it began."""
    return change.details.get("rollout") or {}


def _plan(change: Change) -> Json:
    return change.plan or {}


def _hold(change: Change) -> str:
    return str(rollout_of(change).get("hold") or "")


def _place(change: Change) -> tuple[str, int]:
    """Where a change stands: two steps of a ramp are two places."""
    return change.state, rollout_of(change).get("index", -1)


def _rejections(change: Change) -> list[Any]:
    return [s for s in change.signoffs if s.decision == "reject"]


def _moved_services(change: Change) -> list[Json]:
    """As the plan holds them: read as data, because a page must not load what parses SQL."""
    return [
        one
        for one in _plan(change).get("reached", ())
        if one["ref"].startswith("service:") and one["verdict"] in ("breaks", "moves")
    ]


def _listed(names: Sequence[str]) -> str:
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"


def _sentence(text: str) -> str:
    plain = " ".join(text.split())
    return plain[:1].upper() + plain[1:] + ("" if plain.endswith((".", "!", "?")) else ".")


def _day(instant: str) -> str:
    at = datetime.fromisoformat(instant)
    return f"{at.day} {at:%B %Y, %H:%M} UTC"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
