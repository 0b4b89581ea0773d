"""Train in a child process: a crash, a leak or an endless loop there is not ours.

The child is this module run with `python -m`. A project's train file defines

    def train(X, y, inputs, categorical, options)

that gives a `lightgbm.Booster`, an `xgboost.Booster` or an `onnx.ModelProto`.
`X` float64 [rows, inputs] with NaN for missing, `y` float64, `inputs` names in column
order, `categorical` the indexes of columns that hold codes, `options` the declared
parameters. With one thread the same rows give the same bytes; that is the default.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from interlock.errors import InterlockError, Unavailable, Unusable
from interlock.models.dataset import categories_of, matrix
from interlock.ports import Trained

LIGHTGBM, XGBOOST, ONNX = "lightgbm-text", "xgboost-json", "onnx"
LABEL = "label"
_LAST = 12
"""Lines of the child's output that an error quotes."""


@dataclass(frozen=True)
class SubprocessTrainer:
    """A Trainer on this machine; `timeout` in seconds.

    String columns are categorical; so are those named in `options["categories"]`.
    """

    timeout: float = 1800.0

    def train(
        self, code: str, entry: str, rows: pa.Table, options: Mapping[str, Any], work: Path
    ) -> Trained:
        """Run function `entry` (`file.py:function`) of `code` on `rows` (inputs and `label`)."""
        inputs = [name for name in rows.column_names if name != LABEL]
        if LABEL not in rows.column_names or not inputs or not rows.num_rows:
            raise Unusable(f"training rows need inputs, a column `{LABEL}` and at least one row")
        _write_job(code, entry, rows, options, work)
        self._run(work, int(options.get("num_threads", 1)))
        result = json.loads((work / "result.json").read_text())
        return Trained(
            (work / "model").read_bytes(),
            result["format"],
            tuple(inputs),
            {name: tuple(values) for name, values in result["categories"].items()},
            result["importance"],
        )

    def _run(self, work: Path, threads: int) -> None:
        command = [sys.executable, "-P", "-m", "interlock.adapters.trainer", str(work)]
        # Its own session, so that on a timeout whatever it started is ended with it.
        with (work / "output.txt").open("wb") as output:
            child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=_environment(threads),
                start_new_session=True,
            )
            try:
                status = child.wait(self.timeout)
            except subprocess.TimeoutExpired as error:
                raise Unavailable(
                    f"training took longer than {self.timeout:g} s and was ended",
                    help="raise the limit, or train on fewer rows",
                ) from error
            finally:
                if child.poll() is None:
                    os.killpg(child.pid, signal.SIGKILL)
                    child.wait()
        if status:
            raise _failure(status, (work / "output.txt").read_text(errors="replace"))


def _write_job(
    code: str, entry: str, rows: pa.Table, options: Mapping[str, Any], work: Path
) -> None:
    file, _, function = entry.rpartition(":")
    if not function.isidentifier():
        raise Unusable(f"{entry!r} is not an entry point", help="write file.py:function")
    work.mkdir(parents=True, exist_ok=True)
    for old in ("model", "result.json"):
        (work / old).unlink(missing_ok=True)
    # Under its own name, so that a traceback names the file its author knows.
    name = Path(file).name or "train.py"
    (work / name).write_text(code)
    with pa.ipc.new_file(work / "rows.arrow", rows.schema) as writer:
        writer.write_table(rows)
    job = {"file": name, "function": function, "options": dict(options)}
    (work / "job.json").write_text(json.dumps(job, default=str))


def _environment(threads: int) -> dict[str, str]:
    package = str(Path(__file__).parents[2])
    before = os.environ.get("PYTHONPATH")
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([package, *([before] if before else [])]),
        "PYTHONHASHSEED": "0",
        "OMP_NUM_THREADS": str(threads),
    }


def _failure(status: int, output: str) -> InterlockError:
    last = tuple(output.strip().splitlines()[-_LAST:])
    if "libgomp" in output and "cannot open shared object file" in output:
        return Unavailable(
            "LightGBM cannot start: the system library libgomp.so.1 is missing",
            help="apt-get install libgomp1",
        )
    if status < 0:
        return Unavailable(
            f"training was killed by {signal.Signals(-status).name}",
            help="often too little memory: train on fewer rows or give the machine more",
            objections=last,
        )
    return Unusable("the train file failed", help="its last lines are above", objections=last)


