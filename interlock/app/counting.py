"""How the judge's buckets are counted from the prediction log, in the SQL of one engine.

A unit asked about twice in one rollout counts once, by its first answer. The unit is the
subject, not the request: what one subject was told in one bucket is one value, their mean.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from interlock.app.ingest import ANSWER, LOG, MIRRORED
from interlock.define.definitions import Model, Service
from interlock.features.dialect import DUCKDB, Dialect
from interlock.impact.sql import substitute

ARMS = ("stable", "candidate")
UNMIRRORED = "mirror_missing"
LABEL_WRONG = "label_wrong"  # given twice, or neither 0 nor 1
ARM_WRONG = "arm_wrong"  # said to be of the stable arm, and the candidate gave it
BOTH_ARMS = "both_arms"  # one subject that was answered by both
BUCKET_S = 3600
DAY_S = 86400
_SIDE = ("release", "score", "error", "us")


@dataclass(frozen=True)
class Measuring:
    """What one rollout is measured by: thresholds frozen before it started.

    `score_threshold` is the incumbent's p90; `slow_us` the promised latency; `kpi_weights`
    the mean weight of a unit, by service whose KPI is a share; `decisions` from which score
    on a service acts. `shown` says, of stages in which everybody sees one arm, which: the
    other is its mirrored answers. `now` decides which labels have arrived. `slices` are the
    metrics counted for each slice (`column=value`). `divided` are stages in which people see both
    arms, `seen` the services whose number is compared between these as well. `experiment` is the
    change under whose name answers were logged while this one was compared beside others.
    """

    model: Model
    services: tuple[Service, ...]
    now: datetime
    score_threshold: float | None
    slow_us: float | None
    maturity_s: float
    kpi_weights: Mapping[str, float]
    decisions: Mapping[str, float]
    change: str = ""
    release: str = ""
    experiment: str = ""
    shown: Mapping[str, str] = field(default_factory=dict)
    slices: Mapping[str, frozenset[str]] = field(default_factory=dict)
    divided: tuple[str, ...] = ()
    seen: frozenset[str] = frozenset()


def _as_one(condition: str) -> str:
    """1 where it is true, 0 where it is false; NULL stays NULL."""
    return f"CASE WHEN {condition} THEN 1 WHEN NOT ({condition}) THEN 0 END"


@dataclass(frozen=True)
class Counting:
    """What is asked of the log, in the SQL of one engine."""

    it: Measuring
    dialect: Dialect = field(default=DUCKDB)

    @property
    def both_sides(self) -> str:
        """Answers, each with what the other side would have said: for stable's answers that is
        this candidate, and no other that was compared with it; for a candidate's it is stable.

        Gateways log the other side on lines of its own; batch scoring has it beside the answer.
        """
        mine = f"release = {self.dialect.text(self.it.release)}"
        answer = ", ".join(f"a.{name}" for name in ANSWER)
        told = "".join(f"coalesce(m.{x}, a.mirror_{x}) AS mirror_{x}, " for x in _SIDE)
        # Equalities alone: engines join these by a hash, and anything else row by row.
        return (
            f"(SELECT {answer}, {told}coalesce(m.fallback, a.fallback) AS mirror_fallback "
            f"FROM {LOG} AS a LEFT JOIN (SELECT w.*, {mine} AS mine FROM {MIRRORED} AS w) AS m "
            "ON m.id = a.id AND m.mine = (a.arm = 'stable'))"
        )

    @property
    def within(self) -> str:
        """Which answers are of this rollout: of its candidate, and of the stable arm."""
        text = self.dialect.text
        mine = text(self.it.release)
        return (
            f"change IN ({self._changes}) AND model = {text(self.it.model.model)} AND "
            f"((arm = 'stable' AND release <> {mine}) OR (arm = 'candidate' AND release = {mine}))"
        )

    @property
    def _changes(self) -> str:
        named = {self.it.change, self.it.experiment or self.it.change}
        return ", ".join(self.dialect.text(one) for one in sorted(named))

    @property
    def first(self) -> str:
        """One row per unit and stage: its first answer in this rollout."""
        return (
            "first AS (SELECT * FROM (SELECT p.*, row_number() OVER (PARTITION BY stage, key "
            f"ORDER BY served_at, id) AS place FROM {self.both_sides} AS p "
            f"WHERE {self.within}) AS ranked WHERE place = 1)"
        )

    @property
    def shown(self) -> str:
        """The arm that everybody sees in the stage of a row; '' where it depends."""
        text = self.dialect.text
        cases = [f"WHEN {text(s)} THEN {text(a)}" for s, a in self.it.shown.items()]
        return f"(CASE stage {' '.join(cases)} ELSE '' END)" if cases else "''"

    @property
    def unit(self) -> str:
        """Who was asked about; the key stands in for a subject that nobody named."""
        return f"coalesce(subject, {self.dialect.cast('key', 'string')}) AS unit"

    @property
    def arms(self) -> str:
        """Both arms of every unit as rows: where everybody sees one, the other is mirrored.

        Scoring alone takes less time than an answer: after the ramp it stands for no latency.
        """
        shown = self.shown
        seen = f"""SELECT stage, asked_at, key, {self.unit}, arm, score, error, fallback,
            latency_us AS us, {shown} = '' AS divided
            FROM first WHERE {shown} IN ('', arm)"""
        mirrored = f"""SELECT stage, asked_at, key, {self.unit},
            CASE arm WHEN 'stable' THEN 'candidate' ELSE 'stable' END, mirror_score, mirror_error,
            mirror_fallback, CASE arm WHEN 'stable' THEN mirror_us END, false
            FROM first WHERE {shown} = arm AND mirror_release IS NOT NULL"""
        return f"{self.first}, arms AS ({seen} UNION ALL {mirrored})"

    def group(self, metric: str, value: str, source: str, arm: str = "arm",
              bucket: int = BUCKET_S) -> str:  # fmt: skip
        seconds = self.dialect.epoch.format(x="asked_at")
        return (
            f"SELECT stage, '{metric}' AS metric, arm, bucket, count(*) AS n, sum(v) AS total, "
            f"sum(v * v) AS squares FROM (SELECT stage, {arm} AS arm, unit, "
            f"floor({seconds} / {bucket}) * {bucket} AS bucket, avg({value}) AS v "
            f"FROM {source} GROUP BY 1, 2, 3, 4) AS told WHERE v IS NOT NULL GROUP BY 1, 2, 3, 4"
        )

    @property
    def _subjects(self) -> str:
        """Once per stage: somebody who asks all day is one throw of the coin."""
        return (
            "(SELECT stage, arm, unit, min(asked_at) AS asked_at FROM arms "
            "GROUP BY stage, arm, unit) AS subjects"
        )

    @property
    def answers(self) -> str:
        it = self.it
        metrics = {"errors": _as_one("error"), "fallbacks": _as_one("fallback")}
        metrics |= {"slow": _as_one(f"us > {it.slow_us}")} if it.slow_us else {}
        # Nobody waits for a row that is scored in batch.
        waited = {"slow": "arms WHERE us IS NOT NULL"}
        parts = [
            self.group(name, value, waited.get(name, "arms")) for name, value in metrics.items()
        ]
        parts.append(self.group("units", "1.0", self._subjects))
        parts.append(self.group("log_latency", "ln(us)", "arms WHERE divided AND us > 0"))
        if it.score_threshold is not None:
            shift = _as_one(f"score > {it.score_threshold}")
            parts.append(self.group("score_shift", shift, "arms WHERE score IS NOT NULL"))
        return f"WITH {self.arms} " + " UNION ALL ".join(parts)

    @property
    def twice(self) -> str:
        """Answers whose other side should have been scored too, and how many have none."""
        missing = _as_one("mirror_release IS NULL")
        asked = (
            f"(SELECT stage, asked_at, {self.unit}, arm, mirror_release FROM first "
            f"WHERE {self.shown} = arm) AS asked"
        )
        return f"WITH {self.first} {self.group(UNMIRRORED, missing, asked)}"

    @property
    def astray(self) -> str:
        """Subjects that both arms answered where they should be divided; answers that are logged
        under an arm that cannot have given them."""
        told = f"(SELECT stage, asked_at, {self.unit}, arm FROM first WHERE {self.shown} = '') AS t"
        each = (
            "(SELECT stage, unit, 'stable' AS arm, min(asked_at) AS asked_at, "
            f"count(DISTINCT arm) AS arms FROM {told} GROUP BY stage, unit) AS each"
        )
        mine = self.dialect.text(self.it.release)
        odd = (
            f"(SELECT stage, asked_at, id AS unit, arm FROM {LOG} WHERE arm = 'stable' AND "
            f"release = {mine} AND change IN ({self._changes})) AS odd"
        )
        both = self.group(BOTH_ARMS, _as_one("arms > 1"), each)
        return f"WITH {self.first} {both} UNION ALL {self.group(ARM_WRONG, '1', odd)}"

    @property
    def decided(self) -> str:
        """For how many more units the candidate would act, service by service."""
        over = "(CASE WHEN {side} >= {limit} THEN 1 ELSE 0 END)"
        parts = []
        for service, limit in self.it.decisions.items():
            old, new = (over.format(side=f"{arm}_score", limit=limit) for arm in ARMS)
            parts.append(self.group(f"decisions:{service}", f"{new} - {old}", "pairs", "'paired'"))
        return f"WITH {self.first}, {self.pairs} " + " UNION ALL ".join(parts)

    @property
    def pairs(self) -> str:
        """Units scored by both releases, whichever of them was shown."""
        return f"""pairs AS (SELECT stage, asked_at, key, {self.unit},
            CASE WHEN arm = 'stable' THEN score ELSE mirror_score END AS stable_score,
            CASE WHEN arm = 'stable' THEN mirror_score ELSE score END AS candidate_score
            FROM first WHERE score IS NOT NULL AND mirror_score IS NOT NULL)"""

    @property
    def label(self) -> str:
        return substitute(self.it.model.label.sql, {}, self.dialect.name)

    @property
    def arrived(self) -> str:
        """Labels known by now of keys that were answered (`first`): `labels` those that are one
        clear answer, `unclear` others.

        Of two labels of one key nobody can tell which is true, and what is neither 0 nor 1 is
        no outcome. Neither is judged.
        """
        q, label = self.dialect.quoted, self.it.model.label
        known = f"{q(label.available_at)} <= {self.dialect.instant(self.it.now)}"
        alone = f"count(*) OVER (PARTITION BY y.{q(self.it.model.key)}) = 1"
        # A column of its own: of a condition like this Postgres expects a row in 20,000 to hold,
        # and then joins by going through all of them again for each answer.
        clear = f"(y.{q(label.column)} IN (0, 1) AND {alone}) AS is_clear"
        return (
            f"known AS (SELECT y.*, {clear} FROM ({self.label}) AS y "
            f"WHERE {known} AND {q(label.column)} IS NOT NULL "
            f"AND y.{q(self.it.model.key)} IN (SELECT f.key FROM first AS f)), "
            "labels AS (SELECT * FROM known WHERE is_clear), "
            f"unclear AS (SELECT DISTINCT {q(self.it.model.key)} FROM known WHERE NOT is_clear)"
        )

    def ago(self, length: timedelta) -> str:
        return self.dialect.instant(self.it.now - length)

    @property
    def labels(self) -> str:
        q = self.dialect.quoted
        y, key = q(self.it.model.label.column), q(self.it.model.key)
        loss = f"CASE WHEN l.{y} = 1 THEN -ln({{p}}) ELSE -ln(1 - {{p}}) END"
        clipped = "least(greatest({}, 1e-4), 1 - 1e-4)"
        own = loss.format(p=clipped.format("a.score"))
        stable, candidate = (
            loss.format(p=clipped.format(f"a.{s}")) for s in ("stable_score", "candidate_score")
        )
        ripe = f"asked_at < {self.ago(timedelta(seconds=self.it.maturity_s))}"
        missing = _as_one("missing")
        return f"""WITH {self.arms}, {self.arrived}, {self.pairs},
            judged AS (SELECT a.*, {own} AS loss FROM arms a JOIN labels l ON l.{key} = a.key
                       WHERE a.score IS NOT NULL AND {ripe}),
            paired AS (SELECT a.*, ({candidate}) - ({stable}) AS diff
                       FROM pairs a JOIN labels l ON l.{key} = a.key WHERE {ripe}),
            odd AS (SELECT stage, asked_at, arm, {self.unit} FROM first
                    WHERE key IN (SELECT u.{key} FROM unclear AS u)),
            came AS (SELECT a.*, l.{key} IS NULL AS missing FROM arms a
                     LEFT JOIN labels l ON l.{key} = a.key WHERE {ripe})
            {self.group("log_loss", "loss", "judged")}
            UNION ALL {self.group("log_loss_paired", "diff", "paired", "'paired'")}
            UNION ALL {self.group("label_missing", missing, "came")}
            UNION ALL {self.group(LABEL_WRONG, "1", "odd")}"""

    def kpi(self, service: Service, labelled: Mapping[str, str]) -> str:
        """The KPI of whole decision units under either release's scores, differenced per unit.

        Only days that are over and whose labels are due: half a unit is not a unit. A share
        is differenced at the planned mean weight, so that the mean is the change of the share.
        `labelled` are the columns of a label.
        """
        it, dialect = self.it, self.dialect
        sides = {
            side: self._units(service, labelled, f"SELECT key, {side} AS p FROM pairs")
            for side in ("stable_score", "candidate_score")
        }
        over = self.ago(timedelta(days=1, seconds=it.maturity_s))
        weight = it.kpi_weights.get(service.service, 1.0)
        metric = f"kpi:{service.service}"
        day, stamp = dialect.cast("asked_at", "date"), dialect.cast("units.day", "timestamp")
        last = f"row_number() OVER (PARTITION BY {day} ORDER BY asked_at DESC, stage)"
        return f"""WITH {self.first}, {self.pairs}, {self.arrived},
            ranked AS (SELECT {day} AS day, stage, {last} AS place FROM pairs),
            stages AS (SELECT day, stage FROM ranked WHERE place = 1),
            units AS (SELECT o.unit, o.day, (n.value - o.value) / {weight} AS diff
                      FROM {sides["stable_score"]} AS o JOIN {sides["candidate_score"]} AS n
                      ON o.unit = n.unit AND o.day = n.day WHERE o.day < {over}),
            staged AS (SELECT diff, {stamp} AS asked_at, stage, unit
                       FROM units LEFT JOIN stages ON stages.day = units.day
                       WHERE diff IS NOT NULL)
            {self.group(metric, "diff", "staged WHERE stage IS NOT NULL", "'paired'", DAY_S)}"""

    def kpi_seen(self, service: Service, labelled: Mapping[str, str], stage: str) -> str:
        """The KPI of the units that saw each arm in `stage`: what came of it, not what would have.

        Only where one unit is one subject, so that all of it saw one arm.
        """
        it, dialect = self.it, self.dialect
        over = self.ago(timedelta(days=1, seconds=it.maturity_s))
        weight = it.kpi_weights.get(service.service, 1.0)
        sides = {
            arm: self._units(
                service, labelled, "SELECT key, score AS p FROM arms WHERE score IS NOT NULL "
                f"AND arm = '{arm}' AND stage = {dialect.text(stage)}",
            )
            for arm in ARMS
        }  # fmt: skip
        units = " UNION ALL ".join(
            f"SELECT {dialect.text(stage)} AS stage, '{arm}' AS arm, u.unit, u.value / {weight} "
            f"AS value, {dialect.cast('u.day', 'timestamp')} AS asked_at FROM {side} AS u "
            f"WHERE u.day < {over}"
            for arm, side in sides.items()
        )
        counted = self.group(f"kpi:{service.service}", "value", "units", bucket=DAY_S)
        return f"WITH {self.arms}, {self.arrived}, units AS ({units}) {counted}"

    def _units(self, service: Service, labelled: Mapping[str, str], rows: str) -> str:
        """The KPI's SQL over whole decision units, scored as `rows` (key, p) say."""
        model, dialect = self.it.model, self.dialect
        key = dialect.quoted(model.key)
        outcome = "".join(f", y.{dialect.quoted(n)}" for n in labelled if n != model.key)
        said = substitute(service.kpi.sql, {}, dialect.name)
        return f"""(WITH scored AS (SELECT s.*, x.p{outcome} FROM ({rows}) AS x
            JOIN {model.spine} AS s ON s.{key} = x.key
            JOIN labels AS y ON y.{key} = x.key) SELECT * FROM ({said}) AS k)"""


