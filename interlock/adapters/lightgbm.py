"""LightGBM models at request time, through the library's stable C interface.

The Python package is not imported: it drags in scikit-learn when that is installed, and
a data frame layer costs 1.1 ms a row where the C call costs microseconds. One thread
per call: gateways scale by processes, and two threads were slower on a shared machine.
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
from interlock.serve.treetext import check_model_text

FORMAT = "lightgbm-text"
_DOUBLE, _NORMAL, _ROW_MAJOR = 1, 0, 1
_OPTIONS = b"num_threads=1 predict_disable_shape_check=false"


@lru_cache(maxsize=1)
def _library() -> Any:
    library = library_of("lightgbm", help="pip install lightgbm")
    library.LGBM_GetLastError.restype = ctypes.c_char_p
    return library


def load(data: bytes) -> LightGbmScorer:
    """The model in `data` (LightGBM's text form), ready to score; `Corrupt` if it is damaged."""
    # The library ends the whole process on some damaged models: they never reach it.
    check_model_text(data)
    return LightGbmScorer(data)


class LightGbmScorer:
    """One booster. Scores many rows at once, and one row on a path prepared beforehand."""

    def __init__(self, data: bytes) -> None:
        self._lib = _library()
        self._handle = ctypes.c_void_p()
        self._lock = threading.Lock()
        trees = ctypes.c_int()
        self._check_model(
            self._lib.LGBM_BoosterLoadModelFromString(
                ctypes.c_char_p(data), ctypes.byref(trees), ctypes.byref(self._handle)
            )
        )
        self.inputs = self._count("LGBM_BoosterGetNumFeature")
        if self._count("LGBM_BoosterGetNumClasses") != 1:
            raise Unusable("the model gives more than one number per row")
        self._fast = ctypes.c_void_p()
        self._prepare()

    def _count(self, name: str) -> int:
        found = ctypes.c_int()
        self._check_model(getattr(self._lib, name)(self._handle, ctypes.byref(found)))
        return found.value

    def _prepare(self) -> None:
        self._check_model(
            self._lib.LGBM_BoosterPredictForMatSingleRowFastInit(
                self._handle, _NORMAL, 0, -1, _DOUBLE, ctypes.c_int32(self.inputs),
                ctypes.c_char_p(_OPTIONS), ctypes.byref(self._fast),
            )
        )  # fmt: skip
        self._one = ctypes.c_double()
        self._length = ctypes.c_int64()
        self._one_at = ctypes.byref(self._one)
        self._length_at = ctypes.byref(self._length)
        self._fast_call = self._lib.LGBM_BoosterPredictForMatSingleRowFast

    def score(self, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
        """`matrix` float64 [rows, inputs], NaN is missing -> float64 [rows]."""
        rows = np.ascontiguousarray(matrix, dtype=np.float64)
        if rows.ndim != 2 or rows.shape[1] != self.inputs:
            raise Unusable(f"the model takes {self.inputs} inputs, got {rows.shape[-1]}")
        if len(rows) == 1:
            return self._score_one(rows)
        return self._score_many(rows)

    def _score_one(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        with self._lock:  # the prepared path owns one output cell
            self._check(
                self._fast_call(
                    self._fast, ctypes.c_void_p(rows.ctypes.data), self._length_at, self._one_at
                )
            )
            return np.array([self._one.value])

    def _score_many(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        out = np.empty(len(rows), dtype=np.float64)
        length = ctypes.c_int64()
        self._check(
            self._lib.LGBM_BoosterPredictForMat(
                self._handle, ctypes.c_void_p(rows.ctypes.data), _DOUBLE,
                ctypes.c_int32(len(rows)), ctypes.c_int32(rows.shape[1]), _ROW_MAJOR,
                _NORMAL, 0, -1, ctypes.c_char_p(_OPTIONS), ctypes.byref(length),
                ctypes.c_void_p(out.ctypes.data),
            )
        )  # fmt: skip
        return out

    def _said(self) -> str:
        return str(self._lib.LGBM_GetLastError().decode(errors="replace"))

    def _check(self, code: int) -> None:
        if code != 0:
            raise Unavailable(f"LightGBM could not score: {self._said()}")

    def _check_model(self, code: int) -> None:
        if code != 0:
            raise Corrupt(f"the model cannot be loaded: {self._said()}")

    def __del__(self) -> None:
        # Nothing to free when the library could not be loaded, or the interpreter is ending.
        library = getattr(self, "_lib", None)
        if library is None:
            return
        if getattr(self, "_fast", None):
            library.LGBM_FastConfigFree(self._fast)
        if self._handle:
            library.LGBM_BoosterFree(self._handle)
