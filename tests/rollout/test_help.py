"""Whoever finds a rollout standing still is told what to do about it."""

from __future__ import annotations

import pytest

from interlock.rollout.help import help_of
from interlock.rollout.state import READY, HoldReason


@pytest.mark.parametrize("hold", HoldReason)
def test_each_hold_says_what_ends_it_and_which_command_is_left(hold: HoldReason) -> None:
    said = help_of("CR-7", hold, "whatever was said")
    assert "CR-7" in said or "from a backup" in said
    assert "{" not in said


def test_who_waits_for_others_is_sent_to_them_and_who_goes_on_is_told_nothing() -> None:
    assert "see those it waits for" in help_of("CR-7", None, f"{READY} to leave ab; waits for CR-8")
    assert help_of("CR-7", None, "all is well") == ""
