"""What it costs to ask whether one more change may have its time.

5,000 changes over 90 days on a generated graph of 2,000 nodes, as an index that was made once
and as entries of a record. CPU seconds of this process.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from interlock.change.agenda import Booked, booking_body
from interlock.change.calendar import Agenda, conflicts, next_free_slot
from interlock.change.conflicts import Booking, World
from interlock.change.footprint import Footprint, Measure, Need, Phases
from interlock.define.calendar import Allow, Calendar, Freeze, Resource
from interlock.define.refs import Ref
from interlock.errors import Refused
from interlock.ports import Entry

NODES, CHANGES, DAYS, ASKED = 2000, 5000, 90, 200
START = datetime(2026, 3, 2, tzinfo=UTC)
HOUR = timedelta(hours=1)
CALENDAR = Calendar(
    freezes=(
        Freeze(
            name="weekend", start="2026-03-06T18:00:00", end="2026-03-09T08:00:00",
            timezone="Europe/Berlin", rrule="FREQ=WEEKLY;BYDAY=FR", scope=("service:*",),
        ),
    ),
    allows=(
        Allow(
            name="office", start="2026-03-02T07:00:00", end="2026-03-02T20:00:00",
            timezone="Europe/Berlin", rrule="FREQ=DAILY", scope=("model:*",),
        ),
    ),
    resources=(Resource(name="gpu", capacity=40, scope=("model:*",)),),
)  # fmt: skip
WORLD = World(START, CALENDAR)


def graph(chance: random.Random) -> tuple[list[str], list[list[int]]]:
    """Names, and for each who reads it: six in ten are tables, the last tenth are services."""
    kinds = ["table"] * 1200 + ["view"] * 400 + ["model"] * 200 + ["service"] * 200
    names = [str(Ref(kind, f"n{i}")) for i, kind in enumerate(kinds)]  # type: ignore[arg-type]  # kinds as above
    readers: list[list[int]] = [[] for _ in names]
    for node in range(1, NODES):
        for source in chance.sample(range(max(0, node - 400), node), min(node, 2)):
            readers[source].append(node)
    return names, readers


def reached(readers: list[list[int]], start: int) -> set[int]:
    """Everything downstream of a node, itself too."""
    found, open_ = {start}, [start]
    while open_:
        for reader in readers[open_.pop()]:
            if reader not in found:
                found.add(reader)
                open_.append(reader)
    return found


def booking(chance: random.Random, number: int, made: tuple[list[str], list[list[int]]]) -> Booking:
    """One to three writes, some of them breaking, with all that they reach."""
    names, readers = made
    writes = chance.sample(range(NODES), chance.randint(1, 3))
    impact = {names[node] for one in writes for node in reached(readers, one)}
    written = frozenset(names[one] for one in writes)
    reads = frozenset(names[chance.randrange(max(one, 1))] for one in writes) - written
    acting = frozenset(n for n in impact if n.startswith(("model:", "service:")))
    start = START + chance.randrange(DAYS * 24) * HOUR
    ramp = start + chance.randint(1, 3) * HOUR
    soak = ramp + chance.randint(6, 48) * HOUR
    commit = soak + chance.randint(6, 48) * HOUR
    times = Phases(start, ramp, soak, commit, commit + timedelta(days=7))
    touched = Footprint(
        writes=written,
        breaking=written if chance.random() < 0.3 else frozenset(),
        reads=reads,
        impact=acting,
        evidence=reads | written,
        measures=tuple(Measure(name) for name in sorted(acting & written)),
        needs=(Need("gpu", "prepare"),) if any(n.startswith("model:") for n in written) else (),
    )
    return Booking(f"CR-{number}", touched, times)


def cpu(work: Callable[[], object]) -> float:
    """CPU seconds of one call."""
    before = time.process_time()
    work()
    return time.process_time() - before


def main() -> None:
    """Print the table."""
    chance = random.Random(7)
    made = graph(chance)
    held = [booking(chance, i, made) for i in range(CHANGES)]
    asked = [booking(chance, CHANGES + i, made) for i in range(ASKED)]
    index = cpu(lambda: Agenda(held))
    agenda = Agenda(held)
    near = sum(len(agenda.around(one.phases.whole)) for one in asked) / ASKED
    checks = cpu(lambda: [conflicts(agenda, one, WORLD) for one in asked]) / ASKED
    slots = cpu(lambda: [_slot(agenda, one) for one in asked[:20]]) / 20
    bodies = [json.dumps(booking_body(one, "prod", "held", "")) for one in held]
    reading = cpu(lambda: [_read(i, text) for i, text in enumerate(bodies)])
    print(f"{CHANGES:,} bookings over {DAYS} days on {NODES:,} nodes; {near:,.0f} touch the window")
    print(f"index, once                  {index * 1e3:8.1f} ms")
    print(f"read from entries, once      {reading * 1e3:8.1f} ms")
    print(f"one admission check          {checks * 1e3:8.1f} ms")
    print(f"  per 1,000 in the window    {checks * 1e6 / near:8.1f} ms")
    print(f"next free slot in a year     {slots * 1e3:8.1f} ms")


def _slot(agenda: Agenda, wanted: Booking) -> Booking | None:
    try:
        return next_free_slot(agenda, wanted, WORLD, wanted.phases.start)
    except Refused:
        return None


def _read(number: int, text: str) -> Booked:
    entry = Entry(Ref("booking", f"CR-{number}"), 1, json.loads(text), START, "sam")
    return Booked.read(entry)
