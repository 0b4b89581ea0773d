"""What is kept of a project changes how long it takes to learn it, and nothing else."""

from __future__ import annotations

import json
import random
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest
from test_queries import PAIRS, PROMISES, SCHEMA

import interlock
from bench.estate import Size, edited, make, write
from interlock.app.files import read_folder
from interlock.app.kept import KeptFolder, made_by
from interlock.app.planning import plan_now
from interlock.app.workspace import Workspace
from interlock.define.digest import digest_bytes
from interlock.define.load import read
from interlock.define.project import Project
from interlock.errors import Invalid
from interlock.impact.facts import Facts, learn
from interlock.impact.graph import owner_node
from interlock.impact.kept import Kept
from interlock.impact.query import QueryFacts
from interlock.impact.sql import understand

SMALL = Size(sources=6, tables=40, views=6, features=2, models=4, services=2, layers=8)
FLIGHTS = Path(interlock.__file__).parents[1] / "examples" / "flights"


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("estate")
    write(make(SMALL), folder)
    return dict(read_folder(folder))


@pytest.fixture
def folder(tmp_path: Path, texts: dict[str, str]) -> Path:
    """The estate on disk, with a state folder and a full cache."""
    write(make(SMALL), tmp_path)
    (tmp_path / ".interlock").mkdir()
    looked_at(tmp_path)
    return tmp_path


def looked_at(folder: Path) -> tuple[Project, Facts]:
    """As another process would see the folder."""
    workspace = Workspace(folder, looking=True)
    return workspace.project, workspace.facts


def fresh(texts: dict[str, str]) -> tuple[Project, Facts]:
    reading = read(texts)
    assert reading.project is not None, reading.problems
    return reading.project, learn(reading.project)[0]


def learnt(sql: str, kept: Kept) -> QueryFacts:
    return understand(sql, SCHEMA, promises=PROMISES, kept=kept)


def test_what_is_known_and_promised_of_tables_is_part_of_the_question() -> None:
    kept, sql = Kept(), "SELECT DISTINCT flight_id, origin AS o FROM wh.departures"
    other = {**SCHEMA, "wh.departures": {**SCHEMA["wh.departures"], "origin": "integer"}}
    for promises in (PROMISES, {}):
        for schema in (SCHEMA, other, {}):
            for dialect in ("duckdb", "postgres"):
                asked = (sql, schema, dialect, promises)
                assert understand(*asked, kept=kept) == understand(*asked)


def again(kept: Kept) -> Kept:
    """As it comes back from a file."""
    return Kept(orjson.loads(orjson.dumps(kept.plain)))


# --- equal ---------------------------------------------------------------------------


def test_queries_come_back_as_they_were_understood() -> None:
    kept, queries = Kept(), [sql for pair in PAIRS for sql in (pair.old, pair.new)]
    plain = [understand(sql, SCHEMA, promises=PROMISES) for sql in queries]
    assert [learnt(sql, kept) for sql in queries] == plain
    back = again(kept)
    known = len(back.plain)
    found = [learnt(sql, back) for sql in queries]
    assert found == plain
    assert [f.parts for f in found] == [f.parts for f in plain]
    places = [[c.at for c in facts.columns] for facts in found]
    assert places == [[c.at for c in facts.columns] for facts in plain]
    assert (len(back.plain), back.more) == (known, False), "nothing had to be worked out again"


@pytest.mark.parametrize("name", ["estate", "flights"])
def test_a_project_means_the_same_with_a_cache(name: str, texts: dict[str, str]) -> None:
    chosen = texts if name == "estate" else dict(read_folder(FLIGHTS))
    project = read(chosen).partial
    kept = Kept()
    first, back = learn(project, kept), learn(project, again(kept))
    assert first == back == learn(project) == learn(project, kept)


