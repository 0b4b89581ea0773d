"""What the simulations found, as lines for a terminal and as a page of tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Protocol

from sim.cells import Ask, Promise
from sim.traffic import Rng


class Line(Protocol):
    """A question to the judge, a truth, and what is promised of the answer."""

    @property
    def group(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def ask(self) -> Ask: ...
    @property
    def promise(self) -> Promise: ...
    @property
    def bound(self) -> float: ...
    def yes(self, rng: Rng, runs: int) -> int: ...


@dataclass(frozen=True)
class Found:
    """How often the answer was yes in so many runs."""

    cell: Line
    share: float
    runs: int

    @property
    def error(self) -> float:
        """The standard error of `share`; of 0 and 1 that of one run more."""
        p = min(max(self.share, 1 / (self.runs + 1)), self.runs / (self.runs + 1))
        return sqrt(p * (1 - p) / self.runs)

    @property
    def kept(self) -> bool:
        """Within the bound, give or take three standard errors of the simulation at the bound."""
        bound = self.cell.bound
        error = 3 * sqrt(bound * (1 - bound) / self.runs)
        if self.cell.promise == "at most":
            return self.share <= bound + error
        return self.cell.promise == "outside" or self.share >= bound - error

    @property
    def verdict(self) -> str:
        if self.cell.promise == "outside":
            return "not promised"
        return "kept" if self.kept else "BROKEN"

    @property
    def promised(self) -> str:
        if self.cell.promise == "outside":
            return ""
        return f"{self.cell.promise} {self.cell.bound:.0%}"

    @property
    def asked(self) -> str:
        return "rolled back" if self.cell.ask == "fail" else "let through"


def said(one: Found) -> str:
    """One line for a terminal."""
    cell = one.cell
    return (
        f"{cell.group:<10} {cell.name:<58} {one.asked:<12} {one.share:>6.1%} ±{one.error:>5.1%}  "
        f"{one.promised:<13} {one.verdict}"
    )


TITLES = {
    "A/A": ("A release against itself", "It should not be rolled back."),
    "at margin": (
        "Worse by exactly the margin",
        "It should not be let through. Each line is one guardrail alone, with all of beta.",
    ),
    "found": ("Is it found?", "With the share of alpha that the guardrail has by default."),
    "whole set": (
        "All guardrails at once",
        "The default set by its weighted mean, 200 units a bucket, 200 buckets.",
    ),
    "slices": (
        "Critical slices",
        "Three slices of a tenth of the units each stand beside the default set.",
    ),
    "several": (
        "Several candidates beside each other",
        "Three candidates against one control, each judged by a third of alpha with the default "
        "set; 200 units a bucket in all, 200 buckets.",
    ),
    "outside": ("Where nothing is promised", "Simulated to show the limit."),
}


def page(found: Sequence[Found], seed: int) -> str:
    """The whole page, as Markdown."""
    return "\n".join(_page(found, seed)) + "\n"


def _page(found: Sequence[Found], seed: int) -> Iterator[str]:
    broken = [one for one in found if not one.kept]
    yield "# Simulations: what the judge keeps of its promises"
    yield ""
    yield (
        "`python -m sim --profile medium --seed 1 --write docs/simulations.md` makes this page "
        f"anew (this one: seed {seed}): 2,000 runs a line, about a quarter of an hour of a core. "
        "`make sim` prints the same with 400 runs; `--profile long` makes 10,000. Each line has a "
        "seed of its own, so that adding one moves no other. Lines with fewer runs than others "
        "were cut short."
    )
    yield ""
    yield (
        "500 units a bucket (100 for means and pairs), 200 buckets, a look after each, unless "
        "the line says otherwise. A promise counts as kept within three standard errors of a "
        "simulation at the bound. What the lines mean is on [the page about statistics]"
        "(statistics.md)."
    )
    yield ""
    yield f"{len(found)} lines: {len(broken)} promises broken."
    for group, (title, about) in TITLES.items():
        here = [one for one in found if one.cell.group == group]
        yield from ("", f"## {title}", "", about, "")
        yield from _table(here)
    yield from ("", "## Held by tests instead", "", *_TESTS)


def _table(found: Sequence[Found]) -> Iterator[str]:
    yield "| traffic | asked | runs | share | standard error | promised | |"
    yield "|---|---|---|---|---|---|---|"
    for one in found:
        yield (
            f"| {one.cell.name} | {one.asked} | {one.runs:,} | {one.share:.1%} | "
            f"{one.error:.1%} | "
            f"{one.promised} | {one.verdict} |"
        )


_TESTS = (
    "- order and parts of reports: `test_the_judge_does_not_care_in_which_order_replicas_report`,",
    "  `test_the_judge_does_not_care_in_how_many_parts_counts_come`",
    "- late labels: `test_late_labels_are_judged_as_if_they_had_come_at_once`",
    "- every formula against plain Python, bucket by bucket, and how often one looks:",
    "  `tests/rollout/test_oracle.py`",
    "- what the planner says against simulated rollouts of 36 environments:",
    "  `test_a_gate_takes_as_long_as_the_plan_said_whatever_the_traffic`",
    "- a split that breaks after a long good stage:",
    "  `test_a_split_that_breaks_after_a_long_good_stage_is_found_as_if_it_were_the_first`",
    "- the boundary against an independent library, to 1e-9:",
    "  `test_the_boundary_is_the_one_of_an_independent_library`",
    "- the expectation of one exact step, over every outcome:",
    "  `test_an_exact_rate_process_has_mean_one_at_its_bound_at_most`",
    "- a base rate that falls during a ramp:",
    "  `test_a_fall_of_the_base_rate_during_a_ramp_is_not_an_improvement`",
)
