"""What is kept of a project changes how long it takes to learn it, and nothing else."""

from __future__ import annotations

import contextlib
import json
import random
import re
import shutil
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
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
from interlock.define.memory import Memory
from interlock.define.project import Project
from interlock.errors import Invalid
from interlock.impact.asked import understand
from interlock.impact.facts import Facts, learn
from interlock.impact.nodes import owner_node
from interlock.impact.query import QueryFacts

SMALL = Size(sources=6, tables=40, views=6, features=2, models=4, services=2, layers=8)
Edit = Callable[[dict[str, str], random.Random], None]
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
    """As if nothing had been kept."""
    reading = read(texts)
    assert reading.project is not None, reading.problems
    return reading.project, learn(reading.project)[0]


def told(folder: Path, texts: dict[str, str]) -> tuple[object, ...]:
    """What is said of the folder with all that is kept, and from its texts alone."""
    found: list[object] = []
    for workspace in (Workspace(folder, looking=True), Alone(folder, looking=True)):
        try:
            project, facts = workspace.learn(texts)
            found.append((project, whole(facts)))
        except Invalid as error:
            found.append(error.problems)
    return tuple(found)


class Alone(Workspace):
    """A workspace that remembers nothing."""

    @property
    def kept(self) -> KeptFolder:
        return KeptFolder(Path("nowhere"))


def learnt(sql: str, kept: Memory) -> QueryFacts:
    return understand(sql, SCHEMA, promises=PROMISES, kept=kept)


def test_what_is_known_and_promised_of_tables_is_part_of_the_question() -> None:
    kept, sql = Memory(), "SELECT DISTINCT flight_id, origin AS o FROM wh.departures"
    other = {**SCHEMA, "wh.departures": {**SCHEMA["wh.departures"], "origin": "integer"}}
    for promises in (PROMISES, {}):
        for schema in (SCHEMA, other, {}):
            for dialect in ("duckdb", "postgres"):
                asked = (sql, schema, dialect, promises)
                assert understand(*asked, kept=kept) == understand(*asked)


def again(kept: Memory) -> Memory:
    """As it comes back from a file."""
    plain = {**{key: kept.plain[key] for key in kept.old()}, **kept.new()}
    return Memory(orjson.loads(orjson.dumps(plain)))


def whole(facts: Facts) -> tuple[object, ...]:
    """All of them, with what equality leaves out."""
    return (
        facts,
        facts.edges,
        {name: node.thing for name, node in facts.nodes.items()},
        {name: facts.nodes.features(node.ref) for name, node in facts.nodes.items()
         if node.ref.kind == "view"},
        list(facts.nodes.order),
    )  # fmt: skip


# --- equal ---------------------------------------------------------------------------


def test_queries_come_back_as_they_were_understood() -> None:
    kept, queries = Memory(), [sql for pair in PAIRS for sql in (pair.old, pair.new)]
    plain = [understand(sql, SCHEMA, promises=PROMISES) for sql in queries]
    assert [learnt(sql, kept) for sql in queries] == plain
    back = again(kept)
    found = [learnt(sql, back) for sql in queries]
    assert found == plain
    assert [f.parts for f in found] == [f.parts for f in plain]
    places = [[c.at for c in facts.columns] for facts in found]
    assert places == [[c.at for c in facts.columns] for facts in plain]
    assert not back.more, "nothing had to be worked out again"


@pytest.mark.parametrize("name", ["estate", "flights"])
def test_a_project_means_the_same_with_a_cache(name: str, texts: dict[str, str]) -> None:
    chosen = texts if name == "estate" else dict(read_folder(FLIGHTS))
    plain, kept = read(chosen).partial, Memory()
    right = whole(learn(plain)[0])
    first = read(chosen, memory=kept).partial
    assert whole(learn(first, kept)[0]) == right
    back = again(kept)
    second = read(chosen, memory=back).partial
    facts, problems = learn(second, back)
    assert not facts.nodes.fresh, "nothing had to be worked out again"
    assert (whole(facts), problems) == (right, ())
    assert (second, second.texts) == (plain, chosen)
    assert not back.more


