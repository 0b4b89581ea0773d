"""Schedules: what may be written, and the instants that it names."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from interlock.define.load import read
from interlock.define.recurrence import beginnings
from interlock.define.schedules import Schedule, following, latest, occurrences, refreshes

ENVIRONMENT = "{subject: [a], stages: [{name: all, weight: 1, hold: 1d}]}"
TEXTS = {
    "interlock.yaml": "name: x\nowners: {data: {amina: [data_steward]}}\n"
    f"environments: {{prod: {ENVIRONMENT}}}\n",
    "tables/t.yaml": "name: raw.t\nowner: data\nsource: {csv: t.csv}\n"
    "columns: {a: {type: string}, at: {type: timestamp}}\n",
    "tables/u.yaml": "name: wh.u\nowner: data\nsql: SELECT a FROM raw.t\n"
    "columns: {a: {type: string}}\n",
}
NEW_YORK = ZoneInfo("America/New_York")
MORNING = Schedule.model_validate({"daily": "06:00", "timezone": "America/New_York"})
DAY = timedelta(days=1)
instants = st.datetimes(datetime(2001, 1, 1), datetime(2037, 1, 1), timezones=st.just(UTC))
schedules = st.one_of(
    st.integers(60, 400_000).map(lambda s: Schedule.model_validate(f"{s}s")),
    st.sampled_from(["00:00", "02:30", "06:00", "23:59:59"]).map(
        lambda at: Schedule.model_validate({"daily": at, "timezone": "America/New_York"})
    ),
    st.sampled_from(
        ["FREQ=WEEKLY;BYDAY=MO,FR;BYHOUR=6", "FREQ=MONTHLY;BYMONTHDAY=-1", "FREQ=HOURLY;INTERVAL=5"]
    ).map(lambda rule: Schedule.model_validate({"rrule": rule, "timezone": "Europe/Berlin"})),
)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def said(table: str = "", environment: str = "") -> list[str]:
    main = TEXTS["interlock.yaml"].replace("{subject", "{" + environment + "subject")
    texts = {**TEXTS, "interlock.yaml": main, "tables/t.yaml": TEXTS["tables/t.yaml"] + table}
    return [problem.message for problem in read(texts).problems]


def test_an_hour_is_an_hour_when_the_clocks_change() -> None:
    hourly = Schedule.model_validate("1h")
    found = occurrences(hourly, at("2013-03-10T05:30"), at("2013-03-10T09:00"))
    assert found == tuple(at(f"2013-03-10T{hour:02}:00") for hour in (6, 7, 8))


def test_six_in_the_morning_stays_six_in_the_morning() -> None:
    found = occurrences(MORNING, at("2013-03-09T00:00"), at("2013-03-12T00:00"))
    assert [moment.hour for moment in found] == [11, 10, 10]
    assert {moment.astimezone(NEW_YORK).hour for moment in found} == {6}


@pytest.mark.parametrize(
    ("day", "clock", "expected"),
    [
        ("2013-03-10", "02:30", "2013-03-10T07:30"),  # left out: as much later
        ("2013-11-03", "01:30", "2013-11-03T05:30"),  # twice: the first time
    ],
)
def test_a_wall_time_that_is_left_out_or_comes_twice(day: str, clock: str, expected: str) -> None:
    schedule = Schedule.model_validate({"daily": clock, "timezone": "America/New_York"})
    start = at(f"{day}T04:00")
    assert occurrences(schedule, start, start + DAY) == (at(expected),)


@settings(deadline=None)
@given(schedules, instants, st.integers(1, 40))
@example(Schedule.model_validate("1h"), at("2013-01-01T00:00"), 1)
def test_occurrences_of_a_span_are_those_of_its_parts(
    schedule: Schedule, start: datetime, days: int
) -> None:
    end, middle = start + days * DAY, start + days * DAY / 3
    found = occurrences(schedule, start, end)
    parts = occurrences(schedule, start, middle) + occurrences(schedule, middle, end)
    assert found == parts == tuple(sorted(set(found)))
    assert all(start <= moment < end for moment in found)


@settings(deadline=None)
@given(schedules, instants)
def test_nothing_lies_between_the_latest_and_the_following(
    schedule: Schedule, moment: datetime
) -> None:
    before, after = latest(schedule, moment), following(schedule, moment)
    assert before is not None
    assert after is not None
    assert before <= moment < after
    assert occurrences(schedule, before, after) == (before,)


@settings(deadline=None)
@given(
    st.sampled_from(["FREQ=DAILY;INTERVAL=3", "FREQ=WEEKLY;INTERVAL=2;BYDAY=SU", "FREQ=HOURLY"]),
    st.integers(0, 900),
)
def test_years_that_are_not_walked_change_nothing(rule: str, days: int) -> None:
    start = datetime(2011, 5, 4, 3)
    low = start + days * DAY
    whole = beginnings(rule + ";COUNT=100000", start, low, low + 20 * DAY, NEW_YORK)
    assert list(beginnings(rule, start, low, low + 20 * DAY, NEW_YORK)) == list(whole)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("30s", "shorter than 1m"),
        ({"timezone": "UTC"}, "nothing that says when"),
        ({"every": "1h", "daily": "06:00"}, "every and daily"),
        ({"daily": 600}, "quoted"),
        ({"daily": "25:00"}, "not a time of day"),
        ({"daily": "06:00", "timezone": "Mars/Crater"}, "no time zone"),
        ({"rrule": "every friday"}, "not a rule"),
        ({"rrule": "FREQ=MINUTELY"}, "too often"),
        ({"rrule": "FREQ=DAILY;INTERVAL=0"}, "too often"),
        ({"rrule": "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30"}, "does not occur"),
        ({"rrule": "FREQ=DAILY", "start": "2013-01-01T00:00:00Z"}, "without offset"),
    ],
)
def test_a_schedule_that_cannot_be_kept_is_refused(wrong: object, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Schedule.model_validate(wrong)


@settings(deadline=None)
@given(schedules)
def test_a_schedule_comes_back_from_what_is_kept_of_it(schedule: Schedule) -> None:
    assert Schedule.model_validate_json(schedule.model_dump_json()) == schedule


def test_a_table_follows_its_environment_unless_it_says_otherwise() -> None:
    def found(table: str) -> dict[str, str]:
        main = TEXTS["interlock.yaml"].replace("{subject", "{refresh: 6h, subject")
        texts = {**TEXTS, "interlock.yaml": main, "tables/t.yaml": TEXTS["tables/t.yaml"] + table}
        project = read(texts).project
        assert project is not None
        return {name: str(schedule) for name, schedule in refreshes(project, "prod").items()}

    assert found("") == {"raw.t": "every 6h"}
    assert found("refresh: 1h\n") == {"raw.t": "every 1h"}
    assert found("refresh: never\n") == {}


def test_only_a_file_has_a_schedule() -> None:
    texts = {**TEXTS, "tables/u.yaml": TEXTS["tables/u.yaml"] + "refresh: 1h\n"}
    (problem,) = read(texts).problems
    assert "read from no file" in problem.message
    assert problem.line == 5


def test_a_mistake_is_told_with_its_line() -> None:
    (message,) = said("refresh: {daily: 10:30}\n")
    assert "quoted" in message
