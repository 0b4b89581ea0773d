"""Do the definitions of a project fit together? Every name that is read must be declared."""

from __future__ import annotations

import posixpath
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from interlock.define.base import Declared
from interlock.define.calendar import Recurring
from interlock.define.definitions import FeatureView, Model, Service, Table
from interlock.define.environment import Environment, narrowings
from interlock.define.held import Things, things
from interlock.define.messages import mistakes
from interlock.define.notifications_check import notification_problems
from interlock.define.privacy_check import privacy_problems
from interlock.define.project import Project
from interlock.define.refs import Ref
from interlock.define.schema import did_you_mean, near
from interlock.define.yaml import Document, Path
from interlock.errors import Problem, Unusable

T = TypeVar("T", bound=Declared)
_MAIN = "interlock.yaml"


@dataclass(frozen=True)
class _Scope:
    """A project, its lines, and what could not be read of it: one mistake makes one problem.

    A name that stands in a file with a problem (`hidden`) is not missing. In a folder with
    such a file (`broken`) a name is only reported when it is nearly one that is known.
    """

    project: Project
    documents: Mapping[str, Document]
    broken: frozenset[str]
    hidden: frozenset[str]

    def at(self, file: str, path: Path, message: str, fix: str) -> Problem:
        document = self.documents.get(file)
        return Problem(file, document.line(path) if document else 1, message, fix)

    def known(
        self,
        file: str,
        path: Path,
        wanted: str,
        known: Collection[str],
        what: str,
        folder: str = "",
    ) -> Iterator[Problem]:
        """A problem unless `wanted` is among `known`, which are declared in `folder`."""
        if wanted in known:
            return  # before a word is looked for that is near: that takes long
        fix = did_you_mean(wanted, known)
        follows = folder in self.broken and not near(fix)
        if not follows and not (folder and wanted in self.hidden):
            yield self.at(file, path, f"no {what} {wanted}", fix)


def check(
    project: Project, documents: Mapping[str, Document], earlier: Sequence[Problem] = ()
) -> list[Problem]:
    """Everything in `project` that names something which is not there, or contradicts itself."""
    broken = frozenset(posixpath.dirname(problem.file) or problem.file for problem in earlier)
    scope = _Scope(project, documents, broken, hidden_in(documents, earlier))
    found = [*_calendar(scope)]
    if not {"tables", _MAIN} & broken:
        found += privacy_problems(project, documents.get(_MAIN))
    if _MAIN not in broken:
        found += notification_problems(project, documents.get(_MAIN))
    for name, environment in project.environments.items():
        found += _environment(scope, name, environment)
    for table in _unproven(scope, things(project.tables), found):
        found += [*_table(scope, table), *_pushed(scope, table)]
        found += [*_incremental(scope, table), *_refresh(scope, table)]
    for view in _unproven(scope, things(project.views), found):
        found += _view(scope, view)
    for view in project.views.values():
        found += _deprecation(scope, view)
    for model in project.models.values():
        found += [*_owner(scope, model), *_model(scope, model)]
    for service in project.services.values():
        found += [*_owner(scope, service), *_service(scope, service)]
    return found


def _unproven(scope: _Scope, named: Things[T], found: list[Problem]) -> Iterator[T]:
    """Those that were not kept. Of what was, only the team is asked: the teams may be others now.

    So what is checked of these may look at nothing but the definition itself.
    """
    teams = {owner.name for owner in scope.project.owners}
    for held in named.every():
        if not held.kept or held.says("owner") not in teams:
            found += _owner(scope, held.thing)
        if not held.kept:
            yield held.thing


def hidden_in(documents: Mapping[str, Document], earlier: Iterable[Problem]) -> frozenset[str]:
    """Names that are declared in files with a problem, as far as they can be made out."""
    files = {problem.file for problem in earlier}
    said = [document.value for file, document in documents.items() if file in files]
    names = {str(one[key]) for one in said for key in ("name", "model", "service") if key in one}
    views = {f"{one['view']}@{one.get('version')}" for one in said if "view" in one}
    teams = (one["owners"] for one in said if isinstance(one.get("owners"), dict))
    return frozenset({*names, *views, *(team for held in teams for team in held)})


