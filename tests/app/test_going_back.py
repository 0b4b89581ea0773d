"""What a rollback leads to is kept as fresh as what runs, for as long as one may go back."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import refresh_world as world

from interlock.app.changes import may_go_back_to
from interlock.app.refresh import refresh
from interlock.app.versions import definitions, keep_definitions, release_body, stored
from interlock.app.workspace import Workspace
from interlock.change.change import Change
from interlock.define.refs import Ref
from interlock.features.compile import physical
from interlock.ports import Put

PLAIN = Ref("view", "plain", 1)
NEWER = "e" * 64
_MAY = {"ts": "2024-05-01T00:00:00Z", "known_at": "2024-05-02T00:00:00Z"}
SALE: world.Row = {"id": 900, "till": 1, **_MAY, "amount": 50}


@pytest.fixture
def shop() -> world.Shop:
    return world.Shop(7)


@pytest.fixture
def tills(tmp_path: Path, shop: world.Shop) -> Iterator[Workspace]:
    """Another `plain@1` was committed over the first release, and may be taken back."""
    folder = world.shop_project(tmp_path / "tills", shop)
    text = (folder / "features/plain.sql").read_text()
    (folder / "features/plain.sql").write_text(text.replace("amount AS x", "amount + 1 AS x"))
    with world.opened(folder) as workspace:
        committed(workspace)
        yield workspace


def committed(workspace: Workspace) -> None:
    components = {name: node.fingerprint for name, node in workspace.facts.nodes.items()}
    kept = keep_definitions(workspace, workspace.project)
    change = Change("CR-2", "One more", "ann", "prod", datetime(2024, 2, 1, tzinfo=UTC),
                    "COMMITTED", made_against=world.RELEASE, release=NEWER)  # fmt: skip
    route = workspace.route()
    new = {**route.to_json(), "stable": NEWER}
    puts = [
        Put(Ref("release", NEWER), release_body(components, kept, {}, "CR-2"), 0),
        Put(change.ref, change.to_json(), 0),
        Put(workspace.route_ref, new, route.epoch),
    ]
    workspace.record.write(puts, by="test", at=workspace.now())
    world.builder(workspace).everything()


def rows(workspace: Workspace, release: str) -> list[tuple[int, int]]:
    fingerprint = stored(workspace, release).facts.fingerprint(PLAIN)
    table = physical("plain@1", fingerprint)
    found = workspace.warehouse.query(f"SELECT id, x FROM {table} ORDER BY id").to_pylist()
    return [(row["id"], row["x"]) for row in found if row["x"] is not None]


# R-A14
def test_a_refresh_brings_along_what_may_be_gone_back_to(
    tills: Workspace, shop: world.Shop
) -> None:
    assert may_go_back_to(tills) == (world.RELEASE,)
    shop.sales.append(SALE)
    shop.write(tills.folder)
    report = refresh(tills)
    assert not report.unfit
    assert (900, 50) in rows(tills, world.RELEASE)
    assert [(id, x + 1) for id, x in rows(tills, world.RELEASE)] == rows(tills, NEWER)


def test_what_cannot_be_brought_along_is_said_and_stops_nothing(
    tills: Workspace, shop: world.Shop
) -> None:
    entry = tills.record.get(Ref("release", world.RELEASE))
    assert entry is not None
    assert definitions(tills, entry.body["definitions"])
    for file in (tills.state / "artifacts").rglob(f"*{entry.body['definitions'][8:]}*"):
        file.unlink()
    shop.sales.append(SALE)
    shop.write(tills.folder)
    report = refresh(tills)
    assert (900, 51) in rows(tills, NEWER)
    (said,) = report.unfit
    assert said.startswith(f"release {world.RELEASE[:12]} would answer from older rows: ")
