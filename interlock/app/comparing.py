"""Two query files and a schema file, compared."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from interlock.define.catalog import Catalog, read_catalog
from interlock.define.schema import did_you_mean
from interlock.errors import Invalid, Problem, Unusable
from interlock.impact.compare import DIALECTS, Comparison, compare, errors_in, tables_of


@dataclass(frozen=True)
class Text:
    """A text, and what to call it when it is wrong."""

    name: str
    text: str


def compare_files(old: Path, new: Path, schema: Path | None, dialect: str) -> Comparison:
    """What `new` changes; raises `Invalid` with everything that cannot be read."""
    _refuse_dialect(dialect)
    problems: list[Problem] = []
    catalog = Text(str(schema), _text(schema, problems)) if schema is not None else None
    texts = Text(str(old), _text(old, problems)), Text(str(new), _text(new, problems))
    return _compare(texts, catalog, dialect, problems)


def compare_texts(old: Text, new: Text, schema: Text | None, dialect: str) -> Comparison:
    """The same for texts that are here already."""
    _refuse_dialect(dialect)
    return _compare((old, new), schema, dialect, [])


def _compare(
    texts: tuple[Text, Text], schema: Text | None, dialect: str, problems: list[Problem]
) -> Comparison:
    catalog, named = Catalog(), schema.name if schema else ""
    if schema is not None:
        catalog, more = read_catalog(schema.text, schema.name)
        problems += more
    tables = tables_of(catalog, dialect)
    problems += [Problem(named, 1, said, "keep one of them") for said in tables.clashes]
    if not problems:
        problems += [
            Problem(one.name, error.line, error.message, error.fix)
            for one in texts
            for error in errors_in(one.text, dialect)
        ]
    if problems:
        raise Invalid("the queries cannot be compared", "mend what is named above", (), problems)
    return compare(texts[0].text, texts[1].text, tables, dialect)


def _refuse_dialect(dialect: str) -> None:
    if dialect not in DIALECTS:
        raise Unusable(f"no dialect {dialect!r}", help=did_you_mean(dialect, DIALECTS))


def _text(file: Path, problems: list[Problem]) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        said = getattr(error, "strerror", None) or "is not UTF-8 text"
        problems.append(Problem(str(file), 0, f"cannot be read: {said}", "name a text file"))
        return ""
