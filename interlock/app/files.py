"""A project folder as texts: the only door through which definitions are read from disk."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from interlock.define.dbt import trimmed
from interlock.define.load import read
from interlock.define.project import Project
from interlock.define.schema import near
from interlock.define.yaml import parse
from interlock.errors import Invalid, Problem, Unusable

_OURS = {"data"}  # the state folder is hidden by its dot
_DECLARED_IN = (
    ("interlock.yaml", "team"), ("tables", "table"), ("features", "view"), ("models", "model"),
)  # fmt: skip
LONGEST_NAME, MOST_FILES = 250, 20_000
_KINDS = {".yaml", ".yml", ".sql", ".py", ".cedar", ".ics"}


def read_folder(path: Path) -> Mapping[str, str]:
    """Relative path -> text of every definition file; raises `Invalid` with every problem."""
    if not path.is_dir():
        raise Invalid(f"{path} is not a folder", help="name a project folder, or `interlock init`")
    if not (path / "interlock.yaml").is_file():
        raise Invalid(
            f"{path} holds no interlock.yaml", help="go to a project folder, or `interlock init`"
        )
    texts: dict[str, str] = {}
    problems: list[Problem] = []
    for name, file in _definition_files(path):
        with open(file, "rb", buffering=0) as opened:  # read whole: there may be thousands
            data = opened.read()
        try:
            texts[name] = _lines(data.decode("utf-8-sig"))
        except UnicodeDecodeError as error:
            line = data[: error.start].count(b"\n") + 1
            problems.append(Problem(name, line, "not UTF-8 text", "save the file as UTF-8"))
    if problems:
        raise Invalid.of(problems)
    return {**texts, **_manifest(path, texts.get("interlock.yaml", ""))}


def _manifest(path: Path, main: str) -> dict[str, str]:
    """What is read of dbt's manifest, when the project names one that is there."""
    document, _ = parse(main, "interlock.yaml")
    held = document.value.get("dbt") if document else None
    name = posixpath.normpath(str(held.get("manifest"))) if isinstance(held, dict) else ""
    if not name or name.startswith(("..", "/")) or not (path / name).is_file():
        return {}
    return {name: trimmed((path / name).read_text(encoding="utf-8", errors="replace"))}


def uploaded(texts: Mapping[str, str]) -> Mapping[str, str]:
    """The files of a folder elsewhere; raises `Unusable` naming every one that may not be.

    They are kept under their names, and may be written to a folder one day: no name leads
    out of it, to a hidden place, or to the state.
    """
    wrong = [f"{name[:100]!r}: {said}" for name in texts if (said := _wrong_name(name))]
    if len(texts) > MOST_FILES:
        wrong.append(f"{len(texts)} files: at most {MOST_FILES} are taken")
    if "interlock.yaml" not in texts:
        wrong.append("interlock.yaml is not among them")
    if wrong:
        raise Unusable("these are not the files of a project", "send those of one folder", wrong)
    return {name: _lines(text) for name, text in texts.items()}


def _wrong_name(name: str) -> str:
    parts = name.split("/")
    if not name.isprintable() or "\\" in name or ":" in name or len(name) > LONGEST_NAME:
        return "write it as folder/file.yaml, in printable letters"
    if any(part in ("", ".", "..") for part in parts):
        return "a name stays inside of its folder"
    if any(part.startswith(".") for part in parts) or _skipped(parts[0], at_top=True):
        return "nothing there is a definition"
    if os.path.splitext(name)[1] not in _KINDS | {".json"}:
        return f"a definition ends in {', '.join(sorted(_KINDS))}"
    return ""


def news(
    later: Sequence[Problem], earlier: Sequence[Problem], hidden: frozenset[str] = frozenset()
) -> list[Problem]:
    """Problems of `later` that `earlier` neither says already nor causes.

    A thing that is missing may stand in a file that could not be read (`hidden`, where its
    name could be made out): one mistake should make one problem. A slip is told all the same.
    """
    said = {(problem.file, problem.message.replace(":", "")) for problem in earlier}
    broken = {problem.file.split("/")[0] for problem in earlier}
    follows = tuple(f"no {what} " for folder, what in _DECLARED_IN if folder in broken)
    return [
        problem
        for problem in later
        if (problem.file, problem.message.replace(":", "")) not in said
        and not (
            problem.message.startswith(follows)
            and (not near(problem.fix) or problem.message.split()[-1] in hidden)
        )
    ]


def open_project(path: Path, variables: Mapping[str, str] | None = None) -> Project:
    """The project in a folder; `${VAR}` from `variables` (default: the process environment)."""
    reading = read(read_folder(path), os.environ if variables is None else variables)
    if reading.project is None:
        raise Invalid.of(reading.problems)
    return reading.project


def _lines(text: str) -> str:
    """Lines end the same wherever the file was written."""
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


def _definition_files(path: Path) -> Iterator[tuple[str, str]]:
    """Name within `path`, and where it is. Plain text: there may be thousands."""
    for folder, inside, files in os.walk(path):
        above = Path(folder).relative_to(path).as_posix()
        if "dbt_project.yml" in files:
            inside[:] = []  # somebody else's: only the manifest is read
            continue
        # Sorted, so that the same folder gives the same order of problems everywhere.
        inside[:] = sorted(name for name in inside if not _skipped(name, above == "."))
        for name in sorted(files):
            if not name.startswith(".") and os.path.splitext(name)[1] in _KINDS:
                yield (name if above == "." else f"{above}/{name}"), os.path.join(folder, name)


def _skipped(name: str, at_top: bool) -> bool:
    return name.startswith((".", "__")) or (at_top and name in _OURS)
