"""Signed webhooks, as Standard Webhooks has them, around a body of CloudEvents 1.0.

Each request says who sent it (`webhook-signature`, one per secret, so that secrets can be
changed without a gap), when (`webhook-timestamp`) and which message it is (`webhook-id`, the
same at every attempt). No redirect is followed: it would carry the body to somebody else.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import http.client
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from interlock.define.digest import canonical
from interlock.errors import Unavailable, Unusable
from interlock.ports import Json, Message

_PREFIX = "whsec_"
_FEWEST_BYTES, _MOST_READ = 24, 64 * 1024


@dataclass(frozen=True)
class Webhook:
    """The Notifier port over HTTP; also asks hooks. `wall` gives seconds since 1970.

    Raises `Unusable` when a secret is none; no message of an error holds address or secret.
    """

    name: str
    url: str
    secrets: Sequence[str]
    timeout: float = 10.0
    wall: Callable[[], float] = time.time

    def __post_init__(self) -> None:
        if urlsplit(self.url).scheme not in ("http", "https") or not urlsplit(self.url).hostname:
            raise Unusable(f"the address of {self.name} is not one of the web", "http(s)://host/")
        for secret in self.secrets:
            key_of(secret, self.name)

    def tell(self, message: Message) -> None:
        """Sent as a CloudEvent; anything but 2xx is `Unavailable`."""
        event = {
            "specversion": "1.0", "id": message.id, "type": message.type,
            "source": message.source, "subject": message.subject, "time": message.at.isoformat(),
            "datacontenttype": "application/json",
            "data": {**message.data, "title": message.title, "text": message.text},
        }  # fmt: skip
        status, _ = self.post(message.id, event, "application/cloudevents+json")
        if not 200 <= status < 300:
            raise Unavailable(f"{self.name} answered {status}", help="see what it says of it")

    def post(self, id: str, body: Json, content_type: str = "application/json") -> tuple[int, Json]:
        """Status, and what was answered when that was a JSON object (else {})."""
        data = canonical(body)
        headers = {
            "content-type": content_type, "user-agent": "interlock",
            **signature(id, int(self.wall()), data, [key_of(s, self.name) for s in self.secrets]),
        }  # fmt: skip
        try:
            return self._send(data, headers)
        except TimeoutError:
            said = f"did not answer within {self.timeout:g} s"
        except ssl.SSLError:
            said = "could not be reached safely: TLS failed"
        except socket.gaierror:
            said = "has an address that nobody knows"
        except (OSError, http.client.HTTPException) as error:
            said = f"could not be reached: {type(error).__name__}"
        raise Unavailable(f"{self.name} {said}", help="is it up, and may this machine reach it?")

    def _send(self, data: bytes, headers: Mapping[str, str]) -> tuple[int, Json]:
        at = urlsplit(self.url)
        kind = http.client.HTTPSConnection if at.scheme == "https" else http.client.HTTPConnection
        connection = kind(at.hostname or "", at.port, timeout=self.timeout)
        late = threading.Event()
        # A timeout of a socket is for each read: a byte now and then would last for ever.
        watch = threading.Timer(self.timeout, _cut, (connection, late))
        watch.start()
        try:
            path = (at.path or "/") + (f"?{at.query}" if at.query else "")
            connection.request("POST", path, body=data, headers=dict(headers))
            answer = connection.getresponse()
            told = _read(answer.read(_MOST_READ))
        except (OSError, http.client.HTTPException):
            if late.is_set():
                raise TimeoutError from None
            raise
        else:
            if late.is_set():
                raise TimeoutError
            return answer.status, told
        finally:
            watch.cancel()
            connection.close()


def signature(id: str, at: int, data: bytes, keys: Sequence[bytes]) -> dict[str, str]:
    """The three headers; each key signs, and the receiver takes any that it knows."""
    content = b".".join((id.encode(), str(at).encode(), data))
    signed = (base64.b64encode(hmac.digest(key, content, hashlib.sha256)).decode() for key in keys)
    return {
        "webhook-id": id,
        "webhook-timestamp": str(at),
        "webhook-signature": " ".join(f"v1,{one}" for one in signed),
    }


def key_of(secret: str, name: str) -> bytes:
    """The key in `whsec_...`; raises `Unusable`, which does not repeat it."""
    try:
        key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not secret.startswith(_PREFIX) or len(key) < _FEWEST_BYTES:
        raise Unusable(
            f"a secret of {name} is not one of Standard Webhooks",
            help=f"write {_PREFIX} and the base64 of {_FEWEST_BYTES} random bytes or more",
        )
    return key


def _cut(connection: http.client.HTTPConnection, late: threading.Event) -> None:
    late.set()
    held = connection.sock
    if held is not None:
        try:
            held.shutdown(socket.SHUT_RDWR)
        except OSError:
            return  # it was closed meanwhile


def _read(data: bytes) -> Json:
    try:
        found = json.loads(data)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
