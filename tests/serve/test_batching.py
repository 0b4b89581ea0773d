"""Requests of one turn are answered together, and each as if it had come alone."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import orjson
import pytest
from numpy.typing import NDArray
from serving_world import AT, CANDIDATE, World, body, world

from interlock.app.asked import Answered, Ask
from interlock.errors import InterlockError, NotFound
from interlock.web import oip
from interlock.web.batching import PATIENCE, Batcher, Busy
from interlock.web.gateway import gateway_app


@pytest.fixture
def served(tmp_path: Path) -> Iterator[World]:
    made = world(tmp_path)
    made.route(candidate=CANDIDATE, weight=0.5, change="CR-1")
    yield made
    made.gateway.stop()
    made.log.close()
    made.store.close()


def ask(flights: list[int], model: str = "late", **columns: Any) -> Ask:
    return oip.parse(oip.Door(model), orjson.dumps(body(flights, **columns)))[0]


@dataclass
class Waits:
    """Somebody who waits for an answer to `asked`, and may leave."""

    asked: Ask
    answer: asyncio.Future[Answered | InterlockError]

    def ask(self) -> Ask:
        return self.asked

    def gone(self) -> bool:
        return self.answer.done()

    def told(self, found: Answered | InterlockError) -> None:
        self.answer.set_result(found)


async def answer(
    batcher: Batcher, asked: Ask, patience: float = PATIENCE
) -> Answered | InterlockError:
    waits = Waits(asked, asyncio.get_running_loop().create_future())
    batcher.put(waits, patience)
    return await waits.answer


def together(batcher: Batcher, asks: list[Ask], **more: Any) -> list[Answered | BaseException]:
    async def all_of_them() -> list[Answered | BaseException]:
        waiting = (answer(batcher, one, **more) for one in asks)
        return await asyncio.gather(*waiting, return_exceptions=True)

    return asyncio.run(all_of_them())


def said(answered: Answered | BaseException) -> list[tuple[Any, ...]]:
    assert isinstance(answered, Answered)
    names = ("values", "reasons", "oldest", "stale", "fallbacks", "absent", "errors")
    columns = [answered.column(name) for name in names]
    return list(zip(answered.releases(), *map(list, columns), strict=True))


ASKS = [
    ask([1, 2, 3]),
    ask([4], origin=["LGA"]),
    ask([5, 6], carrier=["DL", None]),
    replace(ask([7]), at=AT.replace(hour=20)),
    replace(ask([8, 9]), upstream=f"{CANDIDATE};e=1"),
    replace(ask([10]), version="late@1"),
]


def test_together_is_as_alone(served: World) -> None:
    served.route(candidate=CANDIDATE, weight=0.5, change="CR-1", mirror=True)
    alone = [said(served.gateway.answer(one)) for one in ASKS]
    before = served.rows()
    assert [said(got) for got in together(Batcher(served.gateway), ASKS)] == alone
    own, mirrors = ("id", "served_at", "latency_us", "trace", "took_us"), served.mirrors()
    logged = [
        {k: v for k, v in row.items() if k not in own}
        | {k: v for k, v in mirrors.get(row["id"], {}).items() if k.startswith(("score", "rel"))}
        | {"shown": row["score"]}
        for row in served.rows()
    ]
    first, second = logged[: len(before)], logged[len(before) :]
    key = lambda row: row["key"]  # noqa: E731  # one use
    assert sorted(second, key=key) == sorted(first, key=key)


def test_a_wrong_request_costs_its_neighbours_nothing(served: World) -> None:
    wrong = ask([1], model="early")
    got = together(Batcher(served.gateway), [ASKS[0], wrong, ASKS[2]])
    assert isinstance(got[1], NotFound)
    assert [said(got[0]), said(got[2])] == [said(served.gateway.answer(ASKS[n])) for n in (0, 2)]


class BreaksOn:
    """A scorer that cannot take one row: what a model may do to whoever stands beside it."""

    def __init__(self, scorer: Any, distance: float) -> None:
        self._scorer, self._distance = scorer, distance

    def score(self, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
        if (matrix[:, 3] == self._distance).any():
            raise ValueError("this row is too much for me")
        scores: NDArray[np.float64] = self._scorer.score(matrix)
        return scores


def test_a_row_that_breaks_the_model_breaks_its_own_request_only(served: World) -> None:
    served.route()
    stable = served.gateway.live().stable
    alone = [said(served.gateway.answer(ASKS[n])) for n in (0, 2)]
    stable.scorers["late"] = BreaksOn(stable.scorers["late"], 13.0)  # type: ignore[index]  # a dict
    bad = ask([4], distance=[13.0])
    first, broken, last = together(Batcher(served.gateway), [ASKS[0], bad, ASKS[2]])
    assert [said(first), said(last)] == alone
    assert isinstance(broken, Answered)
    assert list(broken.column("reasons")) == ["error"]
    assert "too much for me" in broken.column("errors")[0]


class Counts:
    """A scorer that counts how often it is asked, and for how many rows."""

    def __init__(self, scorer: Any) -> None:
        self._scorer = scorer
        self.rows: list[int] = []

    def score(self, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
        self.rows.append(len(matrix))
        scores: NDArray[np.float64] = self._scorer.score(matrix)
        return scores


@pytest.mark.parametrize("replayed", [True, False])
def test_one_turn_asks_the_model_once_whatever_the_clock(served: World, replayed: bool) -> None:
    served.route()
    served.gateway.replay_clock = replayed
    stable = served.gateway.live().stable
    counting = Counts(stable.scorers["late"])
    stable.scorers["late"] = counting  # type: ignore[index]  # a dict
    asks = [ask([n, n + 1]) for n in range(0, 10, 2)]
    got = together(Batcher(served.gateway), [a if replayed else replace(a, at=None) for a in asks])
    assert counting.rows == [10]
    assert len({one.at for one in got if isinstance(one, Answered)}) == 1


def test_what_is_too_much_is_refused_at_once_and_counted(served: World) -> None:
    got = together(Batcher(served.gateway, most=2), ASKS[:5])
    assert [isinstance(one, Busy) for one in got] == [False, False, True, True, True]
    assert served.gateway.status()["counts"]["refused"] == 3


def test_an_answer_nobody_waits_for_any_more_is_not_made(served: World) -> None:
    got = together(Batcher(served.gateway), ASKS[:2], patience=-1.0)
    assert all(isinstance(one, Busy) for one in got)
    assert served.rows() == []

    async def leaves() -> None:
        batcher = Batcher(served.gateway)
        gone = asyncio.ensure_future(answer(batcher, ASKS[0]))
        await asyncio.sleep(0)
        gone.cancel()
        assert said(await answer(batcher, ASKS[1]))

    asyncio.run(leaves())
    assert [row["key"] for row in served.rows()] == [4]


def test_many_rows_take_several_turns_and_all_are_answered(served: World) -> None:
    asks = [ask(list(range(at, at + 200))) for at in range(0, 2000, 200)]
    got = together(Batcher(served.gateway), asks)
    assert [len(said(one)) for one in got] == [200] * 10


def test_without_a_release_everybody_is_told(tmp_path: Path) -> None:
    made = world(tmp_path)
    got = together(Batcher(made.gateway), ASKS[:2])
    assert all(isinstance(one, InterlockError) and "no release" in str(one) for one in got)


def test_over_http_too_much_is_429_with_a_time_to_come_back(served: World) -> None:
    transport = httpx.ASGITransport(gateway_app(served.gateway, most_waiting=1))

    async def crowd() -> list[httpx.Response]:
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
            path = "/v2/models/late/infer"
            return await asyncio.gather(*(client.post(path, json=body([n])) for n in range(3)))

    replies = asyncio.run(crowd())
    assert sorted(reply.status_code for reply in replies) == [200, 429, 429]
    refused = next(reply for reply in replies if reply.status_code == 429)
    assert int(refused.headers["retry-after"]) >= 1
    assert "waiting already" in refused.json()["error"]
