"""Which files of tests are begun first, and which of them are one piece of work."""

from __future__ import annotations

# Files with tests on Spark: one process runs them all, for its engine takes long to get going.
ON_SPARK = (
    "tests/app/test_spark_release.py",
    "tests/app/test_spark_refresh.py",
    "tests/adapters/test_evidence_contract.py",
    "tests/adapters/test_spark_pieces.py",
    "tests/adapters/test_warehouse_contract.py",
    "tests/app/test_app_engines.py",
    "tests/features/test_point_in_time.py",
)
# They begin where the same three candidates stand, which takes longer to make than to test.
EXPERIMENT = ("tests/app/test_experiment.py", "tests/app/test_inside_experiment.py")
# Begun before all others, so that nobody has long to do when the others are done.
LONG = (*ON_SPARK, "tests/chaos/test_kill.py")
_PLACES = {file: place for place, file in enumerate(LONG)}


def place_of(nodeid: str) -> int:
    """The place of a test in the order of the long ones; all others have the last."""
    return _PLACES.get(_file(nodeid), len(LONG))


def piece_of(nodeid: str) -> str:
    """The tests with the same answer are run by one process."""
    if _file(nodeid) in EXPERIMENT:
        return "experiment"
    return "spark" if _file(nodeid) in ON_SPARK else _file(nodeid)


def _file(nodeid: str) -> str:
    return nodeid.partition("::")[0]
