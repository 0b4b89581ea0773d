"""SIGKILL at any moment: no answer mixes releases, nothing is lost or done twice, the end is right.

Real processes, real engines. The schedule is seeded; where exactly a kill lands is left to
the machine, so that every run tries other places.
"""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import chaos_checks as check
import pytest
from chaos_engines import Engines
from chaos_processes import command, wait_until
from chaos_rollout import LONG, Chaos
from chaos_world import (
    FEW,
    LIFT,
    LIFTED,
    STAGES,
    STRAIGHT,
    ask_for,
    edit_good,
    edit_harmful,
    new_project,
    propose_first,
    release_first,
    set_engines,
    set_stages,
    start_change,
    start_three,
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
PATIENCE = 300.0  # seconds, on a machine that has much else to do


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in which nothing was released. Copy it before you write."""
    folder = tmp_path_factory.mktemp("chaos") / "small"
    new_project(folder, FEW)
    return folder


@pytest.fixture(scope="module")
def proposed(small: Path) -> Path:
    """The same, its first release signed. Copy it before you write."""
    folder = _copy(small, small.parent / "proposed")
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
def released(tmp_path_factory: pytest.TempPathFactory, postgres_url: str) -> Iterator[Released]:
    folder = tmp_path_factory.mktemp("chaos") / "released"
    engines = Engines.new(postgres_url, folder.parent / "engines")
    new_project(folder)
    set_engines(folder)
    try:
        with pytest.MonkeyPatch.context() as patch:
            engines.use(patch)
            propose_first(folder)
            release_first(folder)
        yield Released(folder, engines)
    finally:
        engines.stop()


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
    # In some made-up days no KPI can be shown, so somebody goes on without.
    chaos = Chaos(folder, [change.id], seed=20, places=STAGES, extra=5, waived=["soak"])

    assert chaos.until_it_ended() == ["COMMITTED"]

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
    assert set(chaos.hit) >= set(STAGES)
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


def _alone(folder: Path) -> None:
    edit_harmful(folder)
    set_stages(folder, STRAIGHT)
    change = start_change(folder, "A model that has learnt nothing")
    places = ("step_25", "ABORTING")
    chaos = Chaos(folder, [change.id], seed=21, places=places, extra=5, hours=6, steps=1)

    assert chaos.until_it_ended() == ["ABORTED"]

    after = check.Aftermath(folder, change.id)
    route = after.routes[max(after.routes)]
    assert (route.stable, route.candidate) == (change.made_against, None)
    assert route.blocked == (change.release,)
    assert [move.state for move in after.rollout.history] == ["step", "aborting", "aborted"]
    check.log_was_read_once(after)
    _nobody_saw_a_mix(after, chaos)
    assert check.cohorts_follow_the_route(after, chaos.crowd)["step_25:candidate"] > 0
    assert set(chaos.hit) >= set(places)
    _it_was_left(after, chaos, change)
    with pytest.raises(Refused, match="was rolled back and is blocked"):
        propose(after.workspace, ask_for("The same again"))
    after.workspace.close()


def _one_of_three(folder: Path) -> None:
    """It goes back by itself, a person sends the others on, and one of them is chosen."""
    good, harmful, other = three = start_three(folder)
    changes, places = [change.id for change in three], ("ab", "ABORTING", "soak")
    chaos = Chaos(folder, changes, seed=23, places=places, extra=1, waived=places[1:])

    ends = chaos.until_it_ended()

    assert ends in (["COMMITTED", "ABORTED", "UNCHOSEN"], ["UNCHOSEN", "ABORTED", "COMMITTED"])
    won = good if ends[0] == "COMMITTED" else other
    after = check.Aftermath(folder, won.id)
    route = after.routes[max(after.routes)]
    assert (route.stable, route.candidates, route.blocked) == (won.release, (), (harmful.release,))
    assert check.stages_entered(after) == ["ab", "soak"]
    # Two starts, the first release, all three, two of them, the one that was chosen, its commit.
    assert len(after.routes) == 2 + 1 + 4
    check.buckets_are_those_of_the_log(after)
    check.log_was_read_once(after)
    _nobody_saw_a_mix(after, chaos)
    check.features_come_from_their_release(after, lifted=good.release)
    seen = check.cohorts_follow_the_route(after, chaos.crowd)
    assert min(seen[f"ab:{arm}"] for arm in ("stable", "candidate", "outside")) > 0
    assert set(chaos.hit) >= set(places)
    _it_was_left(after, chaos, harmful)
    after.workspace.close()


def _it_was_left(after: check.Aftermath, chaos: Chaos, change: Change) -> None:
    late = check.answers_after_the_end(after, chaos.travellers, change.release)
    print(f"from the Route's move to the candidate's last answer: {late * 1000:.0f} ms")  # noqa: T201


# The way back is one for both; the longer story is told each time, the other by `make sim` too.
HARMFUL = {"one of three": _one_of_three} | ({"alone": _alone} if LONG else {})


@pytest.mark.parametrize("story", HARMFUL)
def test_a_harmful_change_killed_around_its_abort_goes_back_and_stays_back(
    folder: Path, story: str
) -> None:
    HARMFUL[story](folder)


def test_propose_killed_and_run_again_opens_one_change(small: Path, tmp_path: Path) -> None:
    folder = _copy(small, tmp_path / "proposed")
    asked = ("--title", "First release", "--by", "wei", "--rollback-when", "harm seen")
    proposing = command(folder, "propose", *asked)
    looking = Workspace(folder)
    chance = random.Random(22)
    # While reading and building, in training, and in the middle of the evidence.
    for state in ("", "DRAFT", "DRAFT"):
        proposing.start()
        assert wait_until(lambda state=state: state in ("", _only_state(looking)), PATIENCE)
        time.sleep(chance.uniform(0.1, 1.0))
        assert proposing.kill(), proposing.said()

    code = proposing.run(PATIENCE)

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
        wait_until(lambda: _only_state(looking) in ("PREPARING", "COMMITTED"), PATIENCE)
        time.sleep(pause)
        applying.kill()

    assert applying.run(PATIENCE) == 0, applying.said()

    assert applying.kills == 4
    assert _only_state(looking) == "COMMITTED"
    assert looking.route().stable == change.release
    # Claimed once by the start, moved once by the release.
    assert [e.version for e in looking.record.history(looking.route_ref)] == [1, 2]
    assert len(looking.record.history(Ref("serving", change.release))) == 1
    # Whoever asks by its logical name gets what was released.
    assert looking.warehouse.query("SELECT count(*) AS n FROM wh.spine").to_pylist()[0]["n"] > 0
    looking.close()
    assert applying.run(PATIENCE) == 0, applying.said()  # asked once more, it has nothing to do
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
    print(  # noqa: T201
        f"{len(chaos.travellers.answers)} questions, {chaos.travellers.requests} answers, "
        f"{dict(seen)}, {chaos.kills} kills, {dict(chaos.hit)}"
    )
    check.every_answer_is_of_one_release(after, crowd)
    agreed = check.services_agree(after, crowd)
    assert agreed["whole"] > 50
    assert agreed["moved on"] + agreed["taken back"] > 0  # the header was needed
    check.nothing_acknowledged_is_lost(after, crowd)
    answered = check.scores_come_from_their_release(after)
    assert min(answered.values()) > 0
    assert len(answered) == 1 + len(chaos.changes)
    check.routes_have_no_gap(after, chaos.changes)
    check.history_is_one_path(after)
    check.audit_is_whole(after)
