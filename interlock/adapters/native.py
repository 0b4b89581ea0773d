"""The C library inside of an installed Python package, without importing the package."""

from __future__ import annotations

import ctypes
import importlib.util
import sys
from pathlib import Path

from interlock.errors import Unavailable

_ENDINGS = {"win32": "dll", "darwin": "dylib"}


def library_of(package: str, help: str) -> ctypes.CDLL:
    """The one library of `package`, opened; `Unavailable`, with `help`, when it is not there."""
    spec = importlib.util.find_spec(package)
    folders = (spec and spec.submodule_search_locations) or []
    pattern = f"lib/*{package}.{_ENDINGS.get(sys.platform, 'so')}"
    found = [file for folder in folders for file in Path(folder).glob(pattern)]
    if not found:
        raise Unavailable(f"{package} is not installed", help=help)
    try:
        return ctypes.CDLL(str(found[0]))
    except OSError as error:
        raise Unavailable(
            f"the library of {package} cannot be loaded: {error}",
            help="on Debian and Ubuntu: apt-get install libgomp1",
        ) from error
