"""What a profile costs against one bare histogram scan, and against Evidently's PSI preset.

A million rows of fifty numbers, with NULLs and with zeros. The bare scan is the engine's own
histogram over the same edges: what cannot be had for less. Evidently runs in a virtual
environment of its own under `build/bench`, on the same Parquet files, and only its report is
timed, in processor seconds of its process; ours are those of this one. PSI is compared too,
by the order in which both see the columns drift: the bins are not the same.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bench.peers import python_of
from interlock.adapters.duckdb import DuckDBWarehouse
from interlock.define.definitions import Column, Table
from interlock.features.distance import psi
from interlock.features.profile import (
    Frame,
    TableProfile,
    frame_sql,
    profile_sql,
    read_frame,
    read_profile,
)
from interlock.features.text import quoted

ROWS, COLUMNS, ROUNDS = 1_000_000, 50, 3
NAMES = [f"c{i:02}" for i in range(COLUMNS)]
TABLE = Table(name="wh.wide", owner="bench", columns={n: Column(type="double") for n in NAMES})
RIVAL_VERSION = ("evidently==0.7.*", "pandas<3", "pyarrow")  # it does not import with pandas 3
_RIVAL = """
import json, sys, time
import pandas
from evidently import DataDefinition, Dataset, Report
from evidently.presets import DataDriftPreset
import evidently
frames = [pandas.read_parquet(file) for file in sys.argv[1:]]
names = list(frames[0].columns)
old, new = (Dataset.from_pandas(f, DataDefinition(numerical_columns=names)) for f in frames)
start = time.process_time()
done = Report([DataDriftPreset(num_method="psi")]).run(new, old).dict()
took = time.process_time() - start
print(json.dumps({"took": took, "version": evidently.__version__, "found": done}, default=str))
"""


def rows(seed: int, drift: float) -> pa.Table:
    """Numbers of every width; the later the column, the further `drift` moves it."""
    chance = np.random.default_rng(seed)
    columns = {}
    for at, name in enumerate(NAMES):
        values = chance.normal(drift * at / COLUMNS, 1.0, ROWS) * 10.0 ** (at % 4)
        values[chance.random(ROWS) < 0.05 * (at % 5)] = 0.0
        columns[name] = pa.array(values, mask=chance.random(ROWS) < 0.02 * (at % 3))
    return pa.table(columns)


def cpu(work: Callable[[], object]) -> float:
    """The least processor seconds of some rounds: others only make it more."""
    found = []
    for _ in range(ROUNDS):
        start = time.process_time()
        work()
        found.append(time.process_time() - start)
    return min(found)


def profiled(warehouse: DuckDBWarehouse, name: str, frame: Frame) -> TableProfile:
    row = warehouse.query(profile_sql(TABLE, name, frame)).to_pylist()[0]
    return read_profile(TABLE, row, frame)


def framed(warehouse: DuckDBWarehouse, name: str) -> Frame:
    return read_frame(TABLE, warehouse.query(frame_sql(TABLE, name) or "").to_pylist()[0])


def bare_sql(name: str, frame: Frame) -> str:
    parts = [f"histogram({quoted(n)}, {list(edges)}::DOUBLE[])" for n, edges in frame.edges.items()]
    return f"SELECT {', '.join(f'{part} AS h{at}' for at, part in enumerate(parts))} FROM {name}"


def rival(old: Path, new: Path) -> dict[str, object] | None:
    """What Evidently says of both files; None when it cannot be had here."""
    python = python_of("evidently", RIVAL_VERSION)
    if python is None:
        return None
    command = [str(python), "-c", _RIVAL, str(old), str(new)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        print(f"Evidently did not finish: {done.stderr.strip().splitlines()[-1:]}")
        return None
    found: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return found


def drifts_of(found: object) -> list[float]:
    """Evidently's PSI, in the order of the columns."""
    by_name: dict[str, float] = {}
    metrics = found["metrics"] if isinstance(found, dict) else []
    for metric in metrics:
        column = metric.get("config", {}).get("column")
        if column in NAMES and isinstance(metric["value"], (int, float)):
            by_name[column] = float(metric["value"])
    return [by_name[name] for name in NAMES if name in by_name]


def order(one: Sequence[float], other: Sequence[float]) -> float:
    """Spearman's correlation: 1 when both put the columns in the same order."""
    ranks = [np.argsort(np.argsort(np.asarray(side))) for side in (one, other)]
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def main() -> None:
    """Print ratios of processor time; the limits are goals, not assertions."""
    with tempfile.TemporaryDirectory() as work:
        files = [Path(work, f"{name}.parquet") for name in ("old", "new")]
        warehouse = DuckDBWarehouse(Path(work, "bench.duckdb"))
        for at, file in enumerate(files):
            pq.write_table(rows(at, 0.5 * at), file, row_group_size=122_880)
            warehouse.build(f"wh.{file.stem}", f"SELECT * FROM '{file}'")
        frame = framed(warehouse, "wh.old")
        freeze = cpu(lambda: framed(warehouse, "wh.old"))
        bare = cpu(lambda: warehouse.query(bare_sql("wh.new", frame)))
        ours = cpu(lambda: profiled(warehouse, "wh.new", frame))
        old, new = (profiled(warehouse, f"wh.{file.stem}", frame) for file in files)
        warehouse.close()
        print(f"{ROWS:,} rows x {COLUMNS} columns, processor time")
        print(f"profile / one bare histogram scan          {ours / bare:6.2f}  (goal <= 1.5)")
        found = rival(*files)
        if found is None:
            return
        theirs = float(str(found["took"]))
        psis = [psi(old.columns[n].bins or (), new.columns[n].bins or ()) for n in NAMES]
        said = f"Evidently {found['version']}, PSI preset"
        print(f"{said} / profile of what is new    {theirs / ours:6.1f}  (goal >= 10)")
        both = freeze + 2 * ours
        print(f"the same / edges and both profiles         {theirs / both:6.1f}")
        drifts = drifts_of(found["found"])
        if len(drifts) == COLUMNS:
            print(f"order of the drifting columns, agreement   {order(psis, drifts):6.2f}")


if __name__ == "__main__":
    main()
