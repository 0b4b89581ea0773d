"""LightGBM through its C interface: the same scores, and no damaged model reaches the library."""

from __future__ import annotations

import random
import subprocess
import sys

import lightgbm
import numpy as np
import pytest
from serving_world import booster

from interlock.adapters.lightgbm import load
from interlock.errors import Corrupt, Unusable

TEXT = booster(1)


def test_scores_are_those_of_the_library_bit_for_bit() -> None:
    rows = np.random.default_rng(0).normal(size=(300, 5))
    rows[:, 2] = np.random.default_rng(1).integers(-1, 9, 300)
    rows[::7] = np.nan
    expected = lightgbm.Booster(model_str=TEXT.decode()).predict(rows)
    scorer = load(TEXT)
    assert np.array_equal(scorer.score(rows), expected)
    singles = [scorer.score(rows[i : i + 1])[0] for i in range(300)]
    assert np.array_equal(singles, expected)
    with pytest.raises(Unusable, match="5 inputs"):
        scorer.score(rows[:, :4])


def test_a_constant_model_is_a_model() -> None:
    rows, wanted = np.zeros((50, 2)), np.r_[np.ones(20), np.zeros(30)]
    options = {"objective": "binary", "verbose": -1}
    text = lightgbm.train(options, lightgbm.Dataset(rows, wanted), 2).model_to_string()
    assert load(text.encode()).score(np.zeros((1, 2)))[0] == pytest.approx(0.4, abs=0.01)


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        b"pickle\x80",
        TEXT[: len(TEXT) // 2],
        TEXT.replace(b"leaf_value=", b"leaf_value=x", 1),
        TEXT.replace(b"left_child=1", b"left_child=9", 1),
        TEXT.replace(b"split_feature=", b"split_feature=7", 1),
        TEXT.replace(b"num_leaves=7", b"num_leaves=8", 1),
        TEXT.replace(b"Tree=3", b"Tree=4", 1),
    ],
)
def test_a_damaged_model_is_corrupt(damaged: bytes) -> None:
    with pytest.raises(Corrupt):
        load(damaged)


def test_no_flipped_byte_ends_the_process() -> None:
    # R-B9. Some of these end the process inside the library when they are not refused before.
    chance = random.Random(1)
    loaded = 0
    for _ in range(150):
        at = chance.randrange(len(TEXT))
        damaged = TEXT[:at] + bytes([chance.randrange(32, 127)]) + TEXT[at + 1 :]
        try:
            load(damaged).score(np.zeros((2, 5)))
            loaded += 1  # a digit of a number: another model, as its digest would say
        except Corrupt:
            pass
    assert 0 < loaded < 150


def test_a_missing_system_library_is_one_clear_line() -> None:
    script = (
        "import ctypes\n"
        "def broken(*_): raise OSError('libgomp.so.1: cannot open shared object file')\n"
        "ctypes.CDLL = broken\n"
        "from interlock.adapters.lightgbm import load\n"
        "from interlock.errors import Unavailable\n"
        "import sys; text = sys.stdin.buffer.read()\n"
        "try: load(text)\n"
        "except Unavailable as error: print(error)\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script], input=TEXT, capture_output=True, check=True
    )
    assert b"apt-get install libgomp1" in ran.stdout
