"""Evidence, made layer by layer: data, feature, model, integration.

What stands on a layer that failed is not run: it would prove nothing, and cost a training. It
is written down as not run, which never passes, and is made once that layer passes or is waived.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from interlock.app import checks
from interlock.app.build import Builder, Say
from interlock.app.footing import footing, labelled_until, on_rows, queries_of, spine_sql
from interlock.app.inputs import inputs_of, reader_of, subjects_of
from interlock.app.modelchecks import KpiOnHistory, Scored, Side, comparison, kpi, null_rehearsal
from interlock.app.modelchecks import score_both as score
from interlock.app.replays import missingness
from interlock.app.reviews import prove_action
from interlock.app.versions import Version
from interlock.app.workspace import Workspace
from interlock.change.evidence import Evidence
from interlock.change.layers import LAYERS, Layer, in_layer
from interlock.change.review import ACTION
from interlock.define.definitions import Model, Service
from interlock.models.compare import Comparison
from interlock.ports import Json

PROVEN = LAYERS[:-1]
"""The layers that have checks; the release is proven by its rollout."""


@dataclass(frozen=True)
class Compared:
    """One model under both releases on the same rows, and the rows it stands on."""

    side: Side
    scored: Scored
    found: Comparison
    evidence: Evidence
    rows: Mapping[str, Json]


@dataclass(frozen=True)
class Measured:
    """What the judge has to know of one model: both releases on history, and the KPIs there."""

    scored: Scored
    compared: Comparison
    kpis: Mapping[str, KpiOnHistory]


@dataclass
class Gathering:
    """The checks of one plan being made. `new` has its models once its features have passed."""

    workspace: Workspace
    old: Version | None
    new: Version
    say: Say
    compared: dict[str, Compared] = field(default_factory=dict)
    kpis: dict[tuple[str, str], tuple[Evidence, KpiOnHistory]] = field(default_factory=dict)

    def inputs(self, check: str) -> dict[str, str]:
        """What decides `check` now, beside its rows."""
        return inputs_of(self.workspace, (self.old, self.new), check)

    def make(self, check: str) -> list[Evidence]:
        """One check, with what it was made from; nothing where there is nothing to ask."""
        inputs = self.inputs(check)
        return [replace(one, inputs=inputs) for one in self._made(check) if one is not None]

    def _made(self, check: str) -> list[Evidence | None]:
        kind, _, name = check.partition(":")
        if check.startswith(ACTION):
            self.say(f"checking {check}")
            return [prove_action(self._after, check)]
        match kind:
            case "contract":
                return [self._contract(check, name)]
            case "values" | "replay" | "missingness":
                return [self._feature(kind, name)]
            case "model_comparison":
                return [self.compare(name).evidence]
            case "null_rehearsal":
                one = self.compare(name)
                return [replace(null_rehearsal(one.side, one.scored), rows=one.rows)]
            case "kpi":
                service = self.new.project.services[name]
                return [self.kpi(service, model)[0] for model in service.models]
        return []

    @property
    def _after(self) -> Builder:
        return self.new.builder(self.workspace, self.say)

    def _contract(self, check: str, name: str) -> Evidence:
        self.say(f"checking {check}")
        after, now = self._after, self.workspace.now()
        contract = partial(checks.contract, after, self.new.project.tables[name], now)
        return on_rows([after], [f"SELECT * FROM {name}"], now, contract)

    def _feature(self, kind: str, name: str) -> Evidence | None:
        after, now, view = self._after, self.workspace.now(), self.new.project.views[name]
        model = reader_of(self.new, name)
        if kind == "values":
            if self.old is None:
                return None
            self.say(f"comparing values:{name}")
            before = self.old.builder(self.workspace, self.say)
            views = self.old.project.views[name], view
            under = [*(one.sql for one in views), *([spine_sql(model)] if model else [])]
            values = partial(checks.values, before, after, *views, model)
            return on_rows([before, after], under, now, values)
        asking = model or next(iter(self.new.project.models.values()), None)
        if asking is None:
            return None
        self.say(f"replaying {name}" if kind == "replay" else f"looking for gaps in {name}")
        prove = checks.replay if kind == "replay" else missingness
        under = [view.sql, *queries_of(self.new.project, asking)]
        return on_rows([after], under, now, partial(prove, after, view, asking))

    def compare(self, name: str) -> Compared:
        """The model `name` against the incumbent; scored once, whatever asks for it."""
        if name not in self.compared:
            self.compared[name] = self._compare(self.new.project.models[name])
        return self.compared[name]

    def _compare(self, model: Model) -> Compared:
        side = Side(self._after, model, self.new.models[model.model])
        self.say(f"comparing model:{model.model} with the incumbent")
        before = _incumbent(self.workspace, self.old, side, self.say)
        until = labelled_until(model.evaluation.end)
        rows = footing([side.builder], queries_of(self.new.project, model), until)
        theirs = queries_of(before.builder.project, before.model)
        rows |= footing([before.builder], theirs, until)
        scored = score(before, side)
        made, found = comparison(side, scored)
        return Compared(side, scored, found, replace(made, rows=rows), rows)

    def kpi(self, service: Service, model: str) -> tuple[Evidence, KpiOnHistory]:
        """The service's own number on history, under both releases of `model`."""
        if (service.service, model) not in self.kpis:
            one = self.compare(model)
            made, history = kpi(one.side, service, one.scored)
            self.kpis[service.service, model] = replace(made, rows=one.rows), history
        return self.kpis[service.service, model]


