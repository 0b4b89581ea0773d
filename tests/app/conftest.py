"""One project at every point of its life, made once. Copy a folder before you write to it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import app_world as world
import experiment_world
import pytest
from listener import listening

from interlock.app import decide
from interlock.app.tick import tick
from interlock.app.workspace import Workspace


@pytest.fixture(scope="session")
def life(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("life")


@pytest.fixture(scope="session")
def proposed(small_flights: Path, life: Path) -> Path:
    """CR-1, the first release, in review; nobody has signed."""
    folder = world.copied(small_flights, life / "proposed")
    world.configure(folder)
    with world.opened(folder) as workspace:
        world.proposed(workspace, "First release")
    return folder


@pytest.fixture(scope="session")
def released(proposed: Path, life: Path) -> Path:
    """CR-1 is live."""
    folder = world.copied(proposed, life / "released")
    with world.opened(folder) as workspace:
        world.signed(workspace, "CR-1")
        decide.apply(workspace, "CR-1", by="sam")
        tick(workspace)
    return folder


@pytest.fixture(scope="session")
def signed(released: Path, life: Path) -> Path:
    """CR-2 (another seed) is approved; CR-3 (another margin) is in review, against the same."""
    folder = world.copied(released, life / "signed")
    seed = ("models/late.yaml", "  seed: 1\n", "  seed: 2\n")
    world.edit(folder, *seed)
    with world.opened(folder) as workspace:
        world.proposed(workspace, "Another seed")
        world.signed(workspace, "CR-2")
        world.edit(folder, seed[0], seed[2], seed[1])
        world.edit(folder, "services/crew.yaml", "  margin: 0.05", "  margin: 0.06")
        world.proposed(workspace, "Another margin")
        world.edit(folder, "services/crew.yaml", "  margin: 0.06", "  margin: 0.05")
    return folder


@pytest.fixture(scope="session")
def stages(signed: Path, life: Path) -> Mapping[str, Path]:
    """CR-2 in each state of its rollout, with traffic behind it and its least time over."""
    folder = world.copied(signed, life / "walking")
    return world.walk(folder, "CR-2", life)


@pytest.fixture(scope="session")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """Three candidates at several points of their way, as `experiment_world.walked` names them."""
    with listening() as gate, pytest.MonkeyPatch.context() as patch:
        patch.setenv("GATE_URL", gate.url)
        patch.setenv("GATE_SECRET", experiment_world.SECRET)
        return experiment_world.walked(tmp_path_factory.mktemp("experiment"))


@pytest.fixture
def live(released: Path, tmp_path: Path) -> Iterator[Workspace]:
    """CR-1 is live, in a folder of the test's own."""
    with world.opened(world.copied(released, tmp_path / "project")) as workspace:
        yield workspace


@pytest.fixture
def ready(signed: Path, tmp_path: Path) -> Iterator[Workspace]:
    """CR-2 is approved and CR-3 in review, in a folder of the test's own."""
    with world.opened(world.copied(signed, tmp_path / "project")) as workspace:
        yield workspace
