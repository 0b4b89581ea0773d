"""Bookings in the record: taken with the approval, moved as the rollout goes, given back.

Each change has one entry, `booking:CR-n`. Who takes or moves a time also writes the
environment's `calendar` entry, which they read before they looked at the others: of two who
look at the same moment one is refused, and looks again.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from interlock.app.changes import ATTEMPTS, Held, evidence_of, held, save
from interlock.app.reliability import left
from interlock.app.versions import Version, calendar_over, stored
from interlock.change.agenda import OPEN, Booked, Standing, booking_body, open_bookings
from interlock.change.calendar import (
    DECIDED,
    Agenda,
    booked_at,
    conflicts,
    forbids,
    moving,
    next_free_slot,
    refusal,
    reserved,
    with_group,
)
from interlock.change.change import Change, Planned, moved, planned, with_evidence
from interlock.change.conflicts import Booking, Conflict, World
from interlock.change.footprint import Footprint, Phases, of_writes, phases_of
from interlock.change.signoff import holds
from interlock.change.windows import hour
from interlock.define.calendar import Calendar
from interlock.define.refs import Ref
from interlock.errors import Refused, Stale
from interlock.plan.plan import Plan, Slot, with_slot
from interlock.ports import Put
from interlock.rollout.state import RolloutState, State

if TYPE_CHECKING:
    from interlock.app.workspace import Workspace

# --- reading -------------------------------------------------------------------------


def all_booked(workspace: Workspace) -> list[Booked]:
    """Every booking of this environment that ever was, oldest first."""
    found = map(Booked.read, workspace.record.list("booking"))
    return [one for one in found if one.environment == workspace.environment]


def bookings(workspace: Workspace) -> tuple[Booking, ...]:
    """What approved and running changes hold, and until when."""
    # What is over stays in the record for ever: it is passed over before it is read.
    entries = (e for e in workspace.record.list("booking") if e.body["standing"] in OPEN)
    found = (Booked.read(e) for e in entries if e.body["environment"] == workspace.environment)
    return open_bookings(found, workspace.now())


def _put(workspace: Workspace, booking: Booking, standing: Standing, why: str) -> Put:
    ref = Ref("booking", booking.change)
    before = workspace.record.get(ref)
    body = booking_body(booking, workspace.environment, standing, why)
    return Put(ref, body, before.version if before else 0)


def begins_at(workspace: Workspace, id: str) -> datetime | None:
    """When the time begins that is taken for a change; None when none is."""
    entry = workspace.record.get(Ref("booking", id))
    if entry is None or entry.body["standing"] != "held":
        return None
    return Booked.read(entry).booking.phases.start


# --- what a change asks for ----------------------------------------------------------


def footprint_of(workspace: Workspace, change: Change) -> Footprint:
    """As it was kept when the change was planned, with what its evidence stands on."""
    kept = change.details.get("footprint")
    known = Footprint.from_json(kept) if kept else of_writes(change.details.get("writes", ()))
    stood = of_writes(ref for one in evidence_of(workspace.record, change) for ref in one.subjects)
    return replace(known, evidence=stood.writes)


def wanted(
    workspace: Workspace, change: Change, version: Version, start: datetime | None = None
) -> Booking:
    """The booking that `change` asks for: from `start`, or from the slot of its plan on.

    What is over already begins now.
    """
    plan = Plan.from_json(change.plan or {})
    now = workspace.now()
    begins = start or max(plan.slot.start if plan.slot else now, now)
    environment = version.project.environments[workspace.environment]
    times = phases_of(plan, environment, calendar_over(workspace, version), begins)
    return Booking(
        change.id,
        footprint_of(workspace, change),
        times,
        change.title,
        change.author,
        plan.after or "",
        bool(change.emergency),
        experiment=change.experiment,
    )


def starting(workspace: Workspace, change: Change, version: Version) -> Booking:
    """The booking of a change that begins now."""
    return wanted(workspace, change, version, workspace.now())


def world_of(workspace: Workspace, calendar: Calendar) -> World:
    """What decides beside the bookings, when a time is asked for."""
    budgets = left(workspace.record, workspace.environment)
    return World(workspace.now(), calendar, budgets=budgets)


# --- taking a time -------------------------------------------------------------------


@dataclass(frozen=True)
class Reserved:
    """A time that may be taken: `puts` take it, together with what it is taken for."""

    booking: Booking
    found: tuple[Conflict, ...]
    puts: tuple[Put, ...]


def reserve(workspace: Workspace, change: Change) -> Reserved:
    """The slot of an approved change, or the next free one where only the hour is in the way.

    `Refused` with every reason when people have to decide. Somebody else's reservation
    between this look and the write of `puts` makes that write `Stale`: look again.
    """
    epoch = _epoch(workspace, change.id)  # first: whoever books after this look moves it
    version = stored(workspace, change.release)
    world = world_of(workspace, calendar_over(workspace, version))
    own = _own(workspace, change)
    asked = wanted(workspace, change, version, own.phases.start if own else None)
    booking, found = reserved(Agenda(bookings(workspace)), asked, world)
    return Reserved(booking, found, (_put(workspace, booking, "held", "approved"), epoch))


def _own(workspace: Workspace, change: Change) -> Booking | None:
    """A time that was taken for it already, and is not over."""
    entry = workspace.record.get(Ref("booking", change.id))
    if entry is None or entry.body["standing"] != "held":
        return None
    booking = Booked.read(entry).booking
    return booking if booking.phases.start >= workspace.now() else None


def start(workspace: Workspace, change: Change) -> tuple[Put, ...]:
    """The booking of a change that starts now, wherever it was; `Refused` when it may not."""
    epoch = _epoch(workspace, change.id)
    version = stored(workspace, change.release)
    booking = starting(workspace, change, version)
    world = world_of(workspace, calendar_over(workspace, version))
    said = forbids(bookings(workspace), booking, world, earliest(change))
    if said:
        raise Refused(f"{change.id} may not start", "see `interlock calendar`", said)
    near = conflicts(Agenda(bookings(workspace)), booking, world)
    return (_put(workspace, with_group(booking, near), "started", "started"), epoch)


def earliest(change: Change) -> datetime | None:
    """When its plan says that it begins, at the soonest."""
    slot = (change.plan or {}).get("slot")
    return datetime.fromisoformat(slot[0]) if slot else None


def _epoch(workspace: Workspace, id: str) -> Put:
    ref = Ref("calendar", workspace.environment)
    before = workspace.record.get(ref)
    body = {"booked": id, "at": workspace.now().isoformat()}
    return Put(ref, body, before.version if before else 0)


def approve(workspace: Workspace, id: str, by: str) -> str:
    """APPROVED and booked in one write, when nothing else is missing; what came of it."""
    for _ in range(ATTEMPTS):
        before = held(workspace.record, id)
        if before.change.state != "REVIEW":
            return "approved"  # the last two to sign may come at the same moment
        try:
            taken = reserve(workspace, before.change)
            said = f"everything required is there; booked from {hour(taken.booking.phases.start)}"
            save(workspace, before, moved(before.change, "APPROVED", said), by=by, also=taken.puts)
        except Refused as refused:
            why = "; ".join(refused.objections) or refused.message
            said = f"not booked yet: {why}. {refused.help}"
            if said != before.change.said:
                _tell(workspace, before, said, by)
            return said
        except Stale:
            continue
        return f"approved, booked from {hour(taken.booking.phases.start)} UTC"
    raise Stale("others are booking at the same time", help="sign again, nothing is lost")


def _tell(workspace: Workspace, before: Held, said: str, by: str) -> None:
    """Why there is no time for it is part of its story; whoever moved it meanwhile knows more."""
    with suppress(Stale):
        save(workspace, before, replace(before.change, said=said), by=by)


# --- while it runs -------------------------------------------------------------------


@dataclass(frozen=True)
class Waits:
    """Why a rollout may not take its next step; empty texts when it may."""

    freeze: str = ""
    dependency: str = ""
    late: str = ""


def waits(workspace: Workspace, change: Change, late: Mapping[str, str]) -> Waits:
    """Every rule of the calendar again, before a step: windows, loads, and who else runs."""
    version = stored(workspace, change.release)
    mine = starting(workspace, change, version)
    world = replace(world_of(workspace, calendar_over(workspace, version)), late=late)
    said: dict[str, list[str]] = {"X7": [], "X8": [], "X12": []}
    for one in moving(mine, world):
        if one.action in ("block", "hold"):
            said[one.rule].append(one.sentence)
    running = (b.booking for b in all_booked(workspace) if b.standing in ("started", "committed"))
    others = conflicts(Agenda(running), mine, replace(world, calendar=Calendar()))
    meets = [one.sentence for one in others if one.action == "block" and one.rule in DECIDED]
    return Waits("; ".join(said["X7"] + said["X8"]), "; ".join(meets), "; ".join(said["X12"]))


# --- moving it -----------------------------------------------------------------------


def book(workspace: Workspace, id: str, *, by: str, at: datetime | None) -> Booked:
    """Another time for a change that has not started: at `at`, or where it is free next.

    The time is a part of what was signed: the change goes back to review, the time is kept
    for it meanwhile. Raises `Refused` with every rule against it and the next free slot.
    """
    for _ in range(ATTEMPTS):
        before = held(workspace.record, id)
        change = before.change
        epoch = _epoch(workspace, id)
        version = _bookable(workspace, change, by)
        calendar = calendar_over(workspace, version)
        world, agenda = world_of(workspace, calendar), Agenda(bookings(workspace))
        asked = wanted(workspace, change, version, at)
        if at is None:
            soonest = world.now + (timedelta(0) if asked.emergency else calendar.notice)
            booking = next_free_slot(agenda, asked, world, soonest)
            found = conflicts(agenda, booking, world)
            if any(one.rule == "X10" for one in found):
                raise refusal(agenda, booking, world, found)
            booking = with_group(booking, found)
        else:
            booking = booked_at(agenda, asked, world)
        said = f"{by} booked it from {hour(booking.phases.start)} UTC: it is signed for that again"
        puts = (_put(workspace, booking, "held", f"booked by {by}"), epoch)
        try:
            save(workspace, before, _moved_to(change, booking, said), by=by, also=puts)
        except Stale:
            continue
        return _read_one(workspace, id)
    raise Stale("others are booking at the same time", help="try again")


def _read_one(workspace: Workspace, id: str) -> Booked:
    entry = workspace.record.get(Ref("booking", id))
    assert entry is not None
    return Booked.read(entry)


def _bookable(workspace: Workspace, change: Change, by: str) -> Version:
    """The version it leads to; refuses what has none, has started, or is not `by`'s to move."""
    said = []
    if change.state not in ("REVIEW", "APPROVED", "SCHEDULED"):
        said.append(f"{change.id} is {change.state}: it is booked between review and start")
    if change.environment != workspace.environment:
        said.append(f"{change.id} is a change of {change.environment}")
    if said or not change.release:
        raise Refused(f"{change.id} cannot be booked", "see `interlock calendar`", said)
    version = stored(workspace, change.release)
    owners = version.project.owners
    if by != change.author and not holds(owners, by, "change_sponsor"):
        raise Refused(
            f"{by} may not move {change.id}",
            help=f"ask {change.author}, who opened it, or a change_sponsor",
        )
    return version


