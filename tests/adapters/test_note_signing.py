"""The private key: made once, for its owner only, never told."""

from __future__ import annotations

import base64
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key

from interlock.adapters.signing import Ed25519Signer, verified
from interlock.errors import Unavailable, Unusable

# RFC 8032, section 7.1, tests 1 and 3.
VECTORS = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e3970"
        "1cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760"
        "984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
]


@pytest.mark.parametrize(("seed", "public", "text", "signature"), VECTORS)
def test_signatures_are_the_published_ones(
    seed: str, public: str, text: str, signature: str
) -> None:
    signer = Ed25519Signer.parse(base64.b64encode(bytes.fromhex(seed)).decode(), "a test")
    data = bytes.fromhex(text)
    assert signer.public.hex() == public
    assert signer.sign(data).hex() == signature
    assert verified(signer.public, bytes.fromhex(signature), data)
    assert not verified(signer.public, bytes.fromhex(signature), data + b"x")
    assert not verified(b"\0" * 32, bytes.fromhex(signature), data)
    assert not verified(b"short", b"short", data)


def test_a_key_is_made_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    file = tmp_path / "keys" / "signing.pem"
    first = Ed25519Signer.kept_in(file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert Ed25519Signer.kept_in(file).public == first.public
    assert [path.name for path in file.parent.iterdir()] == ["signing.pem"]
    assert Ed25519Signer.parse(file.read_text(), "it").public == first.public


def test_of_processes_that_make_it_at_once_all_get_the_same(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from interlock.adapters.signing import Ed25519Signer\n"
        "sys.stdin.readline()\n"
        "print(Ed25519Signer.kept_in(Path(sys.argv[1])).public.hex())"
    )
    running = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path / "signing.pem")],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for _ in range(3)
    ]  # fmt: skip
    said = {one.communicate("go\n")[0] for one in running}
    assert len(said) == 1


def test_a_key_that_others_can_read_signs_nothing(tmp_path: Path) -> None:
    file = tmp_path / "signing.pem"
    Ed25519Signer.kept_in(file)
    file.chmod(0o640)
    with pytest.raises(Unusable, match="read by others") as said:
        Ed25519Signer.kept_in(file)
    assert "chmod 600" in said.value.help


def test_a_folder_that_cannot_be_written_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("a file")
    with pytest.raises(Unavailable):
        Ed25519Signer.kept_in(tmp_path / "keys" / "signing.pem")


def _rsa() -> str:
    key = generate_private_key(65537, 2048)
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()


@pytest.mark.parametrize(
    "text", ["", "s3cret", "AAAA", "-----BEGIN PRIVATE KEY-----\ns3cret", "rsa"]
)
def test_what_is_no_key_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(Unusable, match="holds no Ed25519 key") as said:
        Ed25519Signer.parse(_rsa() if text == "rsa" else text, "${KEY}")
    assert "s3cret" not in str(said.value)
