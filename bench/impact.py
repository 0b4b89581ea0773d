"""How long a plan takes on a made-up estate of 2,000 tables in SQL, 500 features, 100 models.

Everything is a process of its own, told apart from what else the machine does by its CPU
time. `bare` is what nobody can do without: the parser's parse and qualify once for each query
and nothing else. SQLMesh gets the same queries, an environment of its own in `build/`, both
processors and its own cache; it is not told of models and services, and compares with an
empty environment, which is less work than comparing with a release.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from bench.estate import ENGINE, Estate, edit, edited, make, write
from bench.peers import python_of

ROUNDS = 3
EDITED = "wh.t0600"  # a third of the way up: some hundred tables stand on it
RIVAL_VERSION = "sqlmesh==0.236.*"


@dataclass(frozen=True)
class Cost:
    """What a process took: seconds on the wall and of CPU, and its peak memory in MB."""

    wall: float
    cpu: float
    memory: float
    said: str = ""


def run(command: Sequence[str], cwd: Path | None = None, fine: Sequence[int] = (0,)) -> Cost:
    """Run to the end; its own children count as its own."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    # As installed: a rival's wheel comes compiled too, and nobody compiles it at every start.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    with tempfile.TemporaryFile("w+") as out:
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=out, cwd=cwd, env=environment)
        _, status, used = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        said = out.read()
    if process.returncode not in fine:
        sys.exit(f"{' '.join(command)} ended with {process.returncode}")
    return Cost(wall, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, said)


# --- what is measured --------------------------------------------------------------------


def bare(_: Path) -> None:
    """Parse and qualify every query once; prints the CPU seconds of just that."""
    import sqlglot
    from sqlglot.optimizer.qualify import qualify

    estate = make()
    nested: dict[str, dict[str, dict[str, str]]] = {}
    for table in estate.tables.values():
        schema, name = table.name.split(".")
        nested.setdefault(schema, {})[name] = engine_types(table.columns)
    known = sqlglot.MappingSchema({**nested}, dialect="duckdb")
    start = time.process_time()
    for query in estate.queries():
        qualify(sqlglot.parse_one(query.sql, dialect="duckdb"), schema=known, dialect="duckdb")
    print(time.process_time() - start)


def release(folder: Path) -> None:
    """Make what the files say what runs, so that a plan has something to compare with."""
    from interlock.app.versions import keep_definitions, release_body
    from interlock.app.workspace import Workspace
    from interlock.define.digest import digest
    from interlock.define.refs import Ref
    from interlock.define.release import Route
    from interlock.ports import Put

    workspace = Workspace(folder)
    parts = {name: node.fingerprint for name, node in workspace.facts.nodes.items()}
    body = release_body(parts, keep_definitions(workspace, workspace.project), {}, "CR-1")
    name = digest(body)
    route = Route(workspace.environment, stable=name).to_json()
    writes = [Put(Ref("release", name), body, 0), Put(workspace.route_ref, route, 0)]
    workspace.record.write(writes, by="bench", at=datetime(2024, 1, 1, tzinfo=UTC))
    workspace.close()


def plan(folder: Path) -> Cost:
    """`interlock plan --json`; 2 says that there is something to do."""
    return run([*interlock(), "plan", "--json", "--project", str(folder)], fine=(0, 2))


def interlock() -> list[str]:
    return [sys.executable, "-c", "from interlock.cli.main import run; run()"]


def this(part: Callable[[Path], None], folder: Path) -> Cost:
    return run([sys.executable, "-m", "bench.impact", part.__name__, str(folder)])


def engine_types(columns: dict[str, str] | object) -> dict[str, str]:
    assert isinstance(columns, dict)
    return {name: ENGINE[kind] for name, kind in columns.items()}


# --- the other one -----------------------------------------------------------------------

_RIVAL_PLAN = """
import sqlmesh
context = sqlmesh.Context(paths=["."])
found = context.plan_builder("prod", skip_tests=True).build().context_diff
print(sqlmesh.__version__, len(found.added))
"""
_RIVAL_CONFIG = """gateways:
  local:
    connection: {type: duckdb, database: state.db}
default_gateway: local
model_defaults: {dialect: duckdb, start: '2024-01-01'}
disable_anonymized_analytics: true
"""


