"""Lineage in every direction: each edge once, each path true, nothing unresolved left out."""

from __future__ import annotations

import itertools

import pytest
from shop_project import (
    ORDERS,
    ORDERS_SQL,
    RAW_ORDERS,
    RAW_VISITS,
    SPEND,
    SPEND_SQL,
    VISITS,
    shop,
    table,
    view,
)

from interlock.errors import InterlockError, NotFound
from interlock.impact.asked import understand
from interlock.impact.compare import DIALECTS
from interlock.impact.facts import Facts, learn
from interlock.impact.graph import column_ref
from interlock.impact.lineage import Direction, Lineage, Step, lineage

FACTS = learn(shop())[0]
EVERY = sorted(
    {*FACTS.nodes, *(column_ref(n.ref, c) for n in FACTS.nodes.values() for c in n.columns)}
)
BOTH: tuple[Direction, Direction] = ("upstream", "downstream")


def edges(found: Lineage) -> set[tuple[str, str, str]]:
    return {(step.reader, step.source, step.kind) for step in found.edges}


def reachable(facts: Facts, ref: str, direction: Direction) -> set[str]:
    """The other way to the same answer: everything that edges lead to, without paths."""
    found, waiting = {ref}, [ref]
    if direction == "upstream" and ref in facts.nodes:
        own = [column_ref(facts.node(ref).ref, name) for name in facts.node(ref).columns]
        found |= {*own}
        waiting += own
    while waiting:
        name = waiting.pop()
        for edge in facts.edges:
            near, far = edge.reader, edge.source
            if direction == "downstream":
                near, far = far, near
            if near == name and far not in found:
                found.add(far)
                waiting.append(far)
    return found


# --- every thing, both ways ----------------------------------------------------------


@pytest.mark.parametrize("direction", BOTH)
@pytest.mark.parametrize("ref", EVERY)
def test_all_that_is_connected_is_told_and_each_edge_once(ref: str, direction: Direction) -> None:
    found = lineage(FACTS, ref, direction)
    assert set(found.nodes) == reachable(FACTS, ref, direction)
    last = [path[-1] for path in found.paths]
    assert len(last) == len(set(last)), "an edge ends one path"
    inside = {
        Step(e.reader, e.source, e.kind)
        for e in FACTS.edges
        if e.reader in found.nodes and e.source in found.nodes
    }
    assert {step for step in last if step.kind != "holds"} <= inside


@pytest.mark.parametrize("direction", BOTH)
@pytest.mark.parametrize("ref", EVERY)
def test_each_path_starts_at_the_thing_and_hangs_together(ref: str, direction: Direction) -> None:
    for path in lineage(FACTS, ref, direction).paths:
        ends = [(s.reader, s.source) if direction == "upstream" else (s.source, s.reader)
                for s in path]  # fmt: skip
        assert ends[0][0] == ref
        assert all(before[1] == after[0] for before, after in itertools.pairwise(ends))


def test_one_direction_is_the_other_turned_round() -> None:
    up = {(ref, far) for ref in EVERY for far in lineage(FACTS, ref, "upstream").nodes}
    down = {(far, ref) for ref in EVERY for far in lineage(FACTS, ref, "downstream").nodes}
    # Upstream a table holds its columns and a view its features, which downstream nobody reads.
    held = {(name, far) for name, far in up - down if name.split(":")[0] in ("table", "view")}
    assert up - down == held
    assert down <= up


def test_a_column_of_each_kind_with_what_each_edge_is_for() -> None:
    down = edges(lineage(FACTS, "column:wh.orders.refunded", "downstream"))
    assert ("view:spend@1", "column:wh.orders.refunded", "filter") in down
    assert ("model:returns", "column:wh.orders.refunded", "value") in down
    up = edges(lineage(FACTS, "feature:spend@1:spend_30d", "upstream"))
    feature = "feature:spend@1:spend_30d"
    assert {kind for reader, _, kind in up if reader == feature} == {"value", "window", "rows"}
    assert (feature, "column:wh.orders.placed_at", "window") in up
    assert ("view:spend@1", "column:wh.orders.customer", "join") in up
    assert ("column:wh.orders.amount", "column:raw.orders.cents", "value") in up
    served = edges(lineage(FACTS, "service:desk", "upstream"))
    assert ("service:desk", "model:returns", "value") in served
    assert ("model:returns", "column:wh.spine.customer", "join") in served


