"""People who ask the edge, as fast as it answers: one question, three services, one release."""

from __future__ import annotations

import http.client
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
    """Several threads, each with one line to the edge; a broken line is made anew."""

    folder: Path
    port: int
    flights: Flights
    seed: int
    threads: int = 2
    pause: float = 0.0  # seconds between two questions of one thread, while there is a split
    answers: list[Asked] = field(default_factory=list)
    trouble: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        self._record = Workspace(self.folder)
        self._now = self._record.now()
        self._split = False
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        several = range(self.threads)
        self._threads = [threading.Thread(target=self._ask_on, args=(n,)) for n in several]
        self._threads.append(threading.Thread(target=self._watch))
        for one in self._threads:
            one.start()

    def stop(self) -> None:
        self._stop.set()
        for one in self._threads:
            if one.is_alive():
                one.join(20)
        self._record.close()

    @property
    def requests(self) -> int:
        """Answers of gateways and of services: each of the three asks one and is one."""
        return 6 * len(self.answers)

    def _watch(self) -> None:
        """The time of the recorded traffic, read once for all of them."""
        while not self._stop.wait(0.1):
            self._now = self._record.now()
            self._split = self._record.route().weight > 0
        self._split = False

    def _ask_on(self, number: int) -> None:
        chance, link = random.Random(f"{self.seed}:{number}"), None
        # In shadow, which is long, nobody can be told two things: the cores are for others.
        while not self._stop.wait(self.pause if self._split else 0.5):
            now = self._now
            row = self.flights.near(now, chance)
            body = self.flights.body(row, "edge", now)
            try:
                link = link or http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
                found = self._once(link, self.flights.subject(row), body)
            except (OSError, http.client.HTTPException) as error:
                self.trouble[type(error).__name__] += 1
                link = link.close() if link else None
                time.sleep(0.05)
                continue
            if found is not None:
                self.answers.append(found)

    def _once(self, link: http.client.HTTPConnection, subject: str, body: bytes) -> Asked | None:
        # Somebody outside says what they like; the edge does not believe it.
        headers = {"content-type": "application/json", HEADER: f"{'f' * 64};e=9"}
        link.request("POST", f"/flights/{subject}", body, headers)
        reply = link.getresponse()
        text = reply.read()
        if reply.status != 200:
            self.trouble[f"{reply.status} {text[:60]!r}"] += 1
            return None
        said: dict[str, Any] = orjson.loads(text)
        decided = tuple((d["service"], d["prediction"], d["release"]) for d in said["decided"])
        assert [service for service, _, _ in decided] == ["rebooking", "crew", "gates"]
        assert len(decided) == len(SERVICES)
        given = reply.headers.get(HEADER, "")
        return Asked(subject, given, said["release"], said["epoch"], decided)