def write_rival(estate: Estate, folder: Path) -> None:
    """The same queries over the same sources as a SQLMesh project."""
    (folder / "models").mkdir(parents=True)
    (folder / "config.yaml").write_text(_RIVAL_CONFIG)
    sources = [
        {"name": table.name, "columns": engine_types(table.columns)}
        for table in estate.tables.values()
        if not table.sql
    ]
    (folder / "external_models.yaml").write_text(json.dumps(sources))  # which is YAML too
    for query in estate.queries():
        name = query.name if "." in query.name else f"views.{query.name}"
        head = f"MODEL (name {name}, kind VIEW, dialect duckdb);\n\n"
        (folder / "models" / f"{name.replace('.', '_')}.sql").write_text(f"{head}{query.sql}\n")


def edit_rival(folder: Path) -> None:
    file = folder / "models" / f"{EDITED.replace('.', '_')}.sql"
    file.write_text(edited(file.read_text()))


# --- the table ---------------------------------------------------------------------------


def line(what: str, ratio: float, wanted: str, details: str) -> None:
    print(f"{what:<52} {ratio:>8.3f}   {wanted:<14} {details}")


def ours(folder: Path) -> tuple[Cost, Cost]:
    """Cold and after one edit, each with the least CPU of some rounds."""
    bares, colds, warms = [], [], []
    for _ in range(ROUNDS):
        bares.append(float(this(bare, folder).said))
        colds.append(plan(folder))  # without a state folder nothing is kept
    this(release, folder)
    plan(folder)
    for _ in range(ROUNDS):
        edit(folder, EDITED)
        warms.append(plan(folder))
    parts = min(bares)
    cold, warm = (min(costs, key=lambda cost: cost.cpu) for costs in (colds, warms))
    line("cold plan / parse and qualify", cold.cpu / parts, "at most 1.5",
         f"{cold.cpu:.1f} s / {parts:.1f} s of CPU")  # fmt: skip
    line("plan after one edit / cold plan", warm.cpu / cold.cpu, "under 0.05",
         f"{warm.cpu:.2f} s / {cold.cpu:.1f} s of CPU")  # fmt: skip
    most = max(cost.memory for cost in (*colds, *warms))
    line("peak memory / 600 MB", most / 600, "under 1", f"{most:.0f} MB")
    helps = [run([*interlock(), "--help"]).cpu for _ in range(5)]
    line("interlock --help / 0.2 s", statistics.median(helps) / 0.2, "under 1",
         f"{statistics.median(helps):.2f} s of CPU")  # fmt: skip
    return cold, warm


def theirs(estate: Estate, folder: Path, mine: tuple[Cost, Cost]) -> None:
    python = python_of("sqlmesh", (RIVAL_VERSION,))
    if python is None:
        return
    write_rival(estate, folder)
    command = [str(python), "-c", _RIVAL_PLAN]
    for what, own, wanted in zip(("cold", "after one edit"), mine, (3, 50), strict=True):
        cost = run(command, cwd=folder)
        version = cost.said.split()[-2]
        line(f"SQLMesh {version} / interlock, {what}", cost.cpu / own.cpu, f"at least {wanted}",
             f"{cost.cpu:.1f} s of CPU; on the wall {cost.wall:.1f} s / {own.wall:.1f} s, "
             f"{cost.wall / own.wall:.1f} times; {cost.memory:.0f} MB")  # fmt: skip
        edit_rival(folder)


def main() -> None:
    estate = make()
    queries = sum(1 for _ in estate.queries())
    print(f"planning {queries} queries, {estate.size.models} models, ratios of CPU time")
    folder = Path(tempfile.mkdtemp())
    try:
        write(estate, folder / "estate")
        mine = ours(folder / "estate")
        theirs(estate, folder / "sqlmesh", mine)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    if len(sys.argv) == 3:
        {"bare": bare, "release": release}[sys.argv[1]](Path(sys.argv[2]))
    else:
        main()
