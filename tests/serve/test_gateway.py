"""The gateway's runtime: one release per answer, always; and what it does when things are away."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from serving_world import CANDIDATE, NOW, STABLE, THIRD, World, body, world

from interlock.app.asked import Answered, Ask
from interlock.app.serving import Pace
from interlock.define.refs import Ref
from interlock.errors import NotFound, Unavailable, Unusable
from interlock.rollout.cohort import cohort
from interlock.web import oip


@pytest.fixture
def served(tmp_path: Path) -> Iterator[World]:
    made = world(tmp_path)
    yield made
    made.gateway.stop()
    made.log.close()
    made.store.close()


def ask(flights: list[int], **more: Any) -> Ask:
    columns = {k: v for k, v in more.items() if k in ("carrier", "origin", "distance")}
    found = oip.parse(oip.Door("late"), orjson.dumps(body(flights, **columns))).ask
    return replace(found, **{k: v for k, v in more.items() if k not in columns})


def arms(answered: Answered) -> list[str]:
    return ["candidate" if r == CANDIDATE else "stable" for r in answered.releases()]


def test_a_row_is_answered_from_its_inputs_and_logged_as_the_judge_reads_it(served: World) -> None:
    served.route(weight=0.0, change="CR-1", stage="shadow")
    answer = served.gateway.answer(ask([7])).answer(0)
    assert (answer.release, answer.version, answer.reason) == (STABLE, "late@1", "live")
    assert answer.features == ("origin_weather@1", "late_rate@1")
    assert (answer.oldest, answer.stale, answer.error) == (9 * 3600.0, False, None)
    (row,) = served.rows()
    assert row.pop("id")
    assert row.pop("latency_us") >= 0
    assert row.pop("served_at") > NOW
    assert row.pop("trace").startswith("00-")
    row.pop("took_us", None)
    assert row == {
        "at": "2013-04-01T12:00:00Z", "model": "late", "service": "crew", "subject": "7",
        "key": 7, "epoch": 1, "stage": "shadow", "change": "CR-1", "arm": "stable",
        "release": STABLE, "score": answer.value, "reason": "live", "stale": False,
        "oldest_s": 32400.0, "fallbacks": [], "error": None,
        "inputs": [40.0, 0.3, 0.0, 500.0, 7.0],
    }  # fmt: skip


def test_an_unknown_entity_gets_the_declared_fallback_and_is_told_so(served: World) -> None:
    # R-A14: missing is never an error, and never passes for a live value.
    served.route()
    answer = served.gateway.answer(ask([7], origin=["LGA"])).answer(0)
    assert (answer.reason, answer.fallbacks) == ("fallback", ("temp",))
    assert (answer.absent, answer.oldest) == (("wind", "rate"), None)
    (row,) = served.rows()
    assert (row["fallbacks"], row["inputs"]) == (["temp"], [50.0, None, 0.0, 500.0, None])


def test_rows_split_by_cohort_and_keep_their_order(served: World) -> None:
    served.route(candidate=CANDIDATE, weight=0.3)
    flights = list(range(200))
    answered = served.gateway.answer(ask(flights))
    wanted = ["candidate" if cohort("s", str(f)) < 0.3 * 2**52 else "stable" for f in flights]
    assert arms(answered) == wanted
    assert set(wanted) == {"candidate", "stable"}
    logged = {row["key"]: row for row in served.rows()}
    assert [logged[f]["arm"] for f in flights] == wanted
    scores = answered.column("values")
    assert [logged[f]["score"] for f in flights] == list(scores)
    # Equal inputs: two releases, so exactly two scores.
    assert len(set(scores)) == 2
    assert [answered.answer(f).release for f in (0, 5)] == [answered.releases()[f] for f in (0, 5)]
    assert served.gateway.live().assign("5")[0] == wanted[5]


def test_a_candidate_that_does_not_load_is_never_shown(served: World) -> None:
    spec = served.release(THIRD, 3)
    served.artifacts.kept[spec.artifact] = b"damaged"
    served.route(candidate=THIRD, weight=1.0)
    answered = served.gateway.answer(ask([1, 2, 3]))
    assert set(answered.releases()) == {STABLE}
    status = served.gateway.status()
    assert (status["epoch"], status["candidates"], status["ready"]) == (1, [], True)
    assert "not what its digest says" in status["candidate_error"]
    served.release(THIRD, 3)  # mended: the next look finds it, without a move of the Route
    served.gateway.releases.poll()
    assert set(served.gateway.answer(ask([1])).releases()) == {THIRD}
    assert served.gateway.status()["candidate_error"] is None


def test_without_a_lease_only_the_stable_release_answers(tmp_path: Path) -> None:
    # R-C5: a gateway that cannot see the Route must not go on with an experiment.
    made = world(tmp_path, Pace(lease=0.0))
    made.route(candidate=CANDIDATE, weight=1.0)
    assert set(made.gateway.answer(ask([1, 2])).releases()) == {STABLE}
    assert made.gateway.status()["leased"] is False
    long = world(tmp_path / "long", Pace(lease=1e9))
    long.route(candidate=CANDIDATE, weight=1.0)
    long.record.away = True
    long.gateway.releases.poll()
    assert set(long.gateway.answer(ask([1])).releases()) == {CANDIDATE}
    assert "away" in long.gateway.status()["record_error"]


def test_a_stable_model_that_is_damaged_falls_back_as_declared_or_says_503(served: World) -> None:
    spec = served.release(STABLE, 1, fallback_score=0.25)
    served.artifacts.kept[spec.artifact] = b"damaged"
    served.route()
    assert not served.gateway.ready
    answer = served.gateway.answer(ask([1])).answer(0)
    assert (answer.value, answer.reason) == (0.25, "fallback")
    assert "not what its digest says" in str(answer.error)
    served.release(CANDIDATE, 2)
    served.route(stable=CANDIDATE)
    assert served.gateway.ready
    served.route(stable=STABLE)  # still damaged: what served so far goes on
    assert set(served.gateway.answer(ask([1])).releases()) == {CANDIDATE}
    assert served.gateway.status()["stable_error"]


def test_before_any_release_there_is_no_answer(served: World) -> None:
    served.gateway.releases.poll()
    with pytest.raises(Unavailable, match="nothing is released"):
        served.gateway.answer(ask([1]))


def test_a_release_chosen_upstream_is_kept_and_an_unknown_one_is_counted(served: World) -> None:
    served.route(candidate=CANDIDATE, weight=0.0)
    gateway = served.gateway
    assert set(gateway.answer(ask([1], upstream=f"{CANDIDATE};e=1")).releases()) == {CANDIDATE}
    assert served.rows()[-1]["arm"] == "candidate"
    assert set(gateway.answer(ask([1], upstream=f"{THIRD};e=1")).releases()) == {STABLE}
    assert served.rows()[-1]["arm"] == "pinned"
    assert gateway.status()["counts"]["unknown_release"] == 1
    served.route()  # aborted: the former candidate is warm, and still honoured
    assert set(gateway.answer(ask([1], upstream=CANDIDATE)).releases()) == {CANDIDATE}
    served.route(blocked=[CANDIDATE])  # but a blocked digest never answers again
    assert set(gateway.answer(ask([1], upstream=CANDIDATE)).releases()) == {STABLE}


def test_an_instant_is_required_in_replay_and_refused_on_the_wall(served: World) -> None:
    served.route()
    with pytest.raises(Unusable, match=r"parameters\.at"):
        served.gateway.answer(ask([1], at=None))
    served.gateway.replay_clock = False
    with pytest.raises(Unusable, match=r"parameters\.at"):
        served.gateway.answer(ask([1]))
    # On the wall the rows of 2013 are far over their TTL.
    assert served.gateway.answer(ask([1], at=None)).answer(0).stale


def test_a_log_that_is_full_costs_rows_not_answers(served: World) -> None:
    served.route()

    class Full:
        def append(self, rows: Any) -> None:
            raise Unavailable("no space left")

        def check(self) -> None:
            raise Unavailable("no space left")

        def read(self, after: Any) -> Any:
            return [], after

    served.gateway._log = Full()
    assert served.gateway.answer(ask([1])).answer(0).reason == "live"
    assert served.gateway.status()["counts"]["unlogged"] == 1


def test_a_model_nobody_has_is_not_found(served: World) -> None:
    served.route()
    with pytest.raises(NotFound, match="known: late"):
        served.gateway.answer(ask([1], model="early"))
    with pytest.raises(NotFound, match="late@9"):
        served.gateway.answer(ask([1], version="late@9"))
    assert served.gateway.answer(ask([1], version="late@1")).answer(0).release == STABLE


def test_while_the_route_moves_every_answer_belongs_to_one_release(tmp_path: Path) -> None:
    # R-C5: versions of one answer never mix, at any moment of a rollout.
    made = world(tmp_path)
    made.route()
    versions = {STABLE: "late@1", CANDIDATE: "late@2"}
    by_epoch: dict[int, tuple[str, str | None]] = {1: (STABLE, None)}
    stop = threading.Event()
    wrong: list[object] = []

    def load() -> None:
        while not stop.is_set():
            answered = made.gateway.answer(ask(list(range(20))))
            allowed = by_epoch[answered.epoch]
            for share, got in answered.shares:
                known = (got.release, got.version) == (got.release, versions[got.release])
                if (
                    not known
                    or got.release not in allowed
                    or share.loaded.spec.release != got.release
                ):
                    wrong.append((answered.epoch, got.release, got.version))

    threads = [threading.Thread(target=load) for _ in range(3)]
    for thread in threads:
        thread.start()
    for epoch in range(2, 60):
        stable, other = (STABLE, CANDIDATE) if epoch % 4 < 2 else (CANDIDATE, STABLE)
        by_epoch[epoch] = (stable, other)
        made.route(stable=stable, candidate=other, weight=(epoch % 5) / 4)
    stop.set()
    for thread in threads:
        thread.join()
    assert wrong == []
    logged = made.rows()
    assert len(logged) >= 20
    scores: dict[str, set[float]] = {}
    for row in logged:
        scores.setdefault(row["release"], set()).add(row["score"])
        assert row["release"] in by_epoch[row["epoch"]]
    # Every row had the same inputs, so each release has exactly one score.
    assert all(len(found) == 1 for found in scores.values())
    assert made.record.get(Ref("route", "flights")).version == 59  # type: ignore[union-attr]  # it is there