@dataclass(frozen=True)
class CountingWithin(Counting):
    """The same of the units of one slice: those whose row of the spine is `where`."""

    where: str = "TRUE"

    @property
    def first(self) -> str:
        key = self.dialect.quoted(self.it.model.key)
        mine = f"SELECT s.{key} FROM {self.it.model.spine} AS s WHERE {self.where}"
        every = super().first.replace("first AS", "everybody AS", 1)
        return f"{every}, first AS (SELECT e.* FROM everybody AS e WHERE e.key IN ({mine}))"


@dataclass(frozen=True)
class CountingHalves(Counting):
    """One release's answers since some time, its subjects put in two arms by a hash."""

    since: datetime = field(default=datetime.min)

    @property
    def first(self) -> str:
        it = self.it
        return (
            f"first AS (SELECT p.* FROM {LOG} AS p WHERE release = '{it.release}' "
            f"AND model = '{it.model.model}' AND asked_at >= {self.dialect.instant(self.since)})"
        )

    @property
    def arms(self) -> str:
        halved = f"""SELECT '' AS stage, asked_at, key, {self.unit},
            CASE WHEN substr(md5(coalesce(subject, '')), 1, 1) < '8' THEN 'candidate'
            ELSE 'stable' END AS arm, score, error, fallback, latency_us AS us, true AS divided"""
        return f"{self.first}, arms AS ({halved} FROM first)"
