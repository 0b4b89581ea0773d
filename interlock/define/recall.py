"""What a file declared when it was read before, and what other files say of it now."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from interlock.define.base import Declared
from interlock.define.definitions import FeatureView, Model, Service, Table
from interlock.define.digest import digest_texts
from interlock.define.held import Held, written
from interlock.define.memory import Memory

_KINDS: Mapping[str, type[Declared]] = {
    "table": Table, "view": FeatureView, "model": Model, "service": Service,
}  # fmt: skip


@dataclass(frozen=True)
class _Said:
    """One definition of a file: its address, what it says alone, the code it was checked with."""

    name: str
    plain: Mapping[str, Any]
    code: str


def recalled(
    memory: Memory, files: Mapping[str, str], file: str
) -> list[tuple[str, Held[Any]]] | None:
    """Address and definition of all that `file` declares; None when it has to be read."""
    key = _key(memory, file, files[file])
    said = memory.get(key, lambda plain: _said(plain, file))
    found = []
    for one in said or ():
        field, text = _beside(one, files, file)
        if text is None or (field == "code" and digest_texts(text) != one.code):
            return None
        found.append((one.name, _held(memory, key, one, field, text)))
    return found or None


def remember(
    memory: Memory, files: Mapping[str, str], file: str, alone: Iterable[Declared]
) -> None:
    """Keep what `file` declares, once it is sure that it comes back as it was."""
    said = []
    for thing in alone:
        plain = written(thing)
        if type(thing).model_validate(plain) != thing:
            return
        code = thing.training.code if isinstance(thing, Model) else ""
        said.append(_Said(str(thing.ref), plain, digest_texts(code)))  # type: ignore[attr-defined]  # all have one
    memory.put(_key(memory, file, files[file]), said, lambda: [_plain(one) for one in said])


def _plain(one: _Said) -> list[Any]:
    """Without what is filled in again: it would only double the file."""
    plain = dict(one.plain)
    if one.name.startswith("model:"):
        plain["training"] = {k: v for k, v in plain["training"].items() if k != "code"}
    if one.name.startswith("view:") or plain.get("sql_file"):
        plain.pop("sql", None)
    return [one.name, plain, one.code]


def _said(plain: Any, file: str) -> list[_Said]:
    said = [_Said(name, {**held}, code) for name, held, code in plain]
    if not said or any(one.plain["file"] != file or ":" not in one.name for one in said):
        raise ValueError("not what a file declares")
    return said


def _key(memory: Memory, file: str, text: str) -> str:
    declared = text[: text.find("*/") + 2] if file.endswith(".sql") else text
    return memory.once(("file", file, declared), lambda: digest_texts("file", file, declared))


def _beside(one: _Said, files: Mapping[str, str], file: str) -> tuple[str, str | None]:
    """The field that another place fills, and its text; None where that is not there."""
    kind = one.name.partition(":")[0]
    if kind == "view":
        return "sql", statement(files[file].partition("*/")[2]) or None
    if kind == "model":
        entry = str(one.plain["training"]["entry"]).partition(":")[0]
        return "code", files.get(path_beside(file, entry))
    named = one.plain.get("sql_file") if kind == "table" else None
    if not named:
        return "", ""
    text = files.get(path_beside(file, named))
    return "sql", None if text is None else statement(text)


def _held(memory: Memory, key: str, one: _Said, field: str, text: str) -> Held[Any]:
    def made() -> Held[Any]:
        plain = dict(one.plain)
        if field == "code":
            plain["training"] = {**plain["training"], "code": text}
        elif field:
            plain[field] = text
        kind = _KINDS[one.name.partition(":")[0]]
        return Held(kind, plain, _held_key(key, one.name, text))

    return memory.once((key, one.name, text), made)


def fresh(memory: Memory | None, files: Mapping[str, str], thing: Declared) -> Held[Any]:
    """A definition that was read just now, under the key that it will be recalled by."""
    name, file, filled = str(thing.ref), thing.file, ""  # type: ignore[attr-defined]  # all have one
    if memory is None or file not in files:
        return Held(type(thing), thing=thing)
    if isinstance(thing, FeatureView) or (isinstance(thing, Table) and thing.sql_file):
        filled = thing.sql or ""
    elif isinstance(thing, Model):
        filled = thing.training.code
    key = _held_key(_key(memory, file, files[file]), name, filled)
    return Held(type(thing), key=key, thing=thing)


def _held_key(file: str, name: str, filled: str) -> str:
    return digest_texts(file, name, filled)


def path_beside(file: str, name: str) -> str:
    """The path of `name` in the folder of `file`."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(file), name))


def statement(text: str) -> str:
    """The SELECT in a text, without what stands around it."""
    return text.strip().removesuffix(";").rstrip()
