"""Rows that arrive one by one: one log, and what is online is what is offline."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import app_world as world
import pytest
import trips_world
from adbc_driver_postgresql import dbapi

from interlock.adapters.predictions import JsonLinesLog
from interlock.adapters.pushlog import PushLog
from interlock.app.feed import keep_online, live_lookups
from interlock.app.push import Full, push_rows, spec_of, take_in
from interlock.app.versions import definitions, stored
from interlock.app.workspace import WallClock, Workspace
from interlock.change.change import Change
from interlock.define.digest import canonical
from interlock.define.refs import Ref
from interlock.errors import NotFound, Unusable
from interlock.features.compile import point_in_time_sql
from interlock.ports import Put
from interlock.serve.answer import resolve
from interlock.serve.push import pushes_of
from interlock.serve.spec import Lookup, ModelSpec, ServingSpec, lookup_of

TABLE = "wh.gates"
PUSHED = """\
name: wh.gates
owner: data-eng
key: [gate]
event_time: happened
available_at: arrived
push: {buffer_mb: BUFFER}
columns:
  gate: {type: string, nullable: false}
  happened: {type: timestamp, nullable: false}
  arrived: {type: timestamp}
  queue: {type: integer}
  wait_min: {type: double}
  open: {type: boolean}
"""
PLAIN = """\
/*
view: gate_now
version: 1
owner: data-eng
entity: [gate]
event_time: at
available_at: arrived
ttl: 2h
features:
  queue: {type: integer}
  waiting: {}
  open: {type: boolean}
*/
SELECT gate, happened AS at, arrived, queue, wait_min AS waiting, open FROM wh.gates
"""
MADE = """\
/*
view: gate_longest
version: 1
owner: data-eng
entity: [gate]
event_time: at
available_at: arrived
features:
  longest: {}
*/
SELECT gate, happened AS at, arrived, max(wait_min) OVER () AS longest
FROM wh.gates
"""


def taking(live: Workspace, buffer: float = 8.0) -> Workspace:
    """CR-1 is live, as if it had been released with a table that takes rows and two views."""
    digest = str(live.route().stable)
    entry, serving = (live.record.get(Ref(kind, digest)) for kind in ("release", "serving"))
    assert entry is not None
    assert serving is not None
    texts = {
        **definitions(live, entry.body["definitions"]),
        "tables/gates.yaml": PUSHED.replace("BUFFER", str(buffer)),
        "features/gate_now.sql": PLAIN, "features/gate_longest.sql": MADE,
    }  # fmt: skip
    body = {**entry.body, "definitions": live.artifacts.put(canonical(texts))}
    live.record.write([Put(entry.ref, body, entry.version)], by="test", at=live.now())
    live.versions.clear()
    spec = answering(live, digest, ServingSpec.from_json(serving.body))
    live.record.write([Put(serving.ref, spec.to_json(), serving.version)], by="test", at=live.now())
    live.__dict__["clock"] = WallClock()
    return live


def answering(live: Workspace, digest: str, spec: ServingSpec) -> ServingSpec:
    """`spec` of a model that reads both views of release `digest`, which are built."""
    version = stored(live, digest)
    prints = {str(v.ref): version.facts.fingerprint(v.ref) for v in version.project.views.values()}
    views = [version.project.views[name] for name in ("gate_now@1", "gate_longest@1")]
    for view in views:
        version.builder(live).view(view)
    lookups = tuple(lookup_of(view, prints) for view in views)
    gate = ModelSpec("gate", "1", "", "", "gate", (), lookups, {})
    return replace(
        spec, release=digest, models={"gate": gate}, pushes=pushes_of(version.project, prints)
    )


NEWER = "e" * 64


def committed_over(live: Workspace) -> str:
    """Both views were changed and committed, and may be taken back to what ran, which is told."""
    before = str(live.route().stable)
    entry, serving = (live.record.get(Ref(kind, before)) for kind in ("release", "serving"))
    assert entry is not None
    assert serving is not None
    texts = {
        **definitions(live, entry.body["definitions"]),
        "features/gate_now.sql": PLAIN.replace("ttl: 2h", "ttl: 3h"),
        "features/gate_longest.sql": MADE.replace("max(wait_min)", "min(wait_min)"),
    }
    body = {**entry.body, "definitions": live.artifacts.put(canonical(texts)), "change": "CR-9"}
    change = Change("CR-9", "More", "ann", "prod", live.now(), "COMMITTED",
                    made_against=before, release=NEWER)  # fmt: skip
    live.record.write([Put(Ref("release", NEWER), body, 0), Put(change.ref, change.to_json(), 0)],
                      by="test", at=live.now())  # fmt: skip
    spec = answering(live, NEWER, ServingSpec.from_json(serving.body))
    live.record.write([Put(Ref("serving", NEWER), spec.to_json(), 0)], by="test", at=live.now())
    routed(live, NEWER)
    return before


def routed(live: Workspace, digest: str) -> None:
    route = live.route()
    put = Put(live.route_ref, {**route.to_json(), "stable": digest}, route.epoch)
    live.record.write([put], by="test", at=live.now())


ENGINES = ("duckdb", "postgres")
WAREHOUSE = '    warehouse: "${TRIPS_WAREHOUSE}"\n'


@pytest.fixture(scope="module")
def running(postgres_database: str, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """A small project whose first release runs, on each engine. Copy it before you write."""
    found = {}
    for engine, address in zip(ENGINES, ("duckdb://", postgres_database), strict=True):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("TRIPS_WAREHOUSE", address)
            folder = tmp_path_factory.mktemp(engine) / "project"
            found[engine] = trips_world.released(folder, WAREHOUSE)
    return found


@pytest.fixture(params=ENGINES)
def live(
    request: pytest.FixtureRequest, running: Mapping[str, Path], tmp_path: Path,
    postgres_database: str, monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Workspace]:  # fmt: skip
    """CR-1 is live, in a folder and a database of the test's own."""
    address = "duckdb://"
    if request.param == "postgres":
        whole, _, asked = postgres_database.partition("?")
        server, _, template = whole.rpartition("/")
        name = f"push_{uuid4().hex[:10]}"
        opened = dbapi.connect(f"{server}/postgres?{asked}", autocommit=True)
        with opened, opened.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        address = f"{server}/{name}?{asked}"
    monkeypatch.setenv("TRIPS_WAREHOUSE", address)
    folder = world.copied(running[request.param], tmp_path / "project")
    with world.opened(folder) as workspace:
        yield workspace


