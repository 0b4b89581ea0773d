"""The control API over a real server: who may what, once, and how it says no."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import api_world as api
import app_world as world
import pytest
from api_world import Person

from interlock.app.changes import all_changes
from interlock.app.tokens import revoke
from interlock.change.token import parts
from interlock.web.api.people import Rules

pytestmark = pytest.mark.slow


@dataclass
class Office:
    """A server with CR-1 live, CR-2 approved and CR-3 in review, and who asks it."""

    folder: Path
    url: str

    def person(self, name: str, *scopes: str, **more: str) -> Person:
        return Person(self.url, api.token(self.folder, name, *scopes, **more))


@pytest.fixture
def office(signed: Path, tmp_path: Path) -> Iterator[Office]:
    folder = world.copied(signed, tmp_path / "project")
    with api.serving(folder) as url:
        yield Office(folder, url)


def problem(answer: Any, status: int, code: str) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert body["type"] == f"urn:interlock:error:{code}"
    assert body["status"] == status
    assert body["title"]
    assert body["detail"]
    return body


# --- looking --------------------------------------------------------------------------


def test_a_change_is_told_as_the_command_tells_it(office: Office) -> None:
    wei = office.person("wei", "read")
    told = json.loads(world.command(office.folder, "status", "CR-3").out)
    answer = wei.get("/changes/CR-3")
    assert answer.json() == told
    assert answer.headers["etag"] == f'"{told["change"]["plan_digest"]}"'
    # In a process of its own: the server of this one holds the online store.
    environment, _ = world.started(office.folder, "status").communicate()
    assert wei.get("/status").json() == json.loads(environment)
    assert wei.get("/catalog").json() == json.loads(world.command(office.folder, "catalog").out)
    lines = world.command(office.folder, "lineage", "model:late").out
    assert wei.get("/lineage", ref="model:late").json() == json.loads(lines)
    made = wei.get("/changes/CR-1/evidence").json()
    assert made == wei.get("/changes/CR-1").json()["evidence"]
    assert wei.get(f"/evidence/{made[0]['digest'][:8]}").json() == made[0]
    assert wei.get("/changes/CR-2/timeline").json()[0]["after"]
    assert wei.get("/calendar").json()["start"]


def test_pages_of_changes_hold_each_change_once(office: Office) -> None:
    wei = office.person("wei", "read")
    seen, cursor = [], ""
    while True:
        page = wei.get("/changes", limit=1, cursor=cursor).json()
        seen += [one["id"] for one in page["changes"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert seen == ["CR-3", "CR-2", "CR-1"]
    assert [c["id"] for c in wei.get("/changes", state="committed").json()["changes"]] == ["CR-1"]
    assert wei.get("/changes", open=False, author="nobody").json() == {"changes": [], "next": None}
    problem(wei.get("/changes", cursor="x"), 422, "unusable")
    problem(wei.get("/changes", limit=0), 422, "unusable")


def test_a_plan_of_files_that_were_sent_is_the_plan_of_their_folder(office: Office) -> None:
    wei = office.person("wei", "read")
    world.edit(office.folder, "services/crew.yaml", "  margin: 0.05", "  margin: 0.07")
    files = api.files(office.folder)
    told = json.loads(world.command(office.folder, "plan").out)
    world.edit(office.folder, "services/crew.yaml", "  margin: 0.07", "  margin: 0.05")
    assert wei.post("/plan", {"files": files}).json() == told
    said = wei.post("/plan", {"files": files, "show": "comment"}).json()
    assert said["marker"] in said["body"]
    why = wei.post("/plan", {"files": files, "show": "explain", "explain": "service:crew"})
    assert "crew" in why.json()["said"]


@pytest.mark.parametrize(
    "name",
    ["../evil.yaml", "/etc/evil.yaml", "a/../../b.yaml", "a\\b.yaml", ".interlock/x.yaml",
     ".git/config.yaml", "data/x.yaml", "tables/x.exe", "tables//x.yaml", "c:x.yaml", "a\n.yaml"],
)  # fmt: skip
def test_a_name_that_leads_elsewhere_is_refused(office: Office, name: str) -> None:
    wei = office.person("wei", "read", "propose")
    files = {**api.files(office.folder), name: "x: 1"}
    for path in ("/plan", "/changes"):
        more = {"title": "evil"} if path == "/changes" else {}
        said = problem(wei.post(path, {"files": files, **more}), 422, "unusable")
        assert len(said["objections"]) == 1


def test_wrong_definitions_are_told_at_their_line(office: Office) -> None:
    files = api.files(office.folder) | {"models/late.yaml": "name: late\nnonsense: 1\n"}
    body = problem(office.person("wei", "read").post("/plan", {"files": files}), 422, "invalid")
    assert {one["file"] for one in body["problems"]} >= {"models/late.yaml"}
    assert body["exit_code"] == 3


def test_sent_files_do_not_read_the_secrets_of_the_server(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_OF_OURS", "hunter2")
    files = api.files(office.folder)
    files["interlock.yaml"] = files["interlock.yaml"].replace(
        "name: flights", "name: flights-${SECRET_OF_OURS}"
    )
    assert "hunter2" not in office.person("wei", "read").post("/plan", {"files": files}).text


# --- who may what ---------------------------------------------------------------------


def test_without_a_token_everybody_is_refused_once_there_is_one(office: Office) -> None:
    nobody = Person(office.url)
    assert nobody.get("/status").status_code == 200
    office.person("wei", "read")
    answer = nobody.get("/status")
    problem(answer, 401, "unidentified")
    assert answer.headers["www-authenticate"] == "Bearer"
    problem(nobody.post("/changes/CR-2/apply", {"by": "wei"}), 401, "unidentified")


def test_the_public_may_look_and_do_nothing(signed: Path, tmp_path: Path) -> None:
    folder = world.copied(signed, tmp_path / "project")
    with api.serving(folder, Rules(tokens=True, public=True)) as url:
        nobody = Person(url)
        assert nobody.get("/changes").status_code == 200
        problem(nobody.post("/changes/CR-2/apply", {"by": "wei"}), 401, "unidentified")
        problem(nobody.get("/tokens"), 401, "unidentified")


def test_every_scope_opens_its_doors_and_no_other(office: Office) -> None:
    doors = {
        "propose": ("/changes/CR-3/withdraw", {"reason": ""}),
        "sign": ("/changes/CR-3/waivers", {"check": "x", "role": "x", "reason": "x"}),
        "release": ("/changes/CR-3/hold", {"reason": "x"}),
        "admin": ("/tokens/nobody/revoke", {}),
    }
    for has in doors:
        person = office.person("wei", has)
        for needed, (path, body) in doors.items():
            answer = person.post(path, {**body, "by": "mallory"})
            said = problem(answer, 403, "denied")["detail"]
            wrong_scope = f"needs the scope {needed}" in said
            assert wrong_scope == (needed != has and has != "admin"), said
    problem(office.person("wei", "read").get("/tokens"), 403, "denied")


def test_expired_revoked_and_foreign_tokens_are_refused_and_recorded(office: Office) -> None:
    gone = office.person("wei", "read")
    elsewhere = office.person("wei", "read", environment="staging")
    with world.opened(office.folder) as workspace:
        revoke(workspace, parts(gone.token)[0], "root")  # type: ignore[index]
    assert "revoked" in problem(gone.get("/me"), 401, "unidentified")["detail"]
    assert "staging" in problem(elsewhere.get("/me"), 401, "unidentified")["detail"]
    forged = replace(gone, token=gone.token[:-2] + "xx")
    problem(forged.get("/me"), 401, "unidentified")
    with world.opened(office.folder) as workspace:
        assert len(workspace.record.list("refusal")) == 2


def test_a_request_that_names_another_person_is_refused(office: Office) -> None:
    wei = office.person("wei", "propose")
    body = problem(
        wei.post("/changes/CR-3/withdraw", {"reason": "x", "by": "priya"}), 403, "denied"
    )
    assert "cannot act for priya" in body["detail"]
    assert wei.post("/changes/CR-3/withdraw", {"reason": "x", "by": "wei"}).status_code == 200


def test_what_is_done_is_done_under_the_name_of_the_token(office: Office) -> None:
    said = office.person("wei", "propose").post("/changes/CR-3/withdraw", {"reason": "no need"})
    assert said.json() == {"said": "CR-3 is withdrawn by wei"}
    with world.opened(office.folder) as workspace:
        entry = workspace.record.history(world.current(workspace, "CR-3").ref)[-1]
        assert (entry.by, entry.body["state"]) == ("wei", "WITHDRAWN")


# --- signatures -----------------------------------------------------------------------


def needs_of(office: Office, id: str) -> list[dict[str, Any]]:
    with world.opened(office.folder) as workspace:
        return list((world.current(workspace, id).plan or {})["requirements"])


def test_a_signature_names_the_plan_that_was_looked_at(office: Office) -> None:
    need = needs_of(office, "CR-3")[0]
    person = office.person(next(p for p in need["people"] if p != world.AUTHOR), "sign")
    body = {"role": need["role"], "team": need["team"]}
    path = "/changes/CR-3/signoffs"
    problem(person.post(path, body), 428, "unusable")
    for forged in ('"0000"', "*", f'"{"0" * 64}"'):
        problem(person.post(path, body, If_Match=forged), 412, "stale")
    answer = person.sign("CR-3", need["role"], need["team"])
    assert answer.status_code == 200, answer.text
    assert person.get("/changes/CR-3").json()["change"]["signoffs"][0]["person"] == person_of(
        person
    )


def person_of(person: Person) -> str:
    return str(person.get("/me").json()["person"])


def test_the_author_cannot_sign_with_a_token_either(office: Office) -> None:
    need = needs_of(office, "CR-3")[0]
    author = office.person(world.AUTHOR, "sign")
    said = problem(author.sign("CR-3", need["role"], need["team"]), 409, "refused")
    assert said["objections"] or said["detail"]


# --- once -----------------------------------------------------------------------------


def test_a_request_sent_again_is_answered_again_and_not_done_again(office: Office) -> None:
    wei = office.person("wei", "propose")
    first = wei.post("/changes/CR-3/withdraw", {"reason": "no need"}, key="withdraw-1")
    with world.opened(office.folder) as workspace:
        before = workspace.record.audit()
    again = wei.post("/changes/CR-3/withdraw", {"reason": "no need"}, key="withdraw-1")
    assert again.json() == first.json()
    assert again.headers["idempotency-replayed"] == "true"
    with world.opened(office.folder) as workspace:
        assert workspace.record.audit() == before
    other = wei.post("/changes/CR-3/withdraw", {"reason": "another"}, key="withdraw-1")
    assert "another request" in problem(other, 422, "unusable")["detail"]
    with world.opened(office.folder) as workspace:
        (kept,) = workspace.record.list("refusal")
        assert (kept.body["what"], kept.by) == ("request", "wei")
    problem(
        wei.post("/changes/CR-2/withdraw", {"reason": "no need"}, key="withdraw-1"), 422, "unusable"
    )


def test_the_key_of_one_person_is_nothing_to_another(office: Office) -> None:
    wei, sam = office.person("wei", "propose"), office.person("sam", "propose")
    assert wei.post("/changes/CR-3/withdraw", {"reason": "x"}, key="the-same-key").is_success
    problem(sam.post("/changes/CR-3/withdraw", {"reason": "x"}, key="the-same-key"), 409, "refused")


def test_a_request_without_a_key_is_refused(office: Office) -> None:
    wei = office.person("wei", "propose")
    for key in ("short", "with space in it"):
        problem(wei.post("/changes/CR-3/withdraw", {"reason": "x"}, key=key), 422, "unusable")


def test_the_same_request_at_once_is_done_once(office: Office) -> None:
    wei = office.person("wei", "release")
    gate, told = threading.Barrier(6), []

    def ask() -> None:
        gate.wait()
        told.append(wei.post("/changes/CR-2/apply", {}, key="start-it-now"))

    crowd = [threading.Thread(target=ask) for _ in range(6)]
    for one in crowd:
        one.start()
    for one in crowd:
        one.join()
    assert {one.status_code for one in told} == {200}, [one.text for one in told]
    assert {one.json()["said"] for one in told} == {"CR-2 is being prepared"}
    assert sum("idempotency-replayed" in one.headers for one in told) == 5


def test_what_was_refused_may_be_asked_again_under_its_key(office: Office) -> None:
    sam = office.person("sam", "release")
    problem(sam.post("/changes/CR-3/apply", {}, key="start-cr-3"), 409, "refused")
    problem(sam.post("/changes/CR-3/apply", {}, key="start-cr-3"), 409, "refused")


def test_a_secret_is_answered_once(office: Office) -> None:
    root = office.person("root", "admin")
    wish = {"person": "priya", "scopes": ["sign"]}
    made = root.post("/tokens", wish, key="make-a-token").json()
    assert Person(office.url, made["token"]).get("/me").json()["person"] == "priya"
    again = root.post("/tokens", wish, key="make-a-token").json()
    assert "token" not in again
    assert again["id"] == made["id"]
    assert "salt" not in str(root.get("/tokens").json())
    said = root.post(f"/tokens/{made['id']}/revoke", {}).json()
    assert said == {"said": f"token {made['id']} of priya is revoked"}
    problem(Person(office.url, made["token"]).get("/me"), 401, "unidentified")


# --- work -----------------------------------------------------------------------------


def test_proposing_is_a_job_that_the_same_key_finds_again(office: Office) -> None:
    wei = office.person("wei", "propose")
    world.edit(office.folder, "services/crew.yaml", "  margin: 0.05", "  margin: 0.08")
    files = api.files(office.folder)
    world.edit(office.folder, "services/crew.yaml", "  margin: 0.08", "  margin: 0.05")
    body = {"files": files, "title": "Wider", "rollback_criteria": "any harm", "expected": "same"}
    answer = wei.post("/changes", body, key="propose-wider")
    assert answer.status_code == 202, answer.text
    job = answer.json()["id"]
    assert answer.headers["location"] == f"/api/v1/jobs/{job}"
    assert wei.post("/changes", body, key="propose-wider").json()["id"] == job
    done = wei.finished(job)
    assert (done["state"], done["change"]) == ("done", "CR-4"), done
    assert done["said"][0].startswith("CR-4: Wider")
    change = wei.get("/changes/CR-4").json()["change"]
    assert (change["author"], change["state"]) == ("wei", "REVIEW")
    with world.opened(office.folder) as workspace:
        assert all_changes(workspace)[0].id == "CR-4"


def test_a_job_that_is_refused_says_why(office: Office) -> None:
    wei = office.person("wei", "propose")
    answer = wei.post("/changes", {"files": api.files(office.folder), "title": "Nothing"})
    done = wei.finished(answer.json()["id"])
    assert done["state"] == "failed"
    assert done["error"]["message"] == "there is nothing to propose"
    problem(wei.get("/jobs/nothing"), 404, "not-found")
