"""An Open Data Contract Standard document (ODCS 3) read as tables, each line remembered.

The document is first said in the words of our own table files, so that one set of rules
checks both. What has no word here is kept with the table and named by `kept`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from interlock.define.odcs_checks import Promises, column_promises, freshness, table_promises
from interlock.define.schema import did_you_mean
from interlock.define.widening import contract_type
from interlock.define.yaml import Document, Path
from interlock.errors import Problem

READ = ("v3.0.0", "v3.0.1", "v3.0.2", "v3.1.0")
_REQUIRED = ("version", "apiVersion", "kind", "id", "status")
_TYPES = {
    "string": "string", "date": "date", "timestamp": "timestamp", "number": "double",
    "integer": "integer", "boolean": "boolean", "time": "other", "object": "other",
    "array": "other",
}  # fmt: skip
# Whatever else somebody calls it, it is not for everybody.
_CLASSES = {"public": "public", "internal": "internal"}


@dataclass
class Said:
    """One table in the words of our own files; `within` is where its schema object stands."""

    document: Document
    within: Path
    value: dict[str, Any] = field(default_factory=dict)
    lines: dict[Path, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    used: set[Path] = field(default_factory=set)

    def put(self, ours: Path, value: Any, theirs: Path) -> None:
        """`value` at `ours`, because of what stands at `theirs`."""
        self.used.add(theirs)
        self.lines[ours] = self.document.line(theirs)
        at: dict[Any, Any] = self.value
        for step in ours[:-1]:
            at = at.setdefault(step, {})
        at[ours[-1]] = value

    def say(self, theirs: Path, message: str, fix: str) -> None:
        line = self.document.line(theirs)
        self.problems.append(Problem(self.document.file, line, message, fix))


def is_odcs(document: Document) -> bool:
    """Whether a table file is written in the standard."""
    return "apiVersion" in document.value or document.value.get("kind") == "DataContract"


def tables_in(document: Document) -> tuple[list[Said], list[Problem]]:
    """Every schema object as a table, and what is wrong with the document around them."""
    problems = list(_header(document))
    objects = document.value.get("schema")
    if not isinstance(objects, list) or not objects:
        fix = "write schema: [{name: ..., properties: [...]}]"
        problems.append(_problem(document, ("schema",), "the contract holds no table", fix))
        return [], problems
    found = [_table(document, at) for at, one in enumerate(objects) if isinstance(one, dict)]
    for said in found:
        problems += said.problems
    return found, problems


def kept(document: Document, said: Said) -> list[str]:
    """What stands in the document and is not used: carried along, in words like `price.amount`."""
    inside = ("schema", said.within[-1])
    mine = [p for p in document.lines if p and (p[0] != "schema" or p[:2] == inside)]
    leaves = [p for p in mine if not any(q[: len(p)] == p and q != p for q in document.lines)]
    known = said.used | {(name,) for name in (*_REQUIRED, "name")}
    left = [p for p in leaves if not any(p[:n] in known for n in range(1, len(p) + 1))]
    return [".".join(str(step) for step in path) for path in left]


def _problem(document: Document, path: Path, message: str, fix: str) -> Problem:
    return Problem(document.file, document.line(path), message, fix)


def _header(document: Document) -> Iterator[Problem]:
    said = document.value
    for name in _REQUIRED:
        if name not in said:
            yield _problem(document, (), f"`{name}` is missing", f"ODCS asks for `{name}:`")
    version, kind = said.get("apiVersion", READ[-1]), said.get("kind", "DataContract")
    if version not in READ:
        message = f"`apiVersion`: {version!r} is not read"
        yield _problem(document, ("apiVersion",), message, f"read are {', '.join(READ)}")
    if kind != "DataContract":
        message = f"`kind`: {kind!r} is no contract"
        fix = did_you_mean(str(kind), ["DataContract"])
        yield _problem(document, ("kind",), message, fix)


def _table(document: Document, at: int) -> Said:
    said = Said(document, ("schema", at))
    said.used.add((*said.within, "logicalType"))
    said.lines[()] = document.line(said.within)
    held: Mapping[str, Any] = document.value["schema"][at]
    _name(said, held)
    _owner(said)
    where: Path = (*said.within, "description")
    if "description" in held:
        said.put(("description",), held["description"], where)
    for name, ours in _CUSTOM.items():
        _custom(said, (*said.within, "customProperties"), held, name, (ours,))
    _columns(said, held)
    _source(said)
    _promised(said, table_promises(document, said.within))
    names = {str(held[key]) for key in ("name", "physicalName") if key in held}
    limits = freshness(document, names)
    for ours, (value, path) in limits.items():
        said.put(("freshness", ours), value, path)
    return said


_CUSTOM = {
    "eventTime": "event_time", "availableAt": "available_at", "sql": "sql", "sqlFile": "sql_file",
    "arrival": "arrival",
}  # fmt: skip


def _custom(said: Said, base: Path, held: Mapping[str, Any], name: str, ours: Path) -> None:
    """A `customProperties` entry of that name, where the standard has no word of its own."""
    for i, one in enumerate(_list(held.get("customProperties"))):
        if one.get("property") == name:
            said.used.add((*base, i, "property"))
            said.put(ours, one.get("value"), (*base, i, "value"))


def _name(said: Said, held: Mapping[str, Any]) -> None:
    """`physicalName` or `name` when it has a schema; else with the schema of the server."""
    for key in ("physicalName", "name"):
        if "." in str(held.get(key, "")):
            said.put(("name",), str(held[key]).lower(), (*said.within, key))
            return
    key = "physicalName" if held.get("physicalName") else "name"
    path = (*said.within, key)
    for i, server in enumerate(_list(said.document.value.get("servers"))):
        if server.get("schema") and held.get(key):
            said.put(("name",), f"{server['schema']}.{held[key]}".lower(), path)
            said.used.add(("servers", i, "schema"))
            return
    message = f"{held.get(key)!r} is no name of a table here: its schema is not said"
    said.say(path, message, "write physicalName: schema.table, or give the server a schema")
    said.put(("name",), "unknown.unknown", path)


def _owner(said: Said) -> None:
    team = said.document.value.get("team")
    if isinstance(team, dict) and team.get("name"):
        said.put(("owner",), team["name"], ("team", "name"))
        return
    where: Path = ("team",) if team else ()
    said.say(where, "the contract names no team that owns it", "write team: {name: ...}")
    said.put(("owner",), "", where)


def _columns(said: Said, held: Mapping[str, Any]) -> None:
    properties = held.get("properties")
    base: Path = (*said.within, "properties")
    if not isinstance(properties, list) or not properties:
        said.say(base, "the table has no columns", "list them under properties")
        said.put(("columns",), {}, base)
        return
    keys: list[tuple[int, str, Path]] = []
    for i, one in enumerate(properties):
        path = (*base, i)
        if not isinstance(one, dict) or not one.get("name"):
            said.say(path, "a column without a name", "write name: ...")
            continue
        column = _column(said, one, path)
        if one.get("primaryKey") is True:
            said.used |= {(*path, "primaryKey"), (*path, "primaryKeyPosition")}
            place = one.get("primaryKeyPosition")
            keys.append((place if isinstance(place, int) and place > 0 else 10**6, column, path))
    keys.sort(key=lambda key: key[0])
    if keys:
        said.put(("key",), [name for _, name, _ in keys], (*keys[0][2], "primaryKey"))
        for i, (_, _, path) in enumerate(keys):
            said.lines[("key", i)] = said.document.line((*path, "primaryKey"))


def _column(said: Said, held: Mapping[str, Any], path: Path) -> str:
    """Say one column; its name."""
    named = "physicalName" if held.get("physicalName") else "name"
    name = str(held[named]).lower()  # as SQL has it
    if name in said.value.get("columns", {}):
        said.say((*path, named), f"a second column {name}", "keep one of the two")
    said.put(("columns", name), {}, (*path, named))
    said.used.add((*path, "name"))
    ours: Path = ("columns", name)
    _type(said, held, path, ours)
    for key, to in (("required", "nullable"), ("unique", "unique")):
        if isinstance(held.get(key), bool):
            flag = not held[key] if key == "required" else held[key]
            said.put((*ours, to), flag, (*path, key))
    if "classification" in held:
        rank = _CLASSES.get(str(held["classification"]).lower(), "sensitive")
        said.put((*ours, "classification"), rank, (*path, "classification"))
    if "description" in held:
        said.put((*ours, "description"), held["description"], (*path, "description"))
    _custom(said, (*path, "customProperties"), held, "unit", (*ours, "unit"))
    _promised(said, column_promises(said.document, path, name))
    return name


def _type(said: Said, held: Mapping[str, Any], path: Path, ours: Path) -> None:
    logical, physical = (
        str(held[key]) if held.get(key) is not None else None
        for key in ("logicalType", "physicalType")
    )
    options = held.get("logicalTypeOptions")
    if physical is None and isinstance(options, dict) and logical in ("integer", "number"):
        physical = str(options["format"]) if "format" in options else None
        said.used.add((*path, "logicalTypeOptions", "format"))
    if physical is not None:
        said.put((*ours, "physical"), physical, (*path, "physicalType"))
    if logical is None and physical is not None:
        said.put((*ours, "type"), contract_type(physical), (*path, "physicalType"))
        return
    at = (*path, "logicalType")
    if logical is None:
        said.say(path, f"{held['name']} has no type", "write logicalType: or physicalType:")
    elif logical not in _TYPES:
        message = f"`logicalType`: {logical!r} is not one of {', '.join(_TYPES)}"
        said.say(at, message, did_you_mean(logical, _TYPES))
    said.put((*ours, "type"), _TYPES.get(logical or "", "other"), at)


def _source(said: Said) -> None:
    """A local server with CSV files is where the rows come from."""
    if "sql" in said.value or "sql_file" in said.value:
        return
    for i, server in enumerate(_list(said.document.value.get("servers"))):
        if server.get("type") == "local" and server.get("format") == "csv":
            said.put(("source", "csv"), server.get("path"), ("servers", i, "path"))
            said.used |= {("servers", i, key) for key in ("server", "type", "format")}
            base: Path = ("servers", i, "customProperties")
            _custom(said, base, server, "nulls", ("source", "nulls"))
            return


def _promised(said: Said, promises: Promises) -> None:
    said.used |= promises.used
    for name in promises.required:
        said.value["columns"][name]["nullable"] = False
    for name in promises.unique:
        said.value["columns"][name]["unique"] = True
    checks: list[Any] = said.value.setdefault("checks", [])
    taken = {check["name"] for check in checks}
    for check, path in promises.checks:
        name, n = check["name"], 2
        while name in taken:
            name, n = f"{check['name']}_{n}", n + 1
        taken.add(name)
        said.lines[("checks", len(checks))] = said.document.line(path)
        checks.append({**check, "name": name})


def _list(value: Any) -> list[dict[str, Any]]:
    """The mappings of a list; whatever else stands there is kept and not read."""
    return [one if isinstance(one, dict) else {} for one in value] if _is_list(value) else []


def _is_list(value: Any) -> bool:
    return isinstance(value, list)
