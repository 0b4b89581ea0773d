"""What has still to be told of a change: one value per change, kept in the record.

The versions of a change in the record ARE its outbox: a transition and what is to be told of it
are one row, so neither is there without the other. Kept beside them is only how far it was told,
and what is under way to whom. Pure: `app.outbox` reads, sends and writes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from interlock.change.notes import Note
from interlock.define.notifications import Moment, Notification, Occasion

MOST_ATTEMPTS = 10
_FIRST_S, _FACTOR, _LONGEST_S = 5.0, 3.0, 6 * 3600.0


@dataclass(frozen=True)
class Delivery:
    """One moment, to one place. `due` is when it is tried next, in seconds since 1970 on the wall.

    `attempts` counts those that were begun: it is written down before anything is sent, so
    that a kill in between repeats at most that one.
    """

    id: str
    place: str
    version: int
    moment: Moment | Occasion
    due: float
    attempts: int = 0
    said: str = ""


@dataclass(frozen=True)
class Outbox:
    """`told` is the version of the change up to which it is known what is to be told.

    `dead` were tried `MOST_ATTEMPTS` times and wait for a person; `delivered` is a count:
    which they were stands in the history of the entry.
    """

    change: str
    told: int = 0
    waiting: tuple[Delivery, ...] = ()
    dead: tuple[Delivery, ...] = ()
    delivered: int = 0

    def due(self, now: float) -> tuple[Delivery, ...]:
        """What is to be tried now, oldest first."""
        return tuple(one for one in self.waiting if one.due <= now)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Outbox:
        held = {name: tuple(Delivery(**one) for one in body[name]) for name in ("waiting", "dead")}
        return cls(**{**body, **held})


def queued(
    outbox: Outbox, told: int, notes: Sequence[Note], places: Mapping[str, Notification], now: float
) -> Outbox:
    """With what `notes` mean for each place, known now up to version `told`."""
    more = [
        Delivery(delivery_id(note, name), name, note.version, note.moment, now)
        for note in notes
        for name, place in places.items()
        if wanted(place, note)
    ]
    return replace(outbox, told=told, waiting=(*outbox.waiting, *more))


def wanted(place: Notification, note: Note) -> bool:
    """Is this place told of this moment?"""
    moments, teams = place.transitions, set(place.owners)
    return (not moments or note.moment in moments) and (not teams or bool(teams & set(note.teams)))


def delivery_id(note: Note, place: str) -> str:
    """The same for every attempt, another for anything else; letters, digits and `_` only."""
    made_of = "\x00".join(
        (note.about or note.change, str(note.version), note.moment, str(note.at), place)
    )
    return f"msg_{hashlib.sha256(made_of.encode()).hexdigest()[:24]}"


def begun(outbox: Outbox, trying: Sequence[Delivery], now: float) -> Outbox:
    """To be written before `trying` are sent: should this process die, they wait their turn."""
    ids = {one.id for one in trying}
    waiting = (_again(one, now) if one.id in ids else one for one in outbox.waiting)
    return replace(outbox, waiting=tuple(waiting))


def ended(outbox: Outbox, answers: Mapping[str, str]) -> Outbox:
    """After an attempt: `answers` maps ids to why it was not taken; empty means it was."""
    waiting, dead, delivered = [], list(outbox.dead), outbox.delivered
    for one in outbox.waiting:
        said = answers.get(one.id)
        if said is None:
            waiting.append(one)
        elif not said:
            delivered += 1
        elif one.attempts >= MOST_ATTEMPTS:
            dead.append(replace(one, said=said))
        else:
            waiting.append(replace(one, said=said))
    return replace(outbox, waiting=tuple(waiting), dead=tuple(dead), delivered=delivered)


def revived(outbox: Outbox, id: str, now: float) -> Outbox:
    """`id` is tried again now, from the first attempt, whether it is dead or only waits."""
    again = [
        replace(one, attempts=0, due=now) for one in (*outbox.dead, *outbox.waiting) if one.id == id
    ]
    rest = tuple(one for one in outbox.waiting if one.id != id)
    dead = tuple(one for one in outbox.dead if one.id != id)
    return replace(outbox, waiting=(*rest, *again), dead=dead)


def _again(one: Delivery, now: float) -> Delivery:
    attempts = one.attempts + 1
    return replace(one, attempts=attempts, due=now + pause(one.id, attempts))


def pause(id: str, attempts: int) -> float:
    """Seconds until the next attempt: three times as long each time, and never all at once.

    Spread by what the id hashes to, between half and all of it: no random source, so that
    the same story runs the same again.
    """
    longest = min(_FIRST_S * _FACTOR ** (attempts - 1), _LONGEST_S)
    drawn = hashlib.sha256(f"{id}:{attempts}".encode()).digest()
    return longest * (0.5 + int.from_bytes(drawn[:4], "big") / 2**33)
