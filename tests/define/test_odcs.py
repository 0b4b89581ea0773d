"""ODCS 3.1 documents in and out: nothing lost, and the official schema agrees with every one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import timedelta
from functools import cache
from importlib import resources
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from open_data_contract_standard.model import OpenDataContractStandard

from interlock.app.files import read_folder
from interlock.app.templates import template_folder
from interlock.define.definitions import Table
from interlock.define.load import Reading, read
from interlock.define.odcs import kept, tables_in
from interlock.define.odcs_write import as_yaml, contract_of
from interlock.define.project import Project
from interlock.define.yaml import parse

FLIGHTS = dict(read_folder(template_folder("flights")))
FILE = "tables/orders.yaml"
ORDERS = """\
apiVersion: v3.1.0
kind: DataContract
id: 53581432-6c55-4ba2-a65f-72344a91553a
name: orders
version: 1.1.0
status: active
tenant: ClimateQuantumInc
price: {priceAmount: 9.95, priceCurrency: USD, priceUnit: megabyte}
team:
  name: data-eng
  members:
    - {username: ceastwood, role: Data Scientist, dateIn: "2022-08-02"}
servers:
  - {server: files, type: local, path: data/orders.csv, format: csv, environment: prod}
slaProperties:
  - {property: latency, value: 4, unit: d, element: wh.orders.placed_at}
  - {property: retention, value: 3, unit: y}
schema:
  - name: orders
    physicalName: wh.orders
    physicalType: table
    businessName: Orders
    description: One row per order.
    tags: [sales]
    customProperties:
      - {property: eventTime, value: placed_at}
      - {property: costCentre, value: 17}
    quality:
      - {name: positive, type: sql, query: "SELECT COUNT(*) FROM ${object} WHERE NOT (amount > 0)", mustBe: 0}
      - {type: sql, query: "select count(*) from wh.orders where amount > 1e6 and note is null;", mustBe: 0}
      - {type: sql, query: "SELECT COUNT(*) FROM ${object} GROUP BY id HAVING count(*) > 1", mustBe: 0}
      - {metric: rowCount, mustBeGreaterThan: 100}
    properties:
      - name: order_line
        physicalName: LINE
        logicalType: integer
        physicalType: SMALLINT
        primaryKey: true
        primaryKeyPosition: 2
      - name: id
        logicalType: string
        logicalTypeOptions: {maxLength: 12, pattern: "^[A-Z]"}
        primaryKey: true
        primaryKeyPosition: 1
        required: true
      - name: invoice
        logicalType: string
        unique: true
        classification: restricted
      - name: placed_at
        logicalType: timestamp
        logicalTypeOptions: {minimum: "2020-01-01T00:00:00"}
        quality: [{metric: nullValues, mustBe: 0}]
      - name: amount
        logicalType: number
        physicalType: DECIMAL(10,2)
        logicalTypeOptions: {exclusiveMinimum: 0, multipleOf: 0.01}
        customProperties: [{property: unit, value: EUR}]
        encryptedName: amount_enc
      - {name: weight, physicalType: REAL}
      - name: state
        logicalType: string
        quality:
          - {metric: invalidValues, arguments: {validValues: [open, "it's paid"]}, unit: percent, mustBeLessOrEqualTo: 5}
          - {metric: duplicateValues, mustBeLessThan: 10}
      - name: note
        logicalType: object
        properties: [{name: inner, logicalType: string}]
  - name: lines
    physicalName: wh.lines
    customProperties: [{property: sql, value: SELECT id FROM wh.orders}]
    properties: [{name: id, logicalType: string}]
"""  # noqa: E501  # one rule, one line


@cache
def official() -> jsonschema.Draft201909Validator:
    """The standard's own JSON Schema, as its Python package ships it."""
    text = resources.files("open_data_contract_standard").joinpath("schema.json").read_text()
    schema = json.loads(text)
    assert "v3.1.0" in schema["properties"]["apiVersion"]["enum"]
    return jsonschema.Draft201909Validator(schema)


def agreed(document: Mapping[str, Any]) -> None:
    """The official schema and the official model have nothing against it."""
    official().validate(document)
    OpenDataContractStandard.model_validate(document)


def reading(text: str) -> Reading:
    return read({**FLIGHTS, FILE: text})


def project(text: str) -> Project:
    found = reading(text)
    assert found.project is not None, [str(problem) for problem in found.problems]
    return found.project


