"""Keys instead of a password: a seed, or a file of credentials, which has a token and a seed.

https://docs.nats.io/running-a-nats-service/configuration/securing_nats/auth_intro/nkey_auth
"""

from __future__ import annotations

import base64
import binascii
import re
from pathlib import Path
from typing import Any, Final

__all__ = ["Credentials"]

SEED: Final = re.compile(r"\bS[A-Z2-7]{57}\b")
TOKEN: Final = re.compile(r"-----BEGIN NATS USER JWT-----\s+(\S+)\s")
USER: Final = 20 << 3  # the first byte of the public key of a user: it makes the letter U


class Credentials:
    """A key, which signs what the server asks us to.

    Args:
        path: of a file that has a seed, or credentials.

    Raises:
        ValueError: if there is none.
    """

    def __init__(self, path: str) -> None:
        try:
            from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        except ImportError as error:
            raise ValueError(
                "keys and credentials of NATS need the package cryptography: pip install 'trunkline[realtime]'"
            ) from error
        try:
            text = Path(path).read_text()
        except OSError as error:
            raise ValueError(f"the file with the key for NATS can't be read: {error}") from error
        seed = SEED.search(text)
        if seed is None:
            raise ValueError(f"{path} has no seed of a key for NATS, which begins with SU")
        token = TOKEN.search(text)
        self._token = "" if token is None else token[1]
        self._key = Ed25519PrivateKey.from_private_bytes(_seed(seed[0], path))

    def answer(self, nonce: str) -> dict[str, Any]:
        """What CONNECT says to prove who we are, to a server that said `nonce`."""
        signature = base64.urlsafe_b64encode(self._key.sign(nonce.encode())).rstrip(b"=").decode()
        if self._token:
            return {"jwt": self._token, "sig": signature}
        public = bytes([USER]) + self._key.public_key().public_bytes_raw()
        return {"nkey": base64.b32encode(public + _checksum(public)).rstrip(b"=").decode(), "sig": signature}


def _seed(text: str, path: str) -> bytes:
    """Two bytes of a prefix, the seed, and a checksum of both."""
    raw = base64.b32decode(text + "=" * (-len(text) % 8))
    if _checksum(raw[:-2]) != raw[-2:]:
        raise ValueError(f"the seed in {path} is mistyped: its checksum is wrong")
    return raw[2:-2]


def _checksum(data: bytes) -> bytes:
    return binascii.crc_hqx(data, 0).to_bytes(2, "little")
