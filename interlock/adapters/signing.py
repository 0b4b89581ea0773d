"""Ed25519 by the `cryptography` library: a private key in a file or a variable, and checks."""

from __future__ import annotations

import base64
import binascii
import os
import secrets
from contextlib import suppress
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from interlock.errors import Unavailable, Unusable

SEED_BYTES = 32


class Ed25519Signer:
    """The Signer port over a private key."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.public = key.public_key().public_bytes_raw()

    @classmethod
    def parse(cls, text: str, where: str) -> Ed25519Signer:
        """A key as PEM (PKCS #8) or as the base64 of its 32 bytes; never repeats what it read."""
        try:
            if "-----BEGIN" in text:
                key = serialization.load_pem_private_key(text.encode(), None)
                if isinstance(key, Ed25519PrivateKey):
                    return cls(key)
            else:
                seed = base64.b64decode(text.strip(), validate=True)
                return cls(Ed25519PrivateKey.from_private_bytes(seed))
        except (ValueError, TypeError, binascii.Error):
            pass
        raise Unusable(
            f"{where} holds no Ed25519 key",
            help="give PKCS #8 PEM (openssl genpkey -algorithm ed25519) or base64 of 32 bytes",
        )

    @classmethod
    def kept_in(cls, file: Path) -> Ed25519Signer:
        """The key in `file`, which is made at first use; of two processes one makes it."""
        if not file.exists():
            _make(file)
        _refuse_open(file)
        try:
            return cls.parse(file.read_text(), str(file))
        except OSError as error:
            raise _away(file, error) from error

    def sign(self, data: bytes) -> bytes:
        return self._key.sign(data)


def verified(public: bytes, signature: bytes, data: bytes) -> bool:
    """Is `signature` that of the key `public` under exactly `data`?"""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, data)
    except (InvalidSignature, ValueError):
        return False
    return True


def _make(file: Path) -> None:
    pem = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    beside = file.with_name(f".{file.name}.{secrets.token_hex(4)}.tmp")
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        opened = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(opened, "wb") as out:
            out.write(pem)
            out.flush()
            os.fsync(out.fileno())
        # A link, not a rename: a key that another process made meanwhile is never replaced.
        with suppress(FileExistsError):
            os.link(beside, file)
    except OSError as error:
        raise _away(file, error) from error
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)


def _refuse_open(file: Path) -> None:
    if file.stat().st_mode & 0o077:
        raise Unusable(
            f"{file} can be read by others: what it signs proves nothing",
            help=f"chmod 600 {file}; if others may have read it, remove it and keep a checkpoint"
            " with the new key",
        )


def _away(file: Path, error: OSError) -> Unavailable:
    return Unavailable(
        f"{file} cannot be used: {error.strerror}", help="may this user write to its folder?"
    )
