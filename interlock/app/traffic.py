"""Recorded traffic played against a running gateway in accelerated time.

One request per spine row at its prediction time (a step of a few minutes is one batch),
features pushed online up to exactly that moment, labels arriving when they really did.
Every service acts on the same answers; each step one of the subjects is also asked for
through the flags, once per service, to see that all of them get the same release.
"""

from __future__ import annotations

import http.client
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import orjson

from interlock.app.feed import Feeder, live_lookups
from interlock.app.workspace import Workspace
from interlock.define.definitions import Model
from interlock.define.keys import entity_key
from interlock.define.refs import Ref
from interlock.errors import Refused, Unavailable
from interlock.features.dialect import dialect_of
from interlock.serve.spec import RequestInput, ServingSpec

TENSOR_TYPES = {"integer": "INT64", "double": "FP64", "boolean": "BOOL"}


@dataclass
class Played:
    """What the traffic saw. `mixed` counts subjects that were told two releases at once."""

    requests: int = 0
    rows: int = 0
    releases: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    stale: int = 0
    errors: list[str] = field(default_factory=list)
    flags_asked: int = 0
    mixed: int = 0
    score_sum: float = 0.0
    last_candidate_at: float | None = None

    @property
    def mean_score(self) -> float | None:
        return self.score_sum / self.rows if self.rows else None


class Caller:
    """One kept-alive connection to the gateway; reconnects once when the gateway restarted."""

    def __init__(self, url: str, timeout: float = 30.0) -> None:
        parts = urlsplit(url)
        self._address = (parts.hostname or "127.0.0.1", parts.port or 80)
        self._timeout = timeout
        self._link: http.client.HTTPConnection | None = None

    def post(self, path: str, body: Any, headers: Mapping[str, str] | None = None) -> Any:
        """The JSON answer; raises `Unavailable` when the gateway cannot be reached."""
        data = orjson.dumps(body)
        for attempt in (1, 2):
            try:
                return self._once(path, data, dict(headers or {}))
            except (OSError, http.client.HTTPException) as error:
                self.close()
                if attempt == 2:
                    host, port = self._address
                    raise Unavailable(
                        f"the gateway at {host}:{port} did not answer ({error})",
                        help="start it with `interlock serve`",
                    ) from error
        raise AssertionError("unreachable")

    def _once(self, path: str, data: bytes, headers: dict[str, str]) -> Any:
        if self._link is None:
            self._link = http.client.HTTPConnection(*self._address, timeout=self._timeout)
        self._link.request("POST", path, data, {"content-type": "application/json", **headers})
        response = self._link.getresponse()
        answer = orjson.loads(response.read())
        if response.status >= 400:
            raise Refused(f"the gateway said {response.status}: {answer.get('error', answer)}")
        return answer

    def close(self) -> None:
        if self._link is not None:
            self._link.close()
            self._link = None


