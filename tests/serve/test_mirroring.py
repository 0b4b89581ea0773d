"""What the other release would have said: never in the way of an answer, and never made up."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
from mirror_processes import DIES, HANGS, RAISES, SPINS
from serving_world import CANDIDATE, STABLE, World, body, mirrors, world

from interlock.adapters.predictions import JsonLinesLog
from interlock.app import mirroring
from interlock.app.asked import Answered, Ask
from interlock.web import oip

SCRIPT = Path(__file__).parent / "mirror_processes.py"


@pytest.fixture
def served(tmp_path: Path) -> Iterator[World]:
    """A gateway on a wall clock, so that nothing waits for its mirror."""
    yield from running(world(tmp_path))


@pytest.fixture
def moody(tmp_path: Path) -> Iterator[World]:
    """The same; what is mirrored meets models that die, hang and raise."""
    made = world(tmp_path)
    command = (sys.executable, str(SCRIPT), "1.5")
    made.gateway.mirrors = mirrors(tmp_path, made.artifacts, command)
    yield from running(made)


def running(made: World) -> Iterator[World]:
    made.gateway.replay_clock = False
    made.route(candidate=CANDIDATE, weight=0.0, mirror=True)
    made.gateway.start()
    yield made
    made.gateway.stop()
    made.log.close()
    made.store.close()


def ask(flights: list[int], distance: float = 500.0, carrier: str = "UA") -> Ask:
    count = len(flights)
    sent = body(flights, distance=[distance] * count, carrier=[carrier] * count)
    return replace(oip.parse(oip.Door("late"), orjson.dumps(sent)).ask, at=None)


def until(true: Callable[[], Any]) -> None:
    """Wait for something that happens elsewhere; a minute is far beyond what it takes."""
    for _ in range(6000):
        if true():
            return
        time.sleep(0.01)
    raise AssertionError("it never happened")


def counted(served: World) -> dict[str, int]:
    """How the mirrors of every answer so far ended, once all of them have."""
    names = ("mirrored", "mirror_drops", "mirror_broken")

    def found() -> dict[str, int]:
        counts = served.gateway.counts()
        return {name: counts[name] for name in names if name in counts}

    until(lambda: sum(found().values()) == len(served.rows()))
    return found()


def warmed(served: World) -> World:
    """Once mirrors are taken: until the process is up there is nobody to take them."""

    def taken() -> bool:
        served.gateway.answer(ask([0]))
        return "mirrored" in counted(served)

    until(taken)
    return served


def test_the_other_release_is_scored_after_the_answer_was_logged(served: World) -> None:
    gateway = warmed(served).gateway
    ids = {*gateway.answer(ask([1, 2])).ids, *gateway.answer(ask([3])).ids}
    counts = counted(served)
    mirrored, rows = served.mirrors(), {row["id"]: row for row in served.rows()}
    assert ids <= set(mirrored) <= set(rows)
    assert len(mirrored) == counts["mirrored"]
    assert {row["release"] for row in mirrored.values()} == {CANDIDATE}
    served.route(stable=CANDIDATE)
    (other,) = gateway.answer(ask([1])).column("values")
    assert {mirrored[id]["score"] for id in ids} == {other}
    assert {mirrored[id]["error"] for id in ids} == {None}
    assert other not in {rows[id]["score"] for id in ids}


def test_in_a_ramp_each_side_is_mirrored_by_the_other(served: World) -> None:
    served.route(candidate=CANDIDATE, weight=0.5, mirror=True)
    gateway = warmed(served).gateway
    answered = gateway.answer(ask(list(range(40))))
    pinned = gateway.answer(replace(ask([1]), version="late@1"))
    gateway.stop()
    mirrored = served.mirrors()
    assert pinned.ids[0] not in mirrored  # nobody's cohort decided: it is no part of a comparison
    pairs = [(shown, mirrored[id]["release"]) for id, shown in
             zip(answered.ids, answered.releases(), strict=True)]  # fmt: skip
    assert set(pairs) == {(STABLE, CANDIDATE), (CANDIDATE, STABLE)}


def test_without_room_mirrors_are_dropped_and_counted_and_the_answer_is_given(
    served: World,
) -> None:
    gateway = warmed(served).gateway
    assert gateway.mirrors is not None
    worker = gateway.mirrors._worker
    assert worker is not None
    os.kill(worker.process.pid, signal.SIGSTOP)
    before = served.gateway.counts().get("mirror_drops", 0)
    # Far more than any socket holds.
    wide = ask(list(range(20)), carrier="x" * 20_000)
    answers = [gateway.answer(wide).answer(0) for _ in range(40)]
    assert {(one.reason, one.release) for one in answers} == {(answers[0].reason, STABLE)}
    dropped = gateway.counts()["mirror_drops"] - before
    assert dropped >= 10 * 20
    os.kill(worker.process.pid, signal.SIGCONT)
    assert counted(served)["mirror_drops"] == before + dropped
    assert len(served.mirrors()) == counted(served)["mirrored"]


@pytest.mark.parametrize("distance", [DIES, HANGS, SPINS])
def test_a_candidate_that_dies_or_hangs_on_a_row_answers_for_it_and_is_started_again(
    moody: World, distance: float
) -> None:
    gateway = warmed(moody).gateway
    bad = gateway.answer(ask([7], distance))
    assert (bad.answer(0).release, bad.answer(0).error) == (STABLE, None)
    until(lambda: gateway.counts().get("mirror_broken"))
    row = moody.mirrors()[bad.ids[0]]
    assert (row["release"], row["score"]) == (CANDIDATE, None)
    assert "ended with -" in row["error"]
    assert row["error"] == gateway.status()["mirror_error"]
    done = counted(moody)["mirrored"]

    def again() -> bool:
        gateway.answer(ask([8]))
        return counted(moody)["mirrored"] > done

    until(again)


def test_a_candidate_that_raises_on_a_row_errs_on_that_row_only(moody: World) -> None:
    gateway = warmed(moody).gateway
    asks = [ask([1]), ask([2], RAISES), ask([3])]
    answers = gateway.answers([replace(one, arrived=None) for one in asks])
    gateway.stop()
    errors = [moody.mirrors()[one.ids[0]]["error"] for one in answers if isinstance(one, Answered)]
    assert [error and "too much for me" in error for error in errors] == [None, True, None]
    assert {one.answer(0).error for one in answers if isinstance(one, Answered)} == {None}


@pytest.mark.parametrize("replayed", [False, True])
def test_who_asked_is_told_before_the_rows_are_handed_on(
    served: World, replayed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unless the caller moves the clock: he must not be told before they are scored."""
    gateway = warmed(served).gateway
    seen: list[str] = []
    mirrors = gateway.mirrors
    assert mirrors is not None
    monkeypatch.setattr(mirrors, "offer", lambda *_, **__: seen.append("handed on"))
    gateway.replay_clock = replayed
    one = replace(ask([1]), at=datetime(2013, 4, 1, 12, tzinfo=UTC) if replayed else None)
    gateway.answers([one], lambda found: seen.extend("told" for _ in found))
    assert seen == (["handed on", "told"] if replayed else ["told", "handed on"])


