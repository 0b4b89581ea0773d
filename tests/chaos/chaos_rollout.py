"""One rollout under fire: who is killed, when, and until when.

The controller is killed once in each place that a test names, by construction: it stands
still there until that has happened. Everybody else, and the controller again, is killed at
moments that a seed decides.
"""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from chaos_crowd import Crowd, Flights
from chaos_processes import (
    Killable,
    answers,
    controller,
    free_ports,
    gateway,
    services,
    wait_until,
)
from chaos_travellers import Travellers
from chaos_world import LAST_DAY, place_of, places_of, stand_still_in

from interlock.app import decide
from interlock.app.changes import held
from interlock.app.workspace import Workspace

GATEWAYS = 3
# Answers of services and gateways to the questions of travellers, as `make sim` sets it: half of
# them in the ramp, half at the step that is taken back, half while three are compared.
LONG = int(os.environ.get("INTERLOCK_QUESTIONS", "0"))
WITHIN = 600 if not LONG else 7200  # seconds
A_WHILE = 3.0  # seconds that a moment is waited for
MOST = 2  # of the kills at random in one place, so that no long one uses them up
LATER = (0.0, 0.002, 0.01, 0.03, 0.1)  # seconds between what was seen and the kill
BETWEEN = (200, 700)  # questions between two kills of the long profile