def _owner(scope: _Scope, thing: Declared) -> Iterator[Problem]:
    if isinstance(thing, Table) and thing.outside:
        return  # the team that answers for all of them is checked where it is named
    teams = [owner.name for owner in scope.project.owners]
    path: Path = (*_within(thing), "owner")
    yield from scope.known(thing.file, path, thing.owner, teams, "team", _MAIN)


def _within(thing: Declared) -> Path:
    return thing.within if isinstance(thing, Table) else ()


def _pushed(scope: _Scope, table: Table) -> Iterator[Problem]:
    """Rows that arrive need a key, a time, and a column for when they arrived."""
    times = {"event_time": table.event_time, "available_at": table.available_at}
    asked: list[tuple[str, str, Mapping[str, object]]] = []
    if table.push is not None:
        asked.append(("push", "takes pushed rows", {"key": table.key, **times}))
    if table.arrival is not None:
        asked.append(("arrival", "promises when rows arrive", times))
    for setting, does, needed in asked:
        for name in (name for name, said in needed.items() if not said):
            message = f"{table.name} {does} and declares no {name}"
            yield scope.at(table.file, (*table.within, setting), message, f"add {name}: <column>")


def _incremental(scope: _Scope, table: Table) -> Iterator[Problem]:
    """Only rows that a query makes, and that have a time, can be made again in part."""
    lacking = [n for n, said in (("sql", table.sql), ("event_time", table.event_time)) if not said]
    if table.incremental and lacking:
        message = f"{table.name} is incremental and has no {' and no '.join(lacking)}"
        fix = "leave incremental out: files are compared as a whole"
        yield scope.at(table.file, (*table.within, "incremental"), message, fix)


def _refresh(scope: _Scope, table: Table) -> Iterator[Problem]:
    """Only a file is looked at again: what stands on it follows, and pushed rows just come."""
    if table.refresh is not None and table.source is None:
        message = f"{table.name} has a schedule of refresh, and is read from no file"
        fix = "write `refresh` at the tables with a `source` that it stands on"
        yield scope.at(table.file, (*table.within, "refresh"), message, fix)


def _table(scope: _Scope, table: Table) -> Iterator[Problem]:
    if table.outside:
        return  # its columns are only known when its SQL is understood
    named: list[tuple[Path, str | None]] = []
    named += [(("key", i), name) for i, name in enumerate(table.key)]
    named += [(("event_time",), table.event_time), (("available_at",), table.available_at)]
    for path, name in named:
        if name is not None:
            yield from scope.known(
                table.file, (*table.within, *path), name, table.columns, "column"
            )
    for name in filter(None, (table.event_time, table.available_at)):
        column = table.columns.get(name)
        if column and column.type not in ("timestamp", "date"):
            path = (*table.within, "columns", name, "type")
            yield scope.at(table.file, path, f"{name} is a {column.type}", "a time is a timestamp")


def _view(scope: _Scope, view: FeatureView) -> Iterator[Problem]:
    ordering = (view.event_time, view.available_at, view.tie_break)
    for name in view.features:
        if name in (*view.entity, *ordering):
            message = f"{name} is both a feature and a key or the time"
            yield scope.at(view.file, ("features", name), message, "give the feature its own name")
    if view.availability == "ignored" and view.available_at is None:
        message = "availability is ignored, and no available_at is declared"
        yield scope.at(view.file, ("availability",), message, "declare it, or remove this line")
    for name, value in view.features.items():
        if value.range and value.range[0] > value.range[1]:
            path: Path = ("features", name, "range")
            yield scope.at(view.file, path, f"the range of {name} is empty", "write [low, high]")


def _deprecation(scope: _Scope, view: FeatureView) -> Iterator[Problem]:
    if view.deprecation:
        path: Path = ("deprecation", "replacement")
        wanted, views = view.deprecation.replacement, scope.project.views
        yield from scope.known(view.file, path, wanted, views, "view", "features")


def _model(scope: _Scope, model: Model) -> Iterator[Problem]:
    yield from _features(scope, model)
    yield from scope.known(
        model.file, ("spine",), model.spine, scope.project.tables, "table", "tables"
    )
    yield from _spine_columns(scope, model)
    for i, name in enumerate(model.categories):
        yield from scope.known(model.file, ("categories", i), name, model.request, "request column")
    yield from _windows(scope, model)


