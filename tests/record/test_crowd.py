"""Two controllers and ten clients hammer the same changes, on both engines; and are killed."""

from __future__ import annotations

import os
import secrets
import signal
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from interlock.adapters.sqlrecord import SqlRecord
from interlock.app.workspace import Workspace
from interlock.define.project import Project
from interlock.testing.crowd import CHANGES, CLIENTS, CONTROLLERS, OPS, Act, Crowd, laws_broken

clients = st.tuples(st.integers(0, CLIENTS - 1), st.sampled_from(OPS), st.integers(0, CHANGES - 1))
controllers = st.tuples(
    st.integers(CLIENTS, CLIENTS + CONTROLLERS - 1), st.just("tick"), st.just(0)
)
LONG = int(os.environ.get("INTERLOCK_STORMS", "0"))  # as `make sim` sets it
storms = st.lists(st.one_of(clients, clients, controllers), min_size=6, max_size=24)


@pytest.fixture(scope="module")
def project(small_flights: Path) -> Project:
    return Workspace(small_flights, looking=True).project


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> object:
    """Gives a new place for a record each time it is called."""
    server = request.getfixturevalue("postgres_url") if request.param == "postgres" else ""

    def new() -> str:
        own = f"t{secrets.token_hex(6)}"
        return f"{server}&schema={own}" if server else str(tmp_path / f"{own}.db")

    return new


def machine(new: object, folder: Path, project: Project) -> type[RuleBasedStateMachine]:
    """Storms of acts; after each, the laws over the whole record."""

    class Storm(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            self.crowd = Crowd(new(), folder, project)  # type: ignore[operator]
            # Something to fight about from the start.
            for n in range(2):
                self.crowd.act(n, "propose", n)

        @rule(acts=storms)
        def all_at_once(self, acts: list[Act]) -> None:
            self.crowd.all_at_once(acts)

        @rule(change=st.integers(0, CHANGES - 1))
        def everybody_the_same(self, change: int) -> None:
            for op in OPS[1:3]:
                self.crowd.all_at_once([(n, op, change) for n in range(CLIENTS)])
            self.crowd.all_at_once(
                [(n, "start", change) for n in range(CLIENTS)]
                + [(n, "tick", 0) for n in range(CLIENTS, CLIENTS + CONTROLLERS)] * 3
            )

        @invariant()
        def the_laws_hold(self) -> None:
            assert laws_broken(self.crowd.record, self.crowd.did) == []

        def teardown(self) -> None:
            self.crowd.close()

    return Storm


@pytest.mark.slow
def test_whatever_they_do_the_laws_hold(  # R-C5
    place: object, tmp_path: Path, project: Project
) -> None:
    run_state_machine_as_test(
        machine(place, tmp_path, project),
        settings=settings(
            max_examples=LONG or 3, stateful_step_count=8 if LONG else 3,
            deadline=None, derandomize=not LONG,
            suppress_health_check=list(HealthCheck), database=None,
        ),
    )  # fmt: skip


# --- killed at every write ---------------------------------------------------------------

STORY: tuple[Act, ...] = (
    (0, "propose", 0), (1, "sign", 0), (2, "sign", 0), (1, "approve", 0), (3, "start", 0),
    *[(CLIENTS, "tick", 0)] * 4,
)  # fmt: skip
WRITES = 4 + 2 + 1 + 1 + 4


class Deadly(SqlRecord):
    """A record whose process dies at one of its commits, just before or just after it."""

    left = 0  # commits that are still made, by all records of this process
    after = False

    def _commit(self, connection: sa.Connection) -> None:
        Deadly.left -= 1
        if Deadly.left == 0 and not Deadly.after:
            os.kill(os.getpid(), signal.SIGKILL)
        super()._commit(connection)
        if Deadly.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def _killed(target: str, folder: Path, project: Project, at: int, after: bool) -> bool:
    """The story in a process of its own, which dies at its write number `at`."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    try:
        crowd = Crowd(target, folder, project, connect=Deadly)
        Deadly.left, Deadly.after = at, after
        for act in STORY:
            crowd.act(*act)
        os._exit(0)
    finally:
        os._exit(1)


@pytest.mark.slow
@pytest.mark.parametrize("after", [False, True], ids=["before the commit", "after it"])
def test_killed_at_every_write_the_story_goes_on_where_it_stood(  # R-B12
    place: object, tmp_path: Path, project: Project, after: bool
) -> None:
    # Every connection to a server takes its time: there each write is tried in the long run.
    sparse = "schema=" in place() and not LONG  # type: ignore[operator]
    for at in range(1, WRITES + 1, 4 if sparse else 1):
        target = place()  # type: ignore[operator]
        assert _killed(target, tmp_path, project, at, after), at
        crowd = Crowd(target, tmp_path, project)
        record = crowd.record
        kept = len(record.audit())
        for _ in range(2):
            for act in STORY:
                crowd.act(*act)
        broken = [said for said in laws_broken(record, crowd.did) if "told of" not in said]
        assert broken == [], at
        found = record.list("change")
        assert found[0].body["state"] == "COMMITTED" or len(found) > 1, at
        assert len(record.audit()) > kept or at == WRITES, at
        crowd.close()
