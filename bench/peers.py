"""Peers, each in a virtual environment of its own that the first benchmark to need it makes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "build" / "bench"


def python_of(peer: str, needs: Sequence[str]) -> Path | None:
    """The interpreter that has `needs` (requirements) installed; None when it fails here."""
    python = FOLDER / peer / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(FOLDER / peer)], check=True)
    install = [str(python), "-m", "pip", "install", "-q", *needs]
    if subprocess.run(install, capture_output=True).returncode:
        print(f"{peer} cannot be installed here: not compared")
        return None
    return python
