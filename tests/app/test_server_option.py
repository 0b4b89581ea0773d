"""`--server`: the same story told by the same commands, here and over a server."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import api_world as api
import app_world as world
import pytest
from app_world import Done

from interlock.cli import remote
from interlock.cli.client import client, shown_token
from interlock.cli.elsewhere import server_in
from interlock.cli.main import app
from interlock.errors import Refused, Unusable
from interlock.web.api.people import Rules

# What two runs of the same story may differ in: when, and what follows from that.
TIMES = ("at", "opened_at", "made_at", "expires_at", "due_at", "digest", "id")


@dataclass
class Side:
    """Where commands are run: in the folder itself, or by a server of another."""

    folder: Path
    server: str = ""

    def run(self, who: str, *arguments: str) -> Done:
        more = ["--server", self.server] if self.server else []
        if self.server:
            os.environ["INTERLOCK_TOKEN"] = api.token(self.folder, who, "admin")
        named = [] if self.server or "--as" not in arguments else ["--by", who]
        return world.command(self.folder, *(a for a in arguments if a != "--as"), *named, *more)


@pytest.fixture
def sides(
    signed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Side, Side]]:
    monkeypatch.setenv("INTERLOCK_TOKEN", "")
    here = world.copied(signed, tmp_path / "here")
    there = world.copied(signed, tmp_path / "there")
    with api.serving(there, Rules(tokens=True)) as url:
        yield Side(here), Side(there, url)


def same(one: Done, other: Done) -> None:
    assert (one.code, one.out) == (other.code, other.out), other.err
    last = [done.err.splitlines()[-1:] if done.code else [] for done in (one, other)]
    assert last[0] == last[1]


@pytest.mark.slow
def test_a_story_is_the_same_over_a_server(sides: tuple[Side, Side]) -> None:
    with world.opened(sides[0].folder) as workspace:
        needs = (world.current(workspace, "CR-3").plan or {})["requirements"]
    first = next(p for p in needs[0]["people"] if p != world.AUTHOR)
    role = ["--role", needs[0]["role"], "--team", needs[0]["team"]]
    story: list[tuple[str, ...]] = [
        ("wei", "changes"),
        ("wei", "status", "CR-1"),
        ("wei", "status", "CR-3"),
        ("wei", "status", "CR-77"),
        ("wei", "plan"),
        ("wei", "plan", "--comment"),
        ("wei", "plan", "--explain", "service:crew"),
        ("wei", "plan", "--comment", "--explain", "service:crew"),
        ("wei", "plan", "--after", "CR-77"),
        ("wei", "catalog"),
        ("wei", "catalog", "weather"),
        ("wei", "lineage", "model:late"),
        ("wei", "lineage", "model:nothing"),
        ("wei", "evidence", "0000000"),
        ("wei", "inbox", "--as"),
        (world.AUTHOR, "approve", "CR-3", *role, "--as"),
        (first, "approve", "CR-3", *role, "--as"),
        (first, "inbox", "--as"),
        (first, "approve", "CR-3", *role, "--withdraw", "read it again", "--as"),
        (first, "delegate", "--to", "nobody", *role, "--until", "2013-06-01", "--as"),
        (first, "delegate", "--to", "nobody", *role, "--end", "--as"),
        (first, "delegate", "--as"),
        ("wei", "waive", "CR-3", "nonsense", "--role", "r", "--reason", "because of it", "--as"),
        ("sam", "apply", "CR-3", "--no-wait", "--as"),
        ("sam", "apply", "CR-2", "--no-wait", "--as"),
        ("sam", "apply", "CR-2", "--no-wait", "--as"),
        ("sam", "hold", "CR-2", "--reason", "lunch", "--as"),
        ("sam", "hold", "CR-2", "--reason", "back", "--resume", "--as"),
        ("sam", "promote", "CR-2", "--reason", " ", "--as"),
        ("sam", "rollback", "CR-2", "--reason", "no good", "--as"),
        ("sam", "rollback", "CR-2", "--reason", "no good", "--as"),
        ("wei", "withdraw", "CR-3", "--reason", "no need", "--as"),
        ("wei", "withdraw", "CR-3", "--reason", "no need", "--as"),
        ("wei", "changes"),
    ]
    for who, *arguments in story:
        told = [side.run(who, *arguments) for side in sides]
        same(*told)


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


def stripped(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: stripped(v) for k, v in value.items() if k not in TIMES}
    return [stripped(one) for one in value] if isinstance(value, list) else value


def test_what_works_on_a_folder_refuses_a_server(small_flights: Path) -> None:
    done = world.command(small_flights, "tick", "--server", "http://127.0.0.1:9")
    assert (done.code, done.error["error"]) == (3, "unusable")
    assert "works on a folder of this machine" in done.error["message"]
    gone = world.command(small_flights, "status", "--server", "http://127.0.0.1:9")
    assert (gone.code, gone.error["error"]) == (6, "unavailable")


def test_every_command_of_the_table_is_one_there_is() -> None:
    import typer

    known = {name for name, _ in remote.leaves(typer.main.get_command(app))}
    assert set(remote.CALLS) <= known
    assert set(remote.NOWHERE) <= known
    assert not set(remote.CALLS) & set(remote.NOWHERE)


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