def test_a_project_comes_back_whole_from_its_file(folder: Path, texts: dict[str, str]) -> None:
    kept = KeptFolder(folder / ".interlock").memory
    found, right = read(texts, memory=kept).project, read(texts).project
    assert found is not None
    assert right is not None
    assert found == right
    for kind in ("tables", "views", "models", "services"):
        for name, thing in getattr(right, kind).items():
            again_ = getattr(found, kind)[name]
            assert (again_.file, again_.line) == (thing.file, thing.line)
            assert again_.model_fields_set == thing.model_fields_set
            assert getattr(found, kind).held(name).kept


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


def swap(pattern: str, old: str, new: str) -> Edit:
    """Replace a text in one of the files of a kind, wherever it stands."""

    def edit(texts: dict[str, str], chance: random.Random) -> None:
        names = [n for n in sorted(texts) if fnmatchcase(n, pattern) and old in texts[n]]
        if names:
            name = chance.choice(names)
            texts[name] = texts[name].replace(old, new, 1)

    return edit


def factor(texts: dict[str, str], chance: random.Random) -> None:
    name = chance.choice([n for n in sorted(texts) if fnmatchcase(n, "tables/wh_*.sql")])
    with contextlib.suppress(ValueError):
        texts[name] = edited(texts[name])


def removed(texts: dict[str, str], chance: random.Random) -> None:
    del texts[chance.choice([n for n in sorted(texts) if "/" in n])]


def renamed(texts: dict[str, str], chance: random.Random) -> None:
    name = chance.choice([n for n in sorted(texts) if n.endswith(".yaml") and "/" in n])
    texts[name.replace(".yaml", "_x.yaml")] = texts.pop(name)


def copied(texts: dict[str, str], chance: random.Random) -> None:
    name = chance.choice([n for n in sorted(texts) if n.startswith(("tables/", "features/"))])
    texts[name.replace(".", "_again.", 1)] = texts[name]


def added(texts: dict[str, str], chance: random.Random) -> None:
    columns = "  id: {type: integer}\n  v: {type: double}\n"
    at, below = chance.randrange(9), chance.randrange(40)
    head = f"name: wh.new{at}\nowner: data-eng\nevent_time: null\ncolumns:\n{columns}"
    texts[f"tables/new{at}.yaml"] = f"{head}sql: SELECT id, 1.5 AS v FROM wh.t{below:04d}\n"


def calendar(texts: dict[str, str], chance: random.Random) -> None:
    day = chance.randrange(1, 9)
    texts["calendar.yaml"] = (
        f"freezes:\n  - name: f\n    start: 2026-01-0{day}T00:00:00\n"
        f"    end: 2026-01-05T00:00:00\n    reason: rest\n    timezone: UTC\n"
    )


def policy(texts: dict[str, str], chance: random.Random) -> None:
    texts["policies/a.cedar"] = f"permit (principal, action, resource); // {chance.random()}"