def test_a_project_comes_back_whole_from_its_file(folder: Path, texts: dict[str, str]) -> None:
    kept = KeptFolder(folder / ".interlock")
    project = kept.project(texts)
    assert project == read(texts).project
    assert project is not None
    assert project.texts == texts
    assert {t.file for t in project.tables.values()} == {
        name for name in texts if name.startswith("tables/") and name.endswith(".yaml")
    }


def test_any_series_of_edits_is_seen_as_if_it_were_the_first(
    folder: Path, texts: dict[str, str]
) -> None:
    chance, now = random.Random(5), dict(texts)
    for _ in range(12):
        name = chance.choice([n for n in now if n.startswith("tables/wh") and "sql" in n])
        now[name] = edited(now[name])
        if chance.random() < 0.3:
            view = chance.choice([n for n in now if n.startswith("features/")])
            now[view] = now[view].replace("kind <> 'x'", "kind <> 'y'")
        if chance.random() < 0.3:
            contract = chance.choice([n for n in now if n.startswith("tables/raw")])
            now[contract] = now[contract].replace("region: {type: string", "region: {type: date")
        for file in (name for name in now if now[name] != (folder / name).read_text()):
            (folder / file).write_text(now[file])
        assert looked_at(folder) == fresh(now)


def test_a_change_of_the_parents_schema_reaches_the_children(
    folder: Path, texts: dict[str, str]
) -> None:
    before = looked_at(folder)[1]
    contract = "tables/raw_s000.yaml"
    retyped = texts[contract].replace("v0: {type: double}", "v0: {type: integer}")
    (folder / contract).write_text(retyped)
    after = looked_at(folder)[1]
    assert after == fresh({**texts, contract: retyped})[1]
    readers = [e.reader for e in after.edges if e.source == "column:raw.s000.v0"]
    assert readers
    tables = {owner_node(reader) for reader in readers}
    moved = {n for n in after.nodes if after.nodes[n].query != before.nodes[n].query}
    assert moved <= tables | {"table:raw.s000"}
    assert any(after.nodes[n].fingerprint != before.nodes[n].fingerprint for n in tables)


def test_a_problem_is_told_with_and_without_a_cache(folder: Path, texts: dict[str, str]) -> None:
    name = "tables/wh_t0010.sql"
    wrong = texts[name].replace("available_at", "availble_at")
    (folder / name).write_text(wrong)
    told = []
    for _ in range(2):
        with pytest.raises(Invalid) as raised:
            looked_at(folder)
        told.append(raised.value.problems)
    reading = read({**texts, name: wrong})
    assert told[0] == told[1] == learn(reading.partial)[1]
    view = "features/f000.sql"
    (folder / name).write_text(texts[name])
    (folder / view).write_text(texts[view].partition("*/")[0] + "*/\n")
    with pytest.raises(Invalid, match="has no SELECT"):
        looked_at(folder)


# --- files that are not what they should be --------------------------------------------


