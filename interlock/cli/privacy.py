"""`sample` and `synth`: rows that people may see; `main` registers them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from interlock.cli.arguments import HERE, AsJson, By, Env, Folder, project, show

if TYPE_CHECKING:
    from interlock.app.sample import Sample


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
