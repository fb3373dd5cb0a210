"""Tokens with which clients connect and subscribe: JSON Web Tokens (RFC 7519), with the claims that Centrifugo knows.

Your application, which knows its users, signs a token and hands it to its page; the client library sends it to us, and
we check the signature. Needs PyJWT: `pip install 'trunkline[realtime]'`.

A key belongs to one algorithm, and a token is only ever checked with keys of the algorithm that it names (RFC 8725
section 3.1). So an attacker can't have a public key taken for a shared secret, and "none" is no algorithm.
"""

from __future__ import annotations

import base64
import binascii
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple, get_args

import msgspec

from trunkline.exceptions import WebSocketException

try:
    import jwt
except ImportError as error:
    raise ImportError("tokens need PyJWT: pip install 'trunkline[realtime]'") from error

__all__ = [
    "Algorithm",
    "ConnectionToken",
    "InvalidToken",
    "Key",
    "SubscriptionToken",
    "TokenExpired",
    "Tokens",
]

Algorithm = Literal["HS256", "RS256", "ES256"]

LONGEST: Final = 16_384
"""Characters in a token; who sends more is up to something."""


class InvalidToken(WebSocketException):
    """A token isn't signed with one of our keys, or isn't for this. Don't trust anything that it says.

    The message is for the server's log; a client learns nothing but the code.
    """


class TokenExpired(InvalidToken):
    """A token is good, but its time is over, or not yet there: the client library gets a new one from the
    application."""


class ConnectionToken(NamedTuple):
    """The words of a good token of a connection.

    Attributes:
        user: id of the user, "" if anonymous.
        ends_at: when the connection ends unless its token is refreshed, in seconds since 1970, with the leeway; None:
            never.
        info: what others may know of the client, encoded; None if nothing.
        channels: that the server subscribes the client to.
        meta: what only the server may know of the client, as JSON; None if nothing.
    """

    user: str
    ends_at: float | None
    info: bytes | None
    channels: dict[str, ServerSideSubscription]
    meta: bytes | None


class ServerSideSubscription(NamedTuple):
    """The words of a token of a connection about a channel that the server subscribes the client to.

    Attributes:
        info: what others may know of the client in this channel, encoded; None if nothing.
        data: what the client is told, encoded; None if nothing.
        override: as in `SubscriptionToken`.
    """

    info: bytes | None = None
    data: bytes | None = None
    override: Mapping[str, bool] = {}


class SubscriptionToken(NamedTuple):
    """The words of a good token of a subscription.

    Attributes:
        user: id of the user, "" if anonymous.
        channel: name of the channel.
        ends_at: when the subscription ends unless its token is refreshed, in seconds since 1970; None: never.
        info: what others may know of the client in this channel, encoded; None if nothing.
        override: options of the channel that are otherwise for this subscription: "presence", "join_leave",
            "force_push_join_leave", "force_recovery", "force_positioning".
    """

    user: str
    channel: str
    ends_at: float | None
    info: bytes | None
    override: Mapping[str, bool]


class Key:
    """A key, of one algorithm.

    Args:
        algorithm: "HS256": a secret that both sides share, 32 bytes or more. "RS256" or "ES256": the application has
            a private key, and we only need the public one.
        key: the secret, or a public or private key in PEM.
        id: tokens whose header names a `kid` are only checked with keys of this id, and keys without one.

    Raises:
        ValueError: if it is no key of this algorithm.
        ImportError: if `cryptography` is missing, which RS256 and ES256 need.
    """

    __slots__ = ("_private", "_public", "algorithm", "id")

    def __init__(self, algorithm: Algorithm, key: str | bytes, *, id: str | None = None) -> None:
        if algorithm not in get_args(Algorithm):
            raise ValueError(f"algorithm is {algorithm!r}; it must be HS256, RS256 or ES256")
        self.algorithm = algorithm
        self.id = id
        try:
            prepared: Any = _JWS.get_algorithm_by_name(algorithm).prepare_key(key)
        except NotImplementedError as error:
            raise ImportError(f"{algorithm} needs cryptography: pip install 'trunkline[realtime]'") from error
        except (jwt.InvalidKeyError, TypeError, ValueError) as error:
            raise ValueError(f"this is no key of {algorithm}: {error}") from None
        is_private = hasattr(prepared, "public_key")
        self._private = prepared if is_private or algorithm == "HS256" else None
        self._public = prepared.public_key() if is_private else prepared

    def __repr__(self) -> str:
        return f"<Key {self.algorithm} id={self.id!r}>"

    def sign(self, claims: Mapping[str, object]) -> str:
        """A token with these claims.

        Raises:
            ValueError: if this is only a public key.
        """
        if self._private is None:
            raise ValueError(f"{self!r} is a public key, which can't sign; use the private one")
        header = {"typ": "JWT"} | ({} if self.id is None else {"kid": self.id})
        return _JWS.encode(msgspec.json.encode(claims), self._private, self.algorithm, header)

    def _verify(self, token: str) -> bytes:
        """The payload of a token, if this key signed it.

        Raises:
            jwt.PyJWTError: if it didn't.
        """
        payload: bytes = _JWS.decode(token, self._public, algorithms=[self.algorithm])
        return payload


