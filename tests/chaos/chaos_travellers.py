"""People who ask the edge, as fast as it answers: one question, three services, one release.

Several lines stand open to the edge, all of them served by one thread: the cores are for the
processes under test.
"""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
from chaos_crowd import HEADER, SERVICES, Flights

from interlock.app.workspace import Workspace

PATIENCE = 20.0  # seconds for one answer
LOOK = 0.02  # seconds between two looks at the Route while there is a split, else CALM
CALM = 0.1


@dataclass(frozen=True)
class Asked:
    """What one question was answered: the edge's word, and the word of each service."""

    subject: str
    given: str
    release: str
    epoch: int
    decided: tuple[tuple[str, str, str], ...]  # (service, prediction, release)


@dataclass
class Travellers:
    """Several lines to the edge, each asking on; a broken line is made anew."""

    folder: Path
    port: int
    flights: Flights
    seed: int
    lines: int = 2
    pause: float = 0.0  # seconds between two questions on one line, while there is a split
    answers: list[Asked] = field(default_factory=list)
    trouble: Counter[str] = field(default_factory=Counter)
    moved: dict[int, float] = field(default_factory=dict)  # when each epoch was seen, by the wall

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        self._record = Workspace(self.folder)
        self._now = self._record.now()
        self._split = False
        self._threads = [
            threading.Thread(target=lambda: asyncio.run(self._ask_on_all())),
            threading.Thread(target=self._watch),
        ]

    def start(self) -> None:
        for one in self._threads:
            one.start()

    def stop(self) -> None:
        self._stop.set()
        for one in self._threads:
            if one.is_alive():
                one.join(PATIENCE)
        self._record.close()

    @property
    def requests(self) -> int:
        """Answers of gateways and of services: each of the three asks one and is one."""
        return 6 * len(self.answers)

    def _watch(self) -> None:
        """The time of the recorded traffic and the Route, read once for all of them."""
        while not self._stop.wait(LOOK if self._split else CALM):
            route = self._record.route()
            self.moved.setdefault(route.epoch, time.time())
            self._split = route.weight > 0
            self._now = self._record.now()
        self._split = False

    async def _ask_on_all(self) -> None:
        await asyncio.gather(*(self._ask_on(number) for number in range(self.lines)))

    async def _ask_on(self, number: int) -> None:
        chance, line = random.Random(f"{self.seed}:{number}"), None
        while not self._stop.is_set():
            # In shadow, which is long, nobody can be told two things.
            await asyncio.sleep(self.pause if self._split else 0.5)
            row = self.flights.near(self._now, chance)
            try:
                async with asyncio.timeout(PATIENCE):
                    line = line or await _Line.to(self.port)
                    found = await self._once(line, row)
            except (OSError, EOFError) as error:
                self.trouble[type(error).__name__] += 1
                line = line.close() if line else None
                await asyncio.sleep(0.05)
                continue
            if found is not None:
                self.answers.append(found)
        if line:
            line.close()

    async def _once(self, line: _Line, row: int) -> Asked | None:
        subject = self.flights.subject(row)
        status, given, text = await line.ask(
            f"/flights/{subject}", self.flights.body(row, "edge", self._now)
        )
        if status != 200:
            self.trouble[f"{status} {text[:60]!r}"] += 1
            return None
        said: dict[str, Any] = orjson.loads(text)
        decided = tuple((d["service"], d["prediction"], d["release"]) for d in said["decided"])
        assert [service for service, _, _ in decided] == ["rebooking", "crew", "gates"]
        assert len(decided) == len(SERVICES)
        return Asked(subject, given, said["release"], said["epoch"], decided)


@dataclass
class _Line:
    """One connection that is kept open, spoken to without a client of many features."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @classmethod
    async def to(cls, port: int) -> _Line:
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def ask(self, path: str, body: bytes) -> tuple[int, str, bytes]:
        """Status, release and text of the answer. Raises `OSError`, or `EOFError` when it broke."""
        # Somebody outside says what they like; the edge does not believe it.
        head = (
            f"POST {path} HTTP/1.1\r\nhost: edge\r\ncontent-type: application/json\r\n"
            f"{HEADER}: {'f' * 64};e=9\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        self.writer.write(head.encode() + body)
        first, *lines = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines if line)
        text = await self.reader.readexactly(int(headers["content-length"]))
        return int(first.split(" ")[1]), headers.get(HEADER, ""), text

    def close(self) -> None:
        self.writer.close()
