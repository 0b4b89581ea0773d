"""`catalog`, `versions`, `deprecate` and `retire`: a version from its listing to its end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from interlock.cli.arguments import HERE, AsJson, By, Env, Folder, project, show

if TYPE_CHECKING:
    from interlock.app.catalog import Listed
    from interlock.app.deprecate import Deprecated
    from interlock.app.labels import Label
    from interlock.app.retire import Retired


def catalog(
    words: Annotated[list[str] | None, typer.Argument(help="only what has all of these")] = None,
    folder: Folder = HERE,
    environment: Env = "prod",
    as_json: AsJson = False,
) -> None:
    """Every table, view, model and service with the label of its version."""
    from interlock.app.catalog import catalog as find

    with project(folder, environment, looking=True) as workspace:
        show(find(workspace, words or ()), as_json, listed, _all_json)


def versions(
    ref: Annotated[str, typer.Argument(help="view:NAME, view:NAME@1 or table:NAME")],
    folder: Folder = HERE,
    environment: Env = "prod",
    as_json: AsJson = False,
) -> None:
    """Each version of a table or view: its label in catalog, store, training sets and answers."""
    from interlock.app.labels import labels

    with project(folder, environment, looking=True) as workspace:
        show(labels(workspace, ref), as_json, _versions, _all_json)


def deprecate(
    view: Annotated[str, typer.Argument(help="the version, as view:NAME@1")],
    until: Annotated[str, typer.Option(help="the last day, as 2026-12-31")],
    replacement: Annotated[str, typer.Option(help="what to read instead, as view:NAME@2")],
    folder: Folder = HERE,
    environment: Env = "prod",
    as_json: AsJson = False,
) -> None:
    """Write into a view's file until when it may be read. Plan and propose it like any change."""
    from interlock.app.deprecate import deprecate as write

    with project(folder, environment, looking=True) as workspace:
        show(write(workspace, view, until, replacement), as_json, _deprecated, _json)


def retire(
    ref: Annotated[str, typer.Argument(help="view:NAME@1 or table:NAME")],
    by: By,
    label: Annotated[str, typer.Option(help="only the version whose label starts so")] = "",
    folder: Folder = HERE,
    environment: Env = "prod",
    as_json: AsJson = False,
) -> None:
    """Remove the rows of a version that nobody reads any more, offline and online."""
    from interlock.app.retire import retire as remove

    with project(folder, environment) as workspace:
        show(remove(workspace, ref, by=by, label=label), as_json, _retired, _json)


COMMANDS = (catalog, versions, deprecate, retire)


def _json(found: Any) -> Any:
    return found.to_json()


def _all_json(found: Sequence[Any]) -> Any:
    return [one.to_json() for one in found]


def listed(found: Sequence[Listed]) -> str:
    """One line for each thing."""
    from interlock.cli.page import page, table

    if not found:
        return "nothing in the catalog has all of these words"
    rows = [(r.label, r.ref, r.state, r.owner, r.note or r.description) for r in found]
    return page(table(("label", "what", "state", "owner", "note"), rows))


def _versions(found: Sequence[Label]) -> str:
    from interlock.cli.page import facts, heading, page

    parts: list[Any] = []
    for one in found:
        parts += [heading(f"{one.ref}  {one.short}"), facts(_places(one))]
    return page(*parts)


def _places(one: Label) -> Iterator[tuple[str, object]]:
    yield "files", "declared here" if one.declared else "not declared here"
    yield "releases", "; ".join(f"{n.release[:12]}, {n.why}" for n in one.needed) or "none in use"
    yield "promised", f"until {one.promised}" if one.promised else ""
    stands = f"{one.rows:,} rows in {one.table}" if one.rows is not None else "nothing stands"
    yield "store", stands
    sets = (f"model:{model}, dataset {digest[:12]}" for model, digest in one.datasets.items())
    yield "training", "; ".join(sets) or "in no training set"
    yield "answers", "; ".join(a.sentence for a in one.answers) or "none lately"
    yield "read by", ", ".join(one.readers) or "nothing"
    yield "waiting", "; ".join(change.sentence for change in one.waiting)


def _deprecated(found: Deprecated) -> str:
    word = "now says" if found.changed else "says already"
    said = f"{found.file} {word}: {found.view} may be read until {found.until}, then "
    readers = ", ".join(found.readers)
    told = f"\nread by {readers}" if readers else "\nnobody reads it"
    return f"{said}{found.replacement}{told}\nnext: interlock plan, interlock propose"


def _retired(found: Retired) -> str:
    labels = ", ".join(label[:12] for label in found.labels)
    if not found.tables:
        return f"{found.ref} ({labels}) was gone already"
    return f"{found.ref} ({labels}) is retired: {', '.join(found.tables)} removed, online rows too"