def _incumbent(workspace: Workspace, old: Version | None, new: Side, say: Say) -> Side:
    name = new.model.model
    if old is not None and name in old.models:
        return Side(old.builder(workspace, say), old.project.models[name], old.models[name])
    manifest = new.trained.manifest if new.trained else {}
    rate = manifest["positives"] / manifest["rows"] if manifest else 0.5
    return Side(new.builder, new.model, None, constant=rate)


# --- in their order -------------------------------------------------------------------

Standing = Callable[[str], Sequence[Evidence]]
"""By check, the pieces that need not be made again."""


@dataclass(frozen=True)
class Gathered:
    """What was `made` and what was `kept`. `stopped` is the layer that failed, `by` its checks."""

    made: tuple[Evidence, ...] = ()
    kept: tuple[Evidence, ...] = ()
    stopped: Layer | None = None
    by: tuple[str, ...] = ()

    def and_(self, later: Gathered) -> Gathered:
        """Both, where `later` was gathered on top."""
        made, held = (*self.made, *later.made), (*self.kept, *later.kept)
        return Gathered(made, held, later.stopped, later.by)


def gather(
    gathering: Gathering,
    required: Sequence[str],
    stands: Standing,
    waived: Callable[[str], bool],
    only: Sequence[Layer] = PROVEN,
) -> Gathered:
    """Every required check of `only` in the order of layers, until one of them failed."""
    found = Gathered()
    for layer in only:
        found = found.and_(_layer(gathering, in_layer(layer, required), stands))
        failed = [p.check for p in (*found.made, *found.kept) if p.verdict == "fail"]
        by = tuple(dict.fromkeys(check for check in failed if not waived(check)))
        if by:
            return replace(found, stopped=layer, by=by)
    return found


def _layer(gathering: Gathering, required: Sequence[str], stands: Standing) -> Gathered:
    made: list[Evidence] = []
    held: list[Evidence] = []
    for check in required:
        there = stands(check)
        held += there
        made += [] if there else gathering.make(check)
    return Gathered(tuple(made), tuple(held))


def behind(layer: Layer) -> tuple[Layer, ...]:
    """The layers that stand on `layer`."""
    return tuple(PROVEN[PROVEN.index(layer) + 1 :])


def not_run(gathering: Gathering, required: Sequence[str], found: Gathered) -> Iterator[Evidence]:
    """Word of every required check that stands on the layer that failed."""
    assert found.stopped is not None
    said = f"not run: {found.stopped} layer failed ({', '.join(found.by)}); it is run once that"
    said += " passes or is waived"
    for layer in behind(found.stopped):
        for check in in_layer(layer, required):
            yield Evidence(
                check=check, subjects=subjects_of(gathering.new, check), verdict="inconclusive",
                sentence=said, made_at=gathering.workspace.now(), not_run=found.stopped,
            )  # fmt: skip
