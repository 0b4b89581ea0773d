"""The audit as people use it: verify, checkpoint, prove, erase; and where the record is."""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from interlock.adapters.memory import MemoryRecord
from interlock.adapters.signing import Ed25519Signer, verified
from interlock.app.audit import audit, checkpoint, erase, log_key, prove, signer_of
from interlock.app.workspace import Workspace
from interlock.change.change import Change
from interlock.change.checkpoints import Key, opened
from interlock.change.proofs import proof_against
from interlock.change.signoff import SignOff
from interlock.define.refs import Ref
from interlock.errors import Invalid, NotFound, Refused, Unusable
from interlock.ports import Put

NOON = datetime(2013, 4, 1, 12, tzinfo=UTC)
FIRST = Ref("note", "first")


@pytest.fixture
def workspace(small_flights: Path, tmp_path: Path) -> Iterator[Workspace]:
    folder = tmp_path / "flights"
    shutil.copytree(small_flights, folder, ignore=shutil.ignore_patterns("data", ".interlock"))
    opened = Workspace(folder, door="cli")
    for version in range(5):
        opened.record.write([Put(FIRST, {"by": "wei", "n": version}, version)], by="dana", at=NOON)
    yield opened
    opened.close()


def test_a_signed_checkpoint_holds_the_past(workspace: Workspace) -> None:  # R-A8
    kept = checkpoint(workspace)
    assert audit(workspace, [kept]).objections == ()
    workspace.record.write([Put(FIRST, {}, 5)], by="dana", at=NOON)
    later = checkpoint(workspace)
    found = audit(workspace, [kept, later])
    assert (found.objections, found.size, found.against) == ((), 6, 2)


def test_verifying_makes_no_key(workspace: Workspace) -> None:
    """Who only looks leaves no trace, and a key that is made now says nothing of then."""
    kept = checkpoint(workspace)
    shutil.rmtree(workspace.state / "keys")
    with pytest.raises(Refused, match="none was ever made here"):
        audit(workspace, [kept])
    assert not (workspace.state / "keys").exists()
    assert audit(workspace).objections == ()


def test_every_write_says_from_where(workspace: Workspace) -> None:
    (entry, *_) = workspace.record.history(FIRST)
    assert entry.source.startswith("cli@")


def _rewritten(workspace: Workspace) -> Workspace:
    """The same log, begun again with another past: what somebody with the file could do."""
    record = MemoryRecord()
    record._origin = workspace.record.origin()
    for version in range(5):
        record.write([Put(FIRST, {"n": version + 100}, version)], by="dana", at=NOON)
    workspace.record.close()
    workspace.__dict__["record"] = record
    return workspace


def test_a_past_that_was_written_anew_is_found_by_a_checkpoint_only(workspace: Workspace) -> None:
    kept = checkpoint(workspace)
    other = _rewritten(workspace)
    assert audit(other).objections == ()
    (said,) = audit(other, [kept]).objections
    assert said == "the first 5 audit leaves are not those of the checkpoint"


@pytest.mark.parametrize("how", ["origin", "key", "edited"])
def test_a_checkpoint_that_is_not_ours_is_refused_and_recorded(
    workspace: Workspace, how: str
) -> None:
    note = checkpoint(workspace)
    match how:
        case "origin":
            note = note.replace(workspace.record.origin(), "interlock/another")
        case "key":
            (workspace.state / "keys" / "signing.pem").unlink()
            signer_of(workspace)  # another one
        case "edited":
            note = note.replace("\n5\n", "\n4\n")
    with pytest.raises(Refused) as said:
        audit(workspace, [note])
    assert said.value.objections
    (kept,) = workspace.record.list("refusal")
    assert kept.body["said"] == list(said.value.objections)
    with pytest.raises(Refused):
        audit(workspace, [note])
    assert len(workspace.record.history(kept.ref)) == 1, "showing it again fills nothing"


def test_what_is_no_checkpoint_says_what_to_give(workspace: Workspace) -> None:
    root = audit(workspace).root
    assert audit(workspace, [f"5:{root}"]).objections == ()
    assert audit(workspace, [f"5:{'0' * 64}"]).objections != ()
    for text in ("lost.txt", "5:abc", "x:" + "0" * 64):
        with pytest.raises(Unusable, match="not a checkpoint"):
            audit(workspace, [text])


