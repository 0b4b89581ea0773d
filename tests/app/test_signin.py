"""Signing in to the pages, and acting there under the name of a token."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import api_world as api
import app_world as world
import httpx
import icalendar
import pytest

from interlock.change.agenda import Booked
from interlock.change.change import Change
from interlock.define.refs import Ref
from interlock.web.api.people import Rules

pytestmark = pytest.mark.slow
HTML = {"Accept": "text/html"}


@pytest.fixture(scope="module")
def place(signed: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    folder = world.copied(signed, tmp_path_factory.mktemp("signin") / "project")
    with api.serving(folder, Rules(tokens=True)) as url:
        yield folder, url


@pytest.fixture
def browser(place: tuple[Path, str]) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=place[1], headers={**HTML, "Origin": place[1]}, timeout=60) as made:
        yield made


def signed_in(browser: httpx.Client, folder: Path, person: str, *scopes: str) -> httpx.Response:
    token = api.token(folder, person, *scopes)
    return browser.post("/sign-in?next=/changes/CR-3", data={"token": token})


def hidden(page: str, name: str) -> str:
    found = re.search(rf'name="{name}" value="([^"]*)"', page)
    assert found is not None
    return found[1]


def word(page: str) -> str:
    return hidden(page, "csrf")


def test_who_is_not_signed_in_is_sent_to_sign_in(browser: httpx.Client) -> None:
    answer = browser.get("/changes/CR-3")
    assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in?next=/changes/CR-3")
    assert browser.get("/static/style.css").status_code == 200
    for path in ("/changes/CR-3.json", "/calendar.ics", "/changes/CR-3/events"):
        answer = browser.get(path, headers={"Accept": "*/*"})
        assert (answer.status_code, answer.json()["type"][-12:]) == (401, "unidentified")


def test_a_token_opens_the_pages_until_signed_out(
    place: tuple[Path, str], browser: httpx.Client
) -> None:
    answer = signed_in(browser, place[0], "wei", "read")
    assert (answer.status_code, answer.headers["location"]) == (303, "/changes/CR-3")
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert "wei" in browser.get("/").text
    assert browser.get("/changes/CR-3").status_code == 200
    assert browser.post("/sign-out").status_code == 303
    assert browser.get("/").status_code == 303


def test_a_wrong_token_is_told_and_not_kept(browser: httpx.Client) -> None:
    answer = browser.post("/sign-in", data={"token": "il_nothing"})
    assert answer.status_code == 401
    assert "no token of this server" in answer.text
    assert "set-cookie" not in answer.headers
    elsewhere = browser.post("/sign-in", data={"token": "x"}, headers={"Origin": "http://evil"})
    assert elsewhere.status_code == 403


@pytest.mark.parametrize("onward", ["//evil.test/", "https://evil.test/", "/\\evil.test"])
def test_signing_in_leads_to_no_other_server(
    place: tuple[Path, str], browser: httpx.Client, onward: str
) -> None:
    token = api.token(place[0], "wei", "read")
    answer = browser.post("/sign-in", params={"next": onward}, data={"token": token})
    assert (answer.status_code, answer.headers["location"]) == (303, "/")


def test_a_form_counts_for_the_person_it_was_made_for(
    place: tuple[Path, str], browser: httpx.Client
) -> None:
    signed_in(browser, place[0], "sam", "release")
    page = browser.get("/changes/CR-3/hold").text
    assert 'name="by"' not in page
    good = {"csrf": word(page), "reason": "let us wait"}
    for wrong in ({}, {"csrf": "0" * 64}, {"csrf": good["csrf"], "by": "mallory"}):
        answer = browser.post("/changes/CR-3/hold", data={"reason": "x", **wrong})
        assert answer.status_code == 403, answer.text
    # Through the gate: what is left is that CR-3 does not run.
    said = browser.post("/changes/CR-3/hold", data=good)
    assert (said.status_code, "nothing to hold" in said.text) == (409, True)


def test_a_token_without_the_scope_cannot_sign(
    place: tuple[Path, str], browser: httpx.Client
) -> None:
    signed_in(browser, place[0], "sam", "propose")
    # It is not offered a form to sign; one to withdraw makes the same word.
    assert "may not do this" in browser.get("/changes/CR-3/approve").text
    plan = browser.get("/changes/CR-3.json").json()["plan"]
    page = browser.get("/changes/CR-3/withdraw").text
    form = {"csrf": word(page), "plan": plan, "role": "x", "team": "y"}
    answer = browser.post("/changes/CR-3/approve", data=form)
    assert answer.status_code == 403
    assert "needs the scope sign" in answer.text


def test_a_decision_in_the_inbox_is_that_of_the_token(
    place: tuple[Path, str], browser: httpx.Client
) -> None:
    """What was shown is signed, by whom the token stands for; a plan that moved is not."""
    with world.opened(place[0]) as workspace:
        need = (world.current(workspace, "CR-3").plan or {})["requirements"][0]
    person = next(one for one in need["people"] if one != world.AUTHOR)
    signed_in(browser, place[0], person, "sign")
    assert browser.get("/inbox?by=somebody-else").status_code == 403
    page = browser.get("/inbox").text
    assert f"Inbox of {person}" in page
    form = {name: hidden(page, name) for name in ("csrf", "from", "plan")}
    form |= {"role": need["role"], "team": need["team"]}
    other = browser.post("/changes/CR-3/approve", data={**form, "plan": "0" * 64})
    assert (other.status_code, "changed since you looked" in other.text) == (409, True)
    assert signers(place[0]) == []
    said = browser.post("/changes/CR-3/reject", data={**form, "reason": "explain the margin"})
    assert said.headers["location"] == "/inbox?done=reject", said.text
    answer = browser.post("/changes/CR-3/approve", data=form)
    assert answer.headers["location"] == "/inbox?done=approve", answer.text
    assert signers(place[0]) == [(person, "reject"), (person, "approve")]


def signers(folder: Path) -> list[tuple[str, str]]:
    with world.opened(folder) as workspace:
        entries = workspace.record.history(Ref("change", "CR-3"))
        told = [Change.from_json(entry.body).signoffs for entry in entries]
    return list(dict.fromkeys((s.person, s.decision) for many in told for s in many))


def subscribed(folder: Path, url: str, way: str) -> httpx.Response:
    """The feed, asked for as calendar programs ask."""
    token = api.token(folder, "wei", "read")
    address = f"{url}/calendar.ics"
    match way:
        case "password":
            return httpx.get(address, auth=("wei", token))
        case "address":
            return httpx.get(address, params={"token": token})
    return httpx.get(address, headers={"Authorization": f"Bearer {token}"})


@pytest.mark.parametrize("way", ["password", "address", "header"])
def test_a_calendar_program_is_given_the_feed(place: tuple[Path, str], way: str) -> None:
    # R-A1
    answer = subscribed(*place, way)
    assert answer.headers["content-type"] == "text/calendar; charset=utf-8"
    found = icalendar.Calendar.from_ical(answer.content)
    events = {str(one["uid"]): one for one in found.walk("VEVENT")}
    with world.opened(place[0]) as workspace:
        entry = workspace.record.get(Ref("booking", "CR-2"))
        assert entry is not None
        booked = Booked.read(entry)
    for name in ("prepare", "ramp", "soak", "rollback"):
        time = booked.booking.phases.phase(name)  # type: ignore[arg-type]  # the names it has
        event = events.get(f"CR-2-{name}@prod.flights.interlock")
        assert (event is not None) == bool(time.length)
        if event is not None:
            assert (event["dtstart"].dt, event["dtend"].dt) == (time.start, time.end)
            assert (event["status"], event["sequence"]) == ("CONFIRMED", booked.revision - 1)
    assert any("stocktaking" in str(one["summary"]) for one in events.values())


def test_a_moved_change_moves_and_a_withdrawn_one_is_struck_out(
    signed: Path, tmp_path: Path
) -> None:
    """By what a calendar program goes by: the UID stays, the SEQUENCE grows."""
    folder = world.copied(signed, tmp_path / "project")
    seen = []
    with api.serving(folder, Rules(tokens=True)) as url:
        wei = api.Person(url, api.token(folder, "wei", "propose"))
        for path, body in (
            ("", {}), ("booking", {"at": "2013-03-09T06:00:00Z"}), ("withdraw", {"reason": "no"}),
        ):  # fmt: skip
            if path:
                done = wei.post(f"/changes/CR-2/{path}", body)
                assert done.status_code == 200, done.text
            found = icalendar.Calendar.from_ical(subscribed(folder, url, "password").content)
            (event,) = (e for e in found.walk("VEVENT") if str(e["uid"]).startswith("CR-2-ramp@"))
            seen.append((event["dtstart"].dt, int(event["sequence"]), str(event["status"])))
    assert [status for _, _, status in seen] == ["CONFIRMED", "CONFIRMED", "CANCELLED"]
    assert seen[0][0] < seen[1][0] == seen[2][0]
    assert seen[0][1] < seen[1][1] < seen[2][1]


def test_a_calendar_without_a_good_token_asks_for_one(place: tuple[Path, str]) -> None:
    """In an address only a token that may do nothing but read: addresses are kept by others."""
    address, mighty = f"{place[1]}/calendar.ics", api.token(place[0], "wei", "sign")
    for asked in (
        httpx.get(address),
        httpx.get(address, auth=("wei", "il_wrong")),
        httpx.get(address, headers={"Authorization": "Basic !"}),
        httpx.get(address, params={"token": mighty}),
    ):
        assert asked.status_code == 401
        assert asked.headers["www-authenticate"].startswith("Basic ")
        assert "may only read" in asked.json()["help"]
    assert httpx.get(address, auth=("wei", mighty)).status_code == 200
    # The feed is all that a password or an address opens.
    for elsewhere in ("/", "/changes/CR-3.json"):
        token = api.token(place[0], "wei", "read")
        assert httpx.get(f"{place[1]}{elsewhere}", auth=("wei", token)).status_code == 401
        query = {"token": token}
        assert httpx.get(f"{place[1]}{elsewhere}", params=query).status_code == 401


def test_where_all_may_look_only_who_may_decide_has_buttons(signed: Path, tmp_path: Path) -> None:
    folder = world.copied(signed, tmp_path / "project")
    pages = ("/inbox?by=carlos", "/changes/CR-3/approve", "/changes/CR-3/withdraw")
    with api.serving(folder, Rules(tokens=True, public=True)) as url:
        with httpx.Client(base_url=url, headers={**HTML, "Origin": url}, timeout=60) as anybody:
            for path in pages:
                page = anybody.get(path).text
                assert "CR-3" in page
                assert 'method="post"' not in page
                assert "Sign in to decide" in page
                assert "/sign-in?next=/" in page
        offered = {}
        for scope in ("read", "sign"):
            with httpx.Client(base_url=url, headers={**HTML, "Origin": url}, timeout=60) as browser:
                signed_in(browser, folder, "carlos", scope)
                for path in pages:
                    page = browser.get(path.partition("?")[0]).text
                    assert "Sign in to decide" not in page
                    offered[scope, path] = 'action="/changes/CR-3/' in page
    assert [offered["read", path] for path in pages] == [False, False, False]
    assert [offered["sign", path] for path in pages] == [True, True, False]
