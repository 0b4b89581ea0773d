"""ONNX models at request time, by ONNX Runtime on one CPU thread: an extra, `interlock-ml[onnx]`.

A graph is data and a program: it may loop for ever. A watcher ends a run that takes too long,
so that a row which a model cannot finish is an error of that row and not the end of a gateway.
"""

from __future__ import annotations

import threading
import time
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interlock.errors import Corrupt, Unavailable, Unusable

FORMAT = "onnx"
PATIENCE = 1.0
"""Seconds that a model may take for what it is asked at once."""
_LOOK = 0.1
_TYPES = {"tensor(float)": np.float32, "tensor(double)": np.float64}


def load(data: bytes) -> OnnxScorer:
    """The model in `data`, ready to score; `Corrupt` when it is damaged, `Unusable` when it
    does not take one matrix and give one number a row."""
    return OnnxScorer(data)


def _runtime() -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise Unavailable(
            "onnxruntime is not installed", help="pip install 'interlock-ml[onnx]'"
        ) from error
    return onnxruntime


class _Run:
    """One run under watch: it is told to end when its time is over. `ended` says that it was."""

    def __init__(self, options: Any, patience: float) -> None:
        self._options = options
        self._until = time.monotonic() + patience
        self.ended = False

    def __enter__(self) -> _Run:
        _under_way.add(self)
        return self

    def __exit__(self, *_: object) -> None:
        _under_way.discard(self)

    def end_if_late(self, now: float) -> None:
        if now > self._until:
            self.ended = True
            self._options.terminate = True


_under_way: set[_Run] = set()


@lru_cache(maxsize=1)
def _watcher() -> threading.Thread:
    """One thread for all sessions of this process, from the first model on."""

    def watch() -> None:
        while True:
            time.sleep(_LOOK)
            for run in tuple(_under_way):
                run.end_if_late(time.monotonic())

    thread = threading.Thread(target=watch, name="interlock-onnx", daemon=True)
    thread.start()
    return thread


class OnnxScorer:
    """One session. Scores from one thread at a time; callers queue."""

    def __init__(self, data: bytes, patience: float = PATIENCE) -> None:
        self._runtime = _runtime()
        _watcher()
        self._patience = patience
        self._session = self._opened(data)
        self._input, self.inputs, self._dtype = self._taken()
        self._output, self._column = self._given()
        self._lock = threading.Lock()

    def _opened(self, data: bytes) -> Any:
        options = self._runtime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4  # what is wrong is raised, and said once
        try:
            # From bytes: files beside the model, and libraries with operators, are out of reach.
            return self._runtime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        except self._errors as error:
            raise Corrupt(f"the model cannot be loaded: {_first_line(error)}") from error

    @property
    def _errors(self) -> tuple[type[Exception], ...]:
        """What the runtime raises: its own classes share no base but Exception."""
        state = self._runtime.capi.onnxruntime_pybind11_state
        found = (getattr(state, name) for name in dir(state))
        own = (e for e in found if isinstance(e, type) and issubclass(e, Exception))
        return (RuntimeError, ValueError, *own)

    def _taken(self) -> tuple[str, int, Any]:
        taken = self._session.get_inputs()
        one = taken[0]
        dtype = _TYPES.get(one.type)
        if len(taken) != 1 or dtype is None or len(one.shape) != 2 or type(one.shape[1]) is not int:
            said = ", ".join(f"{t.name}: {t.type} {t.shape}" for t in taken)
            raise Unusable(
                f"the model takes {said}; one matrix of floats [rows, inputs] is wanted",
                help="export it with one FloatTensorType([None, inputs])",
            )
        return one.name, one.shape[1], dtype

    def _given(self) -> tuple[str, int]:
        """The output that is a number a row, and its column: of two classes, the second."""
        floats = [one for one in self._session.get_outputs() if one.type in _TYPES]
        widths = [one.shape[1] if len(one.shape) == 2 else 1 for one in floats]
        if len(floats) != 1 or widths[0] not in (1, 2):
            said = ", ".join(f"{o.name}: {o.type} {o.shape}" for o in self._session.get_outputs())
            raise Unusable(
                f"the model gives {said}; one number a row is wanted",
                help="export a binary model without ZipMap (`zipmap=False`)",
            )
        return floats[0].name, widths[0] - 1

    def score(self, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
        """`matrix` float64 [rows, inputs], NaN is missing -> float64 [rows]."""
        if matrix.ndim != 2 or matrix.shape[1] != self.inputs:
            raise Unusable(f"the model takes {self.inputs} inputs, got {matrix.shape[-1]}")
        rows = np.ascontiguousarray(matrix, dtype=self._dtype)
        with self._lock:
            found = self._run(rows)
        scores: NDArray[np.float64] = np.asarray(found, dtype=np.float64)
        if len(scores) != len(matrix):
            raise Unusable(f"the model gave {len(scores)} numbers for {len(matrix)} rows")
        return scores.reshape(len(matrix), -1)[:, self._column]

    def _run(self, rows: NDArray[Any]) -> Any:
        options = self._runtime.RunOptions()
        with _Run(options, self._patience) as watch:
            try:
                (found,) = self._session.run([self._output], {self._input: rows}, options)
            except self._errors as error:
                if watch.ended:
                    why = f"the model took longer than {self._patience:g} s"
                    raise Unavailable(why) from error
                raise Unavailable(f"ONNX Runtime could not score: {_first_line(error)}") from error
        return found


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