EDITS: list[Edit] = [
    factor, factor, removed, renamed, copied, added, calendar, policy,
    swap("tables/wh_*.sql", "SELECT", "-- why\nSELECT"),
    swap("tables/wh_*.sql", "WHERE", "WHERE 1 = 1 AND"),
    swap("tables/wh_*.sql", "id", "idd"),
    swap("tables/wh_*.sql", "FROM", "FROM ("),
    swap("tables/wh_*.sql", "FROM raw.s000", "FROM raw.s001"),
    swap("tables/*.yaml", "Layer", "Level"),
    swap("tables/*.yaml", "type: double", "type: integer"),
    swap("tables/*.yaml", "type: double", "type: double, unit: m"),
    swap("tables/*.yaml", "type: double", "type: dubble"),
    swap("tables/*.yaml", "nullable: false", "nullable: true"),
    swap("tables/*.yaml", "owner: data-eng", "owner: product"),
    swap("tables/*.yaml", "owner: data-eng", "owner: nobody"),
    swap("tables/*.yaml", "event_time: ts", "event_time: tss"),
    swap("tables/*.yaml", "columns:", "checks: [{name: c, sql: id > 0}]\ncolumns:"),
    swap("tables/*.yaml", "columns:", "checks: [{name: c, sql: idd > 0}]\ncolumns:"),
    swap("features/*.sql", "ttl: 7d", "ttl: 9d"),
    swap("features/*.sql", "/*", "\n/*"),
    swap("features/*.sql", "view: f000", "view: f009"),
    swap("features/*.sql", "entity: [id]", "entity: [ts]"),
    swap("features/*.sql", "kind <> 'x'", "kind <> 'y'"),
    swap("features/*.sql", "*/", "deprecation: {date: 2027-01-01, replacement: f001@1}\n*/"),
    swap("features/*.sql", "*/", "deprecation: {date: 2027-01-01, replacement: f009@1}\n*/"),
    swap("models/train.py", "return", "return 1 or"),
    swap("models/train.py", "raise", "x = 1\n    raise"),
    swap("models/train.py", "def train", "def trained"),
    swap("models/*.yaml", "> 10", "> 11"),
    swap("models/*.yaml", "fallback_score: 0.5", "fallback_score: 0.4"),
    swap("models/*.yaml", "key: id", "key: idd"),
    swap("services/*.yaml", "p >= 0.5", "p >= 0.4"),
    swap("services/*.yaml", "model000", "model009"),
    swap("services/*.yaml", "tier: 2", "tier: 3"),
    swap("interlock.yaml", "  product:", "  products:"),
    swap("interlock.yaml", "weight: 0.5", "weight: 0.4"),
    swap("interlock.yaml", "  data-eng:", "  data-engineers:"),
    swap("interlock.yaml", "subject: [id]", "subject: [idd]"),
    swap("interlock.yaml", "subject: [id]", "refresh: 1h\n    subject: [id]"),
    swap("tables/raw*.yaml", "columns:", "refresh: 2h\ncolumns:"),
]  # fmt: skip


