"""Does the SQL of a project say what its definitions promise? Every problem, at its line."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from interlock.define.base import Declared
from interlock.define.definitions import FeatureView, Model, Service, Table
from interlock.define.held import things
from interlock.define.memory import Memory
from interlock.define.project import Project
from interlock.define.schema import did_you_mean, near
from interlock.errors import Problem
from interlock.impact.asked import understand
from interlock.impact.known import Known
from interlock.impact.query import QueryFacts
from interlock.impact.understood import Understood, models_of

_KPI = ("unit", "day", "value")


@dataclass(frozen=True)
class _Page:
    """A file with a definition in it, to find the line where something is written."""

    file: str
    text: str
    line: int

    def sql_line(self, sql: str, line: int) -> int:
        """The line of the file where line `line` of `sql` stands."""
        lines = [part.strip() for part in sql.splitlines()] or [""]
        wanted = lines[min(max(line, 1), len(lines)) - 1]
        first = next((at for at in self._lines(lines[0]) if lines[0]), self.line)
        return next((at for at in self._lines(wanted) if at >= first), first)

    def word(self, word: str) -> int:
        """The first line with `word` on it, from the definition on; its own line if none has."""
        whole = re.compile(rf"(?<!\w){re.escape(word)}(?!\w)")
        rows = enumerate(self.text.splitlines(), 1)
        found = [at for at, row in rows if word and whole.search(row)]
        return next((at for at in found if at >= self.line), (found or [self.line])[0])

    def _lines(self, wanted: str) -> Iterator[int]:
        for at, row in enumerate(self.text.splitlines(), 1):
            if wanted and wanted in row.strip():
                yield at

    def problem(self, word: str, message: str, fix: str = "") -> Problem:
        return Problem(self.file, self.word(word), message, fix)

    def known(self, name: str, names: Collection[str], what: str) -> Iterator[Problem]:
        if name not in names:
            yield self.problem(name, f"no {what} {name}", did_you_mean(name, names))

    def sql(self, sql: str, facts: QueryFacts) -> Iterator[Problem]:
        for error in facts.errors:
            yield Problem(self.file, self.sql_line(sql, error.line), error.message, error.fix)

    def produces(self, name: str, facts: QueryFacts, what: str) -> Iterator[Problem]:
        """A problem unless the query has an output `name`; silent when it is not understood."""
        if facts.unknown or name in facts.by_name:
            return
        fix = did_you_mean(name, facts.by_name)
        slip = fix.removeprefix("did you mean ").rstrip("?") if near(fix) else ""
        if slip and any(slip in error.message for error in facts.errors):
            return  # the query has the slip, and says so itself
        yield self.problem(name, f"{what} {name} is not selected", fix)


def check(known: Known, kept: Memory) -> tuple[Problem, ...]:
    """Everything wrong, sorted by file and line.

    Of what was kept nothing was wrong, and it is not looked at again: so what is checked of a
    thing may only look at what its key covers (`Known`), and at the teams.
    """
    project, understood = known.project, known.understood
    found = [*_owners(project)]
    for name in known.fresh:
        kind, _, plain = name.partition(":")
        if kind == "table":
            table = project.tables[plain]
            found += _table(project, table, understood)
            found += _checks(_page(project, table), table, kept)
        elif kind == "view":
            found += _view(project, project.views[plain], understood.of(name))
        elif kind == "model":
            found += _model(project, project.models[plain], understood.of(name))
        else:
            found += _service(project, project.services[plain], understood.of(name))
    found += _cycles(project, known.rings)
    return tuple(sorted(set(found)))


def _page(project: Project, thing: Declared) -> _Page:
    return _Page(thing.file, project.texts.get(thing.file, ""), thing.line)


def _owners(project: Project) -> Iterator[Problem]:
    teams = [owner.name for owner in project.owners]
    for named in (project.tables, project.views, project.models, project.services):
        for held in things(named).every():
            # Tables of another tool have a team that is checked where it is named.
            if held.says("owner") not in teams and not held.says("outside"):
                yield from _page(project, held.thing).known(held.thing.owner, teams, "team")


def _table(project: Project, table: Table, understood: Understood) -> Iterator[Problem]:
    page = _page(project, table)
    for name in filter(None, (*table.key, table.event_time, table.available_at)):
        yield from page.known(name, table.columns, "column")
    facts = understood.facts(str(table.ref))
    if facts is not None and table.sql:
        yield from _sql_page(project, table, table.sql).sql(table.sql, facts)
        for name in table.columns:
            yield from page.produces(name, facts, "column")


def _checks(page: _Page, table: Table, kept: Memory) -> Iterator[Problem]:
    """Conditions of a contract may only name its own columns."""
    schema = {table.name: {name: column.type for name, column in table.columns.items()}}
    for rule in table.checks:
        sql = f"SELECT 1 AS one FROM {table.name} WHERE ({rule.sql})"
        facts = understand(sql, schema, kept=kept)
        for error in facts.errors:
            yield page.problem(rule.name, f"check {rule.name}: {error.message}", error.fix)


def _sql_page(project: Project, table: Table, sql: str) -> _Page:
    """Where a table's SQL is written: its own file beside the contract, or the contract."""
    names = [table.sql_file or "", f"{table.file.rpartition('/')[0]}/{table.sql_file}"]
    file = next((name for name in names if name in project.texts), table.file)
    return _Page(file, project.texts.get(file, ""), 1 if file != table.file else table.line)


