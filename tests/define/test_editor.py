"""Schemas as an editor uses them: the example is valid, planted mistakes are not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from interlock.app.contracts import schema_files, schemas_of
from interlock.app.files import read_folder
from interlock.app.templates import template_folder
from interlock.define.editor import KINDS, Kind
from interlock.define.load import read
from interlock.errors import NotFound

FLIGHTS = dict(read_folder(template_folder("flights")))
FILES: dict[Kind, str] = {
    "project": "interlock.yaml", "table": "tables/*.yaml", "view": "features/*.sql",
    "model": "models/*.yaml", "service": "services/*.yaml", "calendar": "calendar.yaml",
    "policy_tests": "policies/tests/*.yaml",
}  # fmt: skip


class Editor(yaml.SafeLoader):
    """YAML 1.2 as editors read it: a date is text."""


Editor.yaml_implicit_resolvers = {
    first: [pair for pair in pairs if not pair[0].endswith("timestamp")]
    for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def checker(kind: Kind) -> jsonschema.Draft202012Validator:
    schema = schemas_of(kind)[kind]
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def document(text: str) -> Any:
    held = text[text.find("/*") + 2 : text.find("*/")] if text.lstrip().startswith("/*") else text
    return yaml.load(held, Editor)


def files() -> Iterator[tuple[Kind, str]]:
    for kind, pattern in FILES.items():
        yield from ((kind, name) for name in sorted(FLIGHTS) if fnmatchcase(name, pattern))


@pytest.mark.parametrize(("kind", "name"), list(files()))
def test_every_file_of_the_example_is_valid(kind: Kind, name: str) -> None:
    assert [e.message for e in checker(kind).iter_errors(document(FLIGHTS[name]))] == []


def test_every_kind_of_file_has_a_schema_and_an_example() -> None:
    assert set(FILES) == set(KINDS) == {kind for kind, _ in files()}


@pytest.mark.parametrize(
    ("kind", "file", "old", "new"),
    [
        ("project", "interlock.yaml", "weight: 0.25", "weight: 2.5"),
        ("project", "interlock.yaml", "stages:", "stges:"),
        ("project", "interlock.yaml", "[data_steward]", "[data_stewart]"),
        ("table", "tables/wh_planes.yaml", "owner:", "ownr:"),
        ("table", "tables/wh_planes.yaml", "name: wh.planes", "name: planes"),
        ("table", "tables/raw_flights.yaml", "month: {type: integer}", "month: {type: int}"),
        ("table", "tables/wh_departures.yaml", "warn_after: 6h", "warn_after: 6 hours"),
        ("view", "features/origin_weather.sql", "ttl: 5h", "ttl: PT5H"),
        ("view", "features/origin_weather.sql", "entity:", "entiy:"),
        ("model", "models/late.yaml", "entry: late.py:train", "sed: 1"),
        ("model", "models/late.yaml", "metric: ece", "metric: auc"),
        ("service", "services/crew.yaml", "tier: 2", "tier: 9"),
        ("service", "services/crew.yaml", "better: higher", "better: more"),
        ("calendar", "calendar.yaml", "freezes:", "freeze:"),
        ("policy_tests", "policies/tests/change.yaml", "says: []}", "sais: []}"),
    ],
)
def test_a_planted_mistake_is_underlined_and_also_found_by_check(
    kind: Kind, file: str, old: str, new: str
) -> None:
    text = FLIGHTS[file].replace(old, new, 1)
    assert text != FLIGHTS[file]
    assert list(checker(kind).iter_errors(document(text))) != []
    if kind != "policy_tests":  # those are run, not read
        assert any(p.file == file for p in read({**FLIGHTS, file: text}).problems)


def test_a_table_in_the_open_standard_is_left_to_its_own_schema() -> None:
    assert list(checker("table").iter_errors({"apiVersion": "v3.1.0", "schema": []})) == []


def test_schemas_are_written_as_files(tmp_path: Path) -> None:
    written = list(schema_files(schemas_of(), tmp_path / "deep" / "er"))
    assert {path.name for path in written} == {f"{kind}.schema.json" for kind in KINDS}
    assert {path.name for path in (tmp_path / "deep" / "er").iterdir()} == {p.name for p in written}
    for path in written:
        jsonschema.Draft202012Validator.check_schema(json.loads(path.read_text()))


def test_a_misspelt_kind_names_the_nearest() -> None:
    with pytest.raises(NotFound, match="did you mean table"):
        schemas_of("tabel")
