"""XGBoost models at request time, through the library's stable C interface: an extra.

As with LightGBM (`adapters/lightgbm.py`) the Python package is not imported, only its library is
used: one thread, a matrix in, a number a row out.
"""

from __future__ import annotations

import ctypes
import threading
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interlock.adapters.native import library_of
from interlock.errors import Corrupt, Unavailable, Unusable
from interlock.serve.treejson import checked_model_json

FORMAT = "xgboost-json"
_OPTIONS = (
    b'{"type": 0, "training": false, "iteration_begin": 0, "iteration_end": 0, '
    b'"strict_shape": true, "missing": NaN, "cache_id": 0}'
)
_MATRIX = '{"data": [%d, true], "shape": [%d, %d], "typestr": "<f8", "version": 3}'


@lru_cache(maxsize=1)
def _library() -> Any:
    library = library_of("xgboost", help="pip install 'interlock-ml[xgboost]'")
    library.XGBGetLastError.restype = ctypes.c_char_p
    library.XGBSetGlobalConfig(b'{"verbosity": 0}')  # what is wrong is raised, and said once
    return library


def load(data: bytes) -> XgBoostScorer:
    """The model in `data` (XGBoost's JSON form), ready to score; `Corrupt` if it is damaged."""
    return XgBoostScorer(*checked_model_json(data))


class XgBoostScorer:
    """One booster. Scores from one thread at a time; callers queue."""

    def __init__(self, model: bytes, inputs: int) -> None:
        self._lib = _library()
        self._handle = ctypes.c_void_p()
        self._lock = threading.Lock()
        self.inputs = inputs
        self._check_model(
            self._lib.XGBoosterCreate(None, ctypes.c_uint64(0), ctypes.byref(self._handle))
        )
        self._check_model(
            self._lib.XGBoosterLoadModelFromBuffer(
                self._handle, ctypes.c_char_p(model), ctypes.c_uint64(len(model))
            )
        )
        self._check_model(self._lib.XGBoosterSetParam(self._handle, b"nthread", b"1"))
        self._shape = ctypes.POINTER(ctypes.c_uint64)()
        self._sides = ctypes.c_uint64()
        self._found = ctypes.POINTER(ctypes.c_float)()

    def score(self, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
        """`matrix` float64 [rows, inputs], NaN is missing -> float64 [rows]."""
        rows = np.ascontiguousarray(matrix, dtype=np.float64)
        if rows.ndim != 2 or rows.shape[1] != self.inputs:
            raise Unusable(f"the model takes {self.inputs} inputs, got {rows.shape[-1]}")
        said = _MATRIX % (rows.ctypes.data, *rows.shape)
        with self._lock:  # the booster owns the numbers that it gives, until it is asked again
            self._check(
                self._lib.XGBoosterPredictFromDense(
                    self._handle, said.encode(), _OPTIONS, None, ctypes.byref(self._shape),
                    ctypes.byref(self._sides), ctypes.byref(self._found),
                )
            )  # fmt: skip
            return np.fromiter(self._found[: len(rows)], dtype=np.float64, count=len(rows))

    def _said(self) -> str:
        whole = str(self._lib.XGBGetLastError().decode(errors="replace"))
        return whole.strip().partition("\n")[0]

    def _check(self, code: int) -> None:
        if code != 0:
            raise Unavailable(f"XGBoost could not score: {self._said()}")

    def _check_model(self, code: int) -> None:
        if code != 0:
            raise Corrupt(f"the model cannot be loaded: {self._said()}")

    def __del__(self) -> None:
        # Nothing to free when the library could not be loaded, or the interpreter is ending.
        library = getattr(self, "_lib", None)
        if library is not None and self._handle:
            library.XGBoosterFree(self._handle)
