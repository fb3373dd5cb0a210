"""Where the NATS servers are, and who we are there: `nats://user:password@host:4222,host2:4222/?prefix=tl`."""

from __future__ import annotations

import dataclasses
from typing import Final
from urllib.parse import parse_qsl, unquote, urlsplit

__all__ = ["SCHEMES", "Address", "Server"]

SCHEMES: Final = ("nats", "tls")
PORT: Final = 4222
OPTIONS: Final = ("prefix", "storage", "replicas", "retain", "cap", "creds", "nkey")


@dataclasses.dataclass(frozen=True, slots=True)
class Server:
    """One server: where it listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @classmethod
    def of(cls, text: str) -> Server:
        """The server that `host:port` names.

        Raises:
            ValueError: if it names none.
        """
        parts = urlsplit("//" + text)
        return cls(parts.hostname or "localhost", parts.port or PORT)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """A server, or several of one cluster, and who we are there.

    Attributes:
        servers: at least one.
        user, password: "" for none.
        token: "" for none.
        tls: whether to speak TLS; where a server demands it, we do in any case.
        options: what follows the question mark.
    """

    servers: tuple[Server, ...]
    user: str = ""
    password: str = dataclasses.field(default="", repr=False)
    token: str = dataclasses.field(default="", repr=False)
    tls: bool = False
    options: dict[str, str] = dataclasses.field(default_factory=dict)

    @classmethod
    def of(cls, url: str) -> Address:
        """The address that a URL names.

        Raises:
            ValueError: if it names none.
        """
        parts = urlsplit(url)
        who, _, where = parts.netloc.rpartition("@")
        shown = parts._replace(netloc=where).geturl()  # without the password
        if parts.scheme not in SCHEMES or parts.path not in ("", "/"):
            raise ValueError(f"{shown!r} names no NATS server; write nats://HOST:PORT or tls://HOST:PORT")
        try:
            servers = tuple(Server.of(each) for each in where.split(","))
        except ValueError as error:
            raise ValueError(f"{shown!r} has no valid port: {error}") from None
        user, separator, password = who.partition(":")
        options: dict[str, str] = {}
        for name, value in parse_qsl(parts.query, keep_blank_values=True):
            if name not in OPTIONS:
                raise ValueError(f"{shown!r} has an unknown option {name!r}; there are only {', '.join(OPTIONS)}")
            if name in options:
                raise ValueError(f"{shown!r} has the option {name!r} twice")
            options[name] = value
        return cls(
            servers=servers,
            user=unquote(user) if separator else "",
            password=unquote(password),
            token="" if separator else unquote(user),
            tls=parts.scheme == "tls",
            options=options,
        )

    def __str__(self) -> str:
        return f"{'tls' if self.tls else 'nats'}://{','.join(map(str, self.servers))}"
