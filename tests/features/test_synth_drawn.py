"""What is drawn keeps distributions, dependencies and gaps; what remembers is found out."""

from __future__ import annotations

import numpy as np
import pytest

from interlock.features.resemblance import closeness, correlation_difference, distance
from interlock.features.shapes import shape_of, texts
from interlock.features.synth import NULLS, Floats, K, Part, draw, learn

ROWS = 4000


def number(name: str, x: Floats, classified: bool = False) -> Part:
    return Part(name, "number", x, (), classified)


@pytest.fixture
def chance() -> np.random.Generator:
    return np.random.default_rng(7)


def related(chance: np.random.Generator, classified: bool = False) -> list[Part]:
    """A skewed pair that goes together, a third that goes against, missing together."""
    z = chance.normal(size=ROWS)
    a, b = np.exp(z), 3 * z + chance.normal(size=ROWS)
    c = -z + chance.normal(size=ROWS)
    gone = chance.random(ROWS) < 0.2
    a[gone], b[gone] = np.nan, np.nan
    return [number("a", a, classified), number("b", b, classified), number("c", c)]


@pytest.mark.parametrize("classified", [False, True])
def test_distributions_correlations_and_gaps_are_kept(
    chance: np.random.Generator, classified: bool
) -> None:
    parts = related(chance, classified)
    made = draw(learn(parts, None), ROWS, chance, {})
    assert max(c.distance or 0 for c in closeness(parts, made)) < 0.05
    assert correlation_difference(parts, made)[1] < 0.08
    assert np.array_equal(np.isnan(made["a"]), np.isnan(made["b"])), "missing together"
    assert abs(np.isnan(made["a"]).mean() - 0.2) < 0.03


def test_a_classified_number_shows_no_end_and_no_real_value(chance: np.random.Generator) -> None:
    parts = related(chance, classified=True)
    made = draw(learn(parts, None), ROWS, chance, {})["a"]
    known = np.sort(parts[0].x[~np.isnan(parts[0].x)])
    there = made[~np.isnan(made)]
    assert known[K // 3] < there.min() < there.max() < known[-K // 3]
    assert not set(there) & set(known)
    open_ = draw(learn(related(chance), None), ROWS, chance, {})["c"]
    assert len(set(open_)) > ROWS / 3


def test_what_another_column_determines_is_looked_up(chance: np.random.Generator) -> None:
    code = chance.integers(0, 40, ROWS).astype(np.float64)
    other = chance.integers(0, 5, ROWS).astype(np.float64)
    parts = [
        number("code", code), number("other", other), number("twice", code * 2),
        number("both", code * 10 + other), number("free", chance.normal(size=ROWS)),
    ]  # fmt: skip
    learnt = learn(parts, None)
    made = draw(learnt, ROWS, chance, {})
    assert set(learnt.lookups) >= {"twice"}
    assert np.array_equal(made["twice"], made["code"] * 2)
    assert np.array_equal(made["both"], made["code"] * 10 + made["other"])
    assert "free" not in learnt.lookups


def test_rare_categories_and_rare_gaps_of_classified_tables_are_not_drawn(
    chance: np.random.Generator,
) -> None:
    codes = chance.integers(0, 3, ROWS).astype(np.float64)
    codes[: K - 1] = 3
    gone = chance.normal(size=ROWS)
    gone[: K - 1] = np.nan
    parts = [Part("town", "label", codes, ("a", "b", "c", "rare"), True), number("x", gone)]
    made = draw(learn(parts, None), 20 * ROWS, chance, {})
    assert set(made["town"]) == {0.0, 1.0, 2.0}
    assert not np.isnan(made["x"]).any()
    open_ = [Part("town", "label", codes, ("a", "b", "c", "rare")), number("x", gone)]
    made = draw(learn(open_, None), 20 * ROWS, chance, {})
    assert 3.0 in made["town"]
    assert np.isnan(made["x"]).any()


def test_every_day_has_its_rows_and_other_times_keep_their_distance(
    chance: np.random.Generator,
) -> None:
    day = 86_400.0
    days = np.sort(chance.choice(10, ROWS, p=np.array([1, 5] * 5) / 30))
    event = days * day + chance.integers(0, 80_000, ROWS)
    known = event + chance.integers(60, 7200, ROWS)
    parts = [Part("at", "time", event.astype(float)), Part("known", "time", known.astype(float))]
    made = draw(learn(parts, "at"), ROWS, chance, {})
    counts = [np.bincount((x // day).astype(int), minlength=10) for x in (event, made["at"])]
    assert np.abs(counts[0] - counts[1]).max() <= 2
    lag = made["known"] - made["at"]
    assert (lag.min() >= 60, lag.max() <= 7200) == (True, True)


def test_given_columns_are_what_was_given_and_the_rest_goes_with_them(
    chance: np.random.Generator,
) -> None:
    parts = related(chance)
    given = np.sort(chance.choice(parts[2].x, 500, replace=False))
    made = draw(learn(parts, None, ["c"]), 500, chance, {"c": given})
    assert np.array_equal(made["c"], given)
    there = ~np.isnan(made["b"])
    assert np.corrcoef(given[there], made["b"][there])[0, 1] < -0.4


def test_the_same_chance_draws_the_same(chance: np.random.Generator) -> None:
    parts = related(chance)
    one, two = (draw(learn(parts, None), 50, np.random.default_rng(1), {}) for _ in range(2))
    assert all(np.array_equal(one[n], two[n], equal_nan=True) for n in (*one, NULLS))


def test_copies_are_found_out_and_fresh_rows_are_not_accused(chance: np.random.Generator) -> None:
    parts = related(chance)
    cut = ROWS // 2
    learnt = [number(p.name, p.x[:cut]) for p in parts]
    held = [number(p.name, p.x[cut:]) for p in parts]
    copies = {p.name: p.x[:500] for p in parts}
    found = distance(learnt, held, copies)
    assert (found.ratio, found.nearer_share) == (0.0, pytest.approx(1.0, abs=0.2))
    assert " are remembered" in found.sentence
    near = {p.name: p.x[:500] + chance.normal(0, 1e-3, 500) for p in parts}
    assert " are remembered" in distance(learnt, held, near).sentence
    fresh = draw(learn(learnt, None), 1000, chance, {})
    found = distance(learnt, held, fresh)
    assert found.nearer_share == pytest.approx(0.5, abs=0.08)
    assert "not remembered" in found.sentence
    assert "too few" in distance(learnt[:1], [number("a", held[0].x[:20])], fresh).sentence


def test_another_distribution_is_far() -> None:
    x = np.linspace(0, 1, 1000)
    parts = [number("n", x), Part("t", "label", np.floor(x * 2), ("a", "b", "c"))]
    (n, t) = closeness(parts, {"n": x + 0.5, "t": np.zeros(1000)})
    assert n.distance == pytest.approx(0.5, abs=0.01)
    assert t.distance == pytest.approx(0.5, abs=0.01)


def test_texts_have_common_shapes_and_are_never_real(chance: np.random.Generator) -> None:
    real = [f"N{n}XY" for n in range(100, 160)] + ["the only one"]
    made = texts(real, 500, chance)
    assert {shape_of(t) for t in made} == {"A999AA"}
    assert not set(made) & set(real)
    unique = texts([str(n) for n in range(10)] * 2, 200, chance, unique=True)
    assert len(set(unique)) == 200
    assert not {str(n) for n in range(10)} & set(unique)
    assert all(shape_of(t) == "aaaaaaaa" for t in texts(["Alone!"], 20, chance))