def test_a_contract_is_read_as_tables() -> None:
    orders = project(ORDERS).tables["wh.orders"]
    assert (orders.owner, orders.key, orders.event_time) == (
        "data-eng", ("id", "line"), "placed_at"
    )  # fmt: skip
    assert orders.source is not None
    assert orders.source.csv == "data/orders.csv"
    assert orders.freshness is not None
    assert orders.freshness.error_after == timedelta(days=4)
    columns = {n: (c.type, c.physical, c.nullable, c.unit) for n, c in orders.columns.items()}
    assert columns == {
        "line": ("integer", "SMALLINT", True, None),
        "id": ("string", None, False, None),
        "invoice": ("string", None, True, None),
        "placed_at": ("timestamp", None, False, None),
        "amount": ("double", "DECIMAL(10,2)", True, "EUR"),
        "weight": ("double", "REAL", True, None),
        "state": ("string", None, True, None),
        "note": ("other", None, True, None),
    }
    assert orders.columns["invoice"].unique
    # Somebody's own word for it is not a reason to show it to everybody.
    assert orders.columns["invoice"].classification == "sensitive"
    assert project(ORDERS).tables["wh.lines"].sql == "SELECT id FROM wh.orders"


def test_rules_that_a_row_can_keep_become_checks_and_the_others_stay() -> None:
    checks = {c.name: (c.sql, c.at_least) for c in project(ORDERS).tables["wh.orders"].checks}
    assert checks == {
        "id_maxlength": ("id IS NULL OR length(id) <= 12", 1.0),
        "id_pattern": ("id IS NULL OR regexp_matches(id, '^[A-Z]')", 1.0),
        "placed_at_minimum": (
            "placed_at IS NULL OR placed_at >= TIMESTAMP '2020-01-01T00:00:00'", 1.0
        ),
        "amount_exclusiveminimum": ("amount IS NULL OR amount > 0", 1.0),
        "state_invalidvalues": ("state IS NULL OR state IN ('open', 'it''s paid')", 0.95),
        "positive": ("amount > 0", 1.0),
        "rule": ("NOT (amount > 1e6 and note is null)", 1.0),
    }  # fmt: skip


def test_what_is_not_used_is_named() -> None:
    document, _ = parse(ORDERS, FILE)
    assert document is not None
    (orders, lines), problems = tables_in(document)
    assert problems == []
    left = kept(document, orders)
    for name in (
        "tenant", "price.priceAmount", "team.members.0.username", "servers.0.environment",
        "slaProperties.1.property", "schema.0.tags.0", "schema.0.customProperties.1.value",
        "schema.0.quality.2.query", "schema.0.quality.3.metric",
        "schema.0.properties.4.encryptedName",
        "schema.0.properties.4.logicalTypeOptions.multipleOf",
        "schema.0.properties.6.quality.1.metric", "schema.0.properties.7.properties.0.name",
    ):  # fmt: skip
        assert name in left, name
    assert not any("quality.0" in name and name.startswith("schema.0.q") for name in left)
    assert not any(
        name.startswith(("schema.0", "apiVersion", "id")) for name in kept(document, lines)
    )


def test_it_comes_back_as_it_was_and_the_official_schema_agrees() -> None:
    given_ = parse(ORDERS, FILE)[0]
    assert given_ is not None
    for at, name in enumerate(("wh.orders", "wh.lines")):
        table = project(ORDERS).tables[name]
        written = contract_of(table)
        agreed(written)
        assert written == {**given_.value, "schema": [given_.value["schema"][at]]}
        again = project(as_yaml(written, ["price.priceAmount"])).tables[name]
        assert again == table.model_copy(
            update={"line": again.line, "within": again.within, "odcs": again.odcs}
        )


def test_every_table_of_the_flights_goes_out_and_comes_back() -> None:
    flights = read(FLIGHTS).project
    assert flights is not None
    files = dict(FLIGHTS)
    for table in flights.tables.values():
        document = contract_of(table)
        agreed(document)
        files[table.file] = as_yaml(document, [])
    again = read(files)
    assert again.problems == ()
    assert again.project is not None
    for name, table in flights.tables.items():
        assert plain(again.project.tables[name]) == plain(table)


def plain(table: Table) -> dict[str, Any]:
    """What a table says, without where it was written."""
    return table.model_dump()


names = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True)
texts = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=20).map(
    str.strip
)
kinds = st.sampled_from(
    ["boolean", "integer", "double", "string", "date", "timestamp", "other", "other"]
)
columns = st.fixed_dictionaries(
    {"type": kinds, "nullable": st.booleans(), "unique": st.booleans()},
    optional={
        "physical": st.sampled_from(["VARCHAR(20)", "BIGINT", "STRUCT(a INTEGER)", "no such"]),
        "unit": texts.filter(bool),
        "classification": st.sampled_from(["public", "internal", "sensitive"]),
        "description": texts,
    },
)
levels = st.integers(1, 500).flatmap(lambda n: st.sampled_from([f"{n}{unit}" for unit in "smhd"]))


