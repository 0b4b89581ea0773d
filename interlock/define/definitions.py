"""What teams declare in files: tables, feature views, models, services.

Every definition knows the file and line it came from. Values only: nothing here
reads a file, and SQL is text that room `impact` understands.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from interlock.define.base import Declared, Definition, Name, TableName
from interlock.define.durations import Duration
from interlock.define.incremental import Incremental
from interlock.define.outside import Outside
from interlock.define.privacy import Classification
from interlock.define.refs import Ref
from interlock.define.schedules import Schedule

ValueType = Literal["boolean", "integer", "double", "string", "date", "timestamp"]
# `other`: a struct, a list, a time of day; carried and guarded, never computed with.
ColumnType = Literal["boolean", "integer", "double", "string", "date", "timestamp", "other"]


class Column(Definition):
    """One column of a contract. `unit` counts: changing it is a breaking change.

    `physical` is the engine's own type, as `INTEGER` or `VARCHAR(20)`: a contract that names
    it can be widened or narrowed within one `type`.
    """

    type: ColumnType
    physical: str | None = None
    unit: str | None = None
    nullable: bool = True
    unique: bool = False
    classification: Classification = "internal"
    description: str = ""


class CsvSource(Definition):
    """An external table read from a CSV file, path relative to the project."""

    csv: str
    nulls: tuple[str, ...] = ("NA", "")


class Push(Definition):
    """Rows arrive one by one, by HTTP or Python; so many megabytes may wait for the warehouse.

    What the warehouse has read stays on the disk for `keep`, and so does the memory of rows.
    """

    buffer_mb: float = Field(default=64, gt=0)
    keep: Duration = timedelta(days=7)


class Freshness(Definition):
    """How old the newest row may be before a warning and before an error."""

    warn_after: Duration
    error_after: Duration


class Arrival(Definition):
    """Rows are known `within` this long of their event; at least the share `at_least` of them.

    Looked at are the rows of the last `over`, a week at most: against the promise, and hour
    by hour against as many as were known at this time of the week in the weeks before.
    """

    within: Duration
    at_least: float = Field(default=0.95, gt=0, le=1)
    over: Duration = Field(default=timedelta(days=1), ge=timedelta(hours=1), le=timedelta(days=7))


class Check(Definition):
    """A SQL condition that every row must satisfy; `at_least` is the share that must."""

    name: Name
    sql: str
    at_least: float = 1.0


class Table(Declared):
    """A warehouse table: its contract, and either where it comes from or the SELECT that builds it.

    `event_time` and `available_at` name timestamp columns (UTC). Without
    `available_at` the table cannot be proven free of leaks: replay says `unprovable`.
    `refresh` is when its file is looked at again; unsaid, as the environment says.
    `stored_as` is a table that others fill, read where it stands and never written.
    `within` is where in its file it stands, `odcs` the document it was read from.
    """

    name: TableName
    within: tuple[str | int, ...] = Field(default=(), exclude=True)
    odcs: Mapping[str, Any] = Field(default_factory=dict, exclude=True)
    outside: Outside | None = Field(default=None, exclude=True)
    columns: Mapping[Name, Column]
    key: tuple[Name, ...] = ()
    event_time: Name | None = None
    available_at: Name | None = None
    source: CsvSource | None = None
    stored_as: TableName | None = None
    push: Push | None = None
    sql_file: str | None = None
    sql: str | None = None
    incremental: Incremental | None = None
    refresh: Schedule | None = None
    freshness: Freshness | None = None
    arrival: Arrival | None = None
    checks: tuple[Check, ...] = ()

    @property
    def ref(self) -> Ref:
        return Ref("table", self.name)


class Fallback(Definition):
    """What a feature answers when its row is missing or stale.

    A stale row is served up to `serve_stale_for` of age; past that, or with no row, `value`.
    """

    value: float | None = None
    serve_stale_for: Duration | None = None


class FeatureValue(Definition):
    """One value of a view. `range` is inclusive; `fallback` is rehearsed before release.

    With `last_known` the newest value within the TTL that is not NULL counts.
    """

    type: ValueType = "double"
    unit: str | None = None
    range: tuple[float, float] | None = None
    description: str = ""
    fallback: Fallback | None = None
    last_known: bool = False


class Deprecation(Definition):
    """After `date` the view may be retired; readers should move to `replacement`."""

    date: date
    replacement: str


class FeatureView(Declared):
    """A plain SELECT with a header: entity keys, `event_time`, then one column per feature.

    Where `available_at` is declared a row counts from then on; `availability: ignored` is
    the written opt-out, and then it only orders. Of rows with the same times the one with
    the highest `tie_break` wins.
    """

    view: Name
    version: int = Field(ge=1)
    entity: tuple[Name, ...] = Field(min_length=1)
    event_time: Name = "ts"
    available_at: Name | None = None
    availability: Literal["applied", "ignored"] = "applied"
    tie_break: Name | None = None
    ttl: Duration | None = None
    incremental: Incremental | None = None
    freshness: Freshness | None = None
    features: Mapping[Name, FeatureValue]
    deprecation: Deprecation | None = None
    sql: str

    @property
    def ref(self) -> Ref:
        return Ref("view", self.view, self.version)

    def feature_ref(self, name: str) -> Ref:
        return Ref("feature", self.view, self.version, name)


class Training(Definition):
    """How a model is trained: `entry` is `file.py:function` beside the model's file.

    Rows have the model's time in [start, end), UTC days.
    """

    entry: str
    start: date
    end: date
    seed: int = 1
    parameters: Mapping[str, Any] = Field(default_factory=dict)
    code: str = ""


class Evaluation(Definition):
    """Where challenger and incumbent meet: a later window, the slices, the margins.

    `margin` is the relative worsening of log-loss that is still accepted (0.02 = 2 %).
    `critical` are spine columns with values: rows of each must not be harmed in a rollout
    either, by `slice_margin`, however well everybody fares.
    """

    start: date
    end: date
    slices: tuple[str, ...] = ()
    critical: Mapping[Name, tuple[str | int | bool, ...]] = Field(default_factory=dict)
    margin: float = 0.02
    slice_margin: float = 0.10
    min_rows: int = 200
    min_positives: int = 20


class Label(Definition):
    """`sql` gives the spine's key, `available_at`, `column`, and whatever KPIs need beside it."""

    sql: str
    column: Name
    available_at: Name = "available_at"


