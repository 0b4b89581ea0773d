"""A mask goes where the values go, and no further than its owner says."""

from __future__ import annotations

import pytest
from masking_world import project, relations, table

from interlock.define.definitions import Outside, Table
from interlock.define.privacy import Mask
from interlock.features.covers import Cover

OPEN = Mask(mask="bucket", width=1000, aggregates="clear")


def masks(sql: str, columns: dict[str, str], **more: Mask) -> dict[str, Cover]:
    built = table("wh.built", columns, sql)
    return dict(relations(project({"wh.built": built}, **more))["wh.built"].covers)


def kinds(sql: str, columns: dict[str, str], **more: Mask) -> dict[str, str]:
    return {name: cover.mask.mask for name, cover in masks(sql, columns, **more).items()}


def test_a_copy_keeps_its_bucket_and_what_is_computed_from_it_is_redacted() -> None:
    sql = "SELECT salary AS a, salary * 2 AS b, town AS c FROM wh.people"
    assert kinds(sql, {"a": "integer", "b": "integer", "c": "string"}) == {
        "a": "bucket", "b": "redact",
    }  # fmt: skip


def test_of_several_the_strictest_counts_and_all_are_named() -> None:
    sql = "SELECT concat(ssn, mail) AS a, concat(ssn, CAST(born AS VARCHAR)) AS b FROM wh.people"
    found = masks(sql, {"a": "string", "b": "string"})
    assert (found["a"].mask.mask, found["b"].mask.mask) == ("redact", "null")
    assert found["a"].of == ("column:wh.people.mail", "column:wh.people.ssn")


def test_to_filter_by_a_column_is_not_to_carry_it_but_to_compare_with_it_is() -> None:
    sql = "SELECT town AS a, ssn = 'x' AS b FROM wh.people WHERE mail LIKE 'a%'"
    assert kinds(sql, {"a": "string", "b": "boolean"}) == {"b": "hash"}


def test_an_unkeyed_hash_can_be_guessed_and_so_it_stays_masked() -> None:
    assert kinds("SELECT md5(mail) AS a FROM wh.people", {"a": "string"}) == {"a": "redact"}


GROUPS = "SELECT town, avg(salary) AS mean, count(ssn) AS n, max(salary) AS top FROM wh.people"


def test_aggregates_are_masked_unless_their_owner_says_that_they_may_be_shown() -> None:
    columns = {"town": "string", "mean": "double", "n": "integer", "top": "integer"}
    sql = f"{GROUPS} GROUP BY town"
    assert set(kinds(sql, columns)) == {"mean", "n", "top"}
    found = kinds(sql, columns, **{"wh.people.salary": OPEN})
    assert set(found) == {"n", "top"}, "a maximum is somebody's value"


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT ssn, avg(salary) AS mean FROM wh.people GROUP BY ssn",
        "SELECT town AS ssn, avg(salary) OVER (PARTITION BY id) AS mean FROM wh.people",
        "SELECT town AS ssn, list(salary) AS mean FROM wh.people GROUP BY town",
        "SELECT town AS ssn, avg(salary) + max(salary) AS mean FROM wh.people GROUP BY town",
    ],
)
def test_what_may_be_one_person_stays_masked(sql: str) -> None:
    found = kinds(sql, {"ssn": "string", "mean": "double"}, **{"wh.people.salary": OPEN})
    assert "mean" in found


def test_a_group_by_the_key_is_no_group() -> None:
    sql = "SELECT id, sum(salary) AS total FROM wh.people GROUP BY id"
    columns = {"id": "integer", "total": "integer"}
    made = project({"wh.built": table("wh.built", columns, sql)}, **{"wh.people.salary": OPEN})
    assert set(relations(made)["wh.built"].covers) == set()
    keyed = made.tables["wh.people"].model_copy(update={"key": ("id",)})
    made = made.model_copy(update={"tables": {**made.tables, "wh.people": keyed}})
    assert set(relations(made)["wh.built"].covers) == {"total"}


def test_what_is_not_understood_carries_everything_it_may_read() -> None:
    columns = {"a": "string", "b": "integer"}
    sql = "SELECT a, b FROM (PIVOT wh.people ON town USING count(id)) p"
    assert set(kinds(sql, columns)) == {"a", "b"}
    outside = table("wh.outside", columns, "SELECT 1 AS a, 2 AS b")
    outside = Table(**{**dict(outside), "outside": Outside(tool="dbt", reads=("wh.people",),
                                                           unread="Python")})  # fmt: skip
    found = relations(project({"wh.outside": outside}))["wh.outside"].covers
    assert {c.mask.mask for c in found.values()} == {"null"}, "the strictest of all it may hold"


def test_nothing_is_masked_where_nothing_is_classified() -> None:
    made = project({"wh.built": table("wh.built", {"a": "string"}, "SELECT town AS a FROM wh.people")})  # fmt: skip  # noqa: E501
    assert set(relations(made)["wh.built"].covers) == set()
