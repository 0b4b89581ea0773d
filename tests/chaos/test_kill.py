"""SIGKILL at any moment: no answer mixes releases, nothing is lost or done twice, the end is right.

Real processes, real engines. The schedule is seeded; where exactly a kill lands is left to
the machine, so that every run tries other places.
"""

from __future__ import annotations

import os
import random
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import chaos_checks as check
import pytest
from chaos_crowd import Crowd, Flights
from chaos_engines import Engines
from chaos_processes import (
    Killable,
    answers,
    command,
    controller,
    free_ports,
    gateway,
    services,
    wait_until,
)
from chaos_travellers import Travellers
from chaos_world import (
    LAST_DAY,
    LIFT,
    LIFTED,
    STAGES,
    ask_for,
    edit_good,
    edit_harmful,
    new_project,
    propose_first,
    release_first,
    set_engines,
    start_change,
)

from interlock.app import decide
from interlock.app.changes import evidence_of, held
from interlock.app.propose import propose
from interlock.app.tick import tick
from interlock.app.workspace import Workspace
from interlock.change.change import Change
from interlock.define.refs import Ref
from interlock.errors import Refused
from interlock.plan.plan import Plan

pytestmark = pytest.mark.slow
ENDS = ("COMMITTED", "ABORTED")
GATEWAYS = 3
# Answers of services and gateways to the questions of travellers, as `make sim` sets it: half of
# them in the ramp, half at the step that is taken back.
LONG = int(os.environ.get("INTERLOCK_QUESTIONS", "0"))
WITHIN = 600 if not LONG else 7200
IN_ONE_STATE = 5  # random kills, so that the long shadow does not use them up


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in which nothing was released. Copy it before you write."""
    folder = tmp_path_factory.mktemp("chaos") / "fresh"
    new_project(folder)
    return folder


@pytest.fixture(scope="module")
def proposed(fresh: Path) -> Path:
    """A project whose first release is signed. Copy it before you write."""
    folder = _copy(fresh, fresh.parent / "proposed")
    propose_first(folder)
    return folder


@dataclass(frozen=True)
class Released:
    """A project whose first release is live, with its servers. Copy it before you write."""

    folder: Path
    engines: Engines

    @contextmanager
    def copied(self, to: Path, patch: pytest.MonkeyPatch) -> Iterator[Path]:
        """The same again, with servers of its own, which end with it."""
        engines = Engines.new(self.engines.server, to.parent / "engines", self.engines).use(patch)
        try:
            yield _copy(self.folder, to)
        finally:
            engines.stop()


@pytest.fixture(scope="module")
def released(fresh: Path, postgres_url: str) -> Iterator[Released]:
    engines = Engines.new(postgres_url, fresh.parent / "engines")
    folder = _copy(fresh, fresh.parent / "released")
    set_engines(folder)
    try:
        with pytest.MonkeyPatch.context() as patch:
            engines.use(patch)
            propose_first(folder)
            release_first(folder)
        yield Released(folder, engines)
    finally:
        engines.stop()


@dataclass
class Chaos:
    """One rollout under fire: who is killed, when, and until when."""

    folder: Path
    change: str
    seed: int
    hours: int = 6  # of recorded time between two looks
    steps: int = 8  # of the profile in which so many questions are asked
    around_writes: bool = False  # no other moments, and the controller every time
    hit: Counter[str] = field(default_factory=Counter)  # states in which something was killed

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        self.asked: dict[int, int] = {}  # by epoch, what had been answered when it began
        ports = free_ports(GATEWAYS + 3)
        self.ports = ports[:GATEWAYS]
        self.gateways = [gateway(self.folder, port) for port in self.ports]
        self.services = services(self.folder, ports[GATEWAYS:], self.ports)
        first = self.ports[0]
        self.controller = controller(self.folder, first, self.change, LAST_DAY, self.hours)
        self.looking = Workspace(self.folder)
        flights = Flights.read(self.folder)
        self.crowd = Crowd(self.folder, self.ports, flights, self.seed)
        self.travellers = Travellers(self.folder, ports[-1], flights, self.seed)
        # Latency is a guardrail: who must be let through is not asked about without a pause.
        calm = (1, 0.15) if not self.around_writes else (2, 0.03)
        self.travellers.threads, self.travellers.pause = (6, 0.0) if LONG else calm

    @property
    def all(self) -> list[Killable]:
        return [self.controller, *self.gateways, *self.services]

    @property
    def kills(self) -> int:
        return sum(one.kills for one in self.all)

    def until_it_ended(self, at_random: int, within: float) -> str:
        """Kill until the change has ended, at random `at_random` times, then at each move only."""
        ends = time.monotonic() + within
        try:
            self._start()
            self.crowd.start()
            self.travellers.start()
            while not self._ended():
                assert time.monotonic() < ends, self._where()
                self._start()
                self._long_step()
                self._one_kill(self.kills < at_random and self.hit[self._state()] < IN_ONE_STATE)
            self._afterwards()
        finally:
            self.crowd.stop()
            self.travellers.stop()
            for one in self.all:
                one.stop()
        state = self._state()
        self.looking.close()
        return state

    def _start(self) -> None:
        for one in self.all:
            one.start()
        assert not [code for one in self.all for code in one.exits], self._where()

    def _long_step(self) -> None:
        """In the long profile the controller is dead until a step was asked about often enough."""
        route = self.looking.route()
        if not LONG or not route.weight or route.epoch in self.asked:
            return
        self.asked[route.epoch] = self.travellers.requests
        while self.travellers.requests < self.asked[route.epoch] + LONG / self.steps:
            self.controller.kill()
            for one in self.chance.choice([[], [self.chance.choice(self.all[1:])], self.gateways]):
                one.kill()
            for one in (*self.gateways, *self.services):
                one.start()
            time.sleep(self.chance.uniform(1.0, 5.0))

    def _one_kill(self, at_random: bool) -> None:
        """Wait for the moment, and end the controller, the gateway or both."""
        moment = self.chance.choice(self._moments() if at_random else [self._at_a_move])
        # Later on a wait that saw no move costs nobody their life, or nothing would move.
        if not (moment() or at_random) or self._ended():
            return
        victims = self.chance.choice(self._victims())
        if sum(one.kill() for one in victims):
            self.hit[self._state()] += 1

    def _victims(self) -> list[list[Killable]]:
        one, other = [self.controller], [self.chance.choice(self.gateways)]
        if self.around_writes:
            return [one, [*one, *other]]
        service = [self.chance.choice(self.services)]
        return [one, one, other, self.gateways, service, [*one, *other, *service]]

    def _moments(self) -> list[Callable[[], bool]]:
        if self.around_writes:
            return [self._at_a_write]
        return [self._any_time, self._at_a_write, self._at_a_move]

    def _any_time(self) -> bool:
        """Often while still starting, building or catching up."""
        time.sleep(self.chance.uniform(0.2, 2.0))
        return True

    def _at_a_write(self) -> bool:
        """A few milliseconds after the controller wrote down what it saw or did."""
        return self._when_moved(lambda: held(self.looking.record, self.change).version, 3.0)

    def _at_a_move(self) -> bool:
        """A few milliseconds after the Route moved, while gateways load and follow."""
        return self._when_moved(lambda: self.looking.route().epoch, 3.0)

    def _when_moved(self, seen: Callable[[], int], seconds: float) -> bool:
        before = seen()
        moved = wait_until(lambda: seen() != before, seconds)
        time.sleep(self.chance.choice([0.0, 0.002, 0.01, 0.03, 0.1]))
        return moved

    def _state(self) -> str:
        return held(self.looking.record, self.change).change.state

    def _ended(self) -> bool:
        return self._state() in ENDS

    def _afterwards(self) -> None:
        """A few more decisions, by processes that may have been killed just now."""
        for one in (*self.gateways, *self.services):
            one.start()
        ready = lambda: all(map(answers, self.ports))  # noqa: E731  # asked again and again
        assert wait_until(ready, 30, 0.05), self._where()
        told = len(self.travellers.answers)
        assert wait_until(lambda: len(self.travellers.answers) >= told + 20, 30), self._where()
        before = len(self.crowd.decisions)
        wait_until(lambda: len(self.crowd.decisions) >= before + 20, 10, 0.05)

    def _where(self) -> str:
        change = held(self.looking.record, self.change).change
        return (
            f"{change.state} after {self.kills} kills at {self.looking.now()}: {change.said}\n"
            f"trouble: {self.crowd.trouble} {self.travellers.trouble}\n"
            + "\n".join(f"{one.output.name}: {one.said()}" for one in self.all)
        )


def _copy(source: Path, to: Path) -> Path:
    shutil.copytree(source, to)
    return to


@pytest.fixture
def folder(released: Released, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A project whose first release is live, to write to."""
    with released.copied(tmp_path / "project", monkeypatch) as copy:
        yield copy