@st.composite
def tables(draw: st.DrawFn) -> Table:
    held = draw(st.dictionaries(names, columns, min_size=1, max_size=5))
    for column in held.values():
        if column["type"] == "other":
            column.setdefault("physical", "GEOMETRY")  # the standard must be told something
        elif column.get("physical") == "no such":
            del column["physical"]
    some = st.lists(st.sampled_from(sorted(held)), unique=True, max_size=3)
    filled = draw(
        st.sampled_from(
            [
                {"source": {"csv": "data/x.csv", "nulls": ["NA", "no"]}}, {"sql": "SELECT 1 AS a"},
                {"source": {"csv": "a b.csv"}},
            ]
        )
    )  # fmt: skip
    checks = st.builds(
        lambda n, sql, share: {"name": n, "sql": sql, "at_least": share},
        names,
        st.sampled_from(["a > 0", "(a) OR (b)", "a IN (')', 'x') AND (b)", "NOT (a)", "a IS NULL"]),
        st.sampled_from([1.0, 0.99, 0.5]),
    )
    return Table.model_validate(
        {
            "name": f"{draw(names)}.{draw(names)}", "owner": "data-eng", "columns": held,
            "key": draw(some), "description": draw(texts),
            "event_time": draw(st.none() | st.sampled_from(sorted(held))),
            "checks": draw(st.lists(checks, max_size=3, unique_by=lambda one: one["name"])),
            "freshness": draw(st.none() | st.fixed_dictionaries(
                {"warn_after": levels, "error_after": levels})),
            **filled,
        }
    )  # fmt: skip


@given(table=tables())
@settings(derandomize=True, max_examples=150, deadline=None)
def test_any_table_goes_out_valid_and_comes_back_the_same(table: Table) -> None:
    document = contract_of(table)
    agreed(document)
    text = as_yaml(document, [])
    assert yaml.safe_load(text) == document
    found, problems = parse(text, "tables/x.yaml")
    assert found is not None
    assert problems == []
    (said,), problems = tables_in(found)
    assert problems == []
    again = Table.model_validate(said.value)
    assert plain(again) == plain(table)
    assert kept(found, said) == []


@pytest.mark.parametrize(
    ("old", "new", "line", "said", "fix"),
    [
        ("apiVersion: v3.1.0", "apiVersion: v4.0.0", 1, "v4.0.0", "v3.1.0"),
        ("kind: DataContract", "kind: DataProduct", 2, "no contract", "DataContract"),
        ("  name: data-eng", "  name: data-engg", 10, "no team", "data-eng?"),
        ("  name: data-eng\n", "", 9, "names no team", "team: {name"),
        ("physicalName: wh.orders", "physicalName: orders", 20, "no name of a table", "server"),
        ("logicalType: timestamp", "logicalType: timestmp", 51, "not one of", "timestamp?"),
        ("value: placed_at", "value: placd_at", 26, "no column placd_at", "placed_at?"),
        ("name: invoice", "name: id", 46, "a second column id", "keep one"),
        ("status: active\n", "", 1, "`status` is missing", "status:"),
        ("type: local", "type: s3", 19, "nothing says what fills it", "source"),
    ],
)
def test_a_mistake_is_told_at_its_line(old: str, new: str, line: int, said: str, fix: str) -> None:
    assert ORDERS.count(old) >= 1
    first, *_ = reading(ORDERS.replace(old, new, 1)).problems
    assert said in first.message
    assert fix in first.fix
    assert (first.file, first.line) == (FILE, line)


def test_several_mistakes_come_at_once() -> None:
    text = ORDERS.replace("logicalType: timestamp", "logicalType: time_stamp")
    text = text.replace("kind: DataContract", "kind: Contract").replace("name: data-eng", "x: y")
    assert {p.line for p in reading(text).problems} == {2, 9, 51}


@pytest.mark.parametrize(
    "broken",
    [
        "schema: []", "schema: 3", "schema: [3, {name: a.b}]",
        "schema: [{name: a.b, properties: 1}]",
        "schema: [{name: a.b, properties: [{logicalType: string}, 4]}]\nslaProperties: 7",
        "schema: [{name: a.b, quality: 5, properties: [{name: x, quality: [1]}]}]",
        "schema: [{properties: [{name: x}]}]\nservers: text\nteam: []",
        "schema: [{name: 5, properties: [{name: 7, logicalType: [a], physicalType: {b: c}}]}]",
    ],
)  # fmt: skip
def test_a_document_of_the_wrong_shape_is_a_list_of_problems(broken: str) -> None:
    found = reading(f"apiVersion: v3.1.0\nkind: DataContract\n{broken}\n")
    assert found.project is None
    assert all(p.fix and p.line >= 1 for p in found.problems if p.file == FILE)