def _moved_to(change: Change, booking: Booking, said: str) -> Change:
    """`change` with its plan at another time: reviewed again, on the evidence it has."""
    plan = with_slot(Plan.from_json(change.plan or {}), slot_of(booking))
    made = Planned(plan.to_json(), plan.digest, change.release, change.made_against)
    again = moved(with_evidence(planned(change, made), ()), "REVIEW", said)
    # What was waived is a check, and no check is about the hour.
    return replace(again, waivers=change.waivers)


def slot_of(booking: Booking) -> Slot:
    """What the plan says of a booking."""
    return Slot(booking.phases.start, booking.phases.commit)


def cancelled(workspace: Workspace, change: Change, why: str) -> tuple[Put, ...]:
    """Its time is given back, when it has one."""
    entry = workspace.record.get(Ref("booking", change.id))
    if entry is None or entry.body["standing"] not in OPEN:
        return ()
    return (_put(workspace, Booked.read(entry).booking, "cancelled", why),)


def moved_along(workspace: Workspace, state: RolloutState, now: datetime) -> tuple[Put, ...]:
    """The booking as the rollout has it now: earlier or later than it was booked."""
    entry = workspace.record.get(Ref("booking", state.change))
    if entry is None:
        return ()  # started by an Interlock that had no bookings
    before = Booked.read(entry)
    standing = _STANDINGS.get(state.state, "started")
    times = along(before.booking.phases, state, now)
    after = replace(before.booking, phases=times)
    return (_put(workspace, after, standing, state.said),)


_STANDINGS: Mapping[State, Standing] = {
    State.COMMITTED: "committed", State.RETIRED: "over", State.ABORTED: "cancelled",
    State.UNCHOSEN: "cancelled",
}  # fmt: skip


def along(times: Phases, state: RolloutState, now: datetime) -> Phases:
    """What is over stays as it was, what is to come begins now and takes its least time."""
    left = state.stages[max(state.index, 0) :]
    match state.state:
        case State.SHADOW | State.STEP:
            soak = now + sum((s.hold for s in left if s.weight < 1), timedelta(0))
            ramp = now if state.index == 0 else times.ramp
        case State.SOAKING:
            ramp, soak = times.ramp, now
        case State.COMMITTED:
            return replace(times, ramp=min(times.ramp, now), soak=min(times.soak, now), commit=now,
                           over=now + state.rollback_window)  # fmt: skip
        case _:
            return times
    commit = soak + sum((s.hold for s in left if s.weight == 1), timedelta(0))
    return Phases(times.start, ramp, soak, commit, commit + state.rollback_window)
