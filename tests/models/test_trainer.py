"""Training in a real child process with real LightGBM; its failures say what to do."""

from __future__ import annotations

from pathlib import Path

import lightgbm
import numpy as np
import pyarrow as pa
import pytest

from interlock.adapters.trainer import SubprocessTrainer
from interlock.errors import InterlockError, Unavailable, Unusable
from interlock.models.dataset import matrix
from interlock.models.nulls import Rows, rehearse
from interlock.ports import Trained

CODE = """
import lightgbm as lgb

def train(X, y, inputs, categorical, options):
    data = lgb.Dataset(X, y, feature_name=list(inputs), categorical_feature=list(categorical))
    fixed = {"objective": "binary", "verbosity": -1, "num_threads": 1, "deterministic": True}
    rounds = options.get("rounds", 30)
    return lgb.train({**fixed, "seed": options.get("seed", 1)}, data, num_boost_round=rounds)
"""


def flights(n: int = 3000, with_nulls: bool = False) -> pa.Table:
    """Visibility is never 0 unless there is fog, and fog makes late."""
    rng = np.random.default_rng(1)
    visib = np.where(rng.random(n) < 0.06, rng.uniform(0.1, 2, n), rng.uniform(5, 10, n))
    carrier = rng.choice(["AA", "B6", "UA"], n)
    chance = 0.1 + 0.7 * (visib < 3) + 0.15 * (carrier == "B6")
    late = (rng.random(n) < chance).astype(int)
    null = rng.random(n) < (0.05 if with_nulls else 0.0)
    return pa.table(
        {
            "origin_weather@1:visib": pa.array(visib, mask=null),
            "carrier": carrier,
            "dow": rng.integers(1, 8, n),
            "label": late,
        }
    )


def run(work: Path, code: str = CODE, rows: pa.Table | None = None, **options: object) -> Trained:
    table = flights() if rows is None else rows
    return SubprocessTrainer(60.0).train(code, "models/late.py:train", table, options, work)


def refusal(work: Path, code: str, **options: object) -> InterlockError:
    with pytest.raises(InterlockError) as caught:
        run(work, code, **options)
    return caught.value


def columns(rows: pa.Table) -> dict[str, list[object]]:
    return {name: rows[name].to_pylist() for name in rows.column_names}


def test_the_same_rows_give_the_same_bytes(tmp_path: Path) -> None:  # R-B1
    first, second = run(tmp_path / "a"), run(tmp_path / "b")
    assert first == second
    assert first.inputs == ("origin_weather@1:visib", "carrier", "dow")
    assert first.categories == {"carrier": ("AA", "B6", "UA")}
    assert sum(first.importance.values()) == pytest.approx(1.0)
    assert max(first.importance, key=lambda n: first.importance[n]) == "origin_weather@1:visib"
    assert run(tmp_path / "c", rounds=31).model != first.model


def test_the_model_scores_rows_coded_the_same_way(tmp_path: Path) -> None:
    trained = run(tmp_path, categories=["dow"])
    assert trained.categories["dow"] == tuple("1234567")
    rows = matrix(columns(flights()), trained.inputs, trained.categories)
    scores = lightgbm.Booster(model_str=trained.model.decode()).predict(rows)
    late = np.asarray(flights()["label"].to_pylist())
    assert scores[late == 1].mean() > scores[late == 0].mean() + 0.2


def rehearsed(work: Path, table: pa.Table, fallback: float | None = None) -> tuple[str, float]:
    trained = run(work, rows=table)
    rows = matrix(columns(table), trained.inputs, trained.categories)
    booster = lightgbm.Booster(model_str=trained.model.decode())
    found = rehearse(
        lambda m: np.asarray(booster.predict(m), dtype=np.float64),
        Rows(rows, np.asarray(table["label"].to_pylist(), dtype=np.float64), trained.inputs),
        {n: int(np.isnan(rows[:, i]).sum()) for i, n in enumerate(trained.inputs)},
        {"view:origin_weather@1": {"origin_weather@1:visib": fallback}},
        tolerance=0.4,
    )
    one = found.rehearsals[0]
    return found.verdict, one.mean_after - one.mean_before


def test_null_at_serving_never_null_in_training_blocks(tmp_path: Path) -> None:
    """LightGBM reads the missing visibility as fog: the mean score leaps."""
    verdict, shift = rehearsed(tmp_path, flights())
    assert verdict == "fail"
    assert shift > 0.4


def test_a_declared_fallback_or_nulls_in_training_pass(tmp_path: Path) -> None:
    verdict, shift = rehearsed(tmp_path / "a", flights(), fallback=7.5)
    assert verdict == "pass"
    assert abs(shift) < 0.1
    verdict, shift = rehearsed(tmp_path / "b", flights(with_nulls=True))
    assert verdict == "pass"
    assert abs(shift) < 0.1


def test_an_error_in_the_train_file_quotes_its_last_lines(tmp_path: Path) -> None:
    error = refusal(tmp_path, "def train(X, y, i, c, o):\n    return X['no']\n")
    assert isinstance(error, Unusable)
    assert any('late.py", line 2, in train' in line for line in error.objections)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("x = 1\n", "late.py has no function train"),
        ("def train(*a):\n    return 3\n", "gave int, not lightgbm.Booster"),
        ("def train(*a):\n    raise SystemExit(3)\n", "the train file failed"),
    ],
)
def test_a_wrong_train_file_is_named(tmp_path: Path, code: str, said: str) -> None:
    error = refusal(tmp_path, code)
    assert isinstance(error, Unusable)
    assert said in str(error)


def test_a_missing_system_library_is_one_clear_line(tmp_path: Path) -> None:
    code = "import ctypes\nctypes.CDLL('libgomp.so.1.none')\n"
    error = refusal(tmp_path, code)
    assert isinstance(error, Unavailable)
    assert error.help == "apt-get install libgomp1"
    assert not error.objections


def test_a_killed_child_is_unavailable(tmp_path: Path) -> None:
    error = refusal(tmp_path, "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n")
    assert isinstance(error, Unavailable)
    assert "SIGKILL" in error.message


def test_an_endless_child_is_ended_with_what_it_started(tmp_path: Path) -> None:
    code = (
        "import subprocess, time\n"
        "child = subprocess.Popen(['sleep', '600'])\n"
        "open('PID', 'w').write(str(child.pid))\ntime.sleep(600)\n"
    ).replace("'PID'", repr(str(tmp_path / "pid")))
    with pytest.raises(Unavailable, match="longer than 5 s"):
        SubprocessTrainer(5.0).train(code, "late.py:train", flights(), {}, tmp_path)
    stat = Path(f"/proc/{(tmp_path / 'pid').read_text()}/stat")
    assert not stat.exists() or stat.read_text().split()[2] == "Z"


def test_rows_without_a_label_are_refused(tmp_path: Path) -> None:
    rows = flights().set_column(3, "label", pa.nulls(3000, pa.int64()))
    with pytest.raises(Unusable, match="the train file failed") as caught:
        run(tmp_path, rows=rows)
    assert caught.value.objections[-1] == "some training rows have no label"
    with pytest.raises(Unusable, match="need inputs"):
        run(tmp_path, rows=rows.drop_columns(["label"]))


def test_an_old_result_is_not_taken_for_a_new_one(tmp_path: Path) -> None:
    run(tmp_path)
    assert isinstance(refusal(tmp_path, "raise SystemExit(1)\n"), Unusable)
    assert not (tmp_path / "model.txt").exists()
