"""From the prediction log and the labels that have arrived to the judge's buckets.

All counting is one query per metric group in the warehouse (`counting`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from math import isclose, isfinite, sqrt
from typing import Any

from interlock.app.counting import (
    ARM_WRONG,
    BOTH_ARMS,
    BUCKET_S,
    LABEL_WRONG,
    UNMIRRORED,
    Counting,
    CountingHalves,
    CountingWithin,
    Measuring,
)
from interlock.define.release import slice_of
from interlock.features.dialect import dialect_of
from interlock.ports import Bucket, Warehouse
from interlock.rollout.cohort import inside_sql

MOST_IN_BOTH = 0.01
MOST_UNMIRRORED = 0.05
"""The share of a mirrored stage that may be without the candidate's score, as with labels."""


def buckets_of(warehouse: Warehouse, it: Measuring) -> list[Bucket]:
    """Every bucket of the rollout so far, recomputed from the log: late labels find their place."""
    asked = Counting(it, dialect_of(warehouse))
    every = [
        asked.answers,
        asked.twice,
        asked.astray,
        asked.labels,
        *([asked.decided] if it.decisions else []),
    ]
    columns = warehouse.columns(asked.label)
    every += [asked.kpi(service, columns) for service in it.services]
    every += [
        asked.kpi_seen(service, columns, stage)
        for service in it.services
        for stage in it.divided
        if service.service in it.seen
    ]
    found = _counted(warehouse, every)
    types = warehouse.columns(f"SELECT * FROM {it.model.spine} AS s") if it.slices else {}
    named = {name: (f"s.{asked.dialect.quoted(name)}", type) for name, type in types.items()}
    for name, metrics in it.slices.items():
        where = inside_sql(asked.dialect, named, slice_of(name))
        within = CountingWithin(it, asked.dialect, where)
        of = _counted(warehouse, [within.answers, within.labels])
        found += [replace(bucket, slice=name) for bucket in of if bucket.metric in metrics]
    return found


def calm(warehouse: Warehouse, it: Measuring, since: datetime) -> list[Bucket]:
    """Answers of one release, `it.release`, from `since` on, its subjects halved by chance.

    Between these arms nothing differs: what differs is noise.
    """
    asked = CountingHalves(it, dialect_of(warehouse), since)
    return [b for b in _counted(warehouse, [asked.answers, asked.labels]) if b.arm != "paired"]


def _counted(warehouse: Warehouse, every: Iterable[str]) -> list[Bucket]:
    return [bucket_of(row) for sql in every for row in warehouse.query(sql).to_pylist()]


def unsound(buckets: Sequence[Bucket], stage: str) -> str:
    """Why what was counted cannot be judged by, every reason; empty when it can.

    Of a mirrored stage too few scores; at any time labels that are no clear answer, and answers
    of which nobody can tell whose they are.
    """
    return "; ".join(_not_to_be_judged(buckets, stage))


def _not_to_be_judged(buckets: Sequence[Bucket], stage: str) -> Iterator[str]:
    missing, asked = _of(buckets, UNMIRRORED, stage)
    if missing > MOST_UNMIRRORED * asked:
        yield (
            f"{missing:,.0f} of {asked:,.0f} answers in {stage} have no mirrored score: "
            "see mirror_drops and mirror_error in /interlock/status of the gateways"
        )
    both, subjects = _of(buckets, BOTH_ARMS, stage)
    if both > MOST_IN_BOTH * subjects:
        yield (
            f"{both:,.0f} of {subjects:,.0f} subjects in {stage} were answered by both arms, and "
            "nobody can tell which did it: see that every caller names the same subject"
        )
    if wrong := _of(buckets, LABEL_WRONG)[0]:
        yield (
            f"{wrong:,.0f} units have two labels, or one that is neither 0 nor 1: let `label.sql` "
            "give one row per key, the newest"
        )
    if odd := _of(buckets, ARM_WRONG)[0]:
        yield (
            f"{odd:,.0f} answers of the candidate are logged as the stable release's: they were "
            "left out; see which gateway wrote them"
        )


def silent(buckets: Sequence[Bucket], stage: str, since: datetime, now: datetime) -> str:
    """Why what was measured in a stage, which began at `since`, says nothing of it now: no answer
    came for half of it, and for an hour at least. Empty when they come, and when none ever did.
    """
    heard = [b.at for b in buckets if (b.metric, b.stage, b.slice) == ("errors", stage, "") and b.n]
    if not heard:
        return ""
    last = datetime.fromtimestamp(max(heard) + BUCKET_S, UTC)
    if now - last <= max((now - since) / 2, timedelta(seconds=BUCKET_S)):
        return ""
    return (
        f"nothing was measured in {stage} since {last:%Y-%m-%d %H:%M} UTC: see whether gateways "
        "still log, or wait for traffic"
    )


def _of(buckets: Sequence[Bucket], metric: str, stage: str = "") -> tuple[float, float]:
    """Total and units of `metric`, in `stage` or in all."""
    mine = [b for b in buckets if b.metric == metric and stage in ("", b.stage) and not b.slice]
    return sum(b.total for b in mine), sum(b.n for b in mine)


def settled(stored: Collection[Bucket], measured: Sequence[Bucket]) -> list[Bucket]:
    """`measured`, where nothing but the last bits moved as it was stored.

    The warehouse adds in whatever order its threads come; what was judged once is not to
    be judged again because of that.
    """
    before = {(b.stage, b.metric, b.arm, b.at, b.slice): b for b in stored}
    found = []
    for new in measured:
        old = before.get((new.stage, new.metric, new.arm, new.at, new.slice))
        found.append(old if old is not None and _same(old, new) else new)
    return found


def news(known: Collection[Bucket], counted: Sequence[Bucket]) -> list[Bucket]:
    """What of `counted` the record does not know. What is no number it does not keep.

    That one is refused by the judge, by its name; nothing else of the look waits for it.
    """
    sound = (b for b in counted if isfinite(b.total) and isfinite(b.squares))
    return [b for b in sound if b not in known]


def _same(old: Bucket, new: Bucket) -> bool:
    # Sums of both signs may cancel: their error goes with the sizes that were added.
    size = sqrt(old.n * old.squares)
    return (
        old.n == new.n
        and isclose(old.total, new.total, rel_tol=0, abs_tol=1e-9 * size)
        and isclose(old.squares, new.squares, rel_tol=1e-9)
    )


def bucket_of(row: Mapping[str, Any]) -> Bucket:
    """A row that `Counting` asked for."""
    return Bucket(
        stage=row["stage"], metric=row["metric"], arm=row["arm"], at=int(row["bucket"]),
        n=float(row["n"]), total=float(row["total"] or 0), squares=float(row["squares"] or 0),
    )  # fmt: skip
