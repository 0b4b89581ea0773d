"""One change as one signed archive: what is in it, and that nothing in it can be changed."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from interlock.adapters.signing import Ed25519Signer, verified
from interlock.app.audit import checkpoint, erase, log_key, prove
from interlock.app.bundle import bundle, verify_file
from interlock.app.workspace import Workspace
from interlock.change.archive import packed, unpacked
from interlock.change.bundle import DOCUMENTS, checked
from interlock.change.change import Change
from interlock.change.checkpoints import Key
from interlock.change.envelope import sealed, statement
from interlock.change.evidence import Evidence, Waiver
from interlock.change.signoff import SignOff
from interlock.define.digest import canonical, digest, digest_bytes
from interlock.define.refs import Ref
from interlock.errors import NotFound, Unavailable
from interlock.ports import Put

NOON = datetime(2013, 4, 1, 12, tzinfo=UTC)
DRAWN = {"nodes": [{"id": "model:late", "columns": []}], "edges": []}
PLAN = {"steps": ["build"], "differences": [], "why": "dana asked for it"}


@dataclass
class Shown:
    """A project with one change, its bundle, and the key that signed it."""

    workspace: Workspace
    data: bytes
    key: Key


def _change(workspace: Workspace) -> None:
    made = Evidence("contract:flights", {"table:wh.flights": "a"}, "pass", "it holds", NOON, n=7)
    signed = SignOff("noor", "data_steward", "delays", digest(PLAN), NOON)
    waived = Waiver("kpi:crew", "ola", "service_owner", "too little traffic in a test", NOON)
    change = Change(
        "CR-1", "A better model", "dana", "prod", NOON, plan=PLAN, plan_digest=digest(PLAN),
        release="c" * 64, made_against="b" * 64, evidence=(made.digest,), signoffs=(signed,),
        waivers=(waived,), rollback_criteria="errors over 2 %", reason="it drifts",
        details={"graph": workspace.artifacts.put(canonical(DRAWN))},
    )  # fmt: skip
    ended = replace(change, state="WITHDRAWN", said="withdrawn: not needed any more")
    record = workspace.record
    record.write([Put(change.ref, change.to_json(), 0)], by="dana", at=NOON)
    record.write([Put(Ref("evidence", made.digest), made.to_json(), 0)], by="dana", at=NOON)
    record.write([Put(change.ref, ended.to_json(), 1)], by="noor", at=NOON)
    ruled = {"change": "CR-1", "action": "start", "by": "noor", "said": ["frozen"]}
    record.write([Put(Ref("decision", "CR-1-abc"), ruled, 0)], by="controller", at=NOON)
    own = {**change.to_json(), "id": "CR-11", "details": {"graph": DRAWN}}
    record.write([Put(Ref("change", "CR-11"), own, 0)], by="eve", at=NOON)


@pytest.fixture
def made(small_flights: Path, tmp_path: Path) -> Iterator[Shown]:
    folder = tmp_path / "flights"
    shutil.copytree(small_flights, folder, ignore=shutil.ignore_patterns("data", ".interlock"))
    workspace = Workspace(folder)
    _change(workspace)
    yield Shown(workspace, bundle(workspace, "CR-1"), log_key(workspace))
    workspace.close()


def test_a_bundle_tells_everything_about_a_change(made: Shown, tmp_path: Path) -> None:  # R-C10
    files = unpacked(made.data)
    seals = {f"attestations/{name}.dsse.json" for name in (*DOCUMENTS, "bundle")}
    plain = {f"{name}.json" for name in DOCUMENTS}
    assert set(files) == {*seals, *plain, "audit.json", "checkpoint.txt", "graph.json", "key.txt"}
    assert json.loads(files["graph.json"]) == DRAWN
    read = {name: json.loads(files[f"{name}.json"]) for name in DOCUMENTS}
    assert read["request"]["author"] == "dana"
    assert read["impact"] == {"plan": PLAN, "plan_digest": digest(PLAN)}
    assert read["rollback"]["to_release"] == "b" * 64
    assert read["rollback"]["when"] == "errors over 2 %"
    assert [one["check"] for one in read["evidence"]] == ["contract:flights"]
    assert [one["person"] for one in read["signoffs"]["signoffs"]] == ["noor"]
    assert [one["by"] for one in read["signoffs"]["waivers"]] == ["ola"]
    assert [(one["what"], one["by"]) for one in read["timeline"] if "change" in one["what"]] == [
        ("change:CR-1 version 1", "dana"),
        ("change:CR-1 version 2", "noor"),
    ]
    assert read["timeline"][2]["said"] == "withdrawn: not needed any more"
    assert [(one["by"], one["said"]) for one in read["decisions"]["decisions"]] == [
        ("noor", ["frozen"])
    ]
    found = checked(made.data, made.key, verified)
    assert (found.objections, found.change, found.rows) == ((), "CR-1", 4)


def test_a_change_that_holds_its_drawing_itself_is_bundled_as_before(made: Shown) -> None:
    data = bundle(made.workspace, "CR-11")
    assert "graph.json" not in unpacked(data)
    assert checked(data, made.key, verified).objections == ()


def test_a_drawing_that_is_lost_is_not_left_out_in_silence(made: Shown) -> None:
    shutil.rmtree(made.workspace.state / "artifacts")
    with pytest.raises(NotFound, match="no artifact"):
        bundle(made.workspace, "CR-1")


def test_the_same_log_gives_the_same_bytes(made: Shown) -> None:
    assert unpacked(bundle(made.workspace, "CR-1")).keys() == unpacked(made.data).keys()
    for name, data in unpacked(bundle(made.workspace, "CR-1")).items():
        if "decisions" not in name and "bundle" not in name:  # they say when they were asked
            assert data == unpacked(made.data)[name], name


def test_it_is_checked_without_the_project(made: Shown, tmp_path: Path) -> None:
    file = tmp_path / "CR-1.zip"
    file.write_bytes(made.data)
    shutil.rmtree(made.workspace.folder)
    found = verify_file(file, str(made.key))
    assert (found.objections, found.trusted, found.size) == ((), True, 5)
    own = verify_file(file)
    assert (own.objections, own.trusted, own.key) == ((), False, str(made.key))
    other = verify_file(file, str(Key(made.key.name, b"\1" * 32)))
    assert "not signed by" in other.objections[0]
    with pytest.raises(Unavailable):
        verify_file(tmp_path / "nothing")


def test_any_changed_byte_is_refused(made: Shown) -> None:
    # Every place would take minutes: each 13th, and others by chance of a fixed seed.
    chance = random.Random(7)
    places = {*range(0, len(made.data), max(1, len(made.data) // 300)),
              *(chance.randrange(len(made.data)) for _ in range(200))}  # fmt: skip
    for at in places:
        data = bytearray(made.data)
        data[at] ^= 1 << chance.randrange(8)
        found = checked(bytes(data), made.key, verified)
        assert found.objections != (), at
        assert checked(bytes(data), None, verified).objections != (), at


def test_a_truncated_one_is_refused(made: Shown) -> None:
    for size in range(0, len(made.data), max(1, len(made.data) // 50)):
        assert checked(made.data[:size], made.key, verified).objections != ()


def _again(made: Shown, files: dict[str, bytes], signer: Ed25519Signer, key: Key) -> bytes:
    """Sealed anew as a whole: what somebody with a key of their own can do."""
    rest = {name: data for name, data in files.items() if name != "attestations/bundle.dsse.json"}
    whole = statement({n: digest_bytes(d) for n, d in rest.items()}, "bundle", {"change": "CR-1"})
    seal = sealed(whole, key, signer.sign)
    return packed({**rest, "attestations/bundle.dsse.json": seal})


def test_files_that_are_missing_or_put_in_are_named(made: Shown) -> None:
    files = unpacked(made.data)
    without = {name: data for name, data in files.items() if name != "checkpoint.txt"}
    assert any("checkpoint.txt is missing" in s for s in _said(made, packed(without)))
    more = {**files, "extra.txt": b"x"}
    assert "extra.txt was put in" in _said(made, packed(more))
    edited = {**files, "request.json": files["request.json"].replace(b"dana", b"mara")}
    assert "request.json was edited" in _said(made, packed(edited))
    assert "request.json is not what was sealed" in _said(made, packed(edited))


def _said(made: Shown, data: bytes) -> tuple[str, ...]:
    return checked(data, made.key, verified).objections


def test_the_holder_of_the_key_cannot_tell_another_story_than_the_record(made: Shown) -> None:
    """A bundle that was sealed with the right key, over documents that the log does not know."""
    signer = Ed25519Signer.kept_in(made.workspace.state / "keys" / "signing.pem")
    files = unpacked(made.data)
    subjects = {"plan": digest(PLAN), "release": "c" * 64}
    for name, old, new in (
        ("signoffs", b"noor", b"mara"),
        ("request", b"A better model", b"Another thing."),
        ("evidence", b"it holds", b"it fails"),
        ("rollback", b"2 %", b"9 %"),
        ("timeline", b'"by":"noor"', b'"by":"mara"'),
    ):
        told = {**files, f"{name}.json": files[f"{name}.json"].replace(old, new)}
        assert told != files, name
        claim = statement(subjects, name, json.loads(told[f"{name}.json"]))
        told[f"attestations/{name}.dsse.json"] = sealed(claim, made.key, signer.sign)
        found = _said(made, _again(made, told, signer, made.key))
        assert any("record" in said for said in found), (name, found)
    other = _again(made, {**files, "graph.json": b"{}"}, signer, made.key)
    assert "graph.json is not the drawing that the change holds the digest of" in _said(made, other)
    none = _again(made, {n: d for n, d in files.items() if n != "graph.json"}, signer, made.key)
    assert any("graph.json is missing" in said for said in _said(made, none))
    rows = json.loads(files["audit.json"])
    rows["names"][0]["name"] = "mara"
    found = _said(made, _again(made, {**files, "audit.json": canonical(rows)}, signer, made.key))
    assert any("does not stand for 'mara'" in said for said in found)


def test_who_seals_it_anew_with_another_key_is_seen(made: Shown) -> None:
    other = Ed25519Signer.parse("A" * 43 + "=", "here")
    key = Key(made.key.name, other.public)
    data = _again(made, unpacked(made.data), other, key)
    assert any("not signed by" in said for said in _said(made, data))


def test_a_person_who_was_erased_is_not_in_later_bundles(made: Shown) -> None:
    kept = checkpoint(made.workspace)
    workspace = made.workspace
    before = workspace.record.get(Ref("change", "CR-11"))
    assert before is not None
    ended = {**before.body, "state": "WITHDRAWN"}
    workspace.record.write([Put(Ref("change", "CR-11"), ended, 1)], by="eve", at=NOON)
    erase(workspace, "noor", by="eve")
    data = bundle(workspace, "CR-1")
    assert checked(data, made.key, verified).objections == ()
    assert not any(b"noor" in content for content in unpacked(data).values())
    assert checked(made.data, made.key, verified).objections == (), "what was given out stays true"
    assert kept


def test_a_proof_is_checked_as_a_file_too(made: Shown, tmp_path: Path) -> None:
    file = tmp_path / "proof.json"
    file.write_text(json.dumps(prove(made.workspace, "change:CR-1", 1)))
    found = verify_file(file, str(made.key))
    assert (found.objections, found.what) == ((), "change:CR-1 version 1")
    for text in ("{", "{}", '{"type": "x", "row": {"leaf": {"ref": 1, "version": 2}}}'):
        file.write_text(text)
        assert verify_file(file).objections != ()


def test_an_unknown_change_is_not_found(made: Shown) -> None:
    with pytest.raises(NotFound):
        bundle(made.workspace, "CR-7")