@dataclass
class Chaos:
    """Changes that were started together, the fleet that releases them, and people who ask."""

    folder: Path
    changes: Sequence[str]
    seed: int
    places: Sequence[str]  # stages, and states outside of one, in which the controller dies
    extra: int  # kills at random beside those
    hours: int = 12  # of recorded time between two looks
    waived: Sequence[str] = ()  # places from which a person goes on with what is open
    steps: int = 3  # places of the profile in which so many questions are asked
    hit: Counter[str] = field(default_factory=Counter)  # places where the controller was killed

    def __post_init__(self) -> None:
        self.spent: Counter[str] = Counter()  # of `extra`, by place
        self.chance = random.Random(self.seed)
        ports = free_ports(GATEWAYS + 3)
        self.ports = ports[:GATEWAYS]
        self.gateways = [gateway(self.folder, port) for port in self.ports]
        self.services = services(self.folder, ports[GATEWAYS:], self.ports)
        first = self.ports[0]
        self.controller = controller(self.folder, first, self.changes, LAST_DAY, self.hours)
        self.looking = Workspace(self.folder)
        flights = Flights.read(self.folder)
        self.crowd = Crowd(self.folder, self.ports, flights, self.seed)
        self.travellers = Travellers(self.folder, ports[-1], flights, self.seed)
        # Latency is a guardrail: who must be let through is not asked about without a pause.
        self.travellers.lines, self.travellers.pause = (8, 0.0) if LONG else (2, 0.1)

    @property
    def all(self) -> list[Killable]:
        return [self.controller, *self.gateways, *self.services]

    @property
    def kills(self) -> int:
        return sum(one.kills for one in self.all)

    def until_it_ended(self) -> list[str]:
        """Kill until all have ended, in each place once and `extra` times at random; the ends."""
        ends = time.monotonic() + WITHIN
        try:
            self._start()
            self.crowd.start()
            self.travellers.start()
            while self._places():
                assert time.monotonic() < ends, self._where()
                self._start()
                self._one_kill()
            self._afterwards()
        finally:
            self.crowd.stop()
            self.travellers.stop()
            for one in self.all:
                one.stop()
        ends = [place_of(held(self.looking.record, id).change) for id in self.changes]
        self.looking.close()
        return ends

    @property
    def left(self) -> list[str]:
        """Places in which the controller has yet to die."""
        return [place for place in self.places if not self.hit[place]]

    def _start(self) -> None:
        stand_still_in(self.folder, self.left)
        for one in self.all:
            one.start()
        assert not any(code for one in self.all for code in one.exits), self._where()

    def _one_kill(self) -> None:
        """Wait for a place that is left, or for a moment, and end whom the seed says."""
        due = self.chance.choice([self._any_time, self._a_write, self._a_move])()
        wait_until(lambda: self._ripe() or due(), A_WHILE, 0.01 * len(self.changes))
        here = self._places()
        place = next((one for one in self.left if one in here), min(here, default=""))
        by_chance = place not in self.left
        if not here or (by_chance and not (self.extra and self.spent[place] < MOST)):
            return
        victims = self._victims(place)
        self.extra -= by_chance
        self.spent[place] += by_chance
        time.sleep(self.chance.choice(LATER))
        killed = [one for one in victims if one.kill()]
        if self.controller in killed:
            here = self._places()  # it moves no more: this is where it died
            self.hit.update(here)
            if here & set(self.waived):
                self._promote()
            if LONG and here & set(self.places) and self.looking.route().weight:
                self._ask_long()

    def _promote(self) -> None:
        for id in self.changes:
            if held(self.looking.record, id).change.under_way:
                decide.promote(self.looking, id, by="priya", reason="days are made up")

    def _ripe(self) -> bool:
        """Somebody is in a place that is left, or all have ended."""
        here = self._places()
        return not here or bool(here & set(self.left))

    def _victims(self, place: str) -> list[Killable]:
        """In a place that is left the controller, perhaps with others; else anybody."""
        first = [self.controller]
        one, service = self.chance.choice(self.gateways), self.chance.choice(self.services)
        if place in self.left:
            return self.chance.choice([first, first, [*first, one], [*first, service, one]])
        return self.chance.choice([first, [one], self.gateways, [service], [one, service]])

    def _ask_long(self) -> None:
        """In the long profile the controller is dead until a step was asked about often enough."""
        enough = self.travellers.requests + LONG / 2 / self.steps
        while self.travellers.requests < enough:
            for one in (*self.gateways, *self.services):
                one.start()
            until = len(self.travellers.answers) + self.chance.randint(*BETWEEN)
            wait_until(lambda until=until: len(self.travellers.answers) >= until, 60, 0.05)
            one, other = self.chance.choice(self.gateways), self.chance.choice(self.services)
            for victim in self.chance.choice([[one], [other], [one, other], self.gateways]):
                victim.kill()

    def _any_time(self) -> Callable[[], bool]:
        """Often while still starting, building or catching up."""
        at = time.monotonic() + self.chance.uniform(0.2, 2.0)
        return lambda: time.monotonic() >= at

    def _a_write(self) -> Callable[[], bool]:
        """After the controller wrote down what it saw or did."""
        before = self._version()
        return lambda: self._version() != before

    def _a_move(self) -> Callable[[], bool]:
        """After the Route moved, while gateways load and follow."""
        before = self.looking.route().epoch
        return lambda: self.looking.route().epoch != before

    def _version(self) -> int:
        return sum(held(self.looking.record, id).version for id in self.changes)

    def _places(self) -> set[str]:
        return places_of(self.looking, self.changes)

    def _afterwards(self) -> None:
        """A few more decisions, by processes that may have been killed just now."""
        for one in (*self.gateways, *self.services):
            one.start()
        ready = lambda: all(map(answers, self.ports))  # noqa: E731  # asked again and again
        assert wait_until(ready, 30, 0.05), self._where()
        told = len(self.travellers.answers)
        assert wait_until(lambda: len(self.travellers.answers) >= told + 8, 30), self._where()
        before = len(self.crowd.decisions)
        wait_until(lambda: len(self.crowd.decisions) >= before + 8, 10, 0.05)

    def _where(self) -> str:
        every = [held(self.looking.record, id).change for id in self.changes]
        stand = "\n".join(f"{one.id} {one.state}: {one.said}" for one in every)
        return (
            f"after {self.kills} kills at {self.looking.now()}\n{stand}\n"
            f"trouble: {self.crowd.trouble} {self.travellers.trouble}\n"
            + "\n".join(f"{one.output.name}: {one.said()}" for one in self.all)
        )
