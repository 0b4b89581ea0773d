"""Evidence: the result of one check on exact inputs, and the gate that asks for it.

What was not measured is not evidence. Missing, failed, inconclusive, expired, and made
on other inputs: each blocks, and each says so in its own words.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from interlock.define.digest import digest

Verdict = Literal["pass", "fail", "inconclusive"]
SHORTEST_REASON = 10
_NONE: Mapping[str, str] = {}


@dataclass(frozen=True)
class Evidence:
    """One check. `subjects` maps texts of Refs to the digests they had when it was made.

    `value` is the measured number, `interval` its bounds, `baseline` what it was compared
    with; None means not measured. A number that is not finite was not measured either:
    it is kept as None, and a pass that rests on it becomes inconclusive. `rows` says what
    data it was made on: by physical table, how often its rows had moved, and until which
    event time it looked. `inputs` are the digests of everything else that decides the result,
    of both releases: what has the same inputs need not be made again. `not_run` says which
    layer stood in the way; empty when the check was made.
    """

    check: str
    subjects: Mapping[str, str]
    verdict: Verdict
    sentence: str
    made_at: datetime
    metric: str = ""
    slice: str = ""
    n: int | None = None
    value: float | None = None
    interval: tuple[float, float] | None = None
    baseline: float | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
    query: str = ""
    expires_at: datetime | None = None
    rows: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    inputs: Mapping[str, str] = field(default_factory=dict)
    not_run: str = ""

    def __post_init__(self) -> None:
        numbers = (self.value, self.baseline, *(self.interval or ()))
        object.__setattr__(self, "details", _plain(self.details))
        if any(number is not None and not math.isfinite(number) for number in numbers):
            self._forget_numbers()

    def _forget_numbers(self) -> None:
        for name in ("value", "baseline"):
            object.__setattr__(self, name, _plain(getattr(self, name)))
        if self.interval and not all(map(math.isfinite, self.interval)):
            object.__setattr__(self, "interval", None)
        if self.verdict == "pass":
            object.__setattr__(self, "verdict", "inconclusive")

    @property
    def digest(self) -> str:
        """Its address. Making it again on the same inputs with the same result gives the same."""
        body = self.to_json()
        del body["made_at"]
        return digest(body)

    def to_json(self) -> dict[str, Any]:
        # Evidence that says nothing of these keeps the address it had.
        late = {
            "rows": {name: dict(at) for name, at in self.rows.items()},
            "inputs": dict(self.inputs),
            "not_run": self.not_run,
        }
        return {
            **{name: held for name, held in self.__dict__.items() if name not in late},
            **{name: held for name, held in late.items() if held},
            "subjects": dict(self.subjects),
            "interval": list(self.interval) if self.interval else None,
            "made_at": _instant(self.made_at),
            "expires_at": _instant(self.expires_at) if self.expires_at else None,
        }

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Evidence:
        interval, expires_at = body.get("interval"), body.get("expires_at")
        read = {
            "interval": (interval[0], interval[1]) if interval else None,
            "made_at": datetime.fromisoformat(body["made_at"]),
            "expires_at": datetime.fromisoformat(expires_at) if expires_at else None,
        }
        return cls(**{**body, **read})


@dataclass(frozen=True)
class Waiver:
    """A person takes the blame for one check that did not pass. It is shown, always."""

    check: str
    by: str
    role: str
    reason: str
    at: datetime

    @property
    def counts(self) -> bool:
        return len(self.reason.strip()) >= SHORTEST_REASON

    def __str__(self) -> str:
        return f"{self.check} is waived by {self.by} ({self.role}): {self.reason}"

    def to_json(self) -> dict[str, Any]:
        return {**self.__dict__, "at": _instant(self.at)}

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Waiver:
        return cls(**{**body, "at": datetime.fromisoformat(body["at"])})


def gate(
    required: Sequence[str],
    evidence: Sequence[Evidence],
    waivers: Sequence[Waiver],
    now: datetime,
    current: Mapping[str, str],
    outdated: Mapping[str, str] = _NONE,
) -> tuple[str, ...]:
    """What the required checks still lack; empty lets the change through.

    A check counts for the things its evidence names, at the digests `current` holds. One
    required check may have many pieces (per slice, per subject): all of them must pass.
    `outdated` says by digest why a piece does not count any more: its rows have moved.
    """
    lifted = {waiver.check for waiver in waivers if waiver.counts}
    too_short = [
        f"the waiver of {w.check} by {w.by} gives no reason of {SHORTEST_REASON} characters"
        for w in waivers
        if not w.counts
    ]
    said = [
        sentence
        for check in dict.fromkeys(required)
        if check not in lifted
        for sentence in _lacks(
            check, [e for e in evidence if e.check == check], now, (current, outdated)
        )
    ]
    return (*dict.fromkeys(said), *too_short)


def _lacks(
    check: str,
    pieces: Sequence[Evidence],
    now: datetime,
    today: tuple[Mapping[str, str], Mapping[str, str]],
) -> Iterator[str]:
    current, outdated = today
    if held_up := _not_run(pieces):
        yield f"{check}: {held_up}"
        return
    pieces = [piece for piece in pieces if not piece.not_run]
    by_subjects: dict[frozenset[str], list[Evidence]] = {}
    for piece in pieces:
        # What is about things that left the change has nothing to say about it any more.
        if not piece.subjects or any(ref in current for ref in piece.subjects):
            by_subjects.setdefault(frozenset(piece.subjects), []).append(piece)
    if not by_subjects:
        yield f"{check}: no evidence yet"
    for same in by_subjects.values():
        valid = [piece for piece in same if not _elsewhere(piece, current)]
        if not valid:
            yield f"{check}: made on other versions: {_elsewhere(max(same, key=_made), current)}"
        for piece in newest(valid, outdated):
            if piece.digest in outdated:
                yield f"{check}: {outdated[piece.digest]}"
            else:
                yield from _objection(piece, now)


def _not_run(pieces: Sequence[Evidence]) -> str:
    """That a check was not run, when nothing was made of it since."""
    last = pieces[-1:]  # in the order in which a change took them up, whenever they were made
    return last[0].sentence if last and last[0].not_run else ""


def _made_since(piece: Evidence, pieces: Sequence[Evidence]) -> bool:
    """Is it only word that a check was not run, and was it run since?"""
    same = [one for one in pieces if one.check == piece.check]
    return bool(piece.not_run) and not _not_run(same)


def newest(pieces: Sequence[Evidence], outdated: Mapping[str, str] = _NONE) -> tuple[Evidence, ...]:
    """The last word of each check on its subjects, metric and slice; one that stands goes first."""
    words: dict[object, Evidence] = {}
    order = [piece for piece in sorted(pieces, key=_made) if not _made_since(piece, pieces)]
    gone = [piece for piece in order if piece.digest in outdated]
    for piece in (*gone, *(one for one in order if one.digest not in outdated)):
        words[piece.check, frozenset(piece.subjects), piece.metric, piece.slice] = piece
    return tuple(words.values())


def _made(piece: Evidence) -> datetime:
    return piece.made_at


def _elsewhere(piece: Evidence, current: Mapping[str, str]) -> str:
    if not piece.subjects:
        return "it names nothing that it was made on"
    moved = sorted(ref for ref, made in piece.subjects.items() if current.get(ref) != made)
    return f"{', '.join(moved)} changed since" if moved else ""


def _objection(piece: Evidence, now: datetime) -> Iterator[str]:
    where = f"{piece.check} ({piece.slice})" if piece.slice else piece.check
    if piece.verdict == "fail":
        yield f"{where} failed: {piece.sentence}"
    elif piece.verdict != "pass":
        yield f"{where} is inconclusive: {piece.sentence}"
    elif piece.n == 0:
        # Zero measurements can never be safe, whatever the verdict says.
        yield f"{where} is inconclusive: it measured nothing"
    if piece.expires_at is not None and piece.expires_at <= now:
        yield f"{where} expired at {piece.expires_at:%d %b %H:%M}: make it again"


def _instant(value: datetime) -> str:
    return value.astimezone(UTC).isoformat()


def _plain(value: Any) -> Any:
    """`value` as JSON holds it: what is not a finite number becomes None."""
    match value:
        case float():
            return value if math.isfinite(value) else None
        case Mapping():
            return {str(key): _plain(held) for key, held in value.items()}
        case list() | tuple():
            return [_plain(held) for held in value]
        case _:
            # Numbers of numpy know their plain value.
            item = getattr(value, "item", None)
            return _plain(item()) if item else value
