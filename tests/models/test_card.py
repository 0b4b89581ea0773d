"""The card shows the evidence, and does not invent what people must write."""

from __future__ import annotations

from datetime import date

import numpy as np

from interlock.define.definitions import Card, Evaluation, Label, Model, Training
from interlock.models.card import MISSING, CardEvidence, card, unwritten
from interlock.models.compare import compare
from interlock.models.dataset import Manifest, Source

MODEL = Model(
    model="late",
    owner="data-science",
    spine="wh.spine",
    key="flight_id",
    time="cutoff",
    features=("origin_weather@1:visib",),
    label=Label(sql="SELECT 1", column="late"),
    training=Training(entry="late.py:train", start=date(2013, 1, 8), end=date(2013, 4, 1)),
    evaluation=Evaluation(start=date(2013, 4, 1), end=date(2013, 7, 1)),
    card=Card(intended_use="Plan crews two hours ahead.", limits=" "),
)
MANIFEST = Manifest(
    "late", (Source("table:wh.flights", "f" * 64, "s", None),), "2013-01-08", "2013-04-01",
    "2013-04-01", 0.999, 1000, 240, ("x", "visib"), {}, "c" * 64, {"visib": {"nulls": 50.0}},
)  # fmt: skip


def test_a_card_without_measurements_says_so() -> None:  # R-B10
    text = card(MODEL, CardEvidence("a" * 64, MANIFEST))
    assert text.count("Not measured.") == 4
    assert "Plan crews two hours ahead." in text
    assert f"## Limits\n\n{MISSING}" in text
    assert unwritten(MODEL) == ("limits",)


def test_a_card_shows_inputs_by_weight_and_slices_with_their_standing() -> None:  # R-B10
    rng = np.random.default_rng(0)
    p = rng.beta(1, 3, 3000)
    y = (rng.random(3000) < p).astype(np.float64)
    slices = {"origin": np.where(np.arange(3000) < 100, "SYR", "JFK")}
    found = compare(y, p * 0.8, p, slices, np.arange(3000) % 30, MODEL.evaluation)
    text = card(MODEL, CardEvidence("a" * 64, MANIFEST, {"visib": 0.9, "x": 0.1}, found))
    assert text.index("| `visib` | 90.0% | 5.0% |") < text.index("| `x` | 10.0% | unknown |")
    assert "| origin=SYR | 100 |" in text
    assert "not judged" in text
    assert f"Verdict: **{found.verdict}**." in text
