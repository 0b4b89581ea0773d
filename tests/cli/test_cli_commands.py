"""Commands in the hands of people and scripts: exit codes, both streams, and what is written."""

from __future__ import annotations

import contextlib
import json
import signal
import sqlite3
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest
from terminal import Opened, contents, edit, interlock, process

from interlock.app.changes import held, save
from interlock.app.workspace import Workspace
from interlock.cli.failure import tell
from interlock.define.release import Route
from interlock.errors import Conflict, InterlockError, Problem, Refused
from interlock.errors import Invalid as InvalidError
from interlock.ports import Put

SIGNERS = {
    "change_sponsor": ("priya", "product-ops"),
    "data_steward": ("amina", "data-eng"),
    "model_validator": ("dana", "data-science"),
}


# --- planning -----------------------------------------------------------------------


# R-D2
def test_a_plan_says_there_is_something_to_do_and_writes_nothing(fresh: Path) -> None:
    before = contents(fresh)
    done = process("plan", "-C", fresh)
    assert done.code == 2
    assert done.err == ""
    assert "first release" in done.out
    assert "must sign:" in done.out
    assert contents(fresh) == before, "planning left a trace"


@pytest.mark.parametrize("command", ["check", "changes", "status", "audit verify"])
def test_looking_leaves_no_trace(fresh: Path, command: str) -> None:
    before = contents(fresh)
    assert interlock(*command.split(), "-C", fresh, "--json").code == 0
    assert contents(fresh) == before


def test_looking_at_a_project_in_use_changes_nothing(project: Path) -> None:
    before = contents(project)
    for command in (["plan"], ["changes"], ["status", "CR-1"], ["audit", "verify"]):
        interlock(*command, "-C", project)
    assert contents(project) == before


def test_a_plan_as_json_is_the_plan(fresh: Path) -> None:
    done = interlock("plan", "-C", fresh, "--json")
    assert done.code == 2
    assert done.json["kind"] == "first"
    assert len(done.json["digest"]) == 64
    assert done.err == ""


# --- proposing ----------------------------------------------------------------------


def test_proposing_shows_the_plan_then_where_the_change_stands(opened: Opened) -> None:
    out, err = opened.proposed.out, opened.proposed.err
    assert out.index("must sign:") < out.index("CR-1") < out.index("still open")
    assert "training model:late" in err, "progress belongs to standard error"
    assert "training model:late" not in out
    expected = 3 if opened.status["blocking"] else 0
    assert opened.proposed.code == expected


def test_evidence_is_found_by_how_its_digest_starts(opened: Opened) -> None:
    piece = opened.status["evidence"][0]
    done = interlock("evidence", piece["digest"][:16], "-C", opened.folder)
    assert done.code == 0
    assert piece["check"] in done.out
    assert all(str(ref) in done.out for ref in piece["subjects"])
    missing = interlock("evidence", "0" * 16, "-C", opened.folder)
    assert missing.code == 3
    assert "no check starts with" in missing.err


def test_an_unknown_change_names_the_known_ones(opened: Opened) -> None:
    done = interlock("status", "CR-9", "-C", opened.folder)
    assert done.code == 3
    assert "there is no change CR-9" in done.err
    assert "CR-1" in done.err
    as_json = interlock("status", "CR-9", "-C", opened.folder, "--json")
    assert (as_json.error["error"], as_json.out) == ("not-found", "")


# R-F2
def test_the_author_cannot_sign(project: Path) -> None:
    done = interlock(
        "approve", "CR-1", "-C", project, "--by", "wei", "--role", "model_validator",
        "--team", "data-science", "--json",
    )  # fmt: skip
    assert done.code == 3
    assert done.error["error"] == "refused"
    assert any("wei is the author" in line for line in done.error["objections"])
    status = interlock("status", "CR-1", "-C", project, "--json")
    assert status.json["change"]["signoffs"] == []


def test_a_signature_is_shown_and_what_is_still_open_too(project: Path) -> None:
    # Nobody agrees to what stands on a layer that has not passed.
    for check in interlock("status", "CR-1", "-C", project, "--json").json["blocking"]:
        why = "made-up data cannot show this"
        done = interlock(
            "waive", "CR-1", check, "-C", project, "--by", "dana", "--role", "model_validator",
            "--reason", why,
        )  # fmt: skip
        assert done.code == 0, done.err
    for role, (person, team) in SIGNERS.items():
        done = interlock(
            "approve", "CR-1", "-C", project, "--by", person, "--role", role, "--team", team
        )
        assert done.code == 0, done.err
    shown = interlock("status", "CR-1", "-C", project).out
    assert "approve by amina, data_steward of data-eng" in shown
    assert "waiting for service_owner of ops-crew" in shown