@pytest.fixture
def takes(live: Workspace) -> Iterator[Workspace]:
    yield taking(live)
    if "pusher" in live.__dict__:
        live.__dict__.pop("pusher").close()


def row(gate: str = "A1", minutes_ago: float = 10, **more: Any) -> dict[str, Any]:
    at = WallClock().now() - timedelta(minutes=minutes_ago)
    whole = {"gate": gate, "happened": at.isoformat(), "queue": 3, "wait_min": 1.5, "open": True}
    return whole | more


def online(workspace: Workspace, lookup: Lookup, gates: Sequence[str]) -> list[Any]:
    at = workspace.now().timestamp()
    rows = workspace.online.read([(lookup.fingerprint, gate) for gate in gates])
    return [resolve(lookup, one, at).values for one in rows]


def offline(workspace: Workspace, gates: Sequence[str]) -> list[Any]:
    """Both views at this instant, as training would see them."""
    version = stored(workspace, str(workspace.route().stable))
    builder = version.builder(workspace)
    built = [builder.view(version.project.views[n]) for n in ("gate_now@1", "gate_longest@1")]
    now = f"TIMESTAMP '{workspace.now():%Y-%m-%d %H:%M:%S.%f}'"
    spine = ", ".join(f"({n}, '{gate}', {now})" for n, gate in enumerate(gates))
    spine = f"(SELECT * FROM (VALUES {spine}) AS v(id, gate, t))"
    sql = point_in_time_sql(spine, "id", "t", built, how=builder.join(spine))
    found = workspace.warehouse.query(sql).to_pylist()
    return sorted(found, key=lambda row: row["id"])


def both(workspace: Workspace, gates: Sequence[str]) -> list[tuple[Any, ...]]:
    """(queue, waiting, open, longest) of every gate, held to be the same on both sides."""
    now, longest = live_lookups(workspace)[:2]
    left, right = online(workspace, now, gates), online(workspace, longest, gates)
    known = [(*a, *b) for a, b in zip(left, right, strict=True)]
    said = [
        tuple(
            None if r[n] is None else float(r[n]) for n in ("queue", "waiting", "open", "longest")
        )
        for r in offline(workspace, gates)
    ]
    assert known == said
    return known