def test_a_rollout_killed_at_random_ends_where_it_should(folder: Path) -> None:
    edit_good(folder)
    change = start_change(folder, "A feature and its model")
    chaos = Chaos(folder, change.id, seed=20)

    assert chaos.until_it_ended(at_random=14, within=WITHIN) == "COMMITTED"

    after = check.Aftermath(folder, change.id)
    route = after.routes[max(after.routes)]
    assert (route.stable, route.candidate, route.blocked) == (change.release, None, ())
    assert check.stages_entered(after) == list(STAGES)
    # Two starts, the first release, the stages, the commit: nothing else moved the Route.
    assert len(after.routes) == 2 + 1 + len(STAGES) + 1
    check.buckets_are_those_of_the_log(after)
    check.log_was_read_once(after)
    _nobody_saw_a_mix(after, chaos)
    check.features_come_from_their_release(after, lifted=change.release)
    seen = check.cohorts_follow_the_route(after, chaos.crowd)
    assert seen["shadow:candidate"] == 0
    assert seen["step_50:candidate"] > 0
    assert seen["step_50:stable"] > 0
    assert chaos.kills >= 12
    _taken_back_the_logical_names_follow(after.workspace, change)
    after.workspace.close()


def _taken_back_the_logical_names_follow(workspace: Workspace, change: Change) -> None:
    """A commit can be taken back within its window, and whoever asks by name is taken along."""
    name = f"features.{LIFTED}_v1"
    highest = f"SELECT max({LIFTED}) AS n FROM {name}"
    assert workspace.warehouse.query(highest).to_pylist()[0]["n"] > LIFT
    decide.rollback(workspace, change.id, by="priya", reason="a drill: it is taken back")
    tick(workspace)
    assert workspace.route().stable == change.made_against
    assert workspace.warehouse.query(highest).to_pylist()[0]["n"] < LIFT