def test_an_unready_change_may_not_start_and_says_everything_that_is_missing(project: Path) -> None:
    done = interlock("apply", "CR-1", "-C", project, "--by", "sam", "--json")
    assert done.code == 3
    waiting = [one for one in done.error["objections"] if one.startswith("waiting for")]
    assert len(waiting) == 6
    assert done.out == ""


# R-D4
def test_a_change_planned_against_another_release_is_stale(project: Path) -> None:
    move_route(project, Route("prod", stable="f" * 64))
    done = interlock("apply", "CR-1", "-C", project, "--by", "sam")
    assert done.code == 5
    assert "no longer runs" in done.err
    assert "propose it again" in done.err


def test_a_busy_environment_is_a_conflict_that_names_who_holds_it(project: Path) -> None:
    move_route(project, Route("prod", change="CR-7"))
    done = interlock("apply", "CR-1", "-C", project, "--by", "sam", "--json")
    assert done.code == 4
    assert done.error["error"] == "conflict"
    assert "CR-7 is being rolled out in prod" in done.error["objections"]
    assert len(done.error["objections"]) > 1, "the other reasons are told too"


def move_route(folder: Path, route: Route) -> None:
    workspace = Workspace(folder)
    put = Put(workspace.route_ref, route.to_json(), workspace.route().epoch)
    workspace.record.write([put], by="test", at=workspace.now())
    workspace.close()


# R-D1
def test_there_is_nothing_to_propose_once_it_runs(project: Path) -> None:
    release_it(project)
    planned = interlock("plan", "-C", project)
    assert (planned.code, "nothing to do" in planned.out) == (0, True)
    done = interlock("propose", "-C", project, "--title", "again", "--by", "wei", "--json")
    assert done.code == 3
    assert done.error["message"] == "there is nothing to propose"
    assert [one["id"] for one in interlock("changes", "-C", project, "--json").json] == ["CR-1"]
    environment = interlock("status", "-C", project)
    assert "CR-1" in environment.out
    edit(project / "features/tail_last_delay.sql", "max(dep_delay)", "min(dep_delay)")
    assert interlock("plan", "-C", project).code == 2


def release_it(folder: Path) -> None:
    """Put CR-1 live without its sign-offs, as a record that was already in use would be."""
    workspace = Workspace(folder)
    change = held(workspace.record, "CR-1")
    route = Put(workspace.route_ref, Route("prod", stable=change.change.release).to_json(), 0)
    save(workspace, change, change.change, by="test", also=[route])
    workspace.close()


# --- engines that are away, damage --------------------------------------------------


def test_a_warehouse_in_use_by_another_process_is_told_clearly(fresh: Path) -> None:
    code = (
        "import sys, time, duckdb\n"
        "held = duckdb.connect(sys.argv[1]); print('held', flush=True); time.sleep(60)\n"
    )
    (fresh / ".interlock").mkdir()
    file = fresh / ".interlock" / "warehouse.duckdb"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(file)], stdout=subprocess.PIPE, text=True
    ) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "held\n"
            done = process("propose", "-C", fresh, "--title", "t", "--by", "wei", "--json")
        finally:
            holder.kill()
    assert done.code == 6
    assert done.error["error"] == "unavailable"
    assert f"in use by another interlock process (process {holder.pid})" in done.error["message"]
    assert "Traceback" not in done.err


@pytest.mark.parametrize(
    "damage", [b"not a database at all", b"SQLite format 3\0" + b"\xff" * 4096]
)
def test_a_corrupt_record_is_told_clearly_and_left_alone(project: Path, damage: bytes) -> None:
    record = project / ".interlock" / "record.db"
    record.write_bytes(damage)
    for command in (["plan"], ["status"], ["tick"]):
        done = process(*command, "-C", project, "--json")
        assert done.code == 6
        assert done.error["error"] == "corrupt"
        assert "record.db" in done.error["message"]
        assert "backup" in done.error["help"]
    assert record.read_bytes() == damage


def test_a_lost_artifact_is_never_replaced_by_other_bytes(project: Path) -> None:
    release_it(project)
    artifacts = project / ".interlock" / "artifacts"
    for file in [path for path in artifacts.rglob("*") if path.is_file()]:
        file.write_bytes(b"something else")
    done = interlock("plan", "-C", project, "--json")
    assert (done.code, done.error["error"]) == (6, "corrupt")


