"""`trace`, and `replay` of a prediction: what is behind one answer; `main` registers them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from interlock.cli.arguments import HERE, AsJson, Env, Folder, project, show

if TYPE_CHECKING:
    from interlock.app.journeys import Journey, Span
    from interlock.app.reproduce import Reproduced


def trace(
    prediction: Annotated[str, typer.Argument(help="its id, as an answer or a table says it")],
    otlp: Annotated[
        str, typer.Option(help="also as an OpenTelemetry trace: a file, or a collector's URL")
    ] = "",
    folder: Folder = HERE,
    environment: Env = "prod",
    as_json: AsJson = False,
) -> None:
    """The way of the data to one prediction: times, ages and quality at every stage."""
    from interlock.app.otlp import send
    from interlock.app.tracing import trace as make

    with project(folder, environment, looking=True) as workspace:
        found = make(workspace, prediction)
    sent = send(found, otlp) if otlp else ""
    show(found, as_json, lambda one: traced(one, sent), lambda one: {**one.to_json(), "sent": sent})


def traced(found: Journey, sent: str = "") -> str:
    """Stages from the source to the answer, a line each."""
    one = found.prediction
    lines = [f"prediction {one.id}", f"  {_said(one)}"]
    if one.trace:
        lines.append(f"  trace {one.trace.split('-')[1]}")
    for stage in ("extraction", "materialisation", "lookup", "inference", "service"):
        spans = [span for span in found.spans if span.stage == stage]
        lines += ["", stage, *_table(list(map(_cells, spans)))] if spans else []
    lines += ["", f"not looked up: {found.why}"] if found.why else []
    lines += ["", f"sent to {sent}"] if sent else []
    return "\n".join(lines)


def _said(one: Any) -> str:
    score = "no score" if one.score is None else f"{one.score!r}"
    arm = f" ({one.arm}, epoch {one.epoch})" if one.arm else ""
    door = "by request" if one.door == "gateway" else "in batch"
    at = f"{one.at:%Y-%m-%d %H:%M:%S} UTC"
    said = f"model:{one.model} said {score}, {one.reason}, {door} at {at}"
    return f"{said}, by release {one.release[:12]}{arm}"


def _cells(span: Span) -> list[str]:
    took = "took ?" if span.took is None else f"took {_length(span.took)}"
    age = "" if span.age is None else f"age {_length(span.age)}"
    return [span.name, span.quality, age, took, "; ".join(_details(span))]


def _details(span: Span) -> Iterator[str]:
    told = {
        "extraction": ("from", "read"), "materialisation": ("table", "refreshed"),
        "lookup": ("entity", "event_time", "fallbacks", "absent"),
        "inference": ("version", "artifact", "error"), "service": ("change", "stage"),
    }  # fmt: skip
    for name in told[span.stage]:
        value = span.details.get(name)
        if value:
            shown = ", ".join(value) if isinstance(value, list) else value
            yield f"{name.replace('_', ' ')} {shown}"


def _length(seconds: float) -> str:
    if abs(seconds) < 1:
        return f"{seconds * 1000:.3g} ms"
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if abs(seconds) >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s"


def _table(rows: list[list[str]]) -> list[str]:
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    return [
        "  " + "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def reproduced(found: Reproduced) -> str:
    """Does the score come out again, and would the features?"""
    one = found.prediction
    said = "the same to the last bit" if found.same else "ANOTHER SCORE"
    lines = [
        f"prediction {one.id}: {said}",
        f"  said   {one.score!r}",
        f"  again  {found.again!r}  (its logged inputs, model:{one.model} of {one.release[:12]})",
    ]
    if found.why:
        return "\n".join([*lines, f"  inputs not looked up again: {found.why}"])
    lines.append(
        f"  {found.compared - len(found.moved)} of {found.compared} features, as of then, agree"
    )
    for moved in found.moved:
        row = f"row of {moved.event_time}, known {moved.known}" if moved.event_time else "no row"
        lines.append(
            f"  moved: {moved.input} was {moved.logged}, is {moved.now} "
            f"({moved.view} of {moved.entity}: {row})"
        )
    return "\n".join(lines)