def _spine_columns(scope: _Scope, model: Model) -> Iterator[Problem]:
    spine = scope.project.tables.get(model.spine)
    if spine is None or spine.outside:
        return
    named: list[tuple[Path, str]] = [(("key",), model.key), (("time",), model.time)]
    named += [(("request", i), name) for i, name in enumerate(model.request)]
    named += [(("evaluation", "critical", name), name) for name in model.evaluation.critical]
    for path, name in named:
        yield from scope.known(model.file, path, name, spine.columns, f"column of {spine.name}")
    for name, values in model.evaluation.critical.items():
        path = ("evaluation", "critical", name)
        if name in spine.columns and spine.columns[name].type not in _FILTERED:
            yield scope.at(model.file, path, f"{name} has no one form as text", _TEXT)
        if not values:
            yield scope.at(model.file, path, "no value is critical", "list at least one")


def _features(scope: _Scope, model: Model) -> Iterator[Problem]:
    views = scope.project.views
    for i, text in enumerate(model.features):
        path: Path = ("features", i)
        try:
            ref = Ref.parse(f"feature:{text}")
        except Unusable:
            ref = Ref("feature", text)
        if ref.version is None or ref.part is None:
            yield scope.at(model.file, path, f"{text!r} names no feature", "write view@1:feature")
            continue
        view = views.get(f"{ref.name}@{ref.version}")
        if view is None:
            wanted = f"{ref.name}@{ref.version}"
            yield from scope.known(model.file, path, wanted, views, "view", "features")
        else:
            what = f"feature of {view.view}@{view.version}"
            yield from scope.known(model.file, path, ref.part, view.features, what)
            value = view.features.get(ref.part)
            if value is not None and value.type in ("string", "other"):
                # Trained on text and asked without it: the skew that no metric shows.
                message = f"{text} is a {value.type}, and the online store holds numbers"
                fix = "send it as a `request` column, or encode it in the view"
                yield scope.at(model.file, path, message, fix)


def _windows(scope: _Scope, model: Model) -> Iterator[Problem]:
    training, evaluation = model.training, model.evaluation
    for part, window in (("training", training), ("evaluation", evaluation)):
        if window.start >= window.end:
            message = f"{part} ends on {window.end}, before it starts"
            yield scope.at(model.file, (part, "end"), message, "the end is the first day left out")
    if evaluation.start < training.end:
        # Judged on rows it was trained on, every model looks good.
        message = f"evaluation starts on {evaluation.start}, inside the training window"
        fix = f"start it on {training.end} or later"
        yield scope.at(model.file, ("evaluation", "start"), message, fix)


def _service(scope: _Scope, service: Service) -> Iterator[Problem]:
    models = scope.project.models
    for i, name in enumerate(service.models):
        yield from scope.known(service.file, ("models", i), name, models, "model", "models")
    for place, message, fix in mistakes(scope.project, service):
        yield scope.at(service.file, place, message, fix)
    columns = _spines(scope.project, service.models)
    for i, name in enumerate(service.decision_unit):
        if columns:
            path: Path = ("decision_unit", i)
            yield from scope.known(service.file, path, name, columns, "spine column")


def _environment(scope: _Scope, name: str, environment: Environment) -> Iterator[Problem]:
    base: Path = ("environments", name)
    columns = _spines(scope.project, scope.project.models)
    for i, column in enumerate(environment.subject):
        if columns:
            path = (*base, "subject", i)
            yield from scope.known(_MAIN, path, column, columns, "spine column")
    for i, mixed in enumerate(environment.mixed_decisions):
        path, services = (*base, "mixed_decisions", i, "service"), scope.project.services
        yield from scope.known(_MAIN, path, mixed.service, services, "service", "services")
    weights = [stage.weight for stage in environment.stages]
    if weights != sorted(weights) or not weights:
        message = "the stages of a rollout never send fewer subjects than the one before"
        yield scope.at(_MAIN, (*base, "stages"), message, "order them by weight, shadow (0) first")
    yield from _filters(scope, base, environment)
    if problem := _unwalkable(environment):
        yield scope.at(_MAIN, (*base, "strategy"), *problem)
    if environment.arms > 1 and environment.strategy != "ab":
        message = f"{environment.arms} arms, and the strategy is {environment.strategy}"
        yield scope.at(_MAIN, (*base, "arms"), message, "only `strategy: ab` has several arms")
    stages = [stage.name for stage in environment.stages]
    for i in (i for i, stage in enumerate(stages) if stage in stages[:i]):
        path = (*base, "stages", i, "name")
        yield scope.at(_MAIN, path, f"a second stage {stages[i]}", "give it another name")


