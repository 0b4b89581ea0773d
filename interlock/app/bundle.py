"""One change as one signed archive, and what somebody finds who checks it without the project."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

from interlock.adapters.signing import verified
from interlock.app.audit import log_key, pin, signer_of
from interlock.app.changes import held
from interlock.app.versions import stable
from interlock.app.weighing import objections
from interlock.app.workspace import Workspace
from interlock.change.bundle import Contents, bundled, checked, happened
from interlock.change.change import Change
from interlock.change.checkpoints import Key
from interlock.change.evidence import Evidence
from interlock.change.names import shown
from interlock.change.proofs import PROOF, Proven, proof_against
from interlock.define.digest import digest
from interlock.define.refs import Ref
from interlock.errors import Unavailable
from interlock.ports import Json


@dataclass(frozen=True)
class Verified:
    """What a file proves. `trusted`: somebody said whose key it must be."""

    what: str
    key: str
    trusted: bool
    size: int
    objections: tuple[str, ...]


def bundle(workspace: Workspace, id: str) -> bytes:
    """Everything about a change, from one look at the log; `NotFound` for an unknown one."""
    ref = held(workspace.record, id).change.ref
    stands_on = {f"evidence:{one}" for one in held(workspace.record, id).change.evidence}
    pinned = pin(workspace, lambda leaf: _about(leaf["ref"], id) or leaf["ref"] in stands_on)
    known = {named.pseudonym: named.name for named in pinned.names}
    newest = {row.leaf["ref"]: row for row in pinned.rows}
    change = Change.from_json(json.loads(shown(newest[str(ref)].body or "", known)))
    ruled = [one for one in newest if one.startswith("decision:")]
    told = {str(ref), *(f"evidence:{one}" for one in change.evidence), *ruled}
    rows = tuple(
        row if row.leaf["ref"] in told and newest[row.leaf["ref"]] is row else _only_leaf(row)
        for row in pinned.rows
    )
    contents = Contents(
        change,
        tuple(
            Evidence.from_json(json.loads(shown(newest[f"evidence:{one}"].body or "", known)))
            for one in change.evidence
            if f"evidence:{one}" in newest
        ),
        {
            **_decisions(workspace, change),
            "decisions": [json.loads(shown(newest[one].body or "", known)) for one in ruled],
        },
        tuple(_line(row, known) for row in pinned.rows),
        rows,
        pinned.names,
        pinned.checkpoint,
        workspace.artifacts.get(change.drawing) if change.drawing else b"",
    )
    return bundled(contents, log_key(workspace), signer_of(workspace).sign)


def _about(address: str, id: str) -> bool:
    """Is it the change itself, or something that carries its name: a booking, a decision?"""
    name = address.partition(":")[2]
    return name == id or name.startswith(f"{id}-")


def _only_leaf(row: Proven) -> Proven:
    return replace(row, body=None)


def _line(row: Proven, known: dict[str, str]) -> Json:
    line = happened(row.leaf, known)
    body = json.loads(shown(row.body or "{}", known))
    if Ref.parse(row.leaf["ref"]).kind == "change":
        line |= {"state": body.get("state"), "said": body.get("said")}
    return line


def _decisions(workspace: Workspace, change: Change) -> Json:
    """What policy says now, and which policies those are: the ones of the release that runs."""
    running = stable(workspace)
    policies = running.project.policies if running else {}
    return {
        "asked_at": workspace.now().isoformat(),
        "objections": list(objections(workspace, change)),
        "policies": {name: digest(text) for name, text in sorted(policies.items())},
        "of_release": workspace.route().stable,
    }


def verify_file(file: Path, key: str = "") -> Verified:
    """Check a bundle or a proof, with nothing but the file and perhaps a public key."""
    try:
        data = file.read_bytes()
    except OSError as error:
        raise Unavailable(f"{file} cannot be read: {error.strerror}", "is it there?") from error
    signer = Key.parse(key) if key else None
    if data[:1] == b"{":
        return _proof(data, signer)
    found = checked(data, signer, verified)
    head = found.checkpoint
    said = f"bundle of {found.change}, {found.rows} writes proven" if found.change else "no bundle"
    return Verified(said, found.key, bool(key), head.size if head else 0, found.objections)


def _proof(data: bytes, signer: Key | None) -> Verified:
    try:
        body = json.loads(data)
        leaf = body["row"]["leaf"]
        wrong = [] if body["type"] == PROOF else [f"it is no {PROOF}"]
        said = f"{leaf['ref']} version {leaf['version']}"
        size = int(body["checkpoint"].split("\n")[1])
        wrong += proof_against(body, signer, verified)
        key = str(signer or body["key"])
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        return Verified("no proof", "", False, 0, (f"it cannot be read: {error!r}",))
    return Verified(said, key, signer is not None, size, tuple(wrong))