def spoilt(data: bytes) -> Iterator[bytes]:
    """Torn, edited, emptied, somebody else's."""
    yield from (b"", b"{}", data[: len(data) // 2], data[:-1], b"\x00" * 100, data + b" ")
    chance = random.Random(3)
    for _ in range(5):
        at = chance.randrange(len(data))
        yield data[:at] + bytes([data[at] ^ (1 << chance.randrange(8))]) + data[at + 1 :]
    yield sealed(b"0" * 64, data.split(b"\n", 2)[2])
    for held in (b"[]", b"null", b"{", b'{"name": "x"}', b'{"queries": 3}', b"\xff"):
        yield sealed(made_by().encode(), held)


def sealed(by: bytes, held: bytes) -> bytes:
    rest = by + b"\n" + held
    return digest_bytes(rest).encode() + b"\n" + rest


def files(folder: Path) -> list[Path]:
    found = sorted((folder / ".interlock").iterdir())
    assert [file.name[:5] for file in found] == ["facts", "proje"]
    return found


def test_a_spoilt_file_is_as_good_as_none_and_written_again(
    folder: Path, texts: dict[str, str]
) -> None:
    right = fresh(texts)
    for file in files(folder):
        data = file.read_bytes()
        for wrong in spoilt(data):
            file.write_bytes(wrong)
            assert looked_at(folder) == right
            assert file.read_bytes() == data or file.name.startswith("facts")
            assert looked_at(folder) == right
            assert len(files(folder)) == 2, "and nothing is left beside"


@pytest.mark.parametrize("junk", [None, [], {}, "x", 3, [1, 2], [True, None], [[], [], 1]])
def test_misshapen_facts_under_a_right_digest_are_worked_out_again(
    junk: object, folder: Path, texts: dict[str, str]
) -> None:
    file = folder / ".interlock" / "facts.json"
    held = json.loads(file.read_bytes().split(b"\n", 2)[2])
    file.write_bytes(sealed(made_by().encode(), orjson.dumps(dict.fromkeys(held, junk))))
    assert looked_at(folder) == fresh(texts)


def test_another_version_of_the_rules_finds_nothing(folder: Path, tmp_path: Path) -> None:
    package = Path(interlock.__file__).parent
    other = tmp_path / "other" / "interlock"
    for room in ("define", "impact"):
        shutil.copytree(package / room, other / room)
    (other / "app").mkdir()
    shutil.copy(package / "app" / "kept.py", other / "app")
    made_by.cache_clear()
    assert made_by(other) == made_by()
    nodes = other / "impact" / "nodes.py"
    raised = re.sub(r'^RULES = "(\d+)"', r'RULES = "\g<1>0"', nodes.read_text(), flags=re.MULTILINE)
    assert raised != nodes.read_text()
    nodes.write_text(raised)
    made_by.cache_clear()
    assert made_by(other) != made_by()
    file = folder / ".interlock" / "facts.json"
    held = file.read_bytes().split(b"\n", 2)[2]
    file.write_bytes(sealed(made_by(other).encode(), held))
    assert KeptFolder(folder / ".interlock").facts.plain == {}


# --- where nothing can be kept -----------------------------------------------------------


def test_who_only_looks_makes_no_state_folder(tmp_path: Path, texts: dict[str, str]) -> None:
    write(make(SMALL), tmp_path)
    before = set(tmp_path.rglob("*"))
    assert looked_at(tmp_path) == fresh(texts)
    assert set(tmp_path.rglob("*")) == before


def test_a_state_folder_that_cannot_be_written_to_is_no_mistake(
    tmp_path: Path, texts: dict[str, str]
) -> None:
    write(make(SMALL), tmp_path)
    (tmp_path / ".interlock").write_text("a file, where nobody can make files")
    assert looked_at(tmp_path) == fresh(texts)
    assert (tmp_path / ".interlock").read_text() == "a file, where nobody can make files"


def test_what_nobody_asks_for_any_more_is_forgotten(folder: Path, texts: dict[str, str]) -> None:
    name = "tables/wh_t0005.sql"
    for _ in range(60):
        texts = {**texts, name: edited(texts[name])}
        (folder / name).write_text(texts[name])
        held = Workspace(folder, looking=True)
        held.learn({**texts})
    used = KeptFolder(folder / ".interlock").facts.plain
    assert len(used) <= 2 * len(fresh_keys(texts))
    for at in range(6):
        contract = "tables/raw_s001.yaml"
        (folder / contract).write_text(
            texts[contract].replace("Layer 0", f"Version {at} of layer 0")
        )
        looked_at(folder)
    assert len(list((folder / ".interlock").glob("project-*.json"))) == 4


def fresh_keys(texts: dict[str, str]) -> dict[str, object]:
    kept = Kept()
    learn(read(texts).partial, kept)
    return kept.plain


def test_a_plan_is_the_same_with_and_without_a_cache(folder: Path) -> None:
    warm = plan_now(Workspace(folder, looking=True)).to_json()
    for file in files(folder):
        file.unlink()
    cold = plan_now(Workspace(folder, looking=True)).to_json()
    assert {**warm, "slot": None} == {**cold, "slot": None}
