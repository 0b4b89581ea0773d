"""`sample` and `synth`: rows that people may see; `main` registers them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from interlock.cli.arguments import HERE, AsJson, By, Env, Folder, project, show

if TYPE_CHECKING:
    from interlock.app.sample import Sample
    from interlock.app.synthesis import Made
    from interlock.features.resemblance import Closeness


def sample(
    by: By,
    ref: Annotated[str, typer.Argument(help="a table, view or feature")] = "",
    sql: Annotated[str, typer.Option(help="instead: one SELECT over declared tables")] = "",
    rows: Annotated[int, typer.Option(help="how many rows")] = 10,
    folder: Folder = HERE,
    environment: Env = "prod",
    as_json: AsJson = False,
) -> None:
    """Show rows, masked by what the person asking is cleared for."""
    from interlock.app.sample import Asked
    from interlock.app.sample import sample as look

    with project(folder, environment) as workspace:
        found = look(workspace, Asked(by, ref, sql, rows))
    show(found, as_json, sampled, sampled_json)


def synth(
    out: Annotated[Path, typer.Option(help="a new folder, or one made here before")],
    tables: Annotated[
        list[str] | None, typer.Argument(help="which tables (all that are read from files)")
    ] = None,
    rows: Annotated[
        int | None, typer.Option(help="rows of each table (as many as the real one)", min=1)
    ] = None,
    seed: Annotated[int, typer.Option(help="the same seed gives the same bytes", min=0)] = 1,
    into: Annotated[
        str, typer.Option(help="put the rows into the warehouse of this environment too")
    ] = "",
    folder: Folder = HERE,
    environment: Env = "prod",
    as_json: AsJson = False,
) -> None:
    """Write a project of its own with made-up data, and say how close it is and to whom."""
    from interlock.app.staging import synth_into
    from interlock.app.synthesis import Asked
    from interlock.app.synthesis import synth as make
    from interlock.cli.progress import progress

    asked = Asked(out.resolve(), tuple(tables or ()), rows, seed)
    with project(folder, environment) as workspace, progress() as said:
        found = synth_into(workspace, into, asked, said) if into else make(workspace, asked, said)
    show(found, as_json, lambda made: made_up(made, out), lambda made: [m.to_json() for m in made])
    raise typer.Exit(0 if all(m.copied == 0 for m in found if m.classified) else 3)


def made_up(found: Sequence[Made], out: Path) -> str:
    """A paragraph per table, and what to do next."""
    lines = [line for made in found for line in _made(made)]
    return "\n".join([*lines, f"{out} is ready; next: interlock check -C {out}"])


def _made(made: Made) -> list[str]:
    head = f"table:{made.table}: {made.rows} rows for {made.real_rows} real ones in {made.file}"
    known = sorted((c for c in made.closeness if c.distance is not None), key=_far, reverse=True)
    worst = ", ".join(f"{c.column} {c.distance:.3f}" for c in known[:3])
    mean, most = made.correlation
    lines = [head, f"  columns differ by at most: {worst or 'nothing to compare'}",
             f"  correlations differ by {mean:.3f} on average, {most:.3f} at most"]  # fmt: skip
    if made.classified:
        lines.append(f"  classified: {', '.join(made.classified)}; {made.copied} rows copied")
    return [*lines, f"  {made.privacy.sentence}", *(f"  note: {note}" for note in made.notes)]


def _far(one: Closeness) -> float:
    return one.distance or 0.0


def sampled(found: Sample) -> str:
    """The rows as a table; underneath, what is masked and why."""
    rows = [[_text(value) for value in row] for row in found.rows]
    lines = [*_table(found.columns, rows), f"{len(rows)} rows of {found.of}"]
    lines += [f"masked  {name}: {why}" for name, why in found.masked.items()]
    lines += [f"clear   {name}: this look is in the audit" for name in found.clear]
    return "\n".join(lines)


def sampled_json(found: Sample) -> dict[str, Any]:
    rows = [dict(zip(found.columns, row, strict=True)) for row in found.rows]
    return {"of": found.of, "rows": rows, "masked": dict(found.masked), "clear": found.clear}


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _table(names: tuple[str, ...], rows: list[list[str]]) -> list[str]:
    widths = [max(len(text) for text in column) for column in zip(names, *rows, strict=True)]
    return ["  ".join(t.ljust(w) for t, w in zip(row, widths, strict=True)).rstrip()
            for row in [list(names), *rows]]  # fmt: skip
