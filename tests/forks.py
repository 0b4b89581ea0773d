"""Processes that begin at once: children of a server that has read our code, and done no more."""

from __future__ import annotations

import multiprocessing
import os
from functools import cache
from multiprocessing.context import ForkServerContext
from multiprocessing.forkserver import ensure_running
from pathlib import Path

HERE = Path(__file__).parent
# Modules with what the children do, and what is only read when it is needed.
_READ = (
    "test_killed_steps",
    "test_experiment",
    "test_disk_full",
    "interlock.adapters.cedar",
    "interlock.app.gather",
    "interlock.app.tick",
    "interlock.impact.sql",
)


@cache
def forks() -> ForkServerContext:
    """One server for all tests of this process, started by the first that asks."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(_READ))
    # It looks past the `sys.path` of whoever starts it, and says nothing of what it did not
    # find: every child would read our files again.
    before = os.environ.get("PYTHONPATH")
    ours = [str(HERE), str(HERE / "app"), *([before] if before else [])]
    os.environ["PYTHONPATH"] = os.pathsep.join(ours)
    try:
        ensure_running()
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before
    return context