# R-H5
def test_an_edited_record_does_not_pass_the_audit(project: Path) -> None:
    clean = interlock("audit", "verify", "-C", project, "--json")
    assert clean.code == 0
    assert clean.json["objections"] == []
    kept = project.parent / "kept"
    assert interlock("audit", "checkpoint", "-C", project, "--out", kept).code == 0
    with contextlib.closing(sqlite3.connect(project / ".interlock" / "record.db")) as record:
        record.execute("DELETE FROM leaf WHERE seq > 10")
        record.commit()
    cut = interlock("audit", "verify", "-C", project, "--against", kept)
    assert cut.code == 3
    assert "the audit was cut: 10 leaves" in cut.out
    assert "written without an audit leaf" in cut.out


# --- the command line itself --------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        ["plan", "--jsn"],
        ["plann"],
        ["propose"],
        ["status", "CR-1", "CR-2"],
        ["init", "x", "--generated-days", "many"],
    ],
)
def test_a_misspelt_command_is_not_taken_for_a_plan(arguments: list[str]) -> None:
    done = interlock(*arguments)
    assert done.code == 3, "2 would mean that there is something to do"
    assert done.out == ""
    assert "help: interlock" in done.err
    assert interlock(*arguments, "--json").error["error"] == "usage"


def test_help_is_light() -> None:
    heavy = ["duckdb", "sqlglot", "sqlalchemy", "pyarrow", "lightgbm", "rich", "pydantic", "numpy"]
    code = (
        "import sys\nfrom interlock.cli.main import run\n"
        "try: run(['--help'])\nexcept SystemExit: pass\n"
        f"print([name for name in {heavy} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == "[]\n"
    assert interlock().out == interlock("--help").out


def test_a_reader_who_has_seen_enough_is_no_error(fresh: Path) -> None:
    plan = f"{sys.executable} -m interlock.cli.main plan -C {fresh} --json"
    done = subprocess.run(
        ["bash", "-c", f"{plan} | head -c 1"], capture_output=True, text=True, check=False
    )
    assert done.stdout == "{"
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr


def test_a_mistake_of_ours_keeps_its_traceback(fresh: Path) -> None:
    code = (
        "import interlock.app.planning as planning\n"
        "def broken(*_): raise ZeroDivisionError('ours')\n"
        "planning.look = broken\n"
        f"from interlock.cli.main import run; run(['plan', '-C', {str(fresh)!r}])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "ZeroDivisionError: ours" in done.stderr


def test_stopping_a_command_with_the_keyboard_is_no_traceback(project: Path) -> None:
    release_it(project)
    with subprocess.Popen(
        [sys.executable, "-m", "interlock.cli.main", "serve", "-C", str(project), "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as server:
        assert server.stdout is not None
        # Earlier, a keyboard that this process itself was told to ignore would be ignored.
        said = server.stdout.readline()
        server.send_signal(signal.SIGINT)
        try:
            out, _ = server.communicate(timeout=300)
        finally:
            server.kill()
    assert said.startswith("serving on http://127.0.0.1:")
    assert "Traceback" not in out


def test_an_error_is_told_whole(capsys: pytest.CaptureFixture[str]) -> None:
    error: InterlockError = Refused("no", "do this", ("first", "second"))
    error.add_note("while working on table:x.y")
    assert tell(error, as_json=False) == 3
    assert capsys.readouterr().err == (
        "interlock: refused: no\n  - first\n  - second\nhelp: do this\n"
        "  while working on table:x.y\n"
    )
    assert tell(InvalidError.of([Problem("a.yaml", 3, "m", "f")]), as_json=True) == 3
    body = json.loads(capsys.readouterr().err)
    assert body["problems"] == [{"file": "a.yaml", "line": 3, "message": "m", "fix": "f"}]
    assert isinstance(Conflict("x"), Refused)


def test_times_are_aware_in_json(opened: Opened) -> None:
    assert datetime.fromisoformat(opened.status["change"]["opened_at"]).tzinfo is not None


# --- contracts ----------------------------------------------------------------------


def test_a_contract_leaves_as_odcs_and_stands_in_for_the_file_it_came_from(fresh: Path) -> None:
    file = fresh / "tables/wh_departures.yaml"
    done = interlock("contract", "wh.departures", "-C", fresh)
    assert done.code == 0
    assert done.out.startswith("apiVersion: v3.1.0\n")
    file.write_text(done.out + "tenant: airport\n")
    assert interlock("check", "-C", fresh).code == 0
    again = interlock("contract", "table:wh.departures", "-C", fresh)
    assert again.out == "# carried, not used by Interlock: tenant\n" + file.read_text()
    assert interlock("contract", "wh.departures", "-C", fresh, "--json").json["kept"] == ["tenant"]


def test_a_contract_of_no_table_names_the_nearest(fresh: Path) -> None:
    done = interlock("contract", "wh.departure", "-C", fresh)
    assert done.code == 3
    assert "did you mean wh.departures?" in done.err
