"""What an online read costs: against bare LMDB, bare Redis, and Feast's SQLite store in process.

Ours gives value, age and status of every feature under its TTL; the bare reads only look up
and unpack. Rounds alternate, so that a busy machine is busy for both, and every side must
give the same values. Processor time throughout, but for Redis, whose work is elsewhere.
"""

from __future__ import annotations

import json
import shutil
import statistics
import struct
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import repeat
from pathlib import Path
from typing import Any

import lmdb

from bench.peers import python_of
from interlock.adapters.lmdb import LmdbOnlineStore
from interlock.define.digest import digest
from interlock.ports import OnlineRow, OnlineStore
from interlock.serve.answer import Resolved, resolve
from interlock.serve.packed import pack, stored_key
from interlock.serve.spec import Lookup

RIVAL_VERSION = "feast==0.67.0"
VIEWS, FEATURES, ENTITIES, NOW = 5, 5, 2000, 1_700_000_000.0
NAMES = [[f"v{view}_f{n}" for n in range(FEATURES)] for view in range(VIEWS)]
LOOKUPS = [
    Lookup(f"v{view}@1", digest(f"view {view}"), ("e",), 86400.0, tuple(names), (None,) * FEATURES)
    for view, names in enumerate(NAMES)
]
Values = list[tuple[float | None, ...]]


def value(view: int, entity: int, n: int) -> float:
    return view * 1000.0 + entity + n / 8


def fill(store: OnlineStore) -> None:
    for view, lookup in enumerate(LOOKUPS):
        rows = [
            (str(e), OnlineRow(NOW - 60, tuple(value(view, e, n) for n in range(FEATURES))))
            for e in range(ENTITIES)
        ]
        store.write(lookup.fingerprint, rows, (None, NOW))


def ours(store: OnlineStore, entities: Sequence[str], lookups: Sequence[Lookup]) -> Values:
    """Values of every entity and view, each under its TTL."""
    rows = store.read([(lookup.fingerprint, e) for lookup in lookups for e in entities])
    asked = (lookup for lookup in lookups for _ in entities)
    return [said.values for said in map(resolve, asked, rows, repeat(NOW))]


def timed(sides: Mapping[str, Callable[[], object]], clock: Callable[[], float], rounds: int = 15,
          each: int = 200) -> dict[str, float]:  # fmt: skip
    """Median microseconds of one call of each side, rounds alternating."""
    taken: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, do in sides.items():
            began = clock()
            for _ in range(each):
                do()
            taken[name].append((clock() - began) / each * 1e6)
    return {name: statistics.median(many) for name, many in taken.items()}


def against_lmdb(folder: Path) -> dict[str, float]:
    """One entity. The bare side has the very same bytes, and is told how many doubles there are."""
    store = LmdbOnlineStore(folder / "ours", sync=False)
    fill(store)
    env = lmdb.open(str(folder / "bare"), map_size=1 << 28)
    with env.begin(write=True) as txn:
        for view, lookup in enumerate(LOOKUPS):
            for e in range(ENTITIES):
                row = OnlineRow(NOW - 60, tuple(value(view, e, n) for n in range(FEATURES)))
                txn.put(stored_key(lookup.fingerprint, str(e)), pack(row))
    unpack = struct.Struct(f"<{FEATURES + 3}d").unpack
    picked = [str(e * 37 % ENTITIES) for e in range(500)]
    turn = iter(range(10**9))

    def bare(lookups: Sequence[Lookup]) -> Values:
        entity = picked[next(turn) % 500]
        keys = [f"{lookup.fingerprint[:12]}\0{entity}".encode() for lookup in lookups]
        with env.begin() as txn:
            return [unpack(txn.get(key) or b"") for key in keys]

    def rows(lookups: Sequence[Lookup]) -> list[OnlineRow | None]:
        entity = picked[next(turn) % 500]
        return store.read([(lookup.fingerprint, entity) for lookup in lookups])

    def full(lookups: Sequence[Lookup]) -> list[Resolved]:
        return list(map(resolve, lookups, rows(lookups), repeat(NOW)))

    ratios = {}
    for count in (1, VIEWS):
        some = LOOKUPS[:count]
        assert [v[3:] for v in bare(some)] == ours(store, [picked[(next(turn) - 1) % 500]], some)
        sides: dict[str, Callable[[], object]] = {
            "ours": partial(full, some), "rows": partial(rows, some), "bare": partial(bare, some),
        }  # fmt: skip
        took = timed(sides, time.process_time)
        for name, said in (("rows", "read and decoded"), ("ours", "with age and status")):
            ratios[f"lmdb {name} {count}"] = took[name] / took["bare"]
            print(
                f"1 entity, {count} views  {said} {took[name]:6.1f} us  bare LMDB and unpack "
                f"{took['bare']:6.1f} us  ratio {ratios[f'lmdb {name} {count}']:.2f}"
            )
    store.close()
    env.close()
    return ratios


