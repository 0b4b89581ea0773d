"""Two query files and a schema file, compared."""

from __future__ import annotations

from pathlib import Path

from interlock.define.catalog import Catalog, read_catalog
from interlock.define.schema import did_you_mean
from interlock.errors import Invalid, Problem, Unusable
from interlock.impact.compare import DIALECTS, Comparison, compare, errors_in, tables_of


def compare_files(old: Path, new: Path, schema: Path | None, dialect: str) -> Comparison:
    """What `new` changes; raises `Invalid` with everything that cannot be read."""
    if dialect not in DIALECTS:
        raise Unusable(f"no dialect {dialect!r}", help=did_you_mean(dialect, DIALECTS))
    problems: list[Problem] = []
    catalog = Catalog()
    if schema is not None:
        catalog, more = read_catalog(_text(schema, problems), str(schema))
        problems += more
    tables = tables_of(catalog, dialect)
    problems += [Problem(str(schema), 1, said, "keep one of them") for said in tables.clashes]
    texts = [(file, _text(file, problems)) for file in (old, new)]
    if not problems:
        problems += [
            Problem(str(file), error.line, error.message, error.fix)
            for file, text in texts
            for error in errors_in(text, dialect)
        ]
    if problems:
        raise Invalid("the queries cannot be compared", "mend what is named above", (), problems)
    return compare(texts[0][1], texts[1][1], tables, dialect)


def _text(file: Path, problems: list[Problem]) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        said = getattr(error, "strerror", None) or "is not UTF-8 text"
        problems.append(Problem(str(file), 0, f"cannot be read: {said}", "name a text file"))
        return ""
