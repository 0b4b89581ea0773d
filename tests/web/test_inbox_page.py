"""The inbox as a page: what waits, what a decision leads to, buttons bound to what was shown."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from markup import Tag, read
from sample import SampleDesk
from sample_change import CANDIDATE
from starlette.testclient import TestClient

OURS = {"origin": "http://pages.test"}


def forms(html: str) -> dict[str, dict[str, str]]:
    """By its address, what each form on a page sends when nothing is typed."""
    found = {}
    for form in read(html).all("form"):
        inputs = [one for one in form.inside if one.name == "input"]
        named = {str(i.attributes["name"]): i.attributes.get("value") or "" for i in inputs}
        found[str(form.attributes["action"])] = named
    return found


def test_it_says_what_waits_and_what_each_decision_would_do(client: TestClient) -> None:
    html = client.get("/inbox?by=ana").text
    for said in ("Inbox of ana", "Sign as service owner of gates", "KPI of gates moves with it",
                 "2 still open: waiting for science to sign", "back to its author"):  # fmt: skip
        assert said in html, said
    twin = client.get("/inbox.json?by=ana").json()
    assert [one["act"] for one in twin["waiting"][0]["options"]] == ["approve", "reject"]
    assert (
        twin["waiting"][0]["plan"] == twin["waiting"][0]["seen"]["plan"] == SampleDesk().page.plan
    )
    assert "Opened by you" in client.get("/inbox?by=wei").text


def test_who_is_not_known_is_asked_and_a_program_is_told(client: TestClient) -> None:
    assert "Your name" in client.get("/inbox").text
    answer = client.get("/inbox.json")
    assert (answer.status_code, answer.json()["error"]) == (400, "unusable")


def test_a_decision_of_the_inbox_is_kept_and_leads_back(
    desk: SampleDesk, client: TestClient
) -> None:
    form = forms(client.get("/inbox?by=ana").text)["/changes/CR-4/approve"]
    answer = client.post("/changes/CR-4/approve", data=form, headers=OURS)
    assert answer.headers["location"] == "/inbox?by=ana&done=approve"
    assert "Signed." in client.get(answer.headers["location"]).text
    assert desk.page.signoffs[3].person == "ana"


@pytest.mark.parametrize("act", ["approve", "reject"])
def test_a_plan_that_moved_since_it_was_shown_is_not_decided_about(
    desk: SampleDesk, client: TestClient, act: str
) -> None:
    """On the inbox, on the form of the change, and on the way from the change to its form."""
    shown = client.get("/changes/CR-4").text
    link = re.search(rf'href="(/changes/CR-4/{act}[^"]*)"', shown)
    assert link is not None
    address = link[1].replace("&amp;", "&")
    standing = forms(client.get(address).text)[f"/changes/CR-4/{act}"]
    waiting = forms(client.get("/inbox?by=ana").text)[f"/changes/CR-4/{act}"]
    desk.page = replace(desk.page, plan=CANDIDATE)
    assert client.get(address).status_code == 409
    decided = {"by": "ana", "role": "service_owner", "team": "gates", "reason": "too soon"}
    for form in (standing, waiting):
        answer = client.post(f"/changes/CR-4/{act}", data={**decided, **form} | decided,
                             headers=OURS)  # fmt: skip
        assert answer.status_code == 409
        assert "changed since you looked" in answer.text
    assert desk.page.signoffs[3].person is None


def test_a_form_without_the_plan_it_was_made_for_is_refused(client: TestClient) -> None:
    form = {"by": "ana", "role": "service_owner", "team": "gates"}
    answer = client.post("/changes/CR-4/approve", data=form, headers=OURS)
    assert answer.status_code == 400
    assert "say which plan you saw" in answer.text


@pytest.mark.parametrize("act", ["reject", "withdraw"])
def test_who_rejects_or_withdraws_says_why(desk: SampleDesk, client: TestClient, act: str) -> None:
    by = "wei" if act == "withdraw" else "ana"
    form = forms(client.get(f"/inbox?by={by}").text)[f"/changes/CR-4/{act}"]
    silent = client.post(f"/changes/CR-4/{act}", data=form, headers=OURS)
    assert (silent.status_code, "give a reason" in silent.text) == (400, True)
    said = client.post(f"/changes/CR-4/{act}", data={**form, "reason": "too soon"}, headers=OURS)
    assert said.status_code == 303
    assert desk.page.timeline[0].why == "too soon"


def test_every_button_says_what_it_is_about(client: TestClient) -> None:
    """Read aloud one after the other, no two of them are the same."""
    page = read(client.get("/inbox?by=ana").text)
    said = [_said(one) for one in page.all("button", "summary")]
    assert len(said) == len(set(said))
    assert any("CR-4" in one and "service_owner" in one for one in said)


def _said(tag: Tag) -> str:
    return f"{tag.name} {' '.join(tag.text.split())}"


def test_the_change_shows_how_far_each_layer_is(client: TestClient) -> None:
    # R-C1
    html = client.get("/changes/CR-4").text.split('id="layers"')[1].split("</table>")[0]
    rows = re.findall(r'<th scope="row">(\w+)</th>', html)
    assert rows == ["data", "feature", "model", "integration", "release"]
    for said in ("waits for model", "edo", "dora (signed)", "model_comparison: too few"):
        assert said in html, said
