"""What a training set costs over large views: against ASOF by hand, and against Feast on DuckDB.

200,000 questions, five views of 1,000,000 rows, at 20 and at 200 rows of history per entity.
Processor time of whole queries; the answers are compared. Then the peak memory of a build
that is streamed to a file, over growing questions.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet

from bench.peers import python_of
from interlock.adapters.duckdb import DuckDBWarehouse
from interlock.app.spines import ROW, Spine, stretches
from interlock.define.definitions import FeatureView
from interlock.define.digest import digest
from interlock.features.compile import Built, build_view_sql, point_in_time_sql
from interlock.features.dialect import DUCKDB

QUESTIONS, ROWS, VIEWS, ROUNDS = 200_000, 1_000_000, 5, 3
HISTORIES = (20, 200)  # rows per entity and view
NEEDS = ("feast[duckdb]==0.67.0", "duckdb<2", "sqlglot<30")  # its SQL layer is older than 2.0
_SPAN = 90 * 86400  # seconds of history


def view(number: int) -> FeatureView:
    return FeatureView.model_validate(
        {
            "view": f"v{number}", "version": 1, "owner": "bench", "entity": ["entity"],
            "ttl": "30d", "features": {f"x{number}": {}}, "sql": f"SELECT * FROM raw.v{number}",
        }
    )  # fmt: skip


def fill(warehouse: DuckDBWarehouse, history: int) -> list[Built]:
    """Views and questions of the same entities, spread over 90 days; the same each time."""
    entities = ROWS // history
    moment = "TIMESTAMP '2024-01-01' + to_microseconds(CAST({} AS BIGINT) * 1000000)"
    built: list[Built] = []
    for number in range(VIEWS):
        at = moment.format(f"hash(i * 7 + {number}) % {_SPAN}")
        warehouse.build(
            f"raw.v{number}",
            f"SELECT i % {entities} AS entity, {at} + to_microseconds(i // {entities}) AS ts, "
            f"(hash(i + {number}) % 1000) / 8.0 AS x{number} FROM range({ROWS}) AS r(i)",
        )
        one = view(number)
        warehouse.build(f"il.v{number}", build_view_sql(one, {}))
        built.append((one, f"il.v{number}"))
    at = moment.format(f"hash(i) % {_SPAN}")
    warehouse.build(
        "il.questions",
        f"SELECT i AS id, CAST(hash(i * 3) % {entities} AS BIGINT) AS entity, {at} AS at_ "
        f"FROM range({QUESTIONS}) AS r(i)",
    )
    return built


def by_hand() -> str:
    columns, joins = ["s.*"], []
    for i in range(VIEWS):
        columns.append(
            f"CASE WHEN s.at_ - f{i}.ts <= INTERVAL '30 days' THEN f{i}.x{i} END AS x{i}"
        )
        joins.append(
            f"ASOF LEFT JOIN il.v{i} AS f{i} ON s.entity = f{i}.entity AND s.at_ >= f{i}.ts"
        )
    return f"SELECT {', '.join(columns)} FROM il.questions AS s {' '.join(joins)}"


def taken(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


_RIVAL = """
import json, sys, time
from datetime import timedelta
import pandas as pd
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig
from feast.types import Float64
from feast.value_type import ValueType
folder, views, rounds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
config = RepoConfig(project="bench", provider="local", registry=folder + "/registry.db",
    offline_store={"type": "duckdb"}, online_store=None, entity_key_serialization_version=3)
store = FeatureStore(config=config)
entity = Entity(name="entity", join_keys=["entity"], value_type=ValueType.INT64)
made = [FeatureView(name=f"v{v}", entities=[entity], ttl=timedelta(days=30),
    schema=[Field(name=f"x{v}", dtype=Float64)],
    source=FileSource(path=f"{folder}/v{v}.parquet", timestamp_field="ts")) for v in range(views)]
store.apply([entity, *made])
questions = pd.read_parquet(folder + "/questions.parquet")
wanted = [f"v{v}:x{v}" for v in range(views)]
seconds = []
for _ in range(rounds):
    began = time.process_time()
    table = store.get_historical_features(entity_df=questions, features=wanted).to_arrow()
    seconds.append(time.process_time() - began)