@dataclass
class Replayer:
    """Plays `model`'s spine against the gateway at `url`."""

    workspace: Workspace
    url: str
    model: str
    step: timedelta = timedelta(minutes=10)
    flags_every: int = 6
    feeder: Feeder | None = None
    played: Played = field(default_factory=Played)

    def __post_init__(self) -> None:
        if self.feeder is None:
            self.feeder = Feeder(self.workspace.warehouse, self.workspace.online)
        self._caller = Caller(self.url)

    def play(
        self,
        start: datetime,
        end: datetime,
        every: timedelta = timedelta(hours=6),
        after_each: Callable[[datetime], bool | None] | None = None,
    ) -> Played:
        """Play [start, end) in chunks of `every`; `after_each(now)` stops it by returning True."""
        now = start
        while now < end:
            until = min(now + every, end)
            self._chunk(now, until)
            now = until
            self.workspace.advance(now)
            if after_each is not None and after_each(now):
                break
        return self.played

    def _chunk(self, start: datetime, end: datetime) -> None:
        assert self.feeder is not None
        specs = self._specs()
        lookups = live_lookups(self.workspace)
        self.feeder.catch_up(lookups, start)
        self.feeder.look_ahead(lookups, end)
        for now, rows in self._steps(start, end, specs[0]):
            self.feeder.push(lookups, now)
            self._ask(now, rows, specs)
        self.feeder.push(lookups, end)

    def _specs(self) -> list[ServingSpec]:
        specs = []
        for digest in self.workspace.route().releases:
            entry = self.workspace.record.get(Ref("serving", digest))
            if entry is not None:
                specs.append(ServingSpec.from_json(entry.body))
        if not specs:
            raise Refused("nothing is live in this environment", help="apply a first change")
        return specs

    def _steps(
        self, start: datetime, end: datetime, spec: ServingSpec
    ) -> Iterator[tuple[datetime, dict[str, list[Any]]]]:
        """Spine rows in batches; each batch is asked for at the start of its step."""
        model = self.workspace.project.models[self.model]
        columns = request_columns(model, spec)
        dialect = dialect_of(self.workspace.warehouse)
        picked = ", ".join(map(dialect.quoted, columns))
        stamp, seconds = dialect.quoted(model.time), self.step.total_seconds()
        steps = f"floor({dialect.epoch.format(x=stamp)} / {seconds})"
        step = dialect.cast(f"{steps} * {seconds}", "double")
        table = self.workspace.warehouse.query(
            f"SELECT {picked}, {step} AS step__ FROM {model.spine} AS s "
            f"WHERE {stamp} >= {dialect.instant(start)} AND {stamp} < {dialect.instant(end)} "
            f"ORDER BY step__, {dialect.quoted(model.key)}"
        )
        data = table.to_pydict()
        steps = data.pop("step__")
        first = 0
        for i in range(1, len(steps) + 1):
            if i == len(steps) or steps[i] != steps[first]:
                moment = datetime.fromtimestamp(steps[first], UTC)
                yield max(moment, start), {c: data[c][first:i] for c in columns}
                first = i

    def _ask(
        self, now: datetime, rows: Mapping[str, Sequence[Any]], specs: Sequence[ServingSpec]
    ) -> None:
        types = specs[0].models[self.model].columns
        at = now.strftime("%Y-%m-%dT%H:%M:%SZ")
        answer = self._caller.post(
            f"/v2/models/{self.model}/infer",
            {"inputs": [tensor(n, v, types[n]) for n, v in rows.items()], "parameters": {"at": at}},
        )
        outputs = {item["name"]: item["data"] for item in answer["outputs"]}
        self._count(outputs)
        subject = entity_key([rows[c][0] for c in specs[0].subject])
        if subject is not None and self.played.requests % self.flags_every == 0:
            self._compare_flags(subject, outputs["release"][0], answer["parameters"]["epoch"])

    def _count(self, outputs: Mapping[str, list[Any]]) -> None:
        played = self.played
        played.requests += 1
        played.rows += len(outputs["score"])
        played.releases.update(outputs["release"])
        played.reasons.update(outputs["reason"])
        played.stale += sum(map(bool, outputs["stale"]))
        played.score_sum += sum(s for s in outputs["score"] if s is not None)

    def _compare_flags(self, subject: str, release: str, epoch: int) -> None:
        """Each service asks its own flag; within one epoch all must hear the same release."""
        for service in self.workspace.project.services:
            flag = self._caller.post(
                f"/ofrep/v1/evaluate/flags/{service}.release",
                {"context": {"targetingKey": subject}},
            )
            self.played.flags_asked += 1
            if flag["metadata"]["epoch"] == epoch and flag["value"] != release:
                self.played.mixed += 1


def request_columns(model: Model, spec: ServingSpec) -> tuple[str, ...]:
    """Spine columns that a request must carry: key, subject, entities, request inputs."""
    served = spec.models[model.model]
    wanted = [model.key, *spec.subject]
    wanted += [column for lookup in served.lookups for column in lookup.entity]
    wanted += [item.name for item in served.inputs if isinstance(item, RequestInput)]
    return tuple(dict.fromkeys(wanted))


def tensor(name: str, values: Sequence[Any], declared: str) -> dict[str, Any]:
    """One column as an Open Inference Protocol tensor; instants and days travel as ISO text."""
    if declared == "timestamp":
        values = [v and v.strftime("%Y-%m-%dT%H:%M:%SZ") for v in values]
    elif declared == "date":
        values = [v and v.isoformat() for v in values]
    kind = TENSOR_TYPES.get(declared, "BYTES")
    return {"name": name, "shape": [len(values)], "datatype": kind, "data": list(values)}