class Trigger(Definition):
    """One reason to retrain: `ece` over a bound on a window of arrived labels, an age, or a time
    that has come (`schedule`, `at`), which is its own cool-down.
    """

    metric: Literal["ece", "age", "schedule"]
    over: float | None = None
    at: Schedule | None = None
    window: Duration = timedelta(days=7)
    min_rows: int = 1000
    cooldown: Duration = timedelta(days=14)

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if (self.metric == "schedule") != (self.at is not None):
            raise ValueError("`at` says when a trigger on `schedule` is due, and no other")
        return self


class Card(Definition):
    """The human half of a model card; a release without it is refused by policy."""

    intended_use: str = ""
    limits: str = ""


class Model(Declared):
    """A model: the spine it predicts for, its inputs in order, its label, how it is trained.

    `features` are `view@version:feature` texts, `request` are spine columns sent with the
    request; `categories` are those (of `request`) that are codes, not numbers.
    """

    model: Name
    spine: TableName
    key: Name
    time: Name
    features: tuple[str, ...]
    request: tuple[Name, ...] = ()
    categories: tuple[Name, ...] = ()
    label: Label
    training: Training
    evaluation: Evaluation
    triggers: tuple[Trigger, ...] = ()
    fallback_score: float | None = None
    card: Card = Card()

    @property
    def ref(self) -> Ref:
        return Ref("model", self.model)

    @property
    def feature_refs(self) -> tuple[Ref, ...]:
        return tuple(Ref.parse(f"feature:{text}") for text in self.features)

    @property
    def view_refs(self) -> tuple[Ref, ...]:
        """The views read, each once, in order of first use."""
        return tuple(dict.fromkeys(Ref("view", f.name, f.version) for f in self.feature_refs))


class Kpi(Definition):
    """A service's business number, per decision unit, as SQL over the relation `scored`.

    `scored` has every spine column, `p` (the score), and the label's columns. The SQL returns
    `unit`, `day`, `value` and optionally `weight` (then the KPI is sum(value) / sum(weight);
    else the mean of value). `margin` is the relative worsening that still passes.
    """

    name: Name
    sql: str
    better: Literal["lower", "higher"]
    margin: float = 0.02
    description: str = ""


class Decision(Definition):
    """A service acts on a unit from score `over` on.

    `margin` is how much more, or less, often it may act under another release, relatively.
    """

    over: float
    margin: float = Field(default=0.1, gt=0)


class Slo(Definition):
    """What callers are promised: share of requests answered without error, within `latency`."""

    latency: Duration = timedelta(milliseconds=250)
    availability: float = 0.999


class Service(Declared):
    """A service that acts on predictions. `decision_unit` are the spine columns of one decision."""

    service: Name
    models: tuple[Name, ...]
    decision_unit: tuple[Name, ...]
    tier: int = Field(default=2, ge=1, le=3)
    kpi: Kpi
    decision: Decision | None = None
    slo: Slo = Slo()
    contract: Mapping[str, Any] = Field(default_factory=dict)

    @property
    def ref(self) -> Ref:
        return Ref("service", self.service)