def test_the_key_may_come_from_the_environment(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OUR_KEY", "A" * 43 + "=")
    settings = workspace.folder / "interlock.yaml"
    text = settings.read_text()
    settings.write_text(
        text.replace("    subject:", '    signing_key: "${OUR_KEY}"\n    subject:', 1)
    )
    workspace.reread()
    public = Ed25519Signer.parse("A" * 43 + "=", "here").public
    assert log_key(workspace) == Key(workspace.record.origin(), public)
    kept = checkpoint(workspace)
    assert audit(workspace, [kept]).objections == ()
    assert not (workspace.state / "keys").exists()
    settings.write_text(text.replace("    subject:", "    signing_key: s3cret\n    subject:", 1))
    workspace.reread()
    with pytest.raises(Invalid, match="signing_key"):
        checkpoint(workspace)


def test_asking_for_the_key_makes_none(workspace: Workspace) -> None:
    with pytest.raises(NotFound, match="nothing was signed") as said:
        log_key(workspace)
    assert "audit checkpoint" in said.value.help
    assert not (workspace.state / "keys").exists()
    note = checkpoint(workspace)
    assert opened(note, log_key(workspace), verified)


def test_an_entry_is_proven_to_anybody(workspace: Workspace) -> None:  # R-A8
    proof = json.loads(json.dumps(prove(workspace, "note:first", 2)))
    key = log_key(workspace)
    assert proof_against(proof, key, verified) == []
    assert {named["name"] for named in proof["names"]} >= {"dana", "wei"}
    assert proof_against(proof, Key(key.name, b"\1" * 32), verified) != []
    for path, value in {
        "row.body": '{"n":7}',
        "row.leaf.by": "nobody",
        "row.leaf.seq": 3,
        "row.leaf.leaf": "00" * 32,
        "row.path": [],
        "names": [{**proof["names"][0], "name": "mallory"}],
        "checkpoint": proof["checkpoint"].replace("\n5\n", "\n4\n"),
        "row.leaf.extra": 1,
    }.items():
        other = json.loads(json.dumps(proof))
        *above, last = path.split(".")
        inside = other
        for part in above:
            inside = inside[part]
        inside[last] = value
        assert proof_against(other, key, verified) != [], path
    with pytest.raises(NotFound, match="has 5 versions"):
        prove(workspace, "note:first", 6)
    with pytest.raises(NotFound, match="nothing is kept"):
        prove(workspace, "change:CR-9")


def test_who_is_erased_is_nowhere_and_the_past_still_holds(workspace: Workspace) -> None:  # R-A8
    kept, proof = checkpoint(workspace), prove(workspace, "note:first")
    found = erase(workspace, "dana", by="wei")
    assert audit(workspace, [kept]).objections == ()
    assert {entry.by for entry in workspace.record.history(FIRST)} == {found.pseudonym}
    assert found.left == ("interlock.yaml declares dana in the team data-science",)
    text = b"".join(file.read_bytes() for file in workspace.state.glob("record.db*"))
    assert b"dana" not in text
    assert proof_against(proof, None, verified) == [], "what was given out keeps what it knew"
    later = prove(workspace, "note:first")
    assert proof_against(later, None, verified) == []
    assert "dana" not in {named["name"] for named in later["names"]}


def test_who_answers_for_an_open_change_cannot_be_erased_yet(workspace: Workspace) -> None:
    signed = SignOff("noor", "data_steward", "delays", "d" * 64, NOON)
    change = Change("CR-1", "a title", "dana", "prod", NOON, signoffs=(signed,))
    workspace.record.write([Put(change.ref, change.to_json(), 0)], by="dana", at=NOON)
    for person, why in (("dana", "is its author"), ("noor", "has signed it")):
        with pytest.raises(Refused) as said:
            erase(workspace, person, by="wei")
        assert said.value.objections == (f"CR-1 is DRAFT, and {person} {why}",)
    ended = Change("CR-1", "a title", "dana", "prod", NOON, state="WITHDRAWN", signoffs=(signed,))
    workspace.record.write([Put(change.ref, ended.to_json(), 1)], by="dana", at=NOON)
    gone = erase(workspace, "noor", by="wei").pseudonym
    entry = workspace.record.get(change.ref)
    assert entry is not None
    assert Change.from_json(entry.body).signoffs[0].person == gone


def test_where_a_name_cannot_be_reached_is_said(workspace: Workspace) -> None:
    workspace.record.write([Put(Ref("note", "1"), {"model": "dana"}, 0)], by="wei", at=NOON)
    found = erase(workspace, "dana", by="wei")
    assert "note:1 version 1 names dana in words of its own" in found.left
    with pytest.raises(NotFound, match="nobody named 'dana'"):
        erase(workspace, "dana", by="wei")


# --- where the record is ---


def _declare(folder: Path, address: str) -> None:
    settings = folder / "interlock.yaml"
    text = settings.read_text()
    settings.write_text(text.replace("    subject:", f'    record: "{address}"\n    subject:', 1))


def test_an_environment_may_keep_its_record_on_a_server(
    workspace: Workspace, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECORD", f"{postgres_url}&schema=t{secrets.token_hex(6)}")
    _declare(workspace.folder, "${RECORD}")
    one, two = Workspace(workspace.folder), Workspace(workspace.folder, looking=True)
    assert one.record.get(FIRST) is None, "not the file beside the project"
    one.record.write([Put(FIRST, {"n": 1}, 0)], by="dana", at=NOON)
    seen = two.record.get(FIRST)
    assert seen is not None
    assert seen.body == {"n": 1}
    assert audit(two, [checkpoint(one)]).objections == ()
    # A file that cannot be read any more must not lead to another, empty record.
    (workspace.folder / "interlock.yaml").write_text("record: [")
    three = Workspace(workspace.folder)
    assert three.record.origin() == one.record.origin()
    for each in (one, two, three):
        each.close()


def test_an_address_that_is_none_is_told_before_anything_opens(workspace: Workspace) -> None:
    _declare(workspace.folder, "mysql://somewhere")
    other = Workspace(workspace.folder)
    with pytest.raises(Unusable, match="mysql://somewhere"):
        _ = other.record
    with pytest.raises(Invalid, match="record"):
        _ = other.project


def test_a_record_may_be_another_file(workspace: Workspace) -> None:
    _declare(workspace.folder, "sqlite://elsewhere.db")
    other = Workspace(workspace.folder)
    assert other.record.get(FIRST) is None
    assert (workspace.folder / "elsewhere.db").exists()
    other.close()