class Tokens:
    """Checks tokens, and makes them.

    ::

        tokens = Tokens(Key("HS256", secret))
        token = tokens.connection("ada", ttl=600)

    Args:
        keys: all those with which a good token may be signed. To change keys, add the new one, sign with it, and
            remove the old one when its last token has expired. The first one signs.
        audience: a good token has this one among its `aud`; None: any may be there.
        issuer: a good token has this `iss`; None: any may be there.
        leeway: seconds by which the clocks of two machines may differ: for so long a token is good after its time, and
            before it.
        clock: seconds since 1970.

    Raises:
        ValueError: if there is no key.
    """

    def __init__(
        self,
        *keys: Key,
        audience: str | None = None,
        issuer: str | None = None,
        leeway: float = 0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if not keys:
            raise ValueError("without a key no token is good; give at least one")
        self._keys = keys
        self._audience = audience
        self._issuer = issuer
        self._leeway = leeway
        self._clock = clock

    # Checking

    def verify_connection(self, token: str) -> ConnectionToken:
        """Check the token of a connection, and read it.

        Raises:
            TokenExpired: if its time is over.
            InvalidToken: if it isn't good.
        """
        claims = self._claims(token)
        if claims.channel is not None:
            raise InvalidToken("this token is for a subscription, not for a connection")
        channels = {name: ServerSideSubscription() for name in claims.channels}
        channels |= {name: each.subscription() for name, each in claims.subs.items()}
        return ConnectionToken(claims.sub, self._ends_at(claims), claims.shown(), channels, _either(claims.meta, ""))

    def verify_subscription(self, token: str, *, user: str, channel: str) -> SubscriptionToken:
        """Check the token of a subscription, and read it.

        Args:
            user: who wants to subscribe.
            channel: to what.

        Raises:
            TokenExpired: if its time is over.
            InvalidToken: if it isn't good, or for another user, or for another channel.
        """
        claims = self._claims(token)
        if claims.channel != channel:
            raise InvalidToken(f"this token is for the channel {claims.channel!r}, not for {channel!r}")
        if claims.sub != user:
            raise InvalidToken(f"this token is for the user {claims.sub!r}, not for {user!r}")
        return SubscriptionToken(claims.sub, channel, self._ends_at(claims), claims.shown(), claims.override.flags())

    def _ends_at(self, claims: _Claims) -> float | None:
        end = claims.ends_at()
        return None if end is None else end + self._leeway

    def _claims(self, token: str) -> _Claims:
        payload = self._payload(token)
        try:
            claims = _decode_claims(payload)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise InvalidToken(f"the claims of a token make no sense: {error}") from None
        self._check(claims)
        return claims

    def _payload(self, token: str) -> bytes:
        """The payload, if one of our keys signed it."""
        if len(token) > LONGEST:
            raise InvalidToken(f"a token is {len(token)} characters long; {LONGEST} are allowed")
        try:
            header = _JWS.get_unverified_header(token)
        except (jwt.PyJWTError, ValueError, RecursionError) as error:
            raise InvalidToken(f"this is no token: {error}") from None
        algorithm, kid = header.get("alg"), header.get("kid")
        keys = [key for key in self._keys if key.algorithm == algorithm and (None in (kid, key.id) or kid == key.id)]
        if not keys:
            raise InvalidToken(f"no key has the algorithm {algorithm!r} and the id {kid!r}")
        for key in keys:
            try:
                return key._verify(token)
            except jwt.InvalidSignatureError:
                continue
            except (jwt.PyJWTError, ValueError) as error:
                raise InvalidToken(f"this is no token: {error}") from None
        raise InvalidToken(f"the signature of a token is that of none of {len(keys)} keys")

    def _check(self, claims: _Claims) -> None:
        """RFC 7519 section 4.1."""
        now = self._clock()
        audience = [claims.aud] if isinstance(claims.aud, str) else claims.aud
        if self._audience is not None and self._audience not in audience:
            raise InvalidToken(f"this token is for the audience {audience}, not for {self._audience!r}")
        if self._issuer is not None and claims.iss != self._issuer:
            raise InvalidToken(f"this token is from the issuer {claims.iss!r}, not from {self._issuer!r}")
        if claims.nbf is not None and claims.nbf > now + self._leeway:
            raise TokenExpired(f"this token isn't good before {claims.nbf}, and it is {now:.0f}")
        # `iat` may be in the future: by section 4.1.6 it says how old a token is, not from when on it is good.
        for end in (claims.exp, claims.expire_at or None):
            if end is not None and end <= now - self._leeway:
                raise TokenExpired(f"this token expired at {end}, and it is {now:.0f}")

    # Making

    def connection(self, user: str, *, ttl: float | None = None, **claims: object) -> str:
        """A token with which a user can connect.

        Args:
            user: id of the user, "" for an anonymous one.
            ttl: seconds for which it is good, None: for ever.
            claims: further ones, such as `info` and `channels`.
        """
        return self._sign({"sub": user}, ttl, claims)

    def subscription(self, user: str, channel: str, *, ttl: float | None = None, **claims: object) -> str:
        """A token with which a user can subscribe to a channel; arguments as for `connection`."""
        return self._sign({"sub": user, "channel": channel}, ttl, claims)

    def _sign(self, subject: dict[str, object], ttl: float | None, more: dict[str, object]) -> str:
        now = int(self._clock())
        claims = subject | {"iat": now}
        if ttl is not None:
            claims["exp"] = now + round(ttl)
        if self._audience is not None:
            claims["aud"] = self._audience
        if self._issuer is not None:
            claims["iss"] = self._issuer
        return self._keys[0].sign(claims | more)


_JWS = jwt.PyJWS()


class _Flag(msgspec.Struct):
    value: bool = False


class _Override(msgspec.Struct):
    """Options of a channel, each as `{"value": true}`."""

    presence: _Flag | None = None
    join_leave: _Flag | None = None
    force_push_join_leave: _Flag | None = None
    force_recovery: _Flag | None = None
    force_positioning: _Flag | None = None

    def flags(self) -> dict[str, bool]:
        return {name: flag.value for name in self.__struct_fields__ if (flag := getattr(self, name)) is not None}


class _Shown(msgspec.Struct):
    """Claims about what others may know: JSON as it is, or any bytes as base64, which count if there are both."""

    info: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    b64info: str = ""

    def shown(self) -> bytes | None:
        return _either(self.info, self.b64info)


class _Sub(_Shown):
    """A value of the claim `subs`."""

    data: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    b64data: str = ""
    override: _Override = msgspec.field(default_factory=_Override)

    def subscription(self) -> ServerSideSubscription:
        return ServerSideSubscription(self.shown(), _either(self.data, self.b64data), self.override.flags())


class _Claims(_Shown):
    """All claims that mean something to us. Times are in seconds since 1970 (RFC 7519 section 2, NumericDate)."""

    sub: str = ""
    exp: float | None = None
    nbf: float | None = None
    iat: float | None = None
    aud: str | Sequence[str] = ()
    iss: str = ""
    expire_at: float | None = None
    channels: Sequence[str] = ()
    subs: dict[str, _Sub] = {}
    meta: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    channel: str | None = None
    override: _Override = msgspec.field(default_factory=_Override)

    def ends_at(self) -> float | None:
        """`expire_at` is about what the token opens; without it, `exp` is about that, too. 0: never."""
        return (self.exp if self.expire_at is None else self.expire_at) or None


_decode_claims = msgspec.json.Decoder(_Claims).decode


def _either(raw: msgspec.Raw | msgspec.UnsetType, encoded: str) -> bytes | None:
    if encoded:
        try:
            return base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError) as error:
            raise InvalidToken(f"a claim of a token is no base64: {error}") from None
    return None if raw is msgspec.UNSET or bytes(raw) == b"null" else bytes(raw)
