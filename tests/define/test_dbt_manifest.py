"""Tables out of a dbt manifest: what is read, what stays unknown, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from dbt_world import FILES, columns, manifest, node

from interlock.define.dbt import trimmed
from interlock.define.load import Reading, read
from interlock.errors import Problem
from interlock.impact.facts import Facts, learn
from interlock.impact.graph import reach

PATH = "dbt/target/manifest.json"
RAW = node(
    "seed", "raw_orders", original_file_path="seeds/raw_orders.csv", language=None,
    columns=columns(id="bigint", customer="bigint", placed_at="timestamp", cents="bigint",
                    refunded="boolean"),
)  # fmt: skip


def stg(sql: str = "", **said: Any) -> tuple[str, dict[str, Any]]:
    sql = sql or (
        "SELECT id, customer, placed_at, CAST(cents / 100.0 AS DOUBLE) AS amount, refunded "
        'FROM "dev"."main"."raw_orders"'
    )
    made = {"compiled_code": sql, "depends_on": {"nodes": [RAW[0]]}, **said}
    return node("model", "stg_orders", **made)


def orders(**said: Any) -> tuple[str, dict[str, Any]]:
    made = {
        "compiled_code": 'SELECT id, customer, placed_at, amount FROM "dev"."main"."stg_orders";\n',
        "depends_on": {"nodes": ["model.shop.stg_orders"]},
        "columns": columns(id="bigint", amount="double", gone="text"),
    }
    return node("model", "orders", **{**made, **said})


def reading(*nodes: tuple[str, dict[str, Any]], **said: Any) -> Reading:
    return read({**FILES, PATH: manifest(RAW, *nodes, **said)})


def problems(*nodes: tuple[str, dict[str, Any]]) -> list[Problem]:
    found = reading(*nodes)
    return [*found.problems, *learn(found.partial)[1]]


def facts(*nodes: tuple[str, dict[str, Any]]) -> Facts:
    found = reading(*nodes)
    assert found.project is not None, [str(p) for p in found.problems]
    made, wrong = learn(found.project)
    assert wrong == (), [str(p) for p in wrong]
    return made


def touched(old: Facts, new: Facts) -> dict[str, str]:
    return {str(one.ref): one.verdict for one in reach(old, new)}


ALL = {"feature:spend@1:spend", "model:returns", "service:desk"}


def test_models_and_seeds_are_tables_with_lineage() -> None:
    found = facts(stg(), orders())
    assert {str(n.ref) for n in found.of_kind("table")} == {
        "table:main.orders", "table:main.raw_orders", "table:main.stg_orders"
    }  # fmt: skip
    # Nobody wrote down the columns of stg_orders: its SQL says them, and their types.
    columns_ = found.node("table:main.stg_orders").columns
    assert {n: c.type for n, c in columns_.items()}["amount"] == "double"
    pairs = {(edge.reader, edge.source, edge.kind) for edge in found.edges}
    assert ("column:main.orders.amount", "column:main.stg_orders.amount", "value") in pairs
    # A column that dbt documents and nobody selects any more is not there.
    assert "gone" not in found.node("table:main.orders").columns


def test_a_changed_model_reaches_features_models_and_services() -> None:
    new = stg(
        "SELECT id, customer, placed_at, 0.5 * cents AS amount, refunded "
        'FROM "dev"."main"."raw_orders"'
    )
    said = touched(facts(stg(), orders()), facts(new, orders()))
    assert set(said) >= ALL
    assert set(said.values()) == {"moves"}
    assert "feature:spend@1:orders" not in said  # it counts rows, and reads no amount


def test_what_does_not_matter_is_no_change() -> None:
    same = stg(
        "-- again\nselect id, customer, placed_at, CAST(cents/100.0 AS DOUBLE) amount, refunded\n"
        'from "dev"."main"."raw_orders"',
        description="other words",
    )
    assert touched(facts(stg(), orders()), facts(same, orders())) == {}


@pytest.mark.parametrize(
    "said",
    [
        {"language": "python", "raw_code": "def model(dbt, session): ..."},
        {"config": {"materialized": "incremental"}},
        {"compiled_code": None, "raw_code": "SELECT {{ star('x') }} FROM {{ ref('raw_orders') }}"},
        {"compiled_code": "SELECT * FROM somewhere.unheard_of"},
        {"compiled_code": "MERGE INTO this IS NO select"},
    ],
)  # fmt: skip
def test_what_is_not_understood_stands_on_all_that_dbt_says_it_reads(said: dict[str, Any]) -> None:
    unknown = stg(**said, columns=columns(id="bigint", customer="bigint", placed_at="timestamp",
                                          amount="double"))  # fmt: skip
    found = facts(unknown, orders())
    assert found.node("table:main.stg_orders").unknown
    key, raw = RAW
    moved = {**raw, "columns": {**raw["columns"], **columns(refunded="integer")}}
    new = read({**FILES, PATH: manifest((key, moved), unknown, orders())}).partial
    assert set(touched(found, learn(new)[0])) >= ALL
    # Its own text is its meaning, too.
    edited = {
        **unknown[1],
        "raw_code": "-- x",
        "compiled_code": unknown[1].get("compiled_code")
        and "SELECT 1 AS nothing FROM nowhere.at_all",
    }
    assert set(touched(found, facts((unknown[0], edited), orders()))) >= ALL


def test_code_that_was_not_compiled_is_resolved_when_it_only_names_tables() -> None:
    raw = (
        "{{ config(materialized='view') }} {# amounts #}\n"
        "SELECT id, customer, placed_at, CAST(cents / 100.0 AS DOUBLE) AS amount, refunded\n"
        "FROM {{ ref('shop', 'raw_orders') }} "
        "WHERE id IN (SELECT id FROM {{ source('crm', 'people') }})"
    )
    people = node("source", "people", schema="crm", source_name="crm", identifier="people",
                  columns=columns(id="integer"), original_file_path="models/schema.yml",
                  freshness={"warn_after": {"count": 6, "period": "hour"}, "error_after": {}},
                  )  # fmt: skip
    reads = {"nodes": [RAW[0], people[0]]}
    made = reading(people, stg("x", compiled_code=None, raw_code=raw, depends_on=reads), orders())
    assert made.project is not None
    sql = made.project.tables["main.stg_orders"].sql or ""
    assert "FROM main.raw_orders WHERE id IN (SELECT id FROM crm.people)" in sql
    level = made.project.tables["crm.people"].freshness
    assert level is not None
    assert level.warn_after == level.error_after


def test_tests_that_always_hold_are_promises() -> None:
    def asked(name: str, **config: Any) -> tuple[str, dict[str, Any]]:
        return node("test", f"{name}_orders_id", test_metadata={"name": name}, column_name="id",
                    attached_node="model.shop.orders", config=config)  # fmt: skip

    made = reading(stg(), orders(), asked("not_null"), asked("unique", where="amount > 0")).project
    assert made is not None
    column = made.tables["main.orders"].columns["id"]
    assert (column.nullable, column.unique) == (False, False)


def test_meta_names_owner_key_time_and_unit() -> None:
    held = columns(id="bigint", placed_at="timestamp", amount="double")
    held["amount"]["meta"] = {"interlock": {"unit": "eur", "classification": "sensitive"}}
    meta = {"owner": "science", "interlock": {"key": ["id"], "event_time": "placed_at"}}
    made = reading(stg(), orders(columns=held, meta=meta)).project
    assert made is not None
    table = made.tables["main.orders"]
    assert (table.owner, table.key, table.event_time) == ("science", ("id",), "placed_at")
    assert (table.columns["amount"].unit, table.columns["amount"].classification) == (
        "eur",
        "sensitive",
    )
    assert made.tables["main.stg_orders"].owner == "eng"


def test_a_run_of_dbt_that_changed_nothing_changes_no_text() -> None:
    one = manifest(RAW, stg(), orders())
    again = json.loads(one)
    again["metadata"] |= {"generated_at": "2027", "invocation_id": "x"}
    again["nodes"]["model.shop.orders"]["created_at"] = 17.5
    assert trimmed(one) == trimmed(json.dumps(again))
    assert trimmed(trimmed(one)) == trimmed(one)
    small = read({**FILES, PATH: trimmed(one)}).partial
    assert small.tables == read({**FILES, PATH: one}).partial.tables


@pytest.mark.parametrize(
    ("text", "said", "fix"),
    [
        ("{", "not JSON", "write it again"),
        ("[]", "found none", "dbt 1.8"),
        (
            '{"metadata": {"dbt_schema_version": "https://schemas.getdbt.com/dbt/manifest/v7.json"}}',
            "v7.json",
            "dbt 1.8",
        ),
    ],
)
def test_a_manifest_of_another_kind_is_refused(text: str, said: str, fix: str) -> None:
    found = [p for p in read({**FILES, PATH: text}).problems if p.file == PATH]
    assert [(p.line, said in p.message, fix in p.fix) for p in found] == [(1, True, True)]


@pytest.mark.parametrize("deep", [400, 700, 100_000])
def test_a_manifest_nested_too_deep_is_told_at_its_line(deep: int) -> None:
    text = manifest().replace('"metadata"', '"x": ' + "[" * deep + "]" * deep + ', "metadata"', 1)
    nodes = manifest(stg(meta={"a": "deep"})).replace('"deep"', "[" * deep + "]" * deep, 1)
    for wrong in (text, nodes):
        for given in (wrong, trimmed(wrong)):
            found = [p for p in read({**FILES, PATH: given}).problems if p.file == PATH]
            assert [p.message for p in found] in ([], ["nested more than 100 levels deep"])
            assert found or deep < 1000


@pytest.mark.parametrize(
    ("old", "new", "line", "said"),
    [
        ("dbt/target/manifest.json", "dbt/target/manifst.json", 10, "is not there"),
        ("dbt/target/manifest.json", "../dbt/manifest.json", 10, "outside"),
        ("owner: eng}", "owner: engg}", 10, "no team engg"),
    ],
)
def test_where_the_manifest_stands_is_checked(old: str, new: str, line: int, said: str) -> None:
    main = FILES["interlock.yaml"].replace(old, new)
    found = read({**FILES, "interlock.yaml": main, PATH: manifest(RAW, stg(), orders())}).problems
    assert [(p.file, p.line) for p in found if said in p.message] == [("interlock.yaml", line)]


def test_two_tables_of_one_name_are_told_apart() -> None:
    twin = node("model", "other", alias="orders", compiled_code="SELECT 1 AS id")
    assert any("are both main.orders here" in p.message for p in problems(stg(), orders(), twin))
    declared = (
        "name: main.orders\nowner: eng\nsql: SELECT 1 AS id\ncolumns: {id: {type: integer}}\n"
    )
    found = read({**FILES, "tables/orders.yaml": declared, PATH: manifest(RAW, stg(), orders())})
    assert any("already declared in tables/orders.yaml" in p.message for p in found.problems)


def test_a_ring_is_named() -> None:
    back = stg('SELECT id, customer, placed_at, amount FROM "dev"."main"."orders"')
    ring = (back[0], {**back[1], "depends_on": {"nodes": ["model.shop.orders"]}})
    assert any("read each other: main.orders" in p.message for p in problems(ring, orders()))


def test_meta_that_makes_no_sense_is_told_at_its_file() -> None:
    (found,) = [
        p for p in problems(stg(), orders(meta={"interlock": {"event_tme": "x"}}))
        if "event_tme" in p.message
    ]  # fmt: skip
    assert (found.file, found.line) == ("dbt/models/orders.sql", 1)


def test_broken_nodes_are_no_crash() -> None:
    for broken in ({"columns": None}, {"config": None}, {"depends_on": None}, {"meta": 5}):
        reading(stg(**broken), orders())
    text = json.dumps({**json.loads(manifest()), "nodes": {"model.x": {"resource_type": "model"}}})
    assert read({**FILES, PATH: text}).project is None
