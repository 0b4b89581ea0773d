"""The process that scores mirrored rows: `python -m interlock.app.mirror HOME SOCKET`.

It is told the releases and where rows are, scores what comes, logs it and says how far it is.
It ends when nobody sends any more. A model that hangs is ended by the kernel's alarm, so that
nothing of it outlives the gateway.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import orjson

from interlock.adapters.files import FileArtifacts
from interlock.adapters.predictions import JsonLinesLog, new_writer
from interlock.app.mirroring import DONE, LENGTH
from interlock.app.releases import LOADERS, load_release
from interlock.app.stores import Places, Reading, open_online
from interlock.ports import Json, Scorer
from interlock.serve.scoring import Loaded, Part, Scored, score_joined
from interlock.serve.spec import ServingSpec

HANGS = 5.0
"""Seconds of work after which a message that is not scored will never be."""
WAITS = 60.0
"""The same, for a model that waits for something. On a full machine we wait long for our turn."""


def run(
    home: Path, link: socket.socket, loaders: Mapping[str, Callable[[bytes], Scorer]] = LOADERS
) -> None:
    """Score every message of `link` until it ends."""
    said = json.loads((home / "mirror.json").read_text())
    if said["behind"]:
        _stand_back()
    kept = FileArtifacts(home / "artifacts")
    specs = [ServingSpec.from_json(body) for body in said["releases"]]
    loaded = {spec.release: load_release(spec, kept, loaders) for spec in specs}
    places = said["places"]
    online = open_online(places["stores"], Places(Path(places["folder"]), places["prefix"]), "read")
    log = JsonLinesLog(places["log"], new_writer("mirror"))
    shutil.rmtree(home, ignore_errors=True)  # a gateway that is killed leaves nothing behind
    _tell(link, 0)
    for number, message in enumerate(_messages(link), 1):
        _allow(HANGS, WAITS)
        log.append(_scored(loaded, message, Reading(online)))
        _allow(0, 0)
        _tell(link, number)


def _stand_back() -> None:
    """Answers come first: we get what they leave, and do not interrupt them to begin."""
    os.nice(19)
    if hasattr(os, "sched_setscheduler"):  # of Linux
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def _allow(work: float, waiting: float) -> None:
    """The kernel ends us after so many seconds; 0: never. Python may not get to run by then."""
    signal.setitimer(signal.ITIMER_PROF, work)
    signal.setitimer(signal.ITIMER_REAL, waiting)


def _tell(link: socket.socket, number: int) -> None:
    with suppress(OSError):  # the gateway has gone: what it handed on is scored all the same
        link.send(DONE.pack(number))


def _scored(loaded: Mapping[str, Loaded], message: Json, reading: Reading) -> list[Json]:
    began, rows = time.perf_counter(), message["rows"]
    model, at = message["model"], message["at"]
    found: list[Scored] = []
    for one in rows:
        whole = Part(loaded[one["release"]], one["columns"], len(one["ids"]))
        found += score_joined(whole, model, one["sizes"], at, reading.read)
    answers = ((got, i) for got in found for i in range(len(got.values)))
    ids = (id for one in rows for id in one["ids"])
    took = int((time.perf_counter() - began) * 1e6)
    return [
        {
            "id": id, "release": got.release, "score": got.values[i], "error": got.errors[i],
            "fallback": bool(got.fallbacks[i]), "latency_us": took,
        }
        for id, (got, i) in zip(ids, answers, strict=True)
    ]  # fmt: skip


def _messages(link: socket.socket) -> Iterator[Json]:
    """Whole messages, in order, until the other side has no more to say."""
    held = b""
    while True:
        while len(held) >= LENGTH.size:
            end = LENGTH.size + LENGTH.unpack_from(held)[0]
            if len(held) < end:
                break
            yield orjson.loads(held[LENGTH.size : end])
            held = held[end:]
        try:
            more = link.recv(1 << 18)
        except ConnectionError:  # it was killed, and had not read all we told it
            return
        if not more:
            return
        held += more


def main(loaders: Mapping[str, Callable[[bytes], Scorer]] = LOADERS) -> None:
    """As `run`, from the command line. The signals that end a gateway are the gateway's."""
    for one in (signal.SIGINT, signal.SIGTERM):
        signal.signal(one, signal.SIG_IGN)
    home, number = sys.argv[1:]
    with socket.socket(fileno=int(number)) as link:
        run(Path(home), link, loaders)


if __name__ == "__main__":
    main()