# R-A4
def test_a_row_is_online_at_once_and_the_same_offline_after_a_look(takes: Workspace) -> None:
    done = push_rows(takes, TABLE, [row("A1"), row("B2", queue=None, wait_min=4)])
    assert (done.accepted, done.duplicates, done.online) == (2, 0, 2)
    now, longest = live_lookups(takes)
    assert online(takes, now, ["A1", "B2", "C3"]) == [
        (3.0, 1.5, 1.0), (None, 4.0, 1.0), (None, None, None),
    ]  # fmt: skip
    assert online(takes, longest, ["A1"]) == [(None,)], "only the warehouse can make this one"
    assert keep_online(takes) == ""
    assert both(takes, ["A1", "B2", "C3"])[0] == (3.0, 1.5, 1.0, 4.0)
    push_rows(takes, TABLE, [row("C3", wait_min=9.0)])
    keep_online(takes)
    assert both(takes, ["A1"])[0][3] == 9.0, "a new row of one gate may change those of another"
    assert {now.fingerprint, longest.fingerprint} <= takes.online.watermarks().keys()


def test_replays_and_duplicates_change_nothing(takes: Workspace) -> None:
    wrong, right = row(wait_min=99.0), row("B2")
    corrected = {**wrong, "wait_min": 2.0}
    first = push_rows(takes, TABLE, [wrong, right, wrong])
    assert (first.accepted, first.duplicates) == (2, 1)
    push_rows(takes, TABLE, [corrected])
    again = push_rows(takes, TABLE, [wrong, right])
    assert (again.accepted, again.duplicates, again.arrived, again.online) == (0, 2, None, 0)
    assert online(takes, live_lookups(takes)[0], ["A1"]) == [(3.0, 2.0, 1.0)]
    keep_online(takes)
    assert both(takes, ["A1", "B2"])[0][:2] == (3.0, 2.0)
    before = takes.warehouse.query("SELECT * FROM push.wh_gates ORDER BY il_id").to_pylist()
    assert len(before) == 3
    for one in (wrong, corrected, wrong):
        push_rows(takes, TABLE, [one])
    keep_online(takes)
    assert takes.warehouse.query("SELECT * FROM push.wh_gates ORDER BY il_id").to_pylist() == before


def test_late_and_future_rows_do_not_hide_the_one_that_counts(takes: Workspace) -> None:
    push_rows(takes, TABLE, [row(minutes_ago=10, queue=1)])
    push_rows(takes, TABLE, [row(minutes_ago=30, queue=2), row(minutes_ago=-60, queue=9)])
    assert online(takes, live_lookups(takes)[0], ["A1"])[0][0] == 1.0
    keep_online(takes)
    assert both(takes, ["A1"])[0][0] == 1.0


def test_rows_pushed_between_two_looks_are_never_missed(takes: Workspace) -> None:
    for number in range(5):
        push_rows(takes, TABLE, [row(f"G{number}", minutes_ago=1)])
        take_in(takes)
        push_rows(takes, TABLE, [row(f"H{number}", minutes_ago=1)])
        keep_online(takes)
    gates = [f"{letter}{number}" for number in range(5) for letter in "GH"]
    assert all(values[3] is not None for values in both(takes, gates))


def test_rows_that_came_since_a_release_are_there_right_after_it_was_taken_back(
    takes: Workspace,
) -> None:
    # R-A14
    push_rows(takes, TABLE, [row("A1", wait_min=2.0)])
    keep_online(takes)
    before = committed_over(takes)
    for gate, waits in (("B2", 7.0), ("C3", 5.0)):
        push_rows(takes, TABLE, [row(gate, wait_min=waits)])
        assert keep_online(takes) == ""
    routed(takes, before)
    assert [values[1::2] for values in both(takes, ["A1", "B2", "C3"])] == [
        (2.0, 7.0), (7.0, 7.0), (5.0, 7.0),
    ]  # fmt: skip


