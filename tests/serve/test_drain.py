"""A gateway that is told to stop finishes what it began, and nobody is turned away."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import orjson
import pytest
from gateway_process import started
from serving_world import body

from interlock.adapters.predictions import JsonLinesLog

INFER = "/v2/models/late/infer"
SENT = orjson.dumps({"inputs": body([1, 2, 3])["inputs"]})


@dataclass
class Caller:
    """Asks the first gateway until it closes the door, and the next one from then on."""

    ports: list[int]
    told: list[str] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        while not self.stop.is_set():
            link = HTTPConnection("127.0.0.1", self.ports[0], timeout=60)
            try:
                link.connect()
            except ConnectionRefusedError:
                self._next()
                continue
            self._ask(link)
            link.close()

    def _ask(self, link: HTTPConnection) -> None:
        while not self.stop.is_set():
            try:
                link.request("POST", INFER, SENT)
                reply = link.getresponse()
                said = orjson.loads(reply.read())
            except (OSError, EOFError) as error:
                self.dropped.append(repr(error))
                return
            if reply.status != 200:
                self.dropped.append(str(said))
            self.told += ids(said)
            if reply.headers["connection"] == "close":
                self._next()
                return

    def _next(self) -> None:
        self.ports.append(self.ports.pop(0))


def ids(said: Any) -> list[str]:
    return next(one["data"] for one in said["outputs"] if one["name"] == "prediction_id")


@pytest.fixture
def callers() -> Iterator[list[Caller]]:
    made: list[Caller] = []
    yield made
    for one in made:
        one.stop.set()


def test_told_to_stop_under_load_it_drops_nothing_and_ends_well(
    tmp_path: Path, callers: list[Caller]
) -> None:
    with started(tmp_path / "a") as (first, one), started(tmp_path / "b") as (second, two):
        callers += [Caller([one, two]) for _ in range(4)]
        threads = [threading.Thread(target=caller.run) for caller in callers]
        for thread in threads:
            thread.start()
        while min(len(caller.told) for caller in callers) < 40:
            assert not any(caller.dropped for caller in callers)
            time.sleep(0.01)
        # A request that has only half come when the signal does.
        slow = HTTPConnection("127.0.0.1", one, timeout=60)
        slow.putrequest("POST", INFER)
        slow.putheader("content-length", str(len(SENT)))
        slow.endheaders(SENT[:40])
        first.send_signal(signal.SIGTERM)
        asked = HTTPConnection("127.0.0.1", one, timeout=60)
        ready = True
        while ready:  # until the signal has arrived
            asked.request("GET", "/v2/health/ready")
            reply = asked.getresponse()
            said = orjson.loads(reply.read())
            ready = said["ready"]
        assert (reply.status, said["why"]) == (503, ["this gateway is stopping"])
        slow.send(SENT[40:])
        finished = slow.getresponse()
        mine = ids(orjson.loads(finished.read()))
        assert (finished.status, finished.headers["connection"]) == (200, "close")
        assert first.wait(60) == 0
        for caller in callers:
            caller.stop.set()
        for thread in threads:
            thread.join()
        second.send_signal(signal.SIGHUP)  # its terminal has gone: that is no reason to drop any
        assert second.wait(60) == 0
    assert [caller.dropped for caller in callers] == [[]] * len(callers)
    logs = {name: JsonLinesLog(tmp_path / name / "predictions").read({})[0] for name in "ab"}
    logged = {row["id"] for rows in logs.values() for row in rows}
    assert all(logs.values()), "both of them were asked"
    assert {*mine, *(id for caller in callers for id in caller.told)} <= logged
    mirrored = JsonLinesLog(tmp_path / "a" / "mirrored").read({})[0]
    assert mirrored, "what was handed on is written down"
