"""Where a Redis server is, and who we are there: `redis://user:password@host:6379/0`."""

from __future__ import annotations

import asyncio
import dataclasses
import ssl
from collections.abc import Callable
from typing import Final, TypeVar
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

__all__ = ["SCHEMES", "Address", "split_options"]

SCHEMES: Final = ("redis", "rediss", "unix")
PORT: Final = 6379

P = TypeVar("P", bound=asyncio.BaseProtocol)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """A server.

    Attributes:
        host, port: where it listens; or
        path: of its Unix socket.
        user: "" for the default one.
        password: "" for none.
        db: number of the database.
        tls: whether to speak TLS.
    """

    host: str = "localhost"
    port: int = PORT
    path: str = ""
    user: str = ""
    password: str = dataclasses.field(default="", repr=False)
    db: int = 0
    tls: bool = False

    @classmethod
    def of(cls, url: str) -> Address:
        """The address that a URL names; its options don't count.

        Raises:
            ValueError: if it names none.
        """
        parts = urlsplit(url)
        if parts.scheme not in SCHEMES:
            raise ValueError(
                f"{_shown(parts)!r} names no Redis server; write redis://HOST:PORT/DB, rediss:// or unix://PATH"
            )
        user, password = unquote(parts.username or ""), unquote(parts.password or "")
        if parts.scheme == "unix":
            if parts.hostname or not parts.path:
                raise ValueError(f"{_shown(parts)!r} has no path; write unix:///run/redis.sock")
            db = dict(parse_qsl(parts.query, keep_blank_values=True)).get("db", "0")
            return cls(path=unquote(parts.path), user=user, password=password, db=_database(parts, db))
        try:
            port = parts.port or PORT
        except ValueError as error:
            raise ValueError(f"{_shown(parts)!r} has no valid port: {error}") from None
        return cls(
            host=parts.hostname or "localhost",
            port=port,
            user=user,
            password=password,
            db=_database(parts, parts.path.strip("/") or "0"),
            tls=parts.scheme == "rediss",
        )

    def __str__(self) -> str:
        if self.path:
            return f"unix://{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'rediss' if self.tls else 'redis'}://{host}:{self.port}"

    async def connect(self, protocol: Callable[[], P], context: ssl.SSLContext | None) -> P:
        """Open a connection. `context`: for TLS; None for that of the operating system.

        Raises:
            OSError: if that fails.
        """
        loop = asyncio.get_running_loop()
        if self.path:
            return (await loop.create_unix_connection(protocol, self.path))[1]
        secure = (context or ssl.create_default_context()) if self.tls else None
        return (await loop.create_connection(protocol, self.host, self.port, ssl=secure))[1]


def split_options(url: str, known: tuple[str, ...]) -> dict[str, str]:
    """The options behind the question mark of a URL, each of which may stand there once.

    Raises:
        ValueError: if one is unknown, or stands there twice.
    """
    parts = urlsplit(url)
    options: dict[str, str] = {}
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        if name not in known:
            raise ValueError(f"{_shown(parts)!r} has an unknown option {name!r}; there are only {', '.join(known)}")
        if name in options:
            raise ValueError(f"{_shown(parts)!r} has the option {name!r} twice")
        options[name] = value
    return options


def _database(parts: SplitResult, text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"{_shown(parts)!r} names the database {text!r}; it must be a number")
    return int(text)


def _shown(parts: SplitResult) -> str:
    """A URL without the password, for errors."""
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