def test_an_older_release_whose_definitions_are_lost_is_named_and_stops_nothing(
    takes: Workspace,
) -> None:
    before = committed_over(takes)
    entry = takes.record.get(Ref("release", before))
    assert entry is not None
    lost = str(entry.body["definitions"])
    file = takes.state / "artifacts" / lost[:2] / lost
    kept = file.read_bytes()
    file.unlink()
    takes.versions.clear()
    push_rows(takes, TABLE, [row("A1")])
    assert keep_online(takes).startswith(f"release {before[:12]} gets no rows any more: no artif")
    assert both(takes, ["A1"])[0][0] == 3.0, "what answers has them"
    file.write_bytes(kept)
    push_rows(takes, TABLE, [row("B2")])
    assert keep_online(takes) == ""
    routed(takes, before)
    assert [values[0] for values in both(takes, ["A1", "B2"])] == [3.0, 3.0]


def test_every_bad_row_is_named_and_none_is_taken(takes: Workspace) -> None:
    bad = [
        row(queue=1.5), row(gate=None), row(happened="2026-01-01 10:00"), row(colour="red"),
        row(arrived="2026-01-01T00:00:00Z"), row(wait_min=float("nan")), "no row", row(open=1),
    ]  # fmt: skip
    with pytest.raises(Unusable) as caught:
        push_rows(takes, TABLE, [row(), *bad])
    said = "\n".join(caught.value.objections)
    assert len(caught.value.objections) == len(bad)
    assert "row 0" not in said
    for part in (
        "row 1: 'queue' is integer: 1.5", "row 2: 'gate' is missing or null", "no time zone",
        "unknown column 'colour'", "unknown column 'arrived'", "nan", "row 7: is str", "row 8",
    ):  # fmt: skip
        assert part in said
    at = row()["happened"]
    with pytest.raises(Unusable, match="row 1: differs from row 0"):
        push_rows(takes, TABLE, [row(happened=at), row(happened=at, queue=4)])
    with pytest.raises(NotFound, match=r"known: wh\.gates"):
        push_rows(takes, "wh.weather", [row()])
    take_in(takes)
    assert takes.warehouse.query("SELECT count(*) AS n FROM push.wh_gates").to_pylist()[0]["n"] == 0


def test_a_full_buffer_says_so_until_it_was_read(live: Workspace) -> None:
    takes = taking(live, buffer=0.001)
    many = [row(f"G{n}") for n in range(20)]
    push_rows(takes, TABLE, many)
    with pytest.raises(Full, match="is full"):
        push_rows(takes, TABLE, [row("H1")])
    assert push_rows(takes, TABLE, many[:3]).duplicates == 3, "what is safe may be said again"
    take_in(takes)
    assert push_rows(takes, TABLE, [row("H1")]).accepted == 1
    takes.__dict__.pop("pusher").close()


def old_rows(takes: Workspace) -> tuple[Any, Any]:
    """A wrong row and its correction, ten days old and in the warehouse; their process is gone."""
    wrong = row(minutes_ago=14410, wait_min=99.0)
    right = {**wrong, "wait_min": 2.0}
    spec = spec_of(
        [ServingSpec.from_json(takes.record.get(Ref("serving", str(takes.route().stable))).body)],  # type: ignore[union-attr]  # it is released
        TABLE,
    )
    for one in (wrong, right):
        takes.pusher.push(spec, [one], WallClock().now() - timedelta(days=10))
    keep_online(takes)
    takes.__dict__.pop("pusher").close()
    for file in segments(takes):
        os.utime(file, (datetime.now().timestamp() - 10 * 86400,) * 2)  # noqa: TID251  # a file's own time
    push_rows(takes, TABLE, [row("B2")])
    return wrong, right


def segments(workspace: Workspace) -> list[Path]:
    return sorted((workspace.state / "push" / TABLE).glob("*.jsonl"))