def test_nothing_stands_on_a_service_and_a_source_stands_on_nothing() -> None:
    for ref, direction in (("service:desk", BOTH[1]), ("column:raw.orders.note", BOTH[1])):
        found = lineage(FACTS, ref, direction)
        assert (found.paths, found.nodes) == ((), (ref,))
        assert found.text() == f"{ref}: nothing downstream"


@pytest.mark.parametrize(
    ("ref", "help_"),
    [
        ("column:wh.orders.amont", "column:wh.orders.amount"),
        ("feature:spend@1:spend_31d", "feature:spend@1:spend_30d"),
        ("view:spend@2", "view:spend@1"),
        ("model:return", "model:returns"),
    ],
)
def test_an_address_nobody_declared_is_refused_with_the_nearest(ref: str, help_: str) -> None:
    with pytest.raises(NotFound) as raised:
        lineage(FACTS, ref, "upstream")
    assert raised.value.help == f"did you mean {help_}?"
    with pytest.raises(InterlockError):
        lineage(FACTS, "no address", "upstream")


# --- what is not understood ------------------------------------------------------------


def test_a_query_that_is_not_understood_is_marked_and_reads_all_it_names() -> None:
    odd = "PIVOT wh.orders ON refunded USING sum(amount)"
    sql = f"SELECT customer, placed_at AS ts, last_pages FROM raw.visits, ({odd})"
    facts = learn(shop(VISITS.model_copy(update={"sql": sql})))[0]
    assert facts.node("view:visits@1").unknown
    found = lineage(facts, "feature:visits@1:last_pages", "upstream")
    assert "view:visits@1" in found.unresolved
    marked = {step for step in found.edges if step.kind == "unresolved"}
    tables = facts.node("view:visits@1").query.tables  # type: ignore[union-attr]
    assert tables
    assert {f"table:{name}" for name in tables} <= {step.source for step in marked}
    for name in RAW_VISITS.columns:
        step = Step("feature:visits@1:last_pages", f"column:raw.visits.{name}", "unresolved")
        assert step in marked, "whichever column it is that it reads"
    down = lineage(facts, "column:raw.visits.pages", "downstream")
    assert {"model:browse", "model:returns", "service:desk", "service:shelf"} <= set(down.nodes)
    assert "unresolved: view:visits@1" in found.text()


def test_a_table_that_nobody_declares_is_marked_and_not_dropped() -> None:
    sql = ORDERS_SQL.replace("raw.orders", "raw.older_orders")
    facts = learn(shop(ORDERS.model_copy(update={"sql": sql})))[0]
    found = lineage(facts, "model:returns", "upstream")
    assert "declared nowhere" in found.unresolved["table:raw.older_orders"]
    assert lineage(facts, "table:raw.older_orders", "downstream").nodes[-1] == "view:spend@1"
    told = found.to_json()
    (node,) = [n for n in told["nodes"] if n["ref"] == "table:raw.older_orders"]
    assert node["unresolved"] == found.unresolved["table:raw.older_orders"]


# --- shapes ------------------------------------------------------------------------------


def test_paths_do_not_multiply_where_edges_do_not() -> None:
    """24 layers of two tables that both read both below: 2^24 ways, and few edges."""
    layers = 24
    names = [(f"wh.a{at}", f"wh.b{at}") for at in range(layers)]
    columns = {"id": "integer", "x": "double"}
    things = [
        table(name, columns, None if at == 0 else both(*names[at - 1]))
        for at, pair in enumerate(names)
        for name in pair
    ]
    top = names[-1][0]
    sql = f"SELECT id AS customer, now() AS ts, x FROM {top}"
    facts = learn(shop(*things, view("wide", sql, {"x": ""})))[0]
    found = lineage(facts, "feature:wide@1:x", "upstream")
    assert len(found.paths) == len(found.edges) < len(facts.edges)
    assert max(len(path) for path in found.paths) <= layers + 3
    assert {f"column:{name}.x" for pair in names[:-1] for name in pair} <= set(found.nodes)


def both(left: str, right: str) -> str:
    return f"SELECT l.id, l.x + r.x AS x FROM {left} AS l JOIN {right} AS r ON l.id = r.id"


