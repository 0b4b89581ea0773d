"""Processes around one store: `write` moves every row on and on, `read` answers from a gateway.

A row says its own time: at instant `t` the weather is (t, 2t + 1) and the rate t, so that a
reader can tell a torn or mixed row from a whole one.
"""

from __future__ import annotations

import json
import select
import sys
import tempfile
from pathlib import Path
from typing import Any

from interlock.app.stores import Mode, Places, open_online
from interlock.ports import OnlineRow, OnlineStore

# The views of `serving_world`, which is not imported here: a writer should start fast.
WEATHER, LATE = "1" * 64, "2" * 64
ORIGINS = [f"O{n}" for n in range(12)]
START = 1_364_810_400.0  # an hour and a half before the readers ask, so nothing is too old
STEP = 1 / 1024


def opened(url: str, folder: str, mode: Mode) -> OnlineStore:
    return open_online((url,), Places(Path(folder), "test"), mode)


def write(store: OnlineStore) -> None:
    """For ever, from where the store stands: every row one step later."""
    at = store.watermarks().get(LATE, START)
    while True:
        since, at = at, at + STEP
        weather = [(o, OnlineRow(at, (at, 2 * at + 1))) for o in ORIGINS]
        rate = [(f"UA|{o}", OnlineRow(at, (at,))) for o in ORIGINS]
        store.write(WEATHER, weather, (None, at))
        store.write(LATE, rate, (None if since == START else since, at))


def read(store: OnlineStore) -> None:
    """Answer until standard input ends; what was seen, and everything that was wrong with it."""
    import orjson
    from serving_world import body, world

    from interlock.app.serving import Gateway, Pace
    from interlock.web import oip

    with tempfile.TemporaryDirectory() as folder:
        made = world(Path(folder), Pace(lease=120.0, retry=0.0))
        gateway = Gateway(made.record, made.artifacts, store, made.log, "flights", True)
        made.route()
        gateway.releases.poll()
        ask = oip.parse(oip.Door("late"), orjson.dumps(body([*range(12)], origin=ORIGINS))).ask
        said = seen(gateway, ask)
        made.store.close()
    sys.stdout.write(json.dumps(said) + "\n")


def seen(gateway: Any, ask: Any) -> dict[str, object]:
    newest, wrong, answers = [START] * 12, [], 0
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    while not stopped(0.002):
        ((_, got),) = gateway.answer(ask).shares
        answers += 1
        now = ask.at.timestamp() if ask.at else 0.0
        for at, (row, why, oldest) in enumerate(
            zip(got.inputs, got.errors, got.oldest, strict=True)
        ):
            if why is not None:
                wrong.append([at, why])
                continue
            temp, rate, wind = row[0], row[1], row[4]
            if wind != 2 * temp + 1 or oldest != now - min(temp, rate):
                wrong.append([at, temp, rate, wind, oldest])
            if temp < newest[at]:
                wrong.append([at, temp, newest[at]])
            newest[at] = temp
    return {"answers": answers, "wrong": wrong[:5], "reached": max(newest)}


def stopped(seconds: float) -> bool:
    return bool(select.select([sys.stdin], [], [], seconds)[0])


if __name__ == "__main__":
    what, url, folder = sys.argv[1:]
    store = opened(url, folder, "read" if what == "read" else "write")
    {"write": write, "read": read}[what](store)