def test_what_was_read_long_ago_is_given_up_and_changes_nothing_when_it_comes_again(
    takes: Workspace,
) -> None:
    wrong, right = old_rows(takes)
    gone, used = segments(takes)[0], segments(takes)[1]
    keep_online(takes)
    assert segments(takes) == [used] or segments(takes) == [gone], "the one in use stays"
    before = takes.warehouse.query("SELECT * FROM push.wh_gates ORDER BY il_id").to_pylist()
    assert len(before) == 3
    for one in (right, wrong):
        again = push_rows(takes, TABLE, [one])
        assert (again.accepted, again.online) == (1, 0), "only the warehouse knows the old ones"
    assert push_rows(takes, TABLE, [row("B2")]).online == 1
    assert keep_online(takes) == ""
    after = takes.warehouse.query("SELECT * FROM push.wh_gates ORDER BY il_id").to_pylist()
    assert [one for one in after if one in before] == before
    assert len(after) == 4
    assert both(takes, ["A1", "B2"])[1][:2] == (3.0, 1.5)
    rows = takes.online.read([(live_lookups(takes)[0].fingerprint, "A1")])
    assert rows[0] is not None
    assert rows[0].values[1] == 2.0, "a forgotten mistake does not undo its correction"


@pytest.mark.parametrize("cut", [(JsonLinesLog, "give_up"), (PushLog, "forget")])
def test_a_kill_while_it_is_given_up_loses_nothing(takes: Workspace, cut: tuple[type, str]) -> None:
    wrong, _ = old_rows(takes)
    takes.close()
    child = os.fork()
    if not child:
        done = getattr(cut[0], cut[1])

        def dying(*given: Any) -> None:
            done(*given)
            os.kill(os.getpid(), signal.SIGKILL)

        setattr(cut[0], cut[1], dying)
        with world.opened(takes.folder) as other:
            take_in(other)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    with world.opened(takes.folder) as again:
        again.__dict__["clock"] = WallClock()
        assert keep_online(again) == ""
        push_rows(again, TABLE, [wrong])
        keep_online(again)
        count = again.warehouse.query("SELECT count(*) AS n FROM push.wh_gates").to_pylist()
        assert count == [{"n": 3}]
        assert both(again, ["B2"])[0][:2] == (3.0, 1.5)


PUSHING = """
import sys, json
from pathlib import Path
from interlock.adapters.lmdb import LmdbOnlineStore
from interlock.app.push import Pusher
from interlock.app.workspace import WallClock
from interlock.serve.push import PushSpec
spec = PushSpec.from_json(json.loads(sys.argv[2]))
state = Path(sys.argv[1])
pusher = Pusher(state, LmdbOnlineStore(state / "online", sync=False))
number = int(sys.argv[3])
while True:
    rows = [{"gate": f"K{number}-{n}", "happened": "2026-01-01T00:00:00Z", "queue": number}
            for n in range(40)]
    pusher.push(spec, rows, WallClock().now())
    print(number, flush=True)
    number += 1
"""


@pytest.mark.slow
def test_what_was_acknowledged_survives_kills_and_is_there_once(takes: Workspace) -> None:
    (spec,) = ServingSpec.from_json(
        takes.record.get(Ref("serving", str(takes.route().stable))).body  # type: ignore[union-attr]  # it is released
    ).pushes
    said = canonical({**spec.__dict__, "feeds": [f.__dict__ for f in spec.feeds]}).decode()
    takes.close()
    acknowledged: list[int] = []
    for start in (0, 1000, 2000):
        command = [sys.executable, "-c", PUSHING, str(takes.state), said, str(start)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            acknowledged += [int(process.stdout.readline()) for _ in range(5)]
            process.kill()
            acknowledged += [int(line) for line in process.stdout.read().split()]
    with world.opened(takes.folder) as again:
        take_in(again)
        sql = (
            "SELECT queue, count(*) AS n, count(DISTINCT gate) AS gates "
            "FROM push.wh_gates GROUP BY queue"
        )
        found = {r["queue"]: (r["n"], r["gates"]) for r in again.warehouse.query(sql).to_pylist()}
        assert {number: found.get(number) for number in acknowledged} == dict.fromkeys(
            acknowledged, (40, 40)
        )
        rows = [{"gate": f"K{acknowledged[0]}-{n}", "happened": "2026-01-01T00:00:00Z",
                 "queue": acknowledged[0]} for n in range(40)]  # fmt: skip
        assert push_rows(again, TABLE, rows).duplicates == 40
        total = sum(n for n, _ in found.values())
        take_in(again)
        count = again.warehouse.query("SELECT count(*) AS n FROM push.wh_gates").to_pylist()
        assert count[0]["n"] == total
