"""What a change reaches: breaks, moves, or nobody; and the path that says why."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from shop_project import (
    ORDERS,
    ORDERS_SQL,
    RAW_ORDERS,
    RAW_VISITS,
    RETURNS,
    SPEND,
    SPEND_SQL,
    VISITS,
    service,
    shop,
    table,
    with_fallback,
    with_unit,
)

from interlock.define.definitions import FeatureView, Model, Service, Table
from interlock.define.project import Project
from interlock.define.refs import Ref
from interlock.impact.facts import learn
from interlock.impact.graph import Touch, by_source, differences, graph, reach, spread
from interlock.impact.nodes import Edge

OLD = learn(shop())[0]
ALL = {"returns": "model", "browse": "model", "desk": "service", "shelf": "service"}


def touched(project: Project) -> dict[str, Touch]:
    return {str(r.ref): r.verdict for r in reach(OLD, learn(project)[0])}


def test_nothing_changed_reaches_nobody() -> None:
    assert not differences(OLD, OLD)
    assert not reach(OLD, OLD)


def test_another_unit_breaks_its_readers() -> None:  # R-C2
    found = touched(shop(with_unit(ORDERS, "amount", "cents")))
    assert found["feature:spend@1:spend_30d"] == "breaks"
    assert found["model:returns"] == found["service:desk"] == "breaks"
    # Orders are counted whatever they cost, and `browse` reads none of it but the spine.
    assert "feature:spend@1:orders_30d" not in found


def test_a_break_is_a_move_once_the_reader_was_changed_with_it() -> None:
    mended = SPEND.model_copy(update={"sql": SPEND_SQL.replace("sum(amount)", "sum(amount / 100)")})
    found = touched(shop(with_unit(ORDERS, "amount", "cents"), mended))
    assert found["feature:spend@1:spend_30d"] == "moves"


def test_other_rows_move_all_readers() -> None:
    sql = ORDERS_SQL + " WHERE cents > 0"
    found = touched(shop(ORDERS.model_copy(update={"sql": sql})))
    assert found["feature:spend@1:orders_30d"] == "moves"
    assert {found[f"{kind}:{name}"] for name, kind in ALL.items()} == {"moves"}
    assert "feature:visits@1:last_pages" not in found


def test_a_new_column_reaches_nobody() -> None:
    columns = {name: column.type for name, column in ORDERS.columns.items()}
    more = table("wh.orders", {**columns, "note": "string"}, ORDERS_SQL.replace("id,", "id, note,"))
    (difference,) = differences(OLD, learn(shop(more))[0])
    assert difference.additive
    assert not touched(shop(more))


def test_a_filter_counts_as_reading() -> None:
    """A column that only a WHERE names decides which rows there are."""
    sql = ORDERS_SQL.replace("refunded FROM", "NOT refunded AS refunded FROM")
    new = learn(shop(ORDERS.model_copy(update={"sql": sql})))[0]
    found = {str(r.ref): r.sentence for r in reach(OLD, new)}
    spend = "feature:spend@1:orders_30d"
    assert found[spend] == (
        f"{spend} moves because it reads column:wh.orders.refunded (filter): its expression changed"
    )


def test_the_sentence_names_the_feature_between() -> None:
    new = learn(shop(with_unit(RAW_VISITS, "pages", "sheets")))[0]
    found = {str(r.ref): r for r in reach(OLD, new)}
    assert found["model:browse"].sentence == (
        "model:browse breaks because feature:visits@1:last_pages reads "
        "column:raw.visits.pages (value): unit none became sheets"
    )
    assert [hop.reader for hop in found["service:shelf"].path] == [
        "service:shelf", "model:browse", "feature:visits@1:last_pages",
    ]  # fmt: skip
    assert found["model:browse"].cause == "column:raw.visits.pages"


def test_another_ttl_moves_every_feature_of_the_view() -> None:
    found = touched(shop(SPEND.model_copy(update={"ttl": None})))
    assert found["feature:spend@1:spend_30d"] == found["feature:spend@1:orders_30d"] == "moves"


def test_a_fallback_moves_who_is_served_with_it() -> None:
    found = touched(shop(with_fallback(VISITS, "last_pages", 3.0)))
    assert found["model:browse"] == found["service:desk"] == "moves"


def test_settings_reach_without_moving() -> None:
    evaluation = RETURNS.evaluation.model_copy(update={"margin": 0.5})
    found = touched(shop(RETURNS.model_copy(update={"evaluation": evaluation})))
    assert found == {"model:returns": "reached", "service:desk": "reached"}


def test_what_is_not_understood_moves_its_readers() -> None:
    """Nothing unknown is ever called safe."""  # R-C2
    sql = f"SELECT * FROM ({VISITS.sql}) AS q USING SAMPLE 10%"
    new, _ = learn(shop(VISITS.model_copy(update={"sql": sql})))
    (difference,) = differences(OLD, new)
    assert difference.row_set == "unknown"
    assert touched(shop(VISITS.model_copy(update={"sql": sql})))["model:browse"] == "moves"


def test_a_removed_column_breaks_who_still_reads_it() -> None:
    columns = {n: c for n, c in RAW_VISITS.columns.items() if n != "pages"}
    gone = RAW_VISITS.model_copy(update={"columns": columns})
    new, problems = learn(shop(gone))
    assert problems
    found = {str(r.ref): r.verdict for r in reach(OLD, new)}
    assert found["model:browse"] in ("breaks", "moves")


def test_a_new_model_in_a_service() -> None:
    found = touched(shop(service("shelf", ("returns",))))
    assert found == {"service:shelf": "moves"}


CHANGES: list[Table | FeatureView | Model | Service] = [
    with_unit(RAW_ORDERS, "cents", "cent"),
    with_unit(RAW_ORDERS, "note", "words"),
    ORDERS.model_copy(update={"sql": ORDERS_SQL + " WHERE cents > 0"}),
    SPEND.model_copy(update={"ttl": None}),
    SPEND.model_copy(update={"sql": SPEND_SQL.replace("30 DAYS", "20 DAYS")}),
    VISITS.model_copy(update={"entity": ("customer", "ts")}),
    RETURNS.model_copy(update={"features": ("spend@1:orders_30d",)}),
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: str(change.ref))
def test_reach_and_fingerprints_agree(change: Table | FeatureView | Model | Service) -> None:
    """A model must be trained again exactly when the change moves or breaks it."""
    new = learn(shop(change))[0]
    found = {str(r.ref) for r in reach(OLD, new) if r.verdict in ("moves", "breaks")}
    for node in new.of_kind("model"):
        name = str(node.ref)
        assert (node.trained != OLD.node(name).trained) == (name in found), name
    for node in new.of_kind("service"):
        name = str(node.ref)
        assert (node.fingerprint != OLD.fingerprint(name)) == (name in found), name


@settings(max_examples=60, derandomize=True, deadline=None)
@given(st.sets(st.integers(0, len(CHANGES) - 1)), st.integers(0, len(CHANGES) - 1))
def test_a_larger_change_of_the_project_never_reaches_less(some: set[int], one: int) -> None:
    by_ref = {str(CHANGES[at].ref): CHANGES[at] for at in sorted(some)}
    less = {**by_ref}
    less.pop(str(CHANGES[one].ref), None)
    more = {**less, str(CHANGES[one].ref): CHANGES[one]}
    assert set(touched(shop(*less.values()))) <= set(touched(shop(*more.values())))


NAMES = st.sampled_from([f"column:t.c{at}" for at in range(8)])
EDGES = st.frozensets(st.builds(Edge, NAMES, NAMES, st.just("value")), max_size=16)
SEEDS = st.dictionaries(NAMES, st.sampled_from(["breaks", "moves", "reached"]), max_size=4)
WORSE = ("breaks", "moves", "reached", "untouched")


@settings(max_examples=200, derandomize=True, deadline=None)
@example(edges=frozenset(), seeds={}, more={})
@given(edges=EDGES, seeds=SEEDS, more=SEEDS)
def test_reach_grows_when_the_change_grows(
    edges: frozenset[Edge], seeds: dict[str, Touch], more: dict[str, Touch]
) -> None:
    both = {n: min(seeds.get(n, "untouched"), more.get(n, "untouched"), key=WORSE.index)
            for n in {*seeds, *more}}  # fmt: skip
    small, large = spread(seeds, by_source(edges)), spread(both, by_source(edges))
    for name, (verdict, _) in small.items():
        assert WORSE.index(large[name][0]) <= WORSE.index(verdict)


@settings(max_examples=200, derandomize=True, deadline=None)
@given(edges=EDGES, seeds=SEEDS)
def test_every_path_is_made_of_edges_and_ends_at_a_seed(
    edges: frozenset[Edge], seeds: dict[str, Touch]
) -> None:
    for name, (_, path) in spread(seeds, by_source(edges)).items():
        assert all(Edge(hop.reader, hop.source, hop.kind) in edges for hop in path)
        assert all(a.source == b.reader for a, b in pairwise(path))
        assert (path[-1].source if path else name) in seeds


@settings(max_examples=200, derandomize=True, deadline=None)
@given(edges=EDGES, seeds=SEEDS)
def test_a_path_is_never_longer_than_it_must_be(
    edges: frozenset[Edge], seeds: dict[str, Touch]
) -> None:
    found = spread(seeds, by_source(edges))
    for edge in edges:
        if edge.source in found and found[edge.reader][0] == found[edge.source][0]:
            assert len(found[edge.reader][1]) <= len(found[edge.source][1]) + 1


def test_the_picture_has_lanes_columns_and_states() -> None:
    data = graph(OLD, learn(shop(with_unit(RAW_VISITS, "pages", "sheets")))[0])
    nodes = {node.id: node for node in data.nodes}
    assert nodes["table:raw.visits"].change == "changed"
    assert nodes["table:raw.orders"].state == "untouched"
    assert nodes["view:visits@1"].lane == "views"
    assert {c.name: c.state for c in nodes["view:visits@1"].columns} == {"last_pages": "breaks"}
    ids = set(nodes) | {c.id for node in data.nodes for c in node.columns}
    assert all({edge.source, edge.target} <= ids for edge in data.edges)
    assert data.to_json()["nodes"][0]["lane"] == "tables"
    assert "raw.visits" in data.mermaid()


def test_lineage_runs_from_a_column_to_the_services() -> None:  # R-A2
    found = spread({"column:raw.orders.cents": "moves"}, by_source(OLD.edges))
    reached = {name for name in found if Ref.parse(name).kind in ("feature", "model", "service")}
    assert "service:desk" in reached
    assert "feature:spend@1:orders_30d" not in reached