@pytest.mark.parametrize("seed", range(3))
def test_after_any_edit_all_is_said_as_if_it_were_read_for_the_first_time(
    seed: int, folder: Path, texts: dict[str, str]
) -> None:
    chance, now, refused = random.Random(seed), dict(texts), 0
    for _ in range(20):
        before = dict(now)
        for edit in chance.sample(EDITS, chance.choice((1, 1, 2, 3))):
            edit(now, chance)
        kept, alone = told(folder, now)
        assert kept == alone
        if not isinstance(kept[0], Project):  # type: ignore[index]  # problems, which must not pile up
            now, refused = before, refused + 1
    assert 2 < refused < 18


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
    made, index, entries = parts(data)
    yield sealed(b"0" * 64, index, entries)
    for wrong in (b"[]", b"null", b"{", b'{"name": "x"}', b'{"a": 9999999}', b"\xff", b'{"a": -1}'):
        yield sealed(made, wrong, entries)
    yield sealed(made, index, entries[: len(entries) // 2])
    yield sealed(made, index, entries[1:] + b"x")


def parts(data: bytes) -> tuple[bytes, bytes, bytes]:
    """Who made it, where each entry stands, the entries."""
    _, made, index, entries = data.split(b"\n", 3)
    return made, index, entries


def sealed(*held: bytes) -> bytes:
    rest = b"\n".join(held)
    return digest_bytes(rest).encode() + b"\n" + rest


def files(folder: Path) -> list[Path]:
    found = sorted((folder / ".interlock").iterdir())
    assert [file.name for file in found] == ["facts.json"]
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
            assert looked_at(folder) == right
            assert len(files(folder)) == 1, "and nothing is left beside"


def test_what_is_new_goes_behind_the_file_and_a_torn_end_harms_nothing(
    folder: Path, texts: dict[str, str]
) -> None:
    name = "tables/wh_t0005.sql"
    file = folder / ".interlock" / "facts.json"
    before = file.read_bytes()
    texts = {**texts, name: edited(texts[name])}
    (folder / name).write_text(texts[name])
    right = fresh(texts)
    assert looked_at(folder) == right
    after = file.read_bytes()
    assert after.startswith(before)
    assert len(before) < len(after) < len(before) * 1.5
    for torn in (after[:-1], after[: len(before) + 40], after + b"x", after + after[:99]):
        file.write_bytes(torn)
        known = KeptFolder(folder / ".interlock").memory.plain
        assert len(known) >= len(parts_index(before)), "what stands before it is believed"
        assert looked_at(folder) == right
    file.write_bytes(after[: len(before) + 40])
    assert looked_at(folder) == right
    assert looked_at(folder) == right
    assert file.read_bytes() != after[: len(before) + 40]
    assert set(KeptFolder(folder / ".interlock").memory.plain) >= set(parts_index(after))


def parts_index(data: bytes) -> dict[str, int]:
    """Keys and lengths of the first part."""
    index: dict[str, int] = json.loads(parts(data)[1])
    return index


def test_two_that_plan_at_one_time_both_keep_what_they_found(
    folder: Path, texts: dict[str, str]
) -> None:
    found = []
    for name in ("tables/wh_t0005.sql", "tables/wh_t0030.sql"):
        other = {**texts, name: edited(texts[name])}
        found.append((other, Workspace(folder, looking=True)))
    for _, workspace in found:
        assert workspace.kept.memory.plain, "both have read the file before either writes"
    for other, workspace in found:
        workspace.learn(other)
    for other, _ in found:
        again = KeptFolder(folder / ".interlock").memory
        assert learn(read(other, memory=again).partial, again)[0] == fresh(other)[1]
    assert len(files(folder)) == 1


@pytest.mark.parametrize("junk", [None, [], {}, "x", 3, [1, 2], [True, None], [[], [], 1]])
def test_misshapen_facts_under_a_right_digest_are_worked_out_again(
    junk: object, folder: Path, texts: dict[str, str]
) -> None:
    file = folder / ".interlock" / "facts.json"
    made, index, _ = parts(file.read_bytes())
    wrong = orjson.dumps(junk)
    lengths = dict.fromkeys(json.loads(index), len(wrong))
    file.write_bytes(sealed(made, orjson.dumps(lengths), wrong * len(lengths)))
    assert looked_at(folder) == fresh(texts)


@pytest.mark.parametrize("kind", ["print", "node"])
def test_half_of_what_is_kept_of_a_node_is_as_good_as_none(
    kind: str, folder: Path, texts: dict[str, str]
) -> None:
    kept = KeptFolder(folder / ".interlock").memory
    plain = {key: [] if key.startswith(kind) else kept.plain[key] for key in kept.plain}
    half = Memory(plain)
    project = read(texts, memory=half).partial
    assert whole(learn(project, half)[0]) == whole(fresh(texts)[1])


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
    _, *held = parts(file.read_bytes())
    file.write_bytes(sealed(made_by(other).encode(), *held))
    assert dict(KeptFolder(folder / ".interlock").memory.plain) == {}


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
    for _ in range(25):
        texts = {**texts, name: edited(texts[name])}
        (folder / name).write_text(texts[name])
        held = Workspace(folder, looking=True)
        held.learn({**texts})
    used = KeptFolder(folder / ".interlock").memory.plain
    assert len(used) <= 2 * len(again(learnt_whole(texts)).plain)
    assert learn(read(texts, memory=Memory(used)).partial, Memory(used))[0] == fresh(texts)[1]


def learnt_whole(texts: dict[str, str]) -> Memory:
    kept = Memory()
    learn(read(texts, memory=kept).partial, kept)
    return kept


def test_a_plan_is_the_same_with_and_without_a_cache(folder: Path) -> None:
    warm = plan_now(Workspace(folder, looking=True)).to_json()
    for file in files(folder):
        file.unlink()
    cold = plan_now(Workspace(folder, looking=True)).to_json()
    assert {**warm, "slot": None} == {**cold, "slot": None}