def test_a_harmful_change_killed_around_its_abort_goes_back_and_stays_back(
    folder: Path,
) -> None:
    edit_harmful(folder)
    change = start_change(folder, "A model that has learnt nothing")
    chaos = Chaos(folder, change.id, seed=21, hours=3, steps=2, around_writes=True)

    assert chaos.until_it_ended(at_random=14, within=WITHIN) == "ABORTED"

    after = check.Aftermath(folder, change.id)
    route = after.routes[max(after.routes)]
    assert (route.stable, route.candidate) == (change.made_against, None)
    assert route.blocked == (change.release,)
    assert [move.state for move in after.rollout.history] == ["step", "aborting", "aborted"]
    check.log_was_read_once(after)
    _nobody_saw_a_mix(after, chaos)
    assert check.cohorts_follow_the_route(after, chaos.crowd)["step_25:candidate"] > 0
    assert chaos.kills >= 8
    assert chaos.hit["STEP"] > 0
    assert chaos.hit["ABORTING"] > 0
    with pytest.raises(Refused, match="was rolled back and is blocked"):
        propose(after.workspace, ask_for("The same again"))
    after.workspace.close()


def test_propose_killed_and_run_again_opens_one_change(fresh: Path, tmp_path: Path) -> None:
    folder = _copy(fresh, tmp_path / "proposed")
    asked = ("--title", "First release", "--by", "wei", "--rollback-when", "harm seen")
    proposing = command(folder, "propose", *asked)
    looking = Workspace(folder)
    chance = random.Random(22)
    # While reading and building, in training, and in the middle of the evidence.
    for state in ("", "DRAFT", "DRAFT"):
        proposing.start()
        assert wait_until(lambda state=state: state in ("", _only_state(looking)), 60)
        time.sleep(chance.uniform(0.1, 1.0))
        assert proposing.kill(), proposing.said()

    code = proposing.run(60)

    # Refused is said of the evidence, which made-up data cannot bring; not of the lock.
    assert code == 3, proposing.said()
    assert "in use" not in proposing.said()
    assert _only_state(looking) == "REVIEW"
    change = held(looking.record, "CR-1").change
    plan = Plan.from_json(change.plan or {})
    checks = [piece.check for piece in evidence_of(looking.record, change)]
    assert len(checks) == len(set(checks))
    assert set(plan.evidence) <= set(checks)
    assert len(list((folder / ".interlock/artifacts").rglob("*.tmp*"))) == 0
    assert len(looking.record.list("release")) == 1
    check.audit_is_whole(check.Aftermath(folder, "CR-1"))
    assert proposing.kills == 3
    looking.close()