import pyarrow.parquet as pq
pq.write_table(table, folder + "/theirs.parquet")
print(json.dumps({"seconds": seconds}))
"""


def rival(warehouse: DuckDBWarehouse, folder: Path) -> float | None:
    """Feast's processor time for the same; None when it cannot be had here."""
    python = python_of("feast", NEEDS)
    if python is None:
        return None
    zoned = "ts::TIMESTAMPTZ AS ts"
    for number in range(VIEWS):
        rows = warehouse.query(f"SELECT entity, {zoned}, x{number} FROM raw.v{number}")
        pa.parquet.write_table(rows, folder / f"v{number}.parquet")
    asked = "SELECT id, entity, at_::TIMESTAMPTZ AS event_timestamp FROM il.questions"
    pa.parquet.write_table(warehouse.query(asked), folder / "questions.parquet")
    command = [str(python), "-c", _RIVAL, str(folder), str(VIEWS), "2"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        print(f"Feast did not finish: {done.stderr.strip().splitlines()[-1:]}")
        return None
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return float(min(found["seconds"]))


def agree(warehouse: DuckDBWarehouse, folder: Path) -> str:
    """How many rows Feast gives, and on how many of them the values are ours."""
    theirs = f"read_parquet('{folder / 'theirs.parquet'}')"
    equal = " AND ".join(f"t.x{i} IS NOT DISTINCT FROM o.x{i}" for i in range(VIEWS))
    sql = (
        f"SELECT count(*) AS rows, count(*) FILTER ({equal}) AS same "
        f"FROM {theirs} AS t JOIN il.ours AS o USING (id)"
    )
    row = warehouse.query(sql).to_pylist()[0]
    return f"{row['rows']} of {QUESTIONS} rows come back, {row['same']} of them with our values"


def measure(folder: Path, history: int) -> None:
    warehouse = DuckDBWarehouse(folder / f"{history}.duckdb")
    built = fill(warehouse, history)
    ours = point_in_time_sql("il.questions", "id", "at_", built)
    sides = {"hand": by_hand(), "ours": ours}
    times: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(ROUNDS):
        for name, sql in sides.items():
            times[name].append(taken(partial(warehouse.build, f"il.{name}", sql)))
    differ = (
        "(FROM il.hand EXCEPT ALL FROM il.ours) UNION ALL (FROM il.ours EXCEPT ALL FROM il.hand)"
    )
    if warehouse.query(f"SELECT count(*) AS n FROM ({differ})").to_pylist()[0]["n"]:
        sys.exit("the two tables are not the same")
    mine = statistics.median(times["ours"])
    ratio = mine / statistics.median(times["hand"])
    print(f"{history} rows per entity: {ratio:.2f} of ASOF by hand")
    theirs = rival(warehouse, folder)
    if theirs is not None:
        print(f"  Feast 0.67 on DuckDB takes {theirs / mine:.1f} times ours; "
              f"{agree(warehouse, folder)}")  # fmt: skip
    warehouse.close()


_STREAM = """
import resource, sys
from pathlib import Path
from bench.training import streamed
print(streamed(Path(sys.argv[1]), int(sys.argv[2])))
"""


def streamed(folder: Path, questions: int) -> int:
    """Peak MB of a process that writes `questions` rows with features to a file."""
    warehouse = DuckDBWarehouse(folder / "20.duckdb")
    many = f"SELECT q.* FROM il.questions AS q, range({questions // QUESTIONS}) AS r(copy)"
    numbered = f"(SELECT *, row_number() OVER () AS {ROW} FROM ({many}) AS m)"
    spine = Spine(numbered, {}, digest(questions))
    built: list[Built] = [(view(n), f"il.v{n}") for n in range(VIEWS)]
    with stretches(warehouse, DUCKDB, spine) as parts:
        readers = (warehouse.batches(point_in_time_sql(p, ROW, "at_", built)) for p in parts)
        first = next(readers)
        with pa.parquet.ParquetWriter(folder / "out.parquet", first.schema) as out:
            for batch in chain(first, chain.from_iterable(readers)):
                out.write_batch(batch)
    warehouse.close()
    # Not getrusage: Linux hands the parent's peak down to a new program.
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) // 1024


def main() -> None:
    print(f"training set: {QUESTIONS} rows, {VIEWS} views of {ROWS} rows, processor time")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for history in HISTORIES:
            measure(folder, history)
        for times in (1, 2, 4, 8):
            command = [sys.executable, "-c", _STREAM, name, str(QUESTIONS * times)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            print(f"peak memory for {QUESTIONS * times} rows streamed to a file: "
                  f"{done.stdout.strip()} MB")  # fmt: skip


if __name__ == "__main__":
    main()
