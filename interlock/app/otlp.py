"""A journey as an OpenTelemetry trace: OTLP in JSON, to a file or to a collector.

The protocol's JSON form is written by hand: it is one message, and the SDK that would write it
brings protobuf. https://opentelemetry.io/docs/specs/otlp/
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import orjson

from interlock import __version__
from interlock.app.atomic import replaced
from interlock.app.journeys import STAGES, Journey, Span
from interlock.errors import Unavailable, Unusable
from interlock.ports import Json

PATIENCE = 10.0  # seconds
_START = datetime(1970, 1, 1, tzinfo=UTC)
_INTERNAL, _SERVER = 1, 2
_UNSET, _ERROR = 0, 2


def send(journey: Journey, to: str) -> str:
    """Write the trace to the file `to`, or post it to a collector's address; says where it went.

    An address without a path is that of a collector: `/v1/traces` is added.
    """
    said = orjson.dumps(request(journey))
    if not to.startswith(("http://", "https://")):
        with replaced(Path(to).resolve()) as temporary:
            temporary.write_bytes(said + b"\n")
        return to
    url = to if to.split("//", 1)[1].rstrip("/").count("/") else to.rstrip("/") + "/v1/traces"
    asked = Request(url, said, {"content-type": "application/json"})
    try:
        with urlopen(asked, timeout=PATIENCE):
            return url
    except HTTPError as error:
        raise Unusable(f"{url} answered {error.code}", help="is it an OTLP collector?") from error
    except (URLError, OSError) as error:
        raise Unavailable(f"{url} does not answer: {error}", help="is it running?") from error


def request(journey: Journey) -> Json:
    """An `ExportTraceServiceRequest`. Stages of one kind stand below the stage they led to."""
    told = journey.prediction.trace.split("-")
    trace, root = _id(journey.prediction.id, 16), _id(journey.prediction.id, 8)
    if len(told) == 4:
        trace, root = told[1:3]
    parent = journey.prediction.parent
    spans = [_span(journey, one, (trace, root, parent)) for one in journey.spans]
    scope = {"scope": {"name": "interlock", "version": __version__}, "spans": spans}
    about = _attributes({"service.name": "interlock", "interlock.model": journey.prediction.model})
    return {"resourceSpans": [{"resource": {"attributes": about}, "scopeSpans": [scope]}]}


def _span(journey: Journey, span: Span, ids: tuple[str, str, str]) -> Json:
    trace, root, parent = ids
    served = span.stage == "service"
    started, ended = _ends(journey, span)
    more = {f"interlock.{name}": value for name, value in span.details.items()}
    more |= {"interlock.quality": span.quality, "interlock.age_s": span.age}
    above = parent if served else root
    return {
        "traceId": trace,
        "spanId": root if served else _id(f"{journey.prediction.id} {span.stage} {span.name}", 8),
        **({"parentSpanId": above} if above else {}),
        "name": f"{span.stage} {span.name}",
        "kind": _SERVER if served else _INTERNAL,
        "startTimeUnixNano": _nanos(started),
        "endTimeUnixNano": _nanos(ended),
        "attributes": _attributes({"interlock.stage": STAGES.index(span.stage), **more}),
        "status": {"code": _ERROR if span.quality in ("error", "fail", "missing") else _UNSET},
    }


def _ends(journey: Journey, span: Span) -> tuple[datetime, datetime]:
    """A span has to have two: what has no known length has none, at the end that is known."""
    known = span.started or span.ended or journey.prediction.at
    return span.started or known, max(span.ended or known, known)


def _attributes(values: Mapping[str, Any]) -> list[Json]:
    return [{"key": key, "value": value} for key, value in _valued(values)]


def _valued(values: Mapping[str, Any]) -> Iterator[tuple[str, Json]]:
    for key, value in values.items():
        match value:
            case None:
                continue
            case bool():
                yield key, {"boolValue": value}
            case int():
                yield key, {"intValue": str(value)}
            case float():
                yield key, {"doubleValue": value}
            case list() | tuple():
                texts: Sequence[Json] = [{"stringValue": str(one)} for one in value]
                yield key, {"arrayValue": {"values": texts}}
            case _:
                yield key, {"stringValue": str(value)}


def _nanos(at: datetime) -> str:
    return str((at - _START) // timedelta(microseconds=1) * 1000)


def _id(text: str, length: int) -> str:
    """An id that is the same every time, so that a trace sent twice is one trace."""
    return sha256(text.encode()).digest()[:length].hex()