_FILTERED = frozenset(("string", "integer", "boolean", "date", "timestamp"))
_TEXT = "name a column of text, whole numbers, booleans, dates or instants"


def _filters(scope: _Scope, base: Path, environment: Environment) -> Iterator[Problem]:
    """Whom a stage lets in must be told alike by every door, and nobody is sent back."""
    columns = _spines(scope.project, scope.project.models)
    types = _types(scope.project)
    for i, stage in enumerate(environment.stages):
        path: Path = (*base, "stages", i, "only")
        for column in stage.only:
            if columns:
                yield from scope.known(_MAIN, (*path, column), column, columns, "spine column")
            if odd := types.get(column, _FILTERED) - _FILTERED:
                message = f"{column} is {', '.join(sorted(odd))}: it has no one form as text"
                yield scope.at(_MAIN, (*path, column), message, _TEXT)
            if column not in environment.subject and not _a_row_each(scope.project, environment):
                message = (
                    f"a subject may be let in by one row and not by another: {column} is not in it"
                )
                yield scope.at(_MAIN, (*path, column), message, "name columns of the subject")
            if not stage.only[column]:
                yield scope.at(_MAIN, (*path, column), "no value is let in", "list at least one")
    for said in narrowings(environment.walked):
        yield scope.at(
            _MAIN,
            (*base, "stages"),
            said,
            "let in as many as the stage before, and everybody in the last",
        )


def _a_row_each(project: Project, environment: Environment) -> bool:
    """Whether each row is a subject of its own, so that it says one thing of itself."""
    keys = {model.key for model in project.models.values()}
    return bool(keys) and keys <= set(environment.subject)


def _types(project: Project) -> dict[str, frozenset[str]]:
    """The declared types of each spine column."""
    found: dict[str, frozenset[str]] = {}
    for model in project.models.values():
        table = project.tables.get(model.spine)
        for name, column in table.columns.items() if table else ():
            found[name] = found.get(name, frozenset()) | {column.type}
    return found


def _unwalkable(environment: Environment) -> tuple[str, str] | None:
    """What a strategy is made of must be declared, or it would begin with everybody."""
    weights = [stage.weight for stage in environment.stages]
    if environment.strategy == "shadow" and 0 not in weights:
        return "the strategy is shadow, and no stage mirrors", "add a stage with weight: 0"
    if environment.strategy == "ab" and not any(0 < weight < 1 for weight in weights):
        return "the strategy is ab, and no stage divides", "add a stage with weight: 0.5"
    return None


def _calendar(scope: _Scope) -> Iterator[Problem]:
    calendar = scope.project.calendar
    known: dict[str, Sequence[Recurring]] = {
        "freezes": calendar.freezes, "allows": calendar.allows, "absences": calendar.absences,
    }  # fmt: skip
    for key, windows in known.items():
        for i, window in enumerate(windows):
            said = _interval(key.removesuffix("s"), window)
            if said:
                where = (key, i, "start")
                yield scope.at(calendar.file, where, said, "write 2013-07-03T00:00:00")
    people = {person for owner in scope.project.owners for person in owner.people}
    for i, absence in enumerate(calendar.absences):
        path = ("absences", i, "person")
        yield from scope.known(calendar.file, path, absence.person, people, "person", "people")


def _interval(kind: str, window: Recurring) -> str:
    name = f"{kind} {getattr(window, 'name', '') or getattr(window, 'person', '')}"
    try:
        start, end = (datetime.fromisoformat(text) for text in (window.start, window.end))
    except ValueError as error:
        return f"{name}: {error}"
    if start.tzinfo or end.tzinfo:
        return f"{name}: local times carry no offset; `timezone` says where"
    return "" if start < end else f"{name} ends before it starts"


def _spines(project: Project, models: Iterable[str]) -> set[str]:
    """Columns of the spines of `models`; none when one is known only by its SQL."""
    held = (project.models.get(name) for name in models)
    tables = [project.tables.get(model.spine) for model in held if model]
    if any(table.outside for table in tables if table):
        return set()
    return {column for table in tables if table for column in table.columns}
