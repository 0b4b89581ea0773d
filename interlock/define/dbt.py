"""A dbt project's `manifest.json` (v12) as tables: what dbt builds, from what, what it promises.

dbt stays the one that builds: Interlock reads. A model whose SQL still holds Jinja is unknown,
and stands on everything that dbt says it depends on.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from interlock.define.base import Definition
from interlock.define.definitions import Table
from interlock.define.outside import Outside
from interlock.define.widening import contract_type
from interlock.define.yaml import DEEPEST
from interlock.errors import Problem

SCHEMA = "https://schemas.getdbt.com/dbt/manifest/v12.json"
_KINDS = ("model", "seed", "snapshot", "source")
_DIALECTS = {"redshift": "postgres", "databricks": "spark"}
_KNOWN = frozenset(["duckdb", "postgres", "spark", "snowflake", "bigquery"])
_KEPT = (
    "resource_type", "schema", "name", "alias", "identifier", "relation_name", "language",
    "original_file_path", "compiled_code", "raw_code", "description", "column_name",
    "attached_node", "package_name", "version", "source_name", "loaded_at_field",
)  # fmt: skip
_REF = re.compile(
    r"\{\{-?\s*ref\(\s*(?:['\"](?P<package>\w+)['\"]\s*,\s*)?['\"](?P<name>\w+)['\"]\s*"
    r"(?:,\s*(?:v|version)\s*=\s*['\"]?(?P<version>\w+)['\"]?\s*)?\)\s*-?\}\}"
)
_SOURCE = re.compile(r"\{\{-?\s*source\(\s*['\"](\w+)['\"]\s*,\s*['\"](\w+)['\"]\s*\)\s*-?\}\}")
_CONFIG = re.compile(r"\{\{-?\s*config\([^{}]*\)\s*-?\}\}|\{#.*?#\}", re.S)
_BRACKET = re.compile(r'"(?:[^"\\]|\\.)*"|[][{}]')
_PERIODS = {"minute": "m", "hour": "h", "day": "d"}
_SLUG = re.compile(r"[^a-z0-9_]+")


class DbtProject(Definition):
    """Where dbt writes its manifest, and the team that owns tables that name no team of ours."""

    manifest: str
    owner: str


@dataclass
class Manifest:
    """The nodes that are tables, by their dbt ids, and the names they get here."""

    body: Mapping[str, Any]
    root: str
    names: dict[str, str] = field(default_factory=dict)

    @property
    def nodes(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        for part in ("nodes", "sources"):
            yield from sorted(self.body.get(part, {}).items())

    def file(self, node: Mapping[str, Any]) -> str:
        return posixpath.join(self.root, str(node.get("original_file_path") or ""))


def trimmed(text: str) -> str:
    """The manifest without what Interlock never reads: what dbt did when, macros, docs.

    So a run of dbt that changes nothing changes no plan. Text that is no manifest stays
    itself, to be told as it is.
    """
    try:
        body = json.loads(text)
        kept = {
            "metadata": {
                key: body["metadata"].get(key) for key in ("dbt_schema_version", "adapter_type")
            },
            **{
                part: {name: _trimmed(node) for name, node in sorted(body[part].items())
                       if _read(node)}
                for part in ("nodes", "sources")
            },
        }  # fmt: skip
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return text
    return json.dumps(kept, sort_keys=True, indent=1) + "\n"


def _read(node: Mapping[str, Any]) -> bool:
    return node["resource_type"] in _KINDS or bool(node.get("test_metadata"))


def _trimmed(node: Mapping[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {key: node[key] for key in _KEPT if node.get(key)}
    if node.get("compiled_code"):
        made.pop("raw_code", None)
    made["columns"] = {
        name: {
            **{key: column[key] for key in ("name", "description", "data_type") if column.get(key)},
            "meta": _meta(column),
        }
        for name, column in (node.get("columns") or {}).items()
    }
    depends = node.get("depends_on") or {}
    made["depends_on"] = {"nodes": sorted(depends.get("nodes") or ())}
    config = node.get("config") or {}
    made["meta"] = _meta(node)
    made["config"] = {
        key: config[key] for key in ("materialized", "where", "severity") if config.get(key)
    }
    if node.get("test_metadata"):
        made["test_metadata"] = {"name": node["test_metadata"].get("name")}
    for holder in (node, config):
        if _dict(holder.get("freshness")):
            made["freshness"] = holder["freshness"]
    return made


def _meta(node: Mapping[str, Any]) -> Any:
    return (node.get("config") or {}).get("meta") or node.get("meta") or {}


def read_manifest(
    text: str, file: str, project: DbtProject, teams: frozenset[str]
) -> tuple[list[Table], list[Problem]]:
    """The tables of a manifest, and everything that is wrong with it."""
    try:
        body = json.loads(text)
    except ValueError as error:
        line = getattr(error, "lineno", 1)
        return [], [Problem(file, line, f"not JSON: {error}", "let dbt write it again")]
    except RecursionError:
        return [], [_too_deep(text, file)]
    version = body.get("metadata", {}).get("dbt_schema_version") if _is_map(body) else None
    if version != SCHEMA:
        message = f"a manifest v12 was expected, found {version or 'none'}"
        return [], [Problem(file, 1, message, "build it with dbt 1.8 to 1.11")]
    short = trimmed(text)
    if short is text and _deep_line(text):
        return [], [_too_deep(text, file)]  # it can be read, and not be written
    manifest = Manifest(json.loads(short), posixpath.dirname(posixpath.dirname(file)))
    problems = list(_named(manifest))
    tables = []
    for key, node in manifest.nodes:
        if key in manifest.names:
            made = _table(manifest, key, node, project, teams)
            tables += [made] if isinstance(made, Table) else []
            problems += [made] if isinstance(made, Problem) else []
    return tables, problems


def _too_deep(text: str, file: str) -> Problem:
    message = f"nested more than {DEEPEST} levels deep"
    return Problem(file, _deep_line(text) or 1, message, "let dbt write it again")


def _deep_line(text: str) -> int | None:
    """The line where JSON is nested too deep; None where it is not."""
    depth = 0
    for bracket in _BRACKET.finditer(text):
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(bracket[0], 0)
        if depth > DEEPEST:
            return text.count("\n", 0, bracket.start()) + 1
    return None


def _is_map(value: Any) -> bool:
    return isinstance(value, Mapping) and isinstance(value.get("metadata"), Mapping)


def _named(manifest: Manifest) -> Iterator[Problem]:
    """Give each table its name here; two with one name are a problem."""
    taken: dict[str, str] = {}
    for key, node in manifest.nodes:
        if node["resource_type"] not in _KINDS:
            continue
        own = node.get("alias") or node.get("identifier") or node.get("name")
        name = f"{_slug(node.get('schema'))}.{_slug(own)}"
        if name in taken:
            message = f"{key} and {taken[name]} are both {name} here"
            yield Problem(manifest.file(node), 1, message, "give one of them another schema")
        else:
            taken[name], manifest.names[key] = key, name


def _slug(text: Any) -> str:
    word = _SLUG.sub("_", str(text).lower())
    return word if "a" <= word[:1] <= "z" else f"t{word}"


def _table(
    manifest: Manifest,
    key: str,
    node: Mapping[str, Any],
    project: DbtProject,
    teams: frozenset[str],
) -> Table | Problem:
    meta = _dict(node["meta"])
    ours = _dict(meta.get("interlock"))
    owner = meta.get("owner")
    sql, unread = _sql(manifest, key, node)
    reads = [manifest.names[one] for one in node["depends_on"]["nodes"] if one in manifest.names]
    adapter = str(manifest.body["metadata"].get("adapter_type"))
    dialect = _DIALECTS.get(adapter, adapter)
    if sql and dialect not in _KNOWN:
        sql, unread = None, f"dialect {adapter} is not known"
    text = str(node.get("compiled_code") or node.get("raw_code") or "")
    outside = Outside(
        tool="dbt", relation=str(node.get("relation_name") or ""), dialect=dialect,
        reads=tuple(sorted(reads)), unread=unread, text=text,
    )  # fmt: skip
    said = {
        "name": manifest.names[key],
        "owner": owner if owner in teams else project.owner,
        "description": node.get("description", ""),
        "columns": _columns(manifest, key, node),
        "sql": sql,
        "freshness": _freshness(node),
        **ours,
    }
    if node["resource_type"] == "seed":
        said["source"] = {"csv": manifest.file(node)}
    try:
        return Table.model_validate({**said, "file": manifest.file(node), "outside": outside})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(step) for step in first["loc"])
        message = f"{key}: {where}: {first['msg']}"
        return Problem(manifest.file(node), 1, message, "mend meta.interlock of this node")


def _dict(value: Any) -> Mapping[str, Any]:
    """`value`, or an empty mapping when people wrote something else there."""
    return value if isinstance(value, Mapping) else {}


def _columns(manifest: Manifest, key: str, node: Mapping[str, Any]) -> dict[str, Any]:
    """Documented columns. One without a type waits for what the SQL says of it."""
    promised = _promises(manifest, key)
    made: dict[str, Any] = {}
    for column in node["columns"].values():
        name = str(column.get("name")).lower()
        kind = column.get("data_type")
        made[name] = {
            "type": contract_type(str(kind)) if kind else "other",
            "physical": str(kind) if kind else None,
            "description": column.get("description", ""),
            "nullable": "not_null" not in promised.get(name, ()),
            "unique": "unique" in promised.get(name, ()),
            **_dict(_dict(column["meta"]).get("interlock")),
        }
    return made


def _promises(manifest: Manifest, key: str) -> dict[str, set[str]]:
    """Tests that hold for every row and stop dbt when they fail."""
    found: dict[str, set[str]] = {}
    for _, test in manifest.nodes:
        config = test["config"]
        whole = not config.get("where") and config.get("severity", "ERROR").upper() == "ERROR"
        asked = test.get("attached_node") or next(iter(test["depends_on"]["nodes"]), None)
        if "test_metadata" in test and whole and asked == key and test.get("column_name"):
            name = str(test["test_metadata"]["name"])
            found.setdefault(str(test["column_name"]).lower(), set()).add(name)
    return found


def _freshness(node: Mapping[str, Any]) -> dict[str, str] | None:
    held = _dict(node.get("freshness"))
    levels = {
        name: f"{level['count']}{_PERIODS[level['period']]}"
        for name in ("warn_after", "error_after")
        if (level := _dict(held.get(name))).get("count") and level.get("period") in _PERIODS
    }
    if not levels:
        return None
    either = next(iter(levels.values()))
    return {name: levels.get(name, either) for name in ("warn_after", "error_after")}


def _sql(manifest: Manifest, key: str, node: Mapping[str, Any]) -> tuple[str | None, str]:
    """The SQL over names of this project, or why there is none."""
    if node["resource_type"] in ("seed", "source"):
        return None, ""
    if node.get("language") == "python":
        return None, "it is a Python model"
    if node["resource_type"] == "snapshot":
        return None, "a snapshot also holds what was true before"
    if node["config"].get("materialized") == "incremental":
        return None, "an incremental model holds rows of earlier runs"
    compiled = node.get("compiled_code")
    if compiled:
        return _over_our_names(manifest, compiled).strip().removesuffix(";").rstrip(), ""
    raw = _resolved(manifest, node, str(node.get("raw_code") or ""))
    if "{{" in raw or "{%" in raw:
        return None, "its Jinja is not compiled: run dbt compile"
    return (raw.strip().removesuffix(";").rstrip() or None), "" if raw.strip() else "it has no SQL"


def _over_our_names(manifest: Manifest, sql: str) -> str:
    """Each relation of the manifest replaced by its name here, the longest first."""
    relations = {
        str(node["relation_name"]): manifest.names[key]
        for key, node in manifest.nodes
        if node.get("relation_name") and key in manifest.names
    }
    if not relations:
        return sql
    either = "|".join(re.escape(text) for text in sorted(relations, key=len, reverse=True))
    return re.sub(rf"(?<![\w.\"`])(?:{either})(?![\w\"`])", lambda hit: relations[hit[0]], sql)


def _resolved(manifest: Manifest, node: Mapping[str, Any], raw: str) -> str:
    def model(hit: re.Match[str]) -> str:
        found = [
            manifest.names[key]
            for key, one in manifest.nodes
            if key in manifest.names and one["resource_type"] != "source"
            and one.get("name") == hit["name"] and key in node["depends_on"]["nodes"]
            and hit["package"] in (None, one.get("package_name"))
            and hit["version"] in (None, str(one.get("version")))
        ]  # fmt: skip
        return found[0] if len(found) == 1 else hit[0]

    def source(hit: re.Match[str]) -> str:
        found = [
            manifest.names[key]
            for key, one in manifest.nodes
            if key in manifest.names and (one.get("source_name"), one.get("name")) == hit.groups()
        ]
        return found[0] if len(found) == 1 else hit[0]

    return _SOURCE.sub(source, _REF.sub(model, _CONFIG.sub("", raw)))
