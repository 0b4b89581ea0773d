"""Policies never fail open: the shipped ones case by case, and with any fact missing."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.adapters.cedar import CedarPolicies
from interlock.change.cases import problems_of, silent, tried
from interlock.change.decision import BEST, PolicyDecision, replay, still_needed
from interlock.change.delegation import Delegation
from interlock.change.names import people_in
from interlock.change.policy import ACTIONS, BACKWARD, STEPS_UP
from interlock.change.signoff import SignOff
from interlock.errors import Invalid

FOLDER = Path(__file__).parents[2] / "examples" / "flights" / "policies"
SHIPPED = {f"policies/{f.name}": f.read_text() for f in sorted(FOLDER.glob("*.cedar"))}
CASES = sorted(FOLDER.glob("tests/*.yaml"))
ENGINE = CedarPolicies(SHIPPED)
CHANGE = next(file for file in CASES if file.name == "change.yaml")
GIVEN: dict[str, Any] = yaml.safe_load(CHANGE.read_text())["given"]["change"]
WHO: dict[str, Any] = {
    "id": "tomas", "roles": ["data_steward"], "teams": ["data-eng"], "clearance": "public",
}  # fmt: skip
OPEN = {"policies/open.cedar": "permit (principal, action, resource);"}


@pytest.mark.parametrize("file", CASES, ids=lambda file: file.name)
def test_the_shipped_policies_say_what_their_cases_say(file: Path) -> None:  # R-C11
    cases, wrong = tried(ENGINE, file.name, file.read_text())
    assert (problems_of(cases), wrong) == ((), ())
    assert cases


def test_a_case_that_comes_out_otherwise_is_a_problem() -> None:
    text = CHANGE.read_text()
    wrong = text.replace("says: [four_eyes]}", "says: []}", 1)
    (problem,) = problems_of(tried(ENGINE, "t.yaml", wrong)[0])
    assert "an author does not approve: expected allowed, got" in problem.message
    line = next(n for n, said in enumerate(wrong.splitlines(), 1) if "does not approve" in said)
    assert problem.line == line


def test_a_file_of_cases_that_cannot_be_read_is_a_problem() -> None:
    _, (problem,) = tried(ENGINE, "t.yaml", "given: {}\ncases: " + "[" * 100_000)
    assert (problem.line, "nested more than" in problem.message) == (2, True)


def test_an_objection_is_a_sentence_with_the_policy_that_said_it() -> None:
    (said,) = ENGINE.decide(WHO, "advance", {**GIVEN, "frozen": True})
    assert (
        said == "The calendar is frozen: no forward move until the freeze ends. [not_in_a_freeze]"
    )


def test_every_shipped_forbid_has_a_case_in_which_it_speaks() -> None:
    cases = [c for file in CASES for c in yaml.safe_load(file.read_text())["cases"]]
    spoken = {name for case in cases for name in case["says"]}
    text = "".join(SHIPPED.values())
    assert spoken == {
        line.split('"')[1] for line in text.splitlines() if line.startswith("@id")
    } - {"everyone_may_ask"}


attributes = sorted(set(GIVEN) - {"id"})


@settings(derandomize=True, max_examples=150)
@given(st.sets(st.sampled_from(attributes), min_size=1), st.sampled_from(sorted(ACTIONS)))
def test_a_missing_fact_is_never_an_allow(missing: set[str], action: str) -> None:  # R-C11
    known = {name: value for name, value in GIVEN.items() if name not in missing}
    assert ENGINE.decide(WHO, action, known) != ()
    # Not even under a policy that permits everything.
    assert CedarPolicies(OPEN).decide(WHO, action, known) != ()


junk = st.none() | st.booleans() | st.floats() | st.text(max_size=3) | st.just({"__entity": 1})


@settings(derandomize=True, max_examples=150)
@given(st.sampled_from(attributes), junk)
def test_a_fact_of_another_type_is_never_an_allow(name: str, value: object) -> None:
    if type(value) is not type(GIVEN[name]):
        assert ENGINE.decide(WHO, "start", {**GIVEN, name: value}) != ()


@pytest.mark.parametrize(
    ("who", "action", "change"),
    [
        ({}, "start", GIVEN),
        ({"id": "x"}, "start", GIVEN),
        (WHO, "fly", GIVEN),
        (WHO, "", GIVEN),
        (WHO, 'start" ', GIVEN),
        (WHO, "start", {}),
        (WHO, "start", {"id": "CR-1"}),
        (WHO, "start", {**GIVEN, "unheard": 1}),
        (WHO, "start", {**GIVEN, "tiers": [10**30]}),
        (WHO, "start", {**GIVEN, "risks": "\ud800"}),
        (WHO, "start", {**GIVEN, "tiers": {1}}),
        ({**WHO, "admin": True}, "start", GIVEN),
        ({**WHO, "roles": "data_steward"}, "start", GIVEN),
    ],
)
def test_a_question_that_makes_no_sense_is_an_objection(
    who: dict[str, Any], action: str, change: dict[str, Any]
) -> None:
    said = ENGINE.decide(who, action, change)
    assert said != ()
    assert all(len(sentence) < 400 for sentence in said)


def test_without_policies_nothing_is_permitted() -> None:
    assert CedarPolicies({}).decide(WHO, "start", GIVEN) == ("no policy permits start",)


@pytest.mark.parametrize("action", sorted(BACKWARD))
def test_the_way_back_is_open_whatever_is_missing(action: str) -> None:  # R-C6
    worst = {
        **GIVEN, "frozen": True, "approved_by": [], "evidence_lacking": ["all"],
        "signoffs_lacking": ["all"], "rollback_criteria": "", "cards_missing": ["model:late"],
        "tiers": [1], "has_soak": False, "soak_hours": 0, "rolled_back_before": True,
        "sensitive": ["column:wh.flights.tailnum"], "over_budget": ["3 trainings, 2 allowed"],
    }  # fmt: skip
    assert ENGINE.decide(WHO, action, worst) == ()
    assert all(ENGINE.decide(WHO, forward, worst) for forward in STEPS_UP)


def test_a_policy_with_an_error_at_run_time_allows_nothing() -> None:
    overflow = (
        '@id("big") @message("Too big.")\nforbid (principal, action, resource)\n'
        "when { resource.soak_hours * 9223372036854775807 > 1 };"
    )
    engine = CedarPolicies({**OPEN, "policies/big.cedar": overflow})
    assert engine.decide(WHO, "start", {**GIVEN, "soak_hours": 1}) == ("Too big. [big]",)
    (said,) = engine.decide(WHO, "start", {**GIVEN, "soak_hours": 72})
    assert said.startswith("policy could not decide")


WRONG = {
    "no policy": ("permit (principal\n  action);", 2, "not a Cedar policy"),
    "unknown fact": (
        '// about forbid (\n@id("a") @message("Text.")\n'
        "forbid (principal, action, resource)\nwhen { resource.nope };",
        3,
        "nope",
    ),
    "unknown action": (
        '@id("a") @message("T.")\nforbid (principal, action == Action::"fly", resource);',
        2,
        "applicable action",
    ),
    "no message": ('\n@id("a")\nforbid (principal, action, resource);', 3, "what to do"),
    "no id": ('@message("T.")\nforbid (principal, action, resource);', 2, "who speaks"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_policy_is_a_problem_with_its_file_and_line(name: str) -> None:
    text, line, word = WRONG[name]
    with pytest.raises(Invalid) as caught:
        CedarPolicies({**SHIPPED, "policies/mine.cedar": text})
    problem = caught.value.problems[0]
    assert (problem.file, problem.line) == ("policies/mine.cedar", line)
    assert word in problem.message


def test_an_id_is_used_once_over_all_files() -> None:
    with pytest.raises(Invalid, match="used twice"):
        CedarPolicies({**SHIPPED, "policies/two.cedar": SHIPPED["policies/change.cedar"]})


# --- what is asked again ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "line", "word"),
    [
        ("cases: []\n", 1, "cases"),
        ("given: {}\n", 1, "cases"),
        ("cases:\n  - {name: a, action: start}\n", 2, "says"),
        ("cases:\n  - {name: a, action: stort, says: []}\n", 2, "no action stort"),
        ("cases:\n  - name: a\n    action: start\n    says: []\n    chang: {}\n", 5, "chang"),
    ],
)
def test_a_mistake_in_a_file_of_cases_is_told_by_its_line(text: str, line: int, word: str) -> None:
    _, (problem, *_) = tried(ENGINE, "t.yaml", text)
    assert problem.line == line
    assert word in problem.message


def test_what_no_case_hears_is_named() -> None:
    cases, _ = tried(ENGINE, "t.yaml", CHANGE.read_text())
    assert silent(ENGINE.ids, {"t.yaml": cases}) == ("within_budget", "sensitive_cleared")
    every = {file.name: tried(ENGINE, file.name, file.read_text())[0] for file in CASES}
    assert silent(ENGINE.ids, every) == ()


def decided(action: str, at: int = 0, **told: Any) -> PolicyDecision:
    facts = {**GIVEN, **told}
    moment = datetime(2013, 6, 1, 12, at, tzinfo=UTC)
    return PolicyDecision(
        "CR-1", action, moment, WHO, facts, ENGINE.decide(WHO, action, facts), "p"
    )


def test_a_decision_survives_being_written_down() -> None:
    made = decided("start", frozen=True)
    assert PolicyDecision.from_json(json.loads(json.dumps(made.to_json()))) == made
    assert made.ref.name.startswith("CR-1-")
    assert decided("start", 1, frozen=True).ref != made.ref


def test_the_past_is_asked_again_of_other_policies() -> None:
    made = [decided("start", 2), decided("start", 1, frozen=True), decided("approve", 3)]
    # The same policies say the same.
    assert not any(one.differs for one in replay(ENGINE, made))
    stricter = SHIPPED | {
        "policies/more.cedar": '@id("names") @message("Two must approve.")\n'
        'forbid (principal, action == Action::"start", resource)\n'
        'unless { resource.approved_by.contains("gina") };'
    }
    found = replay(CedarPolicies(stricter), made)
    assert [(one.decision.at.minute, one.differs) for one in found] == [
        (1, False), (2, True), (3, False),
    ]  # fmt: skip
    assert found[1].now == ("Two must approve. [names]",)
    # Facts that were not kept then are never an allow now.
    old = replace(made[0], facts={n: v for n, v in made[0].facts.items() if n != "over_budget"})
    (again,) = replay(ENGINE, [old])
    assert again.differs
    assert "could not decide" in again.now[0]


def test_what_is_still_needed_is_found_by_asking() -> None:
    assert still_needed(ENGINE, WHO, "start", GIVEN) == ()
    lacks = {**GIVEN, "frozen": True, "evidence_lacking": ["replay: no evidence yet"]}
    assert still_needed(ENGINE, WHO, "start", lacks) == ("evidence_lacking", "frozen")
    assert still_needed(ENGINE, WHO, "schedule", lacks) == ("evidence_lacking",)
    # About who asks, or what was: nothing that is still done to the change helps.
    assert still_needed(ENGINE, {**WHO, "id": "amina"}, "approve", GIVEN) is None
    assert still_needed(ENGINE, WHO, "start", {**GIVEN, "rolled_back_before": True}) is None


WORSE: dict[str, Any] = {
    "frozen": True, "evidence_lacking": ["a"], "signoffs_lacking": ["b"], "approved_by": [],
    "rollback_criteria": "", "cards_missing": ["model:late"], "over_budget": ["c"],
    "sensitive": ["column:a.b.c"], "has_soak": False, "soak_hours": 0, "tiers": [1],
    "emergency": True,
}  # fmt: skip


@settings(derandomize=True, max_examples=80)
@given(st.sets(st.sampled_from(sorted(WORSE))), st.sampled_from(sorted(STEPS_UP)))
def test_with_what_is_needed_it_is_allowed_and_with_less_it_is_not(
    worse: set[str], action: str
) -> None:  # R-C11
    told = {**GIVEN, **{name: WORSE[name] for name in worse}}
    needs = still_needed(ENGINE, WHO, action, told)
    assert needs is not None
    good = {name: BEST.get(name, ["gina"]) for name in needs}
    assert ENGINE.decide(WHO, action, {**told, **good}) == ()
    for name in needs:
        less = {key: value for key, value in good.items() if key != name}
        assert ENGINE.decide(WHO, action, {**told, **less}) != ()


def test_every_name_in_what_is_kept_stands_where_the_record_looks_for_people() -> None:
    facts = {**GIVEN, "approved_by": ["gina"], "cleared_approvers": ["dana"]}
    moment = datetime(2013, 6, 1, tzinfo=UTC)
    made = PolicyDecision("CR-1", "start", moment, WHO, facts, (), "p")
    assert {"tomas", "gina", "dana", "amina"} <= set(people_in(made.to_json()))
    lent = Delegation("carlos", "gina", "service_owner", "ops-crew", moment, moment)
    assert set(people_in(lent.to_json())) == {"carlos", "gina"}
    assert Delegation.from_json(lent.to_json()) == lent
    signoff = SignOff("gina", "service_owner", "ops-crew", "p", moment, on_behalf_of="carlos")
    assert set(people_in(signoff.to_json())) == {"carlos", "gina"}
