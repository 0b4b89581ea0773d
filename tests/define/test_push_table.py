"""A table that takes rows says what it needs, all at once."""

from __future__ import annotations

from interlock.define.load import read

TEXTS = {
    "interlock.yaml": "name: x\nowners: {data: {amina: [data_steward]}}\n"
    "environments: {prod: {subject: [a], stages: [{name: all, weight: 1, hold: 1d}]}}\n",
    "tables/t.yaml": "name: wh.t\nowner: data\npush: {buffer_mb: 1}\n"
    "columns: {a: {type: string}, at: {type: timestamp}, arrived: {type: timestamp}}\n",
}
WHOLE = "key: [a]\nevent_time: at\navailable_at: arrived\n"


def said(more: str) -> list[str]:
    table = TEXTS["tables/t.yaml"] + more
    return [p.message for p in read({**TEXTS, "tables/t.yaml": table}).problems]


def test_a_table_that_takes_rows_has_a_key_and_its_times() -> None:
    assert said(WHOLE) == []
    missing = said("")
    assert [m.rpartition(" ")[2] for m in missing] == ["available_at", "event_time", "key"]


def test_rows_come_from_one_place() -> None:
    (problem,) = said(WHOLE + "source: {csv: a.csv}\n")
    assert "source and push" in problem


def test_a_buffer_holds_something() -> None:
    table = TEXTS["tables/t.yaml"].replace("buffer_mb: 1", "buffer_mb: 0") + WHOLE
    (problem,) = read({**TEXTS, "tables/t.yaml": table}).problems
    assert problem.line == 3