def _child(work: Path) -> None:
    """What runs on the other side: read the job, train, write model and result."""
    job = json.loads((work / "job.json").read_text())
    with pa.memory_map(str(work / "rows.arrow")) as source:
        rows = pa.ipc.open_file(source).read_all()
    options = dict(job["options"])
    inputs = [name for name in rows.column_names if name != LABEL]
    columns = {name: _values(rows[name]) for name in inputs}
    codes = _coded(rows, inputs, options.pop("categories", ()))
    categories = {name: categories_of(columns[name]) for name in codes}
    labels = np.asarray(_values(rows[LABEL]), dtype=np.float64)
    if np.isnan(labels).any():
        raise SystemExit("some training rows have no label")
    booster = _entry(work / job["file"], job["function"])(
        matrix(columns, inputs, categories),
        labels,
        # LightGBM refuses JSON characters in names, and a feature's address has a colon.
        [re.sub(r'[\s\[\]{}":,]', "_", name) for name in inputs],
        [inputs.index(name) for name in codes],
        options,
    )
    _write_result(work, booster, inputs, categories)


def _values(column: pa.ChunkedArray) -> Any:
    if pa.types.is_floating(column.type) or pa.types.is_integer(column.type):
        return column.cast(pa.float64()).to_numpy()
    return column.to_pylist()


def _coded(rows: pa.Table, inputs: list[str], named: Any) -> list[str]:
    texts = (pa.types.is_string, pa.types.is_large_string, pa.types.is_dictionary)
    return [n for n in inputs if n in named or any(is_text(rows[n].type) for is_text in texts)]


def _entry(file: Path, function: str) -> Callable[..., Any]:
    spec = importlib.util.spec_from_file_location("project_train", file)
    if spec is None or spec.loader is None:
        raise SystemExit(f"{file.name} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found = getattr(module, function, None)
    if not callable(found):
        raise SystemExit(f"{file.name} has no function {function}")
    return found  # type: ignore[no-any-return]  # a project's function cannot be typed here


def _write_result(
    work: Path, model: Any, inputs: list[str], categories: Mapping[str, tuple[str, ...]]
) -> None:
    if hasattr(model, "SerializeToString"):
        # A graph does not say how much each input counts, so nothing is said of it.
        format, data, importance = ONNX, model.SerializeToString(), {}
    elif hasattr(model, "model_to_string"):
        format, data = LIGHTGBM, model.model_to_string().encode()
        importance = _importance(model, inputs)
    elif hasattr(model, "save_raw"):
        format, data = XGBOOST, bytes(model.save_raw("json"))
        importance = _gains(model, inputs)
    else:
        kind = type(model).__name__
        wanted = "lightgbm.Booster, xgboost.Booster or onnx.ModelProto"
        raise SystemExit(f"the train function gave {kind}, not {wanted}")
    (work / "model").write_bytes(data)
    result = {"categories": categories, "importance": importance, "format": format}
    (work / "result.json").write_text(json.dumps(result))


def _importance(booster: Any, inputs: list[str]) -> dict[str, float]:
    _same_width(booster.num_feature(), inputs)
    return _shares(inputs, booster.feature_importance(importance_type="gain"))


def _gains(booster: Any, inputs: list[str]) -> dict[str, float]:
    """XGBoost tells gains by the names that its rows had, and of inputs it used."""
    _same_width(booster.num_features(), inputs)
    told = booster.get_score(importance_type="total_gain")
    names = booster.feature_names or [f"f{i}" for i in range(len(inputs))]
    return _shares(inputs, [told.get(name, 0.0) for name in names])


def _same_width(width: int, inputs: list[str]) -> None:
    if width != len(inputs):
        raise SystemExit(f"the model has {width} inputs, the rows {len(inputs)}")


def _shares(inputs: list[str], gains: Sequence[float]) -> dict[str, float]:
    total = float(sum(gains)) or 1.0
    return {n: float(gain) / total for n, gain in zip(inputs, gains, strict=True)}


if __name__ == "__main__":
    _child(Path(sys.argv[1]))