def test_a_process_that_is_too_slow_at_the_end_accuses_nobody(served: World) -> None:
    gateway = warmed(served).gateway
    mirrors = gateway.mirrors
    assert mirrors is not None
    assert mirrors._worker is not None
    os.kill(mirrors._worker.process.pid, signal.SIGSTOP)
    before = gateway.counts().get("mirror_drops", 0)
    gateway.answer(ask([1, 2, 3]))
    mirrors.stop(patience=0.1)
    counts = gateway.counts()
    assert (counts["mirror_drops"], counts.get("mirror_broken")) == (before + 3, None)


def test_a_gateway_that_mirrors_nowhere_says_how_much_is_missing(served: World) -> None:
    gateway = served.gateway
    gateway.stop()
    gateway.mirrors = None
    gateway.answer(ask([1, 2, 3]))
    assert gateway.counts()["mirror_drops"] == 3


def test_what_was_handed_on_is_scored_though_the_gateway_is_killed(tmp_path: Path) -> None:
    script = (
        "import sys, time\n"
        f"sys.path[:0] = [{str(SCRIPT.parent)!r}]\n"
        "import test_mirroring as t\n"
        "from pathlib import Path\n"
        f"made = t.world(Path({str(tmp_path)!r}))\n"
        "made.gateway.replay_clock = False\n"
        "made.route(candidate=t.CANDIDATE, mirror=True)\n"
        "made.gateway.start()\n"
        "t.warmed(made)\n"
        "ids = [made.gateway.answer(t.ask([n])).ids[0] for n in range(50)]\n"
        "print(' '.join(ids), flush=True)\n"
        "time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as it:
        assert it.stdout is not None
        ids = set(it.stdout.readline().split())
        it.kill()
    assert len(ids) == 50
    log = JsonLinesLog(tmp_path / "mirrored", "reader")
    until(lambda: ids <= {row["id"] for row in log.read({})[0]})


def test_a_machine_without_room_for_a_process_gets_one_when_it_has(
    served: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirrors = served.gateway.mirrors
    assert mirrors is not None
    served.route()
    until(lambda: mirrors._worker is None)
    monkeypatch.setattr(mirroring, "AGAIN", 0.01)
    monkeypatch.setattr(tempfile, "tempdir", "/dev/null")
    served.route(candidate=CANDIDATE, mirror=True)
    until(lambda: "/dev/null" in str(mirrors.error))
    monkeypatch.setattr(tempfile, "tempdir", None)
    warmed(served)
    assert mirrors.error is None
