"""An environment whose old answers are in an object store reads them as if they were here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import app_world as world
import pytest
from object_store import s3_server

from interlock.adapters.objects import ObjectFolder
from interlock.adapters.predictions import JsonLinesLog, new_writer
from interlock.app.ingest import LOG, ingest, packed
from interlock.app.predictions import find
from interlock.app.workspace import Workspace


def answered(first: int, count: int) -> list[dict[str, Any]]:
    """Lines as gateways write them."""
    return [
        {
            "id": f"p{n}", "at": "2013-04-01T10:00:00+00:00", "served_at": 1.7e9 + n,
            "model": "late", "service": "crew", "release": "a" * 64, "epoch": 1, "arm": "stable",
            "stage": None, "change": None, "subject": str(n), "key": n, "score": n / 100,
            "reason": "live", "stale": False, "oldest_s": 5.0, "fallbacks": [], "error": None,
            "latency_us": 900, "inputs": [float(n)],
        }
        for n in range(first, first + count)
    ]  # fmt: skip


def gateway_of(folder: Path, rows: list[dict[str, Any]]) -> None:
    """A gateway that answered, and has ended."""
    log = JsonLinesLog(folder, new_writer("gateway"))
    log.append(rows)
    log.close()


def test_answers_in_an_object_store_are_counted_once_and_found(
    small_flights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = world.copied(small_flights, tmp_path / "project")
    clock = "    clock: replay\n"
    world.edit(folder, "interlock.yaml", clock, f'{clock}    log: "${{LOG_PLACE}}"\n')
    with s3_server() as url:
        monkeypatch.setenv("LOG_PLACE", url)
        with world.opened(folder) as workspace:
            gateway_of(workspace.state / "predictions", answered(0, 40))
            assert ingest(workspace) == 40
            workspace.predictions.pack(settled=0)
            assert packed(workspace) == ""
            assert not list((workspace.state / "predictions").iterdir())
            # Another machine's gateway, of which only what it shipped can be seen from here.
            gateway_of(tmp_path / "other", answered(40, 7))
            other = JsonLinesLog(tmp_path / "other", elsewhere=ObjectFolder(url, "predictions"))
            assert ingest(workspace) == 0
            other.pack(settled=0)
            other.ship()
            assert ingest(workspace) == 7
            assert ingest(workspace) == 0
            assert counted(workspace) == (47, 47)
            # Whatever callers made of their keys, one row keeps no other out.
            odd = answered(47, 5)
            keys = (2**63, -(2**63), "a\x00b", None, "7")
            for one, key in zip(odd, keys, strict=True):
                one |= {"key": key, "subject": str(key)}
            gateway_of(workspace.state / "predictions", odd)
            assert ingest(workspace) == 5
            sql = f"SELECT key, subject FROM {LOG} WHERE id IN ('p47','p48','p49','p50','p51')"
            kept = [tuple(row.values()) for row in workspace.warehouse.query(sql).to_pylist()]
            assert {key for key, _ in kept} == {None, -(2**63), 7}
            assert (None, "a\ufffdb") in kept
            assert counted(workspace) == (52, 52)
            assert [find(workspace, id).inputs for id in ("p3", "p46")] == [(3.0,), (46.0,)]


def counted(workspace: Workspace) -> tuple[int, int]:
    sql = f"SELECT count(*) AS n, count(DISTINCT id) AS ids FROM {LOG}"
    (row,) = workspace.warehouse.query(sql).to_pylist()
    return row["n"], row["ids"]
