"""Every page is valid, escapes what it is given, has its twin, and refuses readably."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from markup import complaints, read
from sample import ANSWER, SampleDesk, calibration, recent
from sample_change import EVIDENCE, NOW
from starlette.testclient import TestClient

from interlock.errors import Unavailable
from interlock.web.figures import Edge, Graph, Node
from interlock.web.pages import pages_app
from interlock.web.views import ArmView, Booking, CalendarPage, ChangePage, Overview, RouteView
from interlock.web.words import percent

PAGES = ("/", "/changes/CR-4", "/calendar", "/catalog", f"/evidence/{EVIDENCE[2].digest}",
         "/notes/CR-4", "/scorecard", "/services/rebooking", f"/predictions/{ANSWER}")  # fmt: skip
ACTS = ("hold", "rollback", "promote", "approve", "reject", "withdraw")
FORMS = (*(f"/changes/CR-4/{act}" for act in ACTS), "/inbox", "/inbox?by=ana", "/inbox?by=wei")
HOSTILE = '<script>alert("x")</script>\' onload="y" {{ 7 * 7 }}'
OURS = {"origin": "http://pages.test"}


@pytest.mark.parametrize("path", [*PAGES, *FORMS, "/nothing", "/changes/CR-99"])
def test_every_page_is_valid_and_accessible(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert answer.headers["content-type"].startswith("text/html")
    assert complaints(answer.text) == []


def test_the_checker_itself_complains() -> None:
    bad = complaints("<main><h1>a<h3 id=x>b</h1><p id=x style='a'><th>c</th><svg></svg></main>")
    for said in ("closes", "id x twice", "h3 after h1", "scope", "inline style", "says nothing"):
        assert any(said in one for one in bad), said


@pytest.mark.parametrize("path", PAGES)
def test_every_page_has_a_twin(client: TestClient, path: str) -> None:
    answer = client.get(f"{path}.json")
    assert answer.status_code == 200
    assert json.loads(answer.text)


def test_the_twin_says_what_the_page_says(client: TestClient) -> None:
    twin = client.get("/changes/CR-4.json").json()
    assert twin["weight"] == 0.25
    assert twin["judged"][4]["mean_stable"] is None  # not measured, not zero
    assert twin["judged_at"].endswith("Z")
    assert client.get("/changes/CR-99.json").json()["error"] == "not-found"


def test_a_budget_that_nobody_knows_is_no_data_and_never_a_number(client: TestClient) -> None:
    known, spent, unasked, unmeasured = client.get("/.json").json()["budgets"]
    assert (known["left"], spent["left"]) == (0.9215, 0.0)
    assert (unasked["left"], unasked["answers"], unmeasured["at"]) == (None, None, None)
    said = " ".join(client.get("/").text.split())
    assert "92.15&nbsp;%" in said or "92.15\xa0%" in said
    assert "99.95" in said  # 99.95 % of answers is not all of them
    assert said.count("no data") == 2
    assert "nobody asked in four weeks to" in said
    assert "not measured yet" in said
    assert client.get("/changes/CR-4.json").json()["budgets"][1]["left"] is None
    assert "What is left to put at risk" in client.get("/changes/CR-4").text


def everything_hostile() -> SampleDesk:
    """Every text of the change and the overview replaced by markup."""
    page = SampleDesk().page
    texts = {k: HOSTILE for k, v in page.__dict__.items() if isinstance(v, str) and k != "id"}
    graph = Graph((Node(HOSTILE, HOSTILE, "Models"), Node("b", HOSTILE, "Tables", "changed")),
                  (Edge("b", HOSTILE, hot=True),))  # fmt: skip
    charts = tuple(
        replace(c, title=HOSTILE, metric=HOSTILE, note=HOSTILE, bound_label=HOSTILE)
        for c in page.charts[:1]
    )
    page = replace(page, **texts, graph=graph, charts=charts, objections=(HOSTILE,))  # type: ignore[arg-type]  # texts only
    front = replace(SampleDesk().overview(), environment=HOSTILE, recent=recent((HOSTILE,)))
    return SampleDesk(page, front=lambda: front)


@pytest.mark.parametrize("path", ["/", "/?q=%3Cscript%3E", "/changes/CR-4", FORMS[1]])
def test_hostile_text_stays_text(path: str) -> None:
    html = TestClient(pages_app(everything_hostile())).get(path).text
    assert "alert(" in html or "script" in path  # it was shown
    assert "<script>alert" not in html
    assert complaints(html) == []
    sources = [tag.attributes.get("src") for tag in read(html).all("script")]
    assert sources in ([], ["/static/live.js"])
    assert not any(name.startswith("on") for tag in read(html).tags for name in tag.attributes)


def test_hostile_forms_and_addresses(client: TestClient) -> None:
    query = {"role": HOSTILE, "team": HOSTILE}
    assert complaints(client.get("/changes/CR-4/approve", params=query).text) == []
    assert "<script>" not in client.get("/<script>alert(1)</script>").text


def test_the_policy_forbids_foreign_scripts(client: TestClient) -> None:
    policy = client.get("/changes/CR-4").headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe-inline" not in policy


def test_unknown_pages_look_like_the_others(client: TestClient) -> None:
    for path in ("/changes/CR-99", "/evidence/00", "/changes/CR-4/explode", "/nothing/at/all"):
        answer = client.get(path)
        assert answer.status_code == 404
        assert "Not found" in answer.text
        assert 'class="top"' in answer.text


def test_search_works_on_the_server(client: TestClient) -> None:
    html = client.get("/", params={"q": "DELAY-models dep_delay"}).text.split('id="recent"')[1]
    assert "Seconds in dep_delay" in html
    assert "Class weight" not in html
    assert "No change matches" in client.get("/?q=zeppelin").text
    assert "temp_f" in client.get("/catalog?q=wind_mph").text
    assert "table:wh.flights</code></th>" not in client.get("/catalog?q=wind_mph").text


def test_the_metric_is_chosen_by_link(client: TestClient) -> None:
    assert "Log-loss of late@2" in client.get("/changes/CR-4").text
    html = client.get("/changes/CR-4?metric=latency+p99").text
    assert '<h2 id="chart">Latency p99' in html
    assert "Latency p99" in client.get("/changes/CR-4/live?metric=latency+p99").text


def test_many_changes_are_cut_and_said(desk: SampleDesk, client: TestClient) -> None:
    titles = tuple(f"change number {i}" for i in range(120))
    desk.front = lambda: replace(SampleDesk().overview(), recent=recent(titles))
    assert "The newest 50 of 121" in client.get("/").text


def test_pages_say_whom_a_stage_lets_in() -> None:
    change = ChangePage("CR-1", "New", "STEP", "dev", "a", "ana", "", weight=0.5, only="only a b")
    route = RouteView("none", 2, "new", 0.5, "CR-1", "half", mirror=True, only="only a b")
    front = Overview("dev", NOW, route)
    client = TestClient(pages_app(SampleDesk(change, front=lambda: front)))
    for path in ("/", "/changes/CR-1"):
        html = client.get(path).text
        assert complaints(html) == []
        assert ", only a b" in html
        assert "of them, and all others" in html
    assert client.get("/changes/CR-1.json").json()["only"] == "only a b"


def test_pages_say_the_share_of_each_of_several_candidates() -> None:
    arms = (ArmView("new", "CR-1", 0.25), ArmView("newer", "CR-2", 0.25))
    change = ChangePage("CR-1", "New", "STEP", "dev", "a", "ana", "", weight=0.25, beside=0.25)
    front = Overview("dev", NOW, RouteView("none", 2, None, 0.5, "CR-1", "ab", arms=arms))
    client = TestClient(pages_app(SampleDesk(change, front=lambda: front)))
    html = client.get("/").text
    assert complaints(html) == []
    assert f"an experiment of 2 takes {percent(0.5)} of requests" in html
    assert f"<code>newer</code> takes {percent(0.25)}" in html
    html = client.get("/changes/CR-1").text
    assert complaints(html) == []
    assert f"stable takes {percent(0.5)} of requests" in html
    assert f"Candidates beside it take {percent(0.25)}" in html


def test_empty_pages_say_so_and_are_valid() -> None:
    bare = ChangePage("CR-1", "New", "DRAFT", "dev", "a", "ana", "")
    front = Overview("dev", NOW, RouteView("none", 0))
    client = TestClient(pages_app(SampleDesk(bare, front=lambda: front)))
    for path in ("/", "/changes/CR-1"):
        assert complaints(client.get(path).text) == []
    html = client.get("/changes/CR-1").text
    assert "No measurement is never success" in html  # R-C7
    assert "What is not proven blocks" in html


def test_only_forms_of_our_own_pages_count(desk: SampleDesk, client: TestClient) -> None:
    form = {"by": "ana", "reason": "labels look wrong"}
    for headers in ({}, {"origin": "http://evil.test"}, {"origin": "null"}, {"origin": "http://"}):
        assert client.post(FORMS[1], data=form, headers=headers).status_code == 403
    assert desk.page.state == "STEP[25 %]"
    answer = client.post(FORMS[1], data=form, headers=OURS)
    assert (answer.status_code, answer.headers["location"]) == (303, "/changes/CR-4?done=rollback")
    assert desk.page.state == "ABORTED"
    after = client.get(answer.headers["location"]).text
    assert "No service answers from it any more" in after


def test_a_rollback_needs_a_name_and_a_reason(desk: SampleDesk, client: TestClient) -> None:
    answer = client.post(FORMS[1], data={"by": " "}, headers=OURS)
    assert answer.status_code == 400
    assert "say who you are" in answer.text
    assert "give a reason" in answer.text
    assert desk.page.state == "STEP[25 %]"


def test_a_refusal_lists_every_objection(client: TestClient) -> None:
    answer = client.post("/changes/CR-4/promote", data={"by": "ana"}, headers=OURS)
    assert answer.status_code == 409
    assert complaints(answer.text) == []
    for said in ("9 000 more decisions", "gates has not signed", "wait for the labels", "refused"):
        assert said in answer.text


def test_signing(desk: SampleDesk, client: TestClient) -> None:
    # R-C4
    form = {"by": "gus", "role": "service owner", "team": "gates", "plan": desk.page.plan}
    assert client.post("/changes/CR-4/approve", data=form, headers=OURS).status_code == 303
    assert desk.page.signoffs[3].person == "gus"
    wrong = client.post("/changes/CR-4/approve", data={**form, "team": "x"}, headers=OURS)
    assert wrong.status_code == 400


def test_a_form_that_is_not_text_or_too_long_is_refused(client: TestClient) -> None:
    assert client.post(FORMS[1], content=b"by=\xff", headers=OURS).status_code == 400
    assert client.post(FORMS[1], content=b"a" * 70_000, headers=OURS).status_code == 413


class AwayDesk(SampleDesk):
    """The record does not answer; and a defect."""

    def overview(self) -> Overview:
        raise Unavailable("the record is held by another process", "try again")

    def calendar(self) -> CalendarPage:
        raise KeyError("a defect")


def test_an_engine_away_is_503_and_a_defect_shows_nothing_inside() -> None:
    client = TestClient(pages_app(AwayDesk()), raise_server_exceptions=False)
    away, broken = client.get("/"), client.get("/calendar")
    assert (away.status_code, broken.status_code) == (503, 500)
    assert "held by another process" in away.text
    assert "defect" not in broken.text
    assert client.get("/.json").json()["error"] == "unavailable"


def test_links_hold_under_a_prefix(desk: SampleDesk) -> None:
    from starlette.applications import Starlette
    from starlette.routing import Mount

    client = TestClient(Starlette(routes=[Mount("/ui", pages_app(desk))]))
    for tag in read(client.get("/ui/changes/CR-4").text).all("a", "script", "form", "link"):
        for name in ("href", "src", "action"):
            target = tag.attributes.get(name) or "#"
            assert target.startswith(("/ui/", "#", "data:")), target
    assert client.get("/ui/changes/CR-4?done=hold").status_code == 200
    assert client.get("/ui/static/style.css").status_code == 200
    assert 'aria-current="page">Calendar' in client.get("/ui/calendar").text


def test_calendar_shows_what_was_booked(client: TestClient) -> None:
    # R-A1: window, dependencies, owners, criteria
    html = client.get("/calendar").text
    for said in ("2013-05-20 00:00", "CR-4", "warehouse", "0 changed values", "next free slot"):
        assert said in html


class LongCalendar(SampleDesk):
    def calendar(self) -> CalendarPage:
        def at(days: int) -> datetime:
            return NOW + timedelta(days=days)

        booking = Booking("outside", "change", at(-400), at(-390))
        return CalendarPage(NOW, at(0), at(365), (booking,))


def test_a_year_of_calendar_does_not_drown_in_labels() -> None:
    html = TestClient(pages_app(LongCalendar())).get("/calendar").text
    days = [t for t in read(html).all("text") if t.attributes.get("class") == "small"]
    assert 0 < len(days) <= 15


def test_pages_start_without_planner_or_engine() -> None:
    heavy = ["duckdb", "lightgbm", "sqlglot", "pyarrow", "sqlalchemy", "numpy", "interlock.plan"]
    code = f"import sys, interlock.web.pages; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_chart_of_calibration_has_its_bound() -> None:
    assert calibration().bound == 0.07
