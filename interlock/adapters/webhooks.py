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

_SHARED, _PRIVATE = "whsec_", "whsk_"
_FEWEST_BYTES, _MOST_READ = 24, 64 * 1024
_SEED_BYTES = 32

Sign = Callable[[bytes], str]
"""What is to be signed -> one signature of the header, as `v1,...`."""


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
            signing_with(secret, self.name)

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
            **signature(id, int(self.wall()), data, self._signing),
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

    @property
    def _signing(self) -> list[Sign]:
        return [signing_with(secret, self.name) for secret in self.secrets]

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


def signature(id: str, at: int, data: bytes, signing: Sequence[Sign]) -> dict[str, str]:
    """The three headers; each secret signs, and the receiver takes any that it knows."""
    content = b".".join((id.encode(), str(at).encode(), data))
    return {
        "webhook-id": id,
        "webhook-timestamp": str(at),
        "webhook-signature": " ".join(sign(content) for sign in signing),
    }


def signing_with(secret: str, name: str) -> Sign:
    """How `secret` signs: `whsec_` with HMAC-SHA256 (`v1`), `whsk_` with Ed25519 (`v1a`).

    Raises `Unusable`, which does not repeat it.
    """
    prefix = next((p for p in (_SHARED, _PRIVATE) if secret.startswith(p)), "")
    try:
        key = base64.b64decode(secret.removeprefix(prefix), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if prefix == _SHARED and len(key) >= _FEWEST_BYTES:
        return lambda content: f"v1,{_text(hmac.digest(key, content, hashlib.sha256))}"
    if prefix == _PRIVATE and len(key) in (_SEED_BYTES, 2 * _SEED_BYTES):
        return lambda content: f"v1a,{_text(_ed25519(key, content))}"
    raise Unusable(
        f"a secret of {name} is not one of Standard Webhooks",
        help=f"write {_SHARED} and the base64 of {_FEWEST_BYTES} random bytes or more, or "
        f"{_PRIVATE} and that of an Ed25519 key",
    )


def _ed25519(key: bytes, content: bytes) -> bytes:
    """The key is a seed, perhaps with the public key behind it."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return Ed25519PrivateKey.from_private_bytes(key[:_SEED_BYTES]).sign(content)


def _text(signed: bytes) -> str:
    return base64.b64encode(signed).decode()


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