def _view(project: Project, view: FeatureView, facts: QueryFacts) -> Iterator[Problem]:
    page = _page(project, view)
    body = _Page(page.file, _without_header(page.text), page.line)
    yield from body.sql(view.sql, facts)
    for name in view.entity:
        yield from page.produces(name, facts, "entity column")
    yield from _order(page, view, facts)
    for name in view.features:
        yield from page.produces(name, facts, "feature")
    if facts.unknown and not facts.errors:
        order = {view.event_time, view.available_at or "", view.tie_break or ""} - {""}
        missing = {*view.entity, *order, *view.features} - set(facts.by_name)
        for name in sorted(missing) if facts.columns else ():
            yield page.problem(name, f"{name} is not selected", "")


def _order(page: _Page, view: FeatureView, facts: QueryFacts) -> Iterator[Problem]:
    """The columns that decide which row is the newest, and that engines agree on their order."""
    named = {"event time": view.event_time, "available time": view.available_at}
    for what, name in ((what, name) for what, name in named.items() if name):
        yield from page.produces(name, facts, what)
        time = facts.by_name.get(name)
        if time and time.type not in (None, "timestamp"):
            yield page.problem(
                time.name, f"{what} {name} is a {time.type}", "it must be a timestamp"
            )
    if view.tie_break:
        yield from page.produces(view.tie_break, facts, "tie-break")
        tie = facts.by_name.get(view.tie_break)
        if tie and tie.type in ("string", "boolean", "other"):
            message = f"tie-break {tie.name} is a {tie.type}, which engines sort differently"
            yield page.problem(tie.name, message, "use a number or a time, as a sequence number")


def _without_header(text: str) -> str:
    """The file with its header blanked, so that a word of it is not taken for SQL."""
    end = text.find("*/")
    return text if end < 0 else "\n" * text[:end].count("\n") + text[end + 2 :]


def _model(project: Project, model: Model, label: QueryFacts) -> Iterator[Problem]:
    page = _page(project, model)
    yield from page.sql(model.label.sql, label)
    for name in (model.key, model.label.available_at, model.label.column):
        yield from page.produces(name, label, "label column")
    yield from page.known(model.spine, project.tables, "table")
    yield from _inputs(project, model, page)
    spine = project.tables.get(model.spine)
    if spine is None:
        return
    for name in (model.key, model.time, *model.request):
        yield from page.known(name, spine.columns, f"column of {model.spine}")
    views = (project.views.get(f"{ref.name}@{ref.version}") for ref in model.view_refs)
    for view in filter(None, views):
        for name in view.entity:
            what = f"column of {model.spine}, the entity of {view.view}@{view.version}:"
            yield from page.known(name, spine.columns, what)


def _inputs(project: Project, model: Model, page: _Page) -> Iterator[Problem]:
    for ref in model.feature_refs:
        name = f"{ref.name}@{ref.version}"
        view = project.views.get(name)
        if view is None:
            yield from page.known(name, project.views, "view")
        else:
            yield from page.known(ref.part or "", view.features, f"feature of {name}:")
    for name in model.categories:
        yield from page.known(name, model.request, "request column")


def _service(project: Project, service: Service, kpi: QueryFacts) -> Iterator[Problem]:
    page = _page(project, service)
    for name in service.models:
        yield from page.known(name, project.models, "model")
    if not models_of(project, service):
        return  # without a model nobody can say what `scored` holds
    yield from page.sql(service.kpi.sql, kpi)
    for name in _KPI:
        yield from page.produces(name, kpi, f"kpi {service.kpi.name}: column")
    spines: Mapping[str, Table] = project.tables
    columns = {
        column
        for model in models_of(project, service)
        if model.spine in spines
        for column in spines[model.spine].columns
    }
    for name in service.decision_unit if columns else ():
        yield from page.known(name, columns, "spine column")


def _cycles(project: Project, rings: Iterable[tuple[str, ...]]) -> Iterator[Problem]:
    for ring in rings:
        names = [address.partition(":")[2] for address in ring]
        table = project.tables[names[0]]
        message = f"tables read each other: {' -> '.join(names)}"
        yield Problem(table.file, table.line, message, "break the ring at one of them")
