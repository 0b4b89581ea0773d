"""A model is made again from its sources, or it is said what moved."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import app_world as world
import pytest

from interlock.app.reproduction import reproduce_model
from interlock.app.versions import stable
from interlock.app.workspace import Workspace
from interlock.errors import NotFound
from interlock.features.compile import physical
from interlock.models.dataset import Manifest


def manifest(workspace: Workspace) -> Manifest:
    version = stable(workspace)
    assert version is not None
    return Manifest.from_json(version.models["late"].manifest)


# R-B1
def test_the_same_model_comes_out_byte_for_byte(live: Workspace) -> None:
    tables = set(live.warehouse.query("SHOW ALL TABLES").column("name").to_pylist())
    found = reproduce_model(live, "late")
    assert found.same
    assert found.exit_code == 0
    assert found.same_rows
    assert not found.sources
    assert not found.libraries
    assert found.artifact is not None
    assert found.artifact.startswith(found.version)
    assert found.rows == (manifest(live).rows,) * 2
    # What was made for it is gone, and a part of the version is enough to name it.
    assert set(live.warehouse.query("SHOW ALL TABLES").column("name").to_pylist()) == tables
    assert reproduce_model(live, f"model:late@{found.version[:6]}").same


# R-B2
def test_the_manifest_says_which_rows_every_source_held(live: Workspace) -> None:
    sources = {one.ref: one for one in manifest(live).sources}
    assert {"table:wh.spine", "table:raw.arrivals"} < set(sources) or len(sources) > 12
    for ref, one in sources.items():
        assert re.fullmatch(r"duckdb \d+ rows \d+", one.snapshot), ref
        assert one.watermark is None or one.watermark.startswith("2013-")


def test_rows_that_moved_are_named_and_nothing_is_trained(live: Workspace) -> None:
    version = stable(live)
    assert version is not None
    ref = next(one.ref for one in manifest(live).sources if one.ref.startswith("view:"))
    view = version.project.views[ref.removeprefix("view:")]
    built = physical(f"{view.view}@{view.version}", version.facts.fingerprint(view.ref))
    live.warehouse.execute(f"DELETE FROM {built} WHERE rowid % 3 = 0")
    found = reproduce_model(live, "late")
    assert not found.same
    assert found.exit_code == 2
    assert found.artifact is None
    assert len(found.sources) == 1
    assert found.sources[0].startswith(f"{ref} had duckdb ")


def test_another_model_of_the_same_rows_is_one_within_the_tolerance_only(live: Workspace) -> None:
    version = stable(live)
    assert version is not None
    assert version.release is not None
    trained = version.models["late"]
    text = live.artifacts.get(trained.artifact)
    other = re.sub(rb"(leaf_value=-?0\.\d)\d", rb"\g<1>7", text, count=1)
    assert other != text
    models = {"late": replace(trained, artifact=live.artifacts.put(other))}
    live.versions[version.release] = replace(version, models=models)
    strict, wide = reproduce_model(live, "late"), reproduce_model(live, "late", 0.9)
    assert strict.same_rows
    assert strict.difference is not None
    assert 0 < strict.difference < 0.9
    assert (strict.exit_code, wide.exit_code) == (3, 0)


def test_a_model_that_no_release_has_is_refused_with_those_there_are(live: Workspace) -> None:
    with pytest.raises(NotFound, match="no release has a model late@ffff"):
        reproduce_model(live, "late@ffff")


def test_the_command_says_so(live: Workspace) -> None:
    done = world.command(live.folder, "reproduce", "late")
    assert done.code == 0, done
    assert json.loads(done.out)["same"]
    again = world.done("reproduce", "late", "-C", str(live.folder))
    assert "the same, byte for byte" in again.out
    assert "every input and label compared" in again.out