def test_tables_in_a_ring_end() -> None:
    columns = {"id": "integer"}
    things = [
        table("wh.one", columns, "SELECT id FROM wh.two"),
        table("wh.two", columns, "SELECT id FROM wh.one"),
    ]
    facts = learn(shop(*things))[0]
    for direction in BOTH:
        assert lineage(facts, "table:wh.one", direction).ref == "table:wh.one"


def test_the_answer_as_json_and_as_a_picture_say_the_same() -> None:
    found = lineage(FACTS, "feature:visits@1:last_pages", "upstream")
    told = found.to_json()
    assert (told["ref"], told["direction"]) == (found.ref, "upstream")
    assert {node["ref"] for node in told["nodes"]} == set(found.nodes)
    assert {node["kind"] for node in told["nodes"]} == {"feature", "view", "column", "table"}
    assert {(e["reader"], e["source"], e["kind"]) for e in told["edges"]} == edges(found)
    assert [path[-1] for path in told["paths"]] == [
        {"reader": p[-1].reader, "source": p[-1].source, "kind": p[-1].kind} for p in found.paths
    ]
    first, *lines = found.mermaid().splitlines()
    assert first == "flowchart LR"
    names = dict(
        line.strip().rstrip("]").replace('"', "").split("[") for line in lines if '["' in line
    )
    drawn = set()
    for line in (line.strip() for line in lines if "-->" in line):
        source, _, rest = line.partition(" -->|")
        kind, _, reader = rest.partition("| ")
        drawn.add((names[reader], names[source], kind))
    assert drawn == edges(found)
    assert set(names.values()) == set(found.nodes)


def test_what_is_unresolved_is_dashed() -> None:
    sql = SPEND_SQL.replace("wh.orders", "wh.other_orders")
    facts = learn(shop(SPEND.model_copy(update={"sql": sql})))[0]
    drawn = lineage(facts, "model:returns", "upstream").mermaid()
    assert '"table:wh.other_orders"]:::unresolved' in drawn
    assert "classDef unresolved" in drawn
    assert "unresolved" not in lineage(FACTS, "model:returns", "upstream").mermaid()


# --- five dialects -----------------------------------------------------------------------

SCHEMA = {
    "orders": {"id": "integer", "day": "date", "amount": "double", "store": "integer", "mail": ""},
    "stores": {"id": "integer", "city": "varchar", "open": "boolean"},
}
QUOTES = {"duckdb": '""', "postgres": '""', "spark": "``", "snowflake": "", "bigquery": "``"}
QUERY = """
WITH sold AS (
  SELECT o.store, o.day, sum(o.amount) AS {0}total{1}, md5(max(o.mail)) AS who
  FROM orders AS o WHERE o.amount > 0 GROUP BY o.store, o.day
)
SELECT s.city, {0}d{1}.total, d.who,
  row_number() OVER (PARTITION BY s.city ORDER BY d.day) AS place
FROM sold AS {0}d{1} JOIN stores AS s ON s.id = d.store
WHERE s.open
"""


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_same_query_has_the_same_edges_in_every_dialect(dialect: str) -> None:
    found = understand(QUERY.format(*(QUOTES[dialect] or ("", ""))), SCHEMA, dialect)
    assert (found.errors, found.unknown) == ((), None)
    reads = {c.name: {(r.table, r.column, r.kind) for r in c.reads} for c in found.columns}
    assert reads == {
        "city": {("stores", "city", "value")},
        "total": {("orders", "amount", "value")},
        "who": {("orders", "mail", "mask")},
        "place": {("stores", "city", "window"), ("orders", "day", "window")},
    }
    assert {(r.table, r.column, r.kind) for r in found.row_reads} == {
        ("orders", "amount", "filter"), ("orders", "store", "group"), ("orders", "day", "group"),
        ("orders", "store", "join"), ("stores", "id", "join"), ("stores", "open", "filter"),
    }  # fmt: skip
    assert found.tables == {"orders", "stores"}


def test_the_shop_has_something_of_every_kind() -> None:
    kinds = {ref.split(":")[0] for ref in EVERY}
    assert kinds == {"table", "column", "view", "feature", "model", "service"}
    assert len(EVERY) > 25
    assert RAW_ORDERS.name == "raw.orders"