def against_redis(folder: Path) -> dict[str, float]:
    """One round trip either way, over a socket of this machine."""
    program = shutil.which("redis-server") or shutil.which("valkey-server")
    if program is None:
        print("no redis-server here: not compared")
        return {}
    import redis

    from interlock.adapters.redis import RedisOnlineStore

    url = f"unix://{folder}/r.sock"
    command = [program, "--port", "0", "--unixsocket", f"{folder}/r.sock", "--save", ""]
    server = subprocess.Popen([*command, "--dir", str(folder)], stdout=subprocess.DEVNULL)
    try:
        client = redis.Redis.from_url(url, protocol=2)
        while not _answers(client):
            time.sleep(0.02)
        store = RedisOnlineStore(url, timeout=10)
        fill(store)
        ratios = {}
        for count in (1, 100):
            entities = [str(e) for e in range(count)]
            keys = [b"interlock:" + stored_key(lookup.fingerprint, e)
                    for lookup in LOOKUPS for e in entities]  # fmt: skip
            assert [pack(OnlineRow(NOW - 60, v)) for v in ours(store, entities, LOOKUPS)] == (
                client.mget(keys)
            )
            sides: dict[str, Callable[[], object]] = {
                "ours": partial(ours, store, entities, LOOKUPS),
                "bare": partial(client.mget, keys),
            }
            took = timed(sides, time.perf_counter, each=50)
            ratios[f"redis {count}"] = took["ours"] / took["bare"]
            print(
                f"{count} entities, {VIEWS} views  ours on Redis {took['ours']:6.0f} us  bare MGET "
                f"{took['bare']:6.0f} us  ratio {ratios[f'redis {count}']:.2f}"
            )
        store.close()
        return ratios
    finally:
        server.kill()
        server.wait()


def _answers(client: Any) -> bool:
    try:
        return bool(client.ping())
    except OSError:
        return False
    except Exception as error:  # the server is not there yet
        if type(error).__module__.startswith("redis"):
            return False
        raise


_RIVAL = """
import json, sys, time, statistics
from datetime import datetime, timedelta, timezone
import pandas as pd
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig
from feast.types import Float64
from feast.value_type import ValueType
folder, views, features, entities = sys.argv[1], *map(int, sys.argv[2:])
config = RepoConfig(project="bench", provider="local", registry=folder + "/registry.db",
    online_store={"type": "sqlite", "path": folder + "/online.db"},
    entity_key_serialization_version=3)
store = FeatureStore(config=config)
entity = Entity(name="e", join_keys=["e"], value_type=ValueType.STRING)
now = datetime.now(timezone.utc)
made = []
for view in range(views):
    names = [f"v{view}_f{n}" for n in range(features)]
    frame = pd.DataFrame({"e": [str(e) for e in range(entities)], "ts": now,
        **{name: [view * 1000.0 + e + n / 8 for e in range(entities)]
           for n, name in enumerate(names)}})
    path = f"{folder}/v{view}.parquet"
    frame.to_parquet(path)
    made.append((FeatureView(name=f"v{view}", entities=[entity], ttl=timedelta(days=1),
        schema=[Field(name=n, dtype=Float64) for n in names],
        source=FileSource(path=path, timestamp_field="ts"), online=True), frame))
store.apply([entity, *(view for view, _ in made)])
for view, frame in made:
    store.write_to_online_store(view.name, frame)
wanted = [f"v{v}:v{v}_f{n}" for v in range(views) for n in range(features)]
found = {}
for count in (1, 100):
    rows = [{"e": str(e)} for e in range(count)]
    read = lambda: store.get_online_features(features=wanted, entity_rows=rows).to_dict()
    said = read()
    taken = []
    for _ in range(20):
        began = time.process_time()
        for _ in range(5):
            read()
        taken.append((time.process_time() - began) / 5 * 1e6)
    found[count] = {"us": statistics.median(taken), "values": said}
print(json.dumps(found))
"""


def rival(folder: Path) -> dict[str, Any] | None:
    """What Feast reads, and in what time; None when it cannot be had here."""
    python = python_of("feast", (RIVAL_VERSION,))
    if python is None:
        return None
    sizes = [str(n) for n in (VIEWS, FEATURES, ENTITIES)]
    command = [str(python), "-c", _RIVAL, str(folder), *sizes]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        print(f"Feast did not finish: {done.stderr.strip().splitlines()[-1:]}")
        return None
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def against_feast(folder: Path) -> dict[str, float]:
    """The same features of 1 and of 100 entities; the answers are compared first."""
    found = rival(folder)
    if found is None:
        return {}
    store = LmdbOnlineStore(folder / "again", sync=False)
    fill(store)
    ratios = {}
    for count in (1, 100):
        entities, theirs = [str(e) for e in range(count)], found[str(count)]
        said = ours(store, entities, LOOKUPS)
        for view, names in enumerate(NAMES):
            mine = said[view * count : (view + 1) * count]
            for n, name in enumerate(names):
                assert [row[n] for row in mine] == theirs["values"][name]
        sides = {"ours": partial(ours, store, entities, LOOKUPS)}
        took = timed(sides, time.process_time, each=50)
        ratios[f"feast {count}"] = theirs["us"] / took["ours"]
        print(
            f"{count} entities, {VIEWS} views of {FEATURES}  ours {took['ours']:6.0f} us  Feast on "
            f"SQLite {theirs['us']:8.0f} us  {ratios[f'feast {count}']:.0f} times"
        )
    store.close()
    return ratios


def main() -> dict[str, float]:
    """Print the table; goals: rows from LMDB at most 2, Feast at 100 entities at least 20."""
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work)
        return against_lmdb(folder) | against_redis(folder) | against_feast(folder)


if __name__ == "__main__":
    main()
