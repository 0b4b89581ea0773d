"""`--server`: the same story told by the same commands, here and over a server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import app_world as world
import pytest
from faces_world import Side, alike, same, stripped, two_sides

from interlock.cli.client import client, shown_token
from interlock.cli.elsewhere import server_in
from interlock.cli.remote import CALLS
from interlock.errors import Refused, Unusable


@pytest.fixture
def sides(
    signed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Side, Side]]:
    monkeypatch.setenv("INTERLOCK_TOKEN", "")
    with two_sides(signed, tmp_path) as both:
        yield both


CHECK = ("--check", "no_oven", "--sql", "SELECT 1 FROM wh.weather WHERE temp_f > 500")
# Everything that only looks is asked twice: as JSON and as people read it.
LOOKS: tuple[tuple[str, ...], ...] = (
    ("changes",),
    ("status", "CR-1"),
    ("status", "CR-3"),
    ("status", "CR-77"),
    ("status", "CR-1", "--watch"),
    ("status", "--watch"),
    ("plan",),
    ("plan", "--comment"),
    ("plan", "--explain", "service:crew"),
    ("plan", "--comment", "--explain", "service:crew"),
    ("plan", "--after", "CR-77"),
    ("catalog",),
    ("catalog", "weather"),
    ("lineage", "model:late"),
    ("lineage", "model:nothing"),
    ("evidence", "0000000"),
    ("inbox", "--as"),
    ("delegate", "--as"),
    ("notes", "CR-1"),
    ("notes", "CR-77"),
    ("notes", "CR-2", "--story"),
    ("notes", "model:late"),
    ("notes", "nonsense"),
    ("scorecard",),
    ("scorecard", "--team", "nobody"),
    ("scorecard", "--since", "2013-02-01", "--until", "2013-04-01"),
    ("review", "CR-3"),
    ("calendar",),
    ("calendar", "--days", "7"),
    ("outbox",),
    ("policy", "test"),
    ("policy", "replay"),
    ("policy", "explain", "CR-3"),
    ("policy", "explain", "CR-3", "--by", "wei", "--action", "approve"),
    ("policy", "explain", "CR-3", "--action", "nonsense"),
)


def test_what_only_looks_is_the_same_over_a_server(sides: tuple[Side, Side]) -> None:
    for line in LOOKS:
        told = [side.run("wei", *line) for side in sides]
        same(*told)
        if told[0].out:
            same(*(side.run("wei", *line, as_json=False) for side in sides))


def acts(first: str, role: tuple[str, ...]) -> list[tuple[str, ...]]:
    """A story: who does what, in which words. `first` may sign CR-3 in `role`."""
    return [
        (world.AUTHOR, "approve", "CR-3", *role, "--as"),
        (first, "approve", "CR-3", *role, "--as"),
        (first, "inbox", "--as"),
        (first, "approve", "CR-3", *role, "--withdraw", "read it again", "--as"),
        (first, "delegate", "--to", "nobody", *role, "--until", "2013-06-01", "--as"),
        (first, "delegate", "--to", "nobody", *role, "--end", "--as"),
        ("wei", "waive", "CR-3", "nonsense", "--role", "r", "--reason", "because of it", "--as"),
        ("wei", "book", "CR-3", "--next", "--as"),
        ("wei", "book", "CR-3", "--at", "2013-03-08T06:00", "--as"),
        ("wei", "book", "CR-3", "--as"),
        ("nobody", "book", "CR-3", "--next", "--as"),
        ("wei", "replan", "CR-3"),
        ("wei", "prove", "CR-3"),
        ("sam", "apply", "CR-3", "--no-wait", "--as"),
        ("sam", "apply", "CR-2", "--no-wait", "--as"),
        ("sam", "apply", "CR-2", "--no-wait", "--as"),
        ("sam", "hold", "CR-2", "--reason", "lunch", "--as"),
        ("sam", "hold", "CR-2", "--reason", "back", "--resume", "--as"),
        ("sam", "promote", "CR-2", "--reason", " ", "--as"),
        ("sam", "retry", "CR-2", "--reason", "more time", "--as"),
        ("sam", "rollback", "CR-2", "--reason", "no good", "--as"),
        ("sam", "rollback", "CR-2", "--reason", "no good", "--as"),
        ("wei", "withdraw", "CR-3", "--reason", "no need", "--as"),
        ("wei", "withdraw", "CR-3", "--reason", "no need", "--as"),
        ("wei", "changes"),
        ("rita", "review", "CR-2", "--feedback", "it was calm", "--section", "well", "--as"),
        ("rita", "review", "CR-2", "--feedback", "x", "--section", "nonsense", "--as"),
        ("rita", "review", "CR-2", "--action", "look at ovens", *CHECK, "--as"),
        ("rita", "review", "CR-2", "--action", "again", *CHECK, "--as"),
        ("rita", "review", "CR-2", "--done", "1", "--as"),
        ("rita", "review", "CR-2", "--done", "7", "--as"),
        ("rita", "review", "CR-2", "--close", "--finding", "fine", "--as"),
        ("rita", "review", "CR-2", "--finding", "fine", "--as"),
        ("rita", "outbox", "retry", "msg_none", "--as"),
        ("rita", "outbox", "nonsense", "--as"),
        ("rita", "policy", "replay"),
        ("rita", "notes", "CR-2", "--story"),
    ]


@pytest.mark.slow
def test_a_story_is_the_same_over_a_server(sides: tuple[Side, Side]) -> None:
    with world.opened(sides[0].folder) as workspace:
        needs = (world.current(workspace, "CR-3").plan or {})["requirements"]
    first = next(p for p in needs[0]["people"] if p != world.AUTHOR)
    role = ("--role", needs[0]["role"], "--team", needs[0]["team"])
    for who, *arguments in acts(first, role):
        told = [side.run(who, *arguments) for side in sides]
        same(*told)


def test_proofs_are_given_over_a_server(sides: tuple[Side, Side], tmp_path: Path) -> None:
    """Two records have two heads; all the rest is the same, and what is given can be checked."""
    kept = [[tmp_path / f"{name}{bool(side.server)}" for name in "abc"] for side in sides]
    for side, files in zip(sides, kept, strict=True):
        side.run("wei", "audit", "checkpoint", "--out", str(files[0]))
        side.run("wei", "audit", "prove", "change:CR-2", "--out", str(files[1]), as_json=False)
        side.run("wei", "bundle", "CR-2", "--out", str(files[2]))
        for file in files[1:]:
            done = world.done("verify", str(file), "--json")
            assert done.code == 0, done.err + done.out
    for as_json in (True, False):
        for arguments in (("audit", "verify"), ("audit", "checkpoint", "--key")):
            alike(*(side.run("wei", *arguments, as_json=as_json) for side in sides))
        for against, code in (("", 0), (f"1:{'0' * 64}", 3), ("nonsense", 3)):
            told = [
                side.run("wei", "audit", "verify", "--against", against or str(files[0]),
                         as_json=as_json)
                for side, files in zip(sides, kept, strict=True)
            ]  # fmt: skip
            alike(*told)
            assert told[0].code == code
    for wrong in ("change:CR-77", "nonsense"):
        same(*(side.run("wei", "audit", "prove", wrong, as_json=False) for side in sides))
    same(*(side.run("wei", "bundle", "CR-77", "--out", str(tmp_path / "no")) for side in sides))
    assert not (tmp_path / "no").exists()


def test_tokens_and_the_calendar_file_are_given_over_a_server(
    sides: tuple[Side, Side], tmp_path: Path
) -> None:
    wish = ("--person", "kim", "--scope", "read", "--as")
    made = [side.run("wei", "token", "create", *wish) for side in sides]
    alike(*made)
    ids = [json.loads(one.out)["id"] for one in made]
    gone = [
        side.run("wei", "token", "revoke", id, "--as") for side, id in zip(sides, ids, strict=True)
    ]
    alike(*gone)
    assert gone[0].code == 0
    lists = [json.loads(side.run("wei", "token", "list").out) for side in sides]
    shapes = [{frozenset(one) for one in many if one["person"] == "kim"} for many in lists]
    assert shapes[0] == shapes[1] != set()
    texts = []
    for side in sides:
        file = tmp_path / f"cal{bool(side.server)}.ics"
        assert side.run("wei", "calendar", "--ics", str(file)).code == 0
        texts.append(file.read_text())
    assert texts[0] == texts[1]
    assert texts[0].startswith("BEGIN:VCALENDAR")


def test_no_command_is_left_out_of_these_stories() -> None:
    """What a server does for somebody is held here against what is done on the spot."""
    every = [*LOOKS, *(line[1:] for line in acts("x", ())), ("propose",)]
    proofs = ("audit verify", "audit checkpoint", "audit prove", "bundle")
    told = {*proofs, "token create", "token list", "token revoke"}
    told |= {name for line in every for name in (line[0], " ".join(line[:2])) if name in CALLS}
    assert told == set(CALLS)


@pytest.mark.slow
def test_a_change_is_proposed_over_a_server(sides: tuple[Side, Side]) -> None:
    """The files of one folder, the record of another: progress, change and exit code come back."""
    here, there = sides
    for side in sides:
        world.edit(side.folder, "services/crew.yaml", "  margin: 0.05", "  margin: 0.08")
    asked = ("propose", "--title", "Wider", "--rollback-when", "any harm", "--as")
    told = [side.run("wei", *asked) for side in sides]
    assert [one.code for one in told] == [told[0].code] * 2, told[1].err
    bodies = [stripped(json.loads(one.out)) for one in told]
    assert bodies[0] == bodies[1]
    assert told[0].err.splitlines()[0] == told[1].err.splitlines()[0] == "CR-4: Wider"
    nothing = [side.run("wei", *asked) for side in (here, there)]
    assert [one.code for one in nothing] == [nothing[0].code] * 2


def test_what_works_on_a_folder_refuses_a_server(small_flights: Path) -> None:
    done = world.command(small_flights, "tick", "--server", "http://127.0.0.1:9")
    assert (done.code, done.error["error"]) == (3, "unusable")
    assert "works on a folder of this machine" in done.error["message"]
    gone = world.command(small_flights, "status", "--server", "http://127.0.0.1:9")
    assert (gone.code, gone.error["error"]) == (6, "unavailable")


def test_the_server_may_stand_anywhere_on_the_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("INTERLOCK_SERVER", raising=False)
    assert server_in(["status", "--server", "http://a", "CR-1"]) == (
        ["status", "CR-1"], "http://a", True,
    )  # fmt: skip
    assert server_in(["--server=http://a", "status"]) == (["status"], "http://a", True)
    assert server_in(["status"]) == (["status"], "", False)
    monkeypatch.setenv("INTERLOCK_SERVER", "http://b")
    assert server_in(["status"]) == (["status"], "http://b", False)
    with pytest.raises(Unusable, match="names no server"):
        server_in(["status", "--server"])


def test_a_token_is_not_sent_where_it_can_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INTERLOCK_TOKEN", "il_x")
    with pytest.raises(Refused, match="everybody in between"):
        client("http://far.test", "prod")
    assert client("https://far.test/", "prod").url == "https://far.test"
    assert client("http://127.0.0.1:1", "prod").token == "il_x"
    for url in ("far.test", "ftp://far.test", "http://", "http://u:p@far.test"):
        with pytest.raises(Unusable, match="no address"):
            client(url, "prod")


def test_the_file_of_a_token_is_its_owners_own(tmp_path: Path) -> None:
    variables = {"XDG_CONFIG_HOME": str(tmp_path)}
    assert shown_token(variables) == ""
    file = tmp_path / "interlock" / "token"
    file.parent.mkdir()
    file.write_text("il_mine\n")
    file.chmod(0o644)
    with pytest.raises(Refused, match="may be read by others"):
        shown_token(variables)
    file.chmod(0o600)
    assert shown_token(variables) == "il_mine"
    assert shown_token({**variables, "INTERLOCK_TOKEN": "il_other"}) == "il_other"