def test_apply_killed_and_run_again_prepares_once(proposed: Path, tmp_path: Path) -> None:
    folder = _copy(proposed, tmp_path / "applied")
    looking = Workspace(folder)
    change = held(looking.record, "CR-1").change
    applying = command(folder, "apply", change.id, "--by", "sam")
    for pause in (0.0, 0.05, 0.1, 0.2):
        applying.start()
        wait_until(lambda: _only_state(looking) in ("PREPARING", "COMMITTED"), 60)
        time.sleep(pause)
        applying.kill()

    assert applying.run(60) == 0, applying.said()

    assert applying.kills == 4
    assert _only_state(looking) == "COMMITTED"
    assert looking.route().stable == change.release
    # Claimed once by the start, moved once by the release.
    assert [e.version for e in looking.record.history(looking.route_ref)] == [1, 2]
    assert len(looking.record.history(Ref("serving", change.release))) == 1
    # Whoever asks by its logical name gets what was released.
    assert looking.warehouse.query("SELECT count(*) AS n FROM wh.spine").to_pylist()[0]["n"] > 0
    looking.close()
    assert applying.run(60) == 0, applying.said()  # asked once more, it has nothing to do
    check.audit_is_whole(check.Aftermath(folder, change.id))
    looking.close()


def _only_state(looking: Workspace) -> str:
    """The state of the one change there is; empty before there is one."""
    changes = looking.record.list("change")
    assert len(changes) < 2, [entry.ref for entry in changes]
    return str(changes[0].body["state"]) if changes else ""


def _nobody_saw_a_mix(after: check.Aftermath, chaos: Chaos) -> None:
    """What holds however a rollout ends."""
    crowd = chaos.crowd
    seen = check.one_question_one_release(after, chaos.travellers)
    assert min(seen["candidate"], seen["stable"]) > 0
    assert chaos.travellers.requests >= (LONG / 2 or 600)
    if LONG:
        print(f"{chaos.travellers.requests} answers, {dict(seen)}, {chaos.kills} kills")  # noqa: T201
    check.every_answer_is_of_one_release(after, crowd)
    agreed = check.services_agree(after, crowd)
    assert agreed["whole"] > 50
    assert agreed["moved on"] + agreed["taken back"] > 0  # the header was needed
    check.nothing_acknowledged_is_lost(after, crowd)
    answered = check.scores_come_from_their_release(after)
    assert min(answered.values()) > 0
    assert len(answered) == 2
    check.routes_have_no_gap(after)
    check.history_is_one_path(after)
    check.audit_is_whole(after)
