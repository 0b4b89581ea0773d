"""Random queries of a wide grammar, and their mutations: some mean the same, most do not."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import dataclass, replace

SCHEMA = {
    "t": {"id": "integer", "a": "integer", "b": "integer", "s": "string", "f": "boolean",
          "l": "list"},
    "u": {"k": "integer", "x": "integer", "s": "string"},
    "v": {"x": "integer", "y": "integer"},
}  # fmt: skip


@dataclass(frozen=True)
class Case:
    """Two queries; `equal` when the mutation is meant to change nothing."""

    old: str
    new: str
    mutation: str
    equal: bool = False


@dataclass(frozen=True)
class Query:
    """One query in parts. `source` is an index of `SOURCES`; `swap` writes its inner joins
    the other way; `shape` is how the rows of `t` come: as a table, a CTE, a subquery."""

    select: tuple[str, ...]
    source: int = 0
    swap: bool = False
    where: tuple[str, ...] = ()
    tail: str = ""
    distinct: str = ""
    limit: str = ""
    shape: str = "table"
    inner: tuple[str, ...] = ()
    alias: str = "t"
    union: tuple[str, ...] = ()

    def sql(self) -> str:
        body = self._body(self.where)
        for number, more in enumerate(self.union):
            body += f" {more} {self._body((CONDITIONS[number],))}"
        return self._with() + body

    def _with(self) -> str:
        return f"WITH c AS ({self._base()}) " if self.shape == "cte" else ""

    def _base(self) -> str:
        inner = f" WHERE {' AND '.join(self.inner)}" if self.inner else ""
        return f"SELECT * FROM t{inner}"

    def _from(self) -> str:
        t = {"table": "t", "cte": "c", "subquery": f"({self._base()})"}[self.shape]
        parts = SOURCES[self.source]
        first = f"{t} AS {self.alias}"
        return (parts[1] if self.swap and parts[1] else parts[0]).format(t=first)

    def _body(self, where: tuple[str, ...]) -> str:
        conditions = list(where)
        if self.shape == "table":
            conditions += self.inner
        filtered = f" WHERE {' AND '.join(conditions)}" if conditions else ""
        text = f"SELECT {self.distinct}{', '.join(self.select)} FROM {self._from()}{filtered}"
        return _named(text + self.tail + self.limit, self.alias)


def _named(text: str, alias: str) -> str:
    return re.sub(r"\bt\.", f"{alias}.", text)


# Each FROM, and the same written the other way round if it can be.
SOURCES = (
    ("{t}", ""),
    ("{t} JOIN u ON t.b = u.k", "u JOIN {t} ON u.k = t.b"),
    ("{t} JOIN u ON t.b = u.x", "u CROSS JOIN {t}"),
    ("{t} LEFT JOIN u ON t.b = u.k", "u RIGHT JOIN {t} ON u.k = t.b"),
    ("{t} LEFT JOIN u ON t.b = u.x", "u RIGHT JOIN {t} ON t.b = u.x"),
    ("{t} LEFT JOIN u ON t.b = u.x AND u.k > 1", ""),
    ("{t} FULL JOIN u ON t.b = u.k", "u FULL JOIN {t} ON t.b = u.k"),
    ("{t} RIGHT JOIN u ON t.b = u.k", "u LEFT JOIN {t} ON t.b = u.k"),
    ("{t} JOIN u ON t.b = u.x JOIN v ON v.x = u.x", "v JOIN u ON v.x = u.x JOIN {t} ON t.b = u.x"),
    ("{t} LEFT JOIN u ON t.b = u.k LEFT JOIN v ON v.x = u.x", ""),
    ("{t} LEFT JOIN (u JOIN v ON v.x = u.x) ON t.b = u.x", ""),
    ("{t} JOIN t t2 ON t.a = t2.b JOIN u ON u.k = t2.a",
     "t t2 JOIN {t} ON t.a = t2.b JOIN u ON u.k = t2.a"),
    ("{t} SEMI JOIN u ON t.b = u.x", ""),
    ("{t} ANTI JOIN u ON t.b = u.x", ""),
    ("{t}, LATERAL (SELECT max(v.y) AS m FROM v WHERE v.x = t.b) AS q", ""),
    ("{t} LEFT JOIN (SELECT x, max(y) AS m FROM v GROUP BY x) q ON q.x = t.b", ""),
    ("{t}, unnest(t.l) AS w(e)", ""),
    ("{t} LEFT JOIN u ON u.k = coalesce(t.b, 1) RIGHT JOIN v ON v.x = t.a", ""),
    ("{t} LEFT JOIN u ON u.k = 1", ""),
    ("{t} LEFT JOIN (SELECT DISTINCT x FROM u) q ON q.x = t.b", ""),
    ("{t} JOIN u USING (s)", ""),
    ("{t} LEFT JOIN u USING (s)", ""),
    ("{t} FULL JOIN u USING (s)", ""),
    ("{t} RIGHT JOIN u USING (s)", ""),
    ("{t}, u", "u, {t}"),
    ("{t} LEFT JOIN t t2 ON t2.id = t.b", ""),
)  # fmt: skip
PLAIN = (
    "t.a AS a", "t.b AS b", "t.a + 1 AS c", "1 + t.a AS c", "coalesce(t.b, 0) AS d",
    "t.id AS id", "CASE WHEN t.f THEN t.a END AS e", "CAST(t.b AS VARCHAR) AS g",
    "CAST(t.b AS BIGINT) AS g", "t.s IS NULL AS n", "t.s AS s2", "unnest([1, 2]) AS z",
    "(SELECT max(v.y) FROM v WHERE v.x = t.b) AS q1", "(SELECT count(*) FROM v) AS q2",
    "row_number() OVER (PARTITION BY t.a ORDER BY t.id) AS r",
    "sum(t.a) OVER (ORDER BY t.id ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) AS w",
    "count(*) OVER () AS k2", "t.l AS l", "lag(t.b) OVER (ORDER BY t.id) AS p",
    "list_transform(t.l, x -> x + t.a) AS lt", "t.b BETWEEN 1 AND 2 AS bt",
    "t.b >= 1 AND t.b <= 2 AS bt", "unnest(t.l) AS z", "t.a IN (SELECT x FROM v) AS i",
    "count(*) OVER w1 AS k3", "t.a IN (1, 2) AS i2", "t.a IN (2, 1) AS i2", "nullif(t.b, 1) AS nf",
)  # fmt: skip
GROUPED = (
    "count(*) AS n", "count(t.a) AS n", "count(t.b) AS n", "sum(t.b) AS m", "max(t.b) AS m",
    "count(DISTINCT t.b) AS m", "max(t.a) - min(t.a) AS o", "count(*) FILTER (WHERE t.f) AS ff",
    "list(t.b ORDER BY t.id) AS ls", "avg(t.b) AS av", "count(1) AS n",
    "sum(count(*)) OVER () AS ss", "bool_or(t.f) AS bo", "string_agg(t.s, ',' ORDER BY t.id) AS sa",
)  # fmt: skip
CONDITIONS = (
    "t.a > 1", "1 < t.a", "t.b = 1", "1 = t.b", "t.b <> 1", "t.b IS NULL", "t.b IS NOT NULL",
    "t.f", "NOT t.f", "(t.a = 1 OR t.b = 2)", "(t.b = 2 OR t.a = 1)", "t.s = 'x'", "t.s = 'X'",
    "t.b BETWEEN 1 AND 2", "t.b IN (1, 2)", "t.b IN (2, 1)", "TRUE", "t.s LIKE 'x%'",
    "EXISTS (SELECT 1 FROM v WHERE v.x = t.a)", "EXISTS (SELECT 1 FROM v WHERE v.x = t.b)",
    "NOT EXISTS (SELECT 1 FROM v WHERE v.x = t.b)", "t.b NOT IN (SELECT x FROM v)",
    "t.a IN (SELECT x FROM v)", "t.a = (SELECT max(x) FROM v)", "coalesce(t.b, 0) = 0",
    "t.a IS DISTINCT FROM t.b", "t.b IS NOT DISTINCT FROM t.a", "t.a < t.b", "t.b > t.a",
    "EXISTS (SELECT 1 FROM t t9 WHERE t9.a = t.b AND EXISTS (SELECT 1 FROM v WHERE v.x = t9.b))",
    "EXISTS (SELECT 1 FROM t t9 WHERE t9.a = t.b AND EXISTS (SELECT 1 FROM v WHERE v.x = t.b))",
    "EXISTS (SELECT 1 FROM t t9 WHERE t9.a = 1 AND EXISTS (SELECT 1 FROM (SELECT * FROM v WHERE"
    " v.x = t9.b) z))",
    "EXISTS (SELECT 1 FROM t t9 WHERE t9.a = 1 AND EXISTS (SELECT 1 FROM v WHERE v.x = t.b))",
)  # fmt: skip
TAILS = (
    "", "", "", " QUALIFY row_number() OVER (PARTITION BY t.a ORDER BY t.id) = 1",
    " QUALIFY row_number() OVER (PARTITION BY t.a ORDER BY t.id DESC) = 1",
    " QUALIFY count(*) OVER (PARTITION BY t.b) > 1",
)  # fmt: skip
GROUPS = (
    " GROUP BY ALL", " GROUP BY t.a", " GROUP BY t.a, t.b", " GROUP BY t.b, t.a", " GROUP BY 1",
    " GROUP BY GROUPING SETS ((t.a), (t.b))", " GROUP BY ROLLUP (t.a, t.b)",
    " GROUP BY ROLLUP (t.b, t.a)", " GROUP BY CUBE (t.a, t.b)",
    " GROUP BY ROLLUP (t.a), ROLLUP (t.b)",
    " GROUP BY GROUPING SETS ((t.a, t.b), ())", "", " GROUP BY t.a HAVING count(*) > 1",
    " GROUP BY t.a HAVING count(*) > 2", " GROUP BY t.a HAVING max(t.b) > 1",
)  # fmt: skip
DISTINCTS = ("", "", "", "", "DISTINCT ", "DISTINCT ON (t.a) ")
LIMITS = (
    "", "", "", " ORDER BY t.id LIMIT 3", " ORDER BY t.id DESC LIMIT 3", " ORDER BY t.id LIMIT 4",
    " ORDER BY t.id LIMIT 3 OFFSET 1", " ORDER BY t.id",
)  # fmt: skip
UNIONS = ("UNION ALL", "UNION", "EXCEPT", "INTERSECT", "EXCEPT ALL")


def _pick(rng: random.Random, values: tuple[str, ...], most: int) -> tuple[str, ...]:
    chosen = rng.sample(values, rng.randint(1, most))
    return tuple({one.rpartition(" ")[2]: one for one in chosen}.values())


def query(rng: random.Random) -> Query:
    """A random query; most of them run."""
    grouped = rng.random() < 0.35
    source = rng.randrange(len(SOURCES)) if rng.random() < 0.6 else 0
    conditions = tuple(rng.sample(CONDITIONS, rng.choice((0, 0, 1, 1, 2))))
    inner = tuple(rng.sample(CONDITIONS, rng.choice((0, 0, 1))))
    shape = rng.choice(("table", "table", "cte", "subquery"))
    one = Query((), source, False, conditions, shape=shape, inner=inner)
    if grouped:
        key = rng.choice((("t.a AS a",), ("t.a AS a", "t.b AS b"), ()))
        tail = rng.choice(GROUPS) if key else ""
        return replace(one, select=key + _pick(rng, GROUPED, 3), tail=tail)
    select = _pick(rng, PLAIN, 4)
    distinct = rng.choice(DISTINCTS)
    limit = rng.choice(LIMITS)
    if "ON" in distinct:
        limit = rng.choice((" ORDER BY t.a, t.id", " ORDER BY t.a, t.id DESC"))
    elif distinct:
        limit = ""
    tail = " WINDOW w1 AS (PARTITION BY t.a)" if any("w1" in s for s in select) else ""
    if not tail:
        tail = rng.choice(TAILS)
    if not limit and rng.random() < 0.15:
        union = rng.choice(UNIONS)
        return replace(one, select=select, distinct=distinct, union=(union,))
    return replace(one, select=select, distinct=distinct, limit=limit, tail=tail)


def mutated(old: Query, rng: random.Random) -> Case:
    """`old` with one or two mutations."""
    name, mutate, equal = rng.choice(MUTATIONS)
    new = mutate(old, rng)
    if rng.random() < 0.3:
        also, again, too = rng.choice(MUTATIONS)
        name, new, equal = f"{name}, then {also}", again(new, rng), equal and too
    return Case(old.sql(), new.sql(), name, equal)


Mutation = Callable[[Query, random.Random], Query]


def _changed_select(one: Query, rng: random.Random) -> Query:
    values = GROUPED if one.tail.startswith(" GROUP") else PLAIN
    more = _pick(rng, values, 1)
    at = rng.randrange(len(one.select))
    return replace(one, select=(*one.select[:at], *more, *one.select[at + 1 :]))


def _added_column(one: Query, rng: random.Random) -> Query:
    values = GROUPED if one.tail.startswith(" GROUP") else PLAIN + GROUPED[:3]
    return replace(one, select=(*one.select, *_pick(rng, values, 1)))


def _changed_where(one: Query, rng: random.Random) -> Query:
    return replace(one, where=(*one.where[1:], rng.choice(CONDITIONS)))


def _moved_filter(one: Query, rng: random.Random) -> Query:
    """A filter into or out of the subquery: the same, where `t` is the only source."""
    if one.source or one.tail or one.distinct or one.limit or one.union:
        return one
    return replace(one, where=one.inner, inner=one.where)


def _moved_condition(one: Query, rng: random.Random) -> Query:
    """ON of an inner join, said in WHERE."""
    if one.source != 2 or one.swap or one.union:
        return one
    return replace(one, swap=True, where=("t.b = u.x", *one.where))


def _swapped(one: Query, rng: random.Random) -> Query:
    """Inner joins the other way round; only where every column says whose it is."""
    return one if one.source in (2,) else replace(one, swap=not one.swap)


def _shaped(shape: str) -> Mutation:
    """The rows of `t` by way of a CTE, a subquery, or neither."""

    def shaped(one: Query, rng: random.Random) -> Query:
        # Under an outer join a filter inside is not a filter outside.
        moves = one.inner and "table" in (shape, one.shape) and one.source
        return one if moves else replace(one, shape=shape)

    return shaped


def _shuffled(one: Query, rng: random.Random) -> Query:
    return replace(one, where=tuple(rng.sample(one.where, len(one.where))))


def _parenthesised(one: Query, rng: random.Random) -> Query:
    return replace(one, where=tuple(f"(({c}))" for c in one.where))


def _changed(key: str, values: tuple[str, ...]) -> Mutation:
    def change(one: Query, rng: random.Random) -> Query:
        return replace(one, **{key: rng.choice(values)})  # type: ignore[arg-type]  # all are texts

    return change


MUTATIONS: tuple[tuple[str, Mutation, bool], ...] = (
    ("nothing", lambda one, rng: one, True),
    ("another alias", lambda one, rng: replace(one, alias="tt"), True),
    ("WHERE shuffled", _shuffled, True),
    ("parentheses", _parenthesised, True),
    ("by a CTE", _shaped("cte"), True),
    ("by a subquery", _shaped("subquery"), True),
    ("inlined", _shaped("table"), True),
    ("joins swapped", _swapped, True),
    ("ON in WHERE", _moved_condition, True),
    ("a filter moved", _moved_filter, True),
    ("another column", _changed_select, False),
    ("one more column", _added_column, False),
    ("another WHERE", _changed_where, False),
    ("another join", lambda one, rng: replace(one, source=rng.randrange(len(SOURCES))), False),
    ("another tail", _changed("tail", (*TAILS, *GROUPS)), False),
    ("another LIMIT", _changed("limit", LIMITS), False),
    ("another DISTINCT", _changed("distinct", DISTINCTS), False),
    ("another union", lambda one, rng: replace(one, union=(rng.choice(UNIONS),)), False),
    ("fewer columns", lambda one, rng: replace(one, select=one.select[:1]), False),
)
