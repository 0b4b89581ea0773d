"""New versions beside the old, warm and complete, before anything is routed to them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from interlock.app.build import Say, quiet
from interlock.app.versions import Version
from interlock.define.refs import Ref
from interlock.ports import Put
from interlock.serve.spec import ArtifactMeta, ServingSpec, spec_for

if TYPE_CHECKING:
    from interlock.app.workspace import Workspace

POINTED = "il.pointed"


def prepare(workspace: Workspace, version: Version, release: str, say: Say = quiet) -> ServingSpec:
    """Build, load and describe a release. Each part may have been done before; none is harmed."""
    from interlock.app.feed import Feeder, lookups_of

    builder = version.builder(workspace, say)
    builder.everything()
    spec = serving_spec(workspace, version, release)
    for model in spec.models.values():
        workspace.artifacts.get(model.artifact)
    Feeder(workspace.warehouse, workspace.online).catch_up(lookups_of([spec]), workspace.now())
    ref = Ref("serving", release)
    if workspace.record.get(ref) is None:
        workspace.record.write([Put(ref, spec.to_json(), 0)], by="controller", at=workspace.now())
    return spec


def serving_spec(workspace: Workspace, version: Version, release: str) -> ServingSpec:
    """What gateways need to know of a release."""
    environment = version.project.environments[workspace.environment]
    fingerprints = {
        str(view.ref): version.facts.fingerprint(view.ref)
        for view in version.project.views.values()
    }
    artifacts = {
        name: ArtifactMeta(m.artifact, m.format, m.inputs, m.categories, m.artifact[:12])
        for name, m in version.models.items()
    }
    return spec_for(version.project, fingerprints, artifacts, release, environment.subject)


def point_at(workspace: Workspace, version: Version) -> None:
    """Move the logical names of tables and views to this version, at one instant if it can be.

    Asked for at every look after a commit, so that a kill in between only delays it. While they
    move nobody knows where they stand: whoever goes back meanwhile must move them all again.
    """
    release = version.release or ""
    if workspace.warehouse.has(POINTED):
        told = workspace.warehouse.query(f"SELECT release FROM {POINTED}").to_pylist()
        if told and told[0]["release"] == release:
            return
    pointers = version.builder(workspace).everything()
    workspace.warehouse.build(POINTED, "SELECT '' AS release")
    workspace.warehouse.point(pointers)
    workspace.warehouse.build(POINTED, f"SELECT '{release}' AS release")
