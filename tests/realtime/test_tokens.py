"""Tokens are good only if one of the keys signed them, for this, and not too long ago."""

import base64
import contextlib
import json
import string

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given
from hypothesis import strategies as st

from trunkline.realtime.tokens import InvalidToken, Key, ServerSideSubscription, TokenExpired, Tokens

NOW = 1_800_000_000
SECRET = "a secret of more than thirty-two bytes"
HS256 = Key("HS256", SECRET)

# The example of https://jwt.io, and RFC 7515 appendix A.1
JWT_IO = (
    "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6IkpvaG4gRG9lIiwiaWF0IjoxNTE2MjM5MDIyfQ"
    ".SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV_adQssw5c"
)
RFC_7515 = (
    "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNv"
    "bS9pc19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
)
RFC_7515_SECRET = base64.urlsafe_b64decode(
    "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow=="
)


def pem(private) -> tuple[str, str]:
    return (
        private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode(),
        private.public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode(),
    )


RSA = pem(rsa.generate_private_key(65537, 2048))
EC = pem(ec.generate_private_key(ec.SECP256R1()))
P384 = pem(ec.generate_private_key(ec.SECP384R1()))


def tokens(*keys: Key, **options) -> Tokens:
    return Tokens(*(keys or (HS256,)), **{"clock": lambda: NOW, **options})


def signed(claims: object, **header) -> str:
    """A token with any claims, not made by us."""
    return jwt.PyJWS().encode(json.dumps(claims).encode(), SECRET, "HS256", header)


# Signatures


@pytest.mark.filterwarnings("ignore::jwt.InsecureKeyLengthWarning")
def test_tokens_that_others_made() -> None:
    assert tokens(Key("HS256", "your-256-bit-secret")).verify_connection(JWT_IO).user == "1234567890"
    joe = tokens(Key("HS256", RFC_7515_SECRET), issuer="joe", clock=lambda: 1300819379)
    assert joe.verify_connection(RFC_7515) == ("", 1300819380, None, {}, None)


@pytest.mark.parametrize(("algorithm", "keys"), [("RS256", RSA), ("ES256", EC)])
def test_public_keys(algorithm, keys) -> None:
    private, public = keys
    token = jwt.encode({"sub": "ada"}, private, algorithm)
    assert tokens(Key(algorithm, public)).verify_connection(token).user == "ada"
    assert tokens(Key(algorithm, private)).verify_connection(token).user == "ada", "the private key has the public one"
    ours = tokens(Key(algorithm, private)).connection("ada")
    assert jwt.decode(ours, public, [algorithm], options={"verify_iat": False})["sub"] == "ada"
    with pytest.raises(ValueError, match="public key, which can't sign"):
        tokens(Key(algorithm, public)).connection("ada")


@pytest.mark.parametrize(
    ("algorithm", "key"),
    [
        ("HS256", ""), ("HS256", RSA[1]), ("HS256", EC[1]), ("HS256", RSA[0]), ("RS256", SECRET), ("RS256", EC[1]),
        ("ES256", RSA[1]), ("ES256", ""), ("none", ""), ("HS512", SECRET), ("ES256", P384[0]), ("ES256", P384[1]),
    ],
)  # fmt: skip
def test_keys_of_another_algorithm_are_refused(algorithm, key) -> None:
    with pytest.raises(ValueError, match=r"no key of|must be HS256"):
        Key(algorithm, key)


def forged(header: dict[str, object], claims: dict[str, object], secret: bytes) -> str:
    """An HS256 signature under any header."""
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in (header, claims)]
    signing = b".".join(parts)
    mac = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256).sign(signing, secret)
    return b".".join([signing, base64.urlsafe_b64encode(mac).rstrip(b"=")]).decode()


def test_a_public_key_is_no_secret() -> None:
    """The attack on algorithms: a token signed with the public key, which is no secret, as if it were one."""
    for algorithm, public in [("RS256", RSA[1]), ("ES256", EC[1])]:
        for header in ({"alg": "HS256"}, {"alg": algorithm}):
            token = forged(header, {"sub": "admin"}, public.encode())
            for keys in [(Key(algorithm, public),), (Key(algorithm, public), HS256)]:
                with pytest.raises(InvalidToken):
                    tokens(*keys).verify_connection(token)


@pytest.mark.parametrize(
    "header", [{"alg": "none"}, {"alg": "None"}, {"alg": ""}, {}, {"alg": None}, {"alg": ["HS256"]}]
)
def test_unsigned_tokens(header) -> None:
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in (header, {"sub": "admin"})]
    for signature in (b"", b"AAAA"):
        with pytest.raises(InvalidToken):
            tokens().verify_connection(b".".join([*parts, signature]).decode())


def test_other_secrets_and_changed_claims() -> None:
    token = tokens().connection("ada")
    head, claims, signature = token.split(".")
    other = tokens(Key("HS256", SECRET + "!"))
    changed = base64.urlsafe_b64encode(b'{"sub":"bob"}').rstrip(b"=").decode()
    for verifier, bad in [(other, token), (tokens(), f"{head}.{changed}.{signature}"), (tokens(), f"{head}.{claims}.")]:
        with pytest.raises(InvalidToken):
            verifier.verify_connection(bad)


def test_no_key_no_tokens() -> None:
    with pytest.raises(ValueError, match="give at least one"):
        Tokens()


def test_keys_can_be_changed() -> None:
    old, new = Key("HS256", SECRET), Key("HS256", SECRET + " 2")
    from_old, from_new = tokens(old).connection("ada"), tokens(new).connection("ada")
    both = tokens(new, old)
    assert {both.verify_connection(each).user for each in (from_old, from_new)} == {"ada"}
    with pytest.raises(InvalidToken):
        tokens(new).verify_connection(from_old)


def test_a_kid_chooses_the_key() -> None:
    a, b, any = Key("HS256", SECRET, id="a"), Key("HS256", SECRET + " 2", id="b"), Key("HS256", SECRET + " 3")
    verifier = tokens(a, b, any)
    for key in (a, b, any):
        assert verifier.verify_connection(tokens(key).connection("ada")).user == "ada"
    assert verifier.verify_connection(signed({"sub": "ada"})).user == "ada", "no kid: every key may be it"
    assert jwt.get_unverified_header(tokens(a).connection("ada"))["kid"] == "a"
    with pytest.raises(InvalidToken, match="signature"):
        verifier.verify_connection(signed({"sub": "ada"}, kid="b"))
    with pytest.raises(InvalidToken, match="no key has the algorithm 'HS256' and the id 'c'"):
        tokens(a, b).verify_connection(signed({"sub": "ada"}, kid="c"))


def test_secrets_are_not_shown() -> None:
    assert SECRET not in repr(HS256) + repr(vars(tokens()))


# Claims


@pytest.mark.parametrize(
    ("claims", "options", "error"),
    [
        ({"exp": NOW + 1}, {}, None),
        ({"exp": NOW}, {}, TokenExpired),
        ({"exp": NOW - 5}, {"leeway": 6}, None),
        ({"exp": NOW - 7}, {"leeway": 6}, TokenExpired),
        ({"exp": NOW + 0.5}, {}, None),
        ({"exp": NOW + 5, "expire_at": NOW}, {}, TokenExpired),
        ({"exp": NOW + 5, "expire_at": NOW - 5}, {"leeway": 6}, None),
        ({"exp": NOW + 5, "expire_at": 0}, {}, None),
        ({"exp": NOW, "expire_at": NOW + 5}, {}, TokenExpired),
        ({"nbf": NOW + 5}, {}, TokenExpired),
        ({"nbf": NOW + 5}, {"leeway": 5}, None),
        ({"iat": NOW + 5}, {}, None),
        ({}, {"audience": "chat"}, InvalidToken),
        ({"aud": "other"}, {"audience": "chat"}, InvalidToken),
        ({"aud": "chat"}, {"audience": "chat"}, None),
        ({"aud": ["other", "chat"]}, {"audience": "chat"}, None),
        ({"aud": "cha"}, {"audience": "chat"}, InvalidToken),
        ({"aud": "any"}, {}, None),
        ({}, {"issuer": "app"}, InvalidToken),
        ({"iss": "other"}, {"issuer": "app"}, InvalidToken),
        ({"iss": "app"}, {"issuer": "app"}, None),
        ({"jti": "1", "unknown": {"a": [1]}}, {}, None),
        ({"sub": 7}, {}, InvalidToken),
        ({"exp": "tomorrow"}, {}, InvalidToken),
        ({"exp": True}, {}, InvalidToken),
        ({"aud": 1}, {}, InvalidToken),
        ({"channels": "room"}, {}, InvalidToken),
        ({"channels": [1]}, {}, InvalidToken),
        ({"subs": ["room"]}, {}, InvalidToken),
        ({"b64info": "%"}, {}, InvalidToken),
        ({"channel": "room"}, {}, InvalidToken),
        ([], {}, InvalidToken),
        ("sub", {}, InvalidToken),
    ],
)  # fmt: skip
def test_claims_are_checked(claims, options, error) -> None:
    token, verifier = signed(claims), tokens(**options)
    if error is None:
        verifier.verify_connection(token)
    else:
        with pytest.raises(error) as caught:
            verifier.verify_connection(token)
        assert type(caught.value) is error


@pytest.mark.parametrize("claims", [{"exp": NOW - 10}, {"exp": NOW + 10, "expire_at": NOW - 10}])
def test_what_a_token_opens_ends_with_the_leeway(claims) -> None:
    token = signed(claims | {"sub": "ada"})
    assert tokens(leeway=30).verify_connection(token).ends_at == NOW + 20
    token = signed(claims | {"sub": "ada", "channel": "a"})
    assert tokens(leeway=30).verify_subscription(token, user="ada", channel="a").ends_at == NOW + 20


def test_an_expired_token_must_still_be_good() -> None:
    """The error "token expired" tells that the signature was right: for other tokens it must not be told."""
    token = jwt.encode({"exp": NOW - 10}, SECRET + "!", "HS256")
    with pytest.raises(InvalidToken) as caught:
        tokens().verify_connection(token)
    assert not isinstance(caught.value, TokenExpired)


def test_what_a_connection_token_says() -> None:
    claims = {
        "sub": "ada", "exp": NOW + 60, "info": {"name": "Ada"}, "channels": ["news", "both"], "meta": {"plan": "free"},
        "subs": {
            "both": {"info": 1, "data": {"x": 2}, "override": {"presence": {"value": True}, "unknown": {}}},
            "binary": {"b64info": "AAE=", "b64data": "/w=="},
        },
    }  # fmt: skip
    token = tokens().verify_connection(signed(claims))
    assert (token.user, token.ends_at, token.info) == ("ada", NOW + 60, b'{"name": "Ada"}')
    assert json.loads(token.meta or b"") == {"plan": "free"}
    assert token.channels == {
        "news": ServerSideSubscription(),
        "both": ServerSideSubscription(b"1", b'{"x": 2}', {"presence": True}),
        "binary": ServerSideSubscription(b"\x00\x01", b"\xff"),
    }


@pytest.mark.parametrize(
    ("claims", "ends_at"),
    [
        ({}, None), ({"exp": NOW + 9}, NOW + 9), ({"expire_at": NOW + 5}, NOW + 5), ({"expire_at": 0}, None),
        ({"exp": NOW + 9, "expire_at": NOW + 5}, NOW + 5), ({"exp": NOW + 9, "expire_at": 0}, None),
    ],
)  # fmt: skip
def test_when_it_ends(claims, ends_at) -> None:
    assert tokens().verify_connection(signed(claims)).ends_at == ends_at
    subscription = tokens().verify_subscription(signed(claims | {"channel": "room"}), user="", channel="room")
    assert subscription.ends_at == ends_at


@pytest.mark.parametrize(
    ("claims", "info"),
    [
        ({}, None), ({"info": None}, None), ({"info": {}}, b"{}"), ({"info": "x"}, b'"x"'),
        ({"b64info": "AAE="}, b"\0\1"),
        ({"info": 1, "b64info": "AAE="}, b"\0\1"), ({"info": 1, "b64info": ""}, b"1"),
    ],
)  # fmt: skip
def test_info(claims, info) -> None:
    assert tokens().verify_connection(signed(claims)).info == info


def test_what_a_subscription_token_says() -> None:
    claims = {"sub": "ada", "channel": "room", "info": [1], "override": {"join_leave": {"value": False}}}
    token = tokens().verify_subscription(signed(claims), user="ada", channel="room")
    assert token == ("ada", "room", None, b"[1]", {"join_leave": False})


@pytest.mark.parametrize(
    "claims",
    [{"sub": "ada"}, {"sub": "ada", "channel": "other"}, {"sub": "bob", "channel": "room"}, {"channel": "room"}],
)
def test_a_subscription_token_of_somebody_else(claims) -> None:
    with pytest.raises(InvalidToken, match="this token is for"):
        tokens().verify_subscription(signed(claims), user="ada", channel="room")


def test_tokens_that_we_make() -> None:
    ours = tokens(audience="chat", issuer="app")
    token = ours.connection("ada", ttl=600, info={"name": "Ä"}, channels=["news"])
    assert jwt.decode(token, SECRET, ["HS256"], audience="chat", issuer="app", options={"verify_iat": False}) == {
        "sub": "ada", "iat": NOW, "exp": NOW + 600, "aud": "chat", "iss": "app", "info": {"name": "Ä"},
        "channels": ["news"],
    }  # fmt: skip
    assert ours.verify_connection(token).user == "ada"
    token = ours.subscription("ada", "room", expire_at=0)
    assert ours.verify_subscription(token, user="ada", channel="room").ends_at is None


# Anything at all


@pytest.mark.parametrize(
    "token",
    [
        "", ".", "..", "...", "a.b.c", "é.é.é", "\ud800.a.b", "a" * 20_000,
        base64.urlsafe_b64encode(b"[" * 10_000).decode()[:10_000] + ".a.b",
        base64.urlsafe_b64encode(b'{"alg":"HS256","kid":7}').decode() + ".e30.e30",
        base64.urlsafe_b64encode(b'{"alg":"HS256","crit":["x"]}').decode() + ".e30.e30",
        base64.urlsafe_b64encode(b'{"alg":"HS256","n":' + b"1" * 5000 + b"}").decode() + ".e30.e30",
    ],
)  # fmt: skip
def test_what_is_no_token(token: str) -> None:
    with pytest.raises(InvalidToken):
        tokens().verify_connection(token)


def test_claims_nested_without_end() -> None:
    token = jwt.PyJWS().encode(b'{"info":' * 100_000, SECRET, "HS256")
    with pytest.raises(InvalidToken):
        tokens().verify_connection(token)
    deep = jwt.PyJWS().encode(b'{"info":' + b"[" * 5_000 + b"]" * 5_000 + b"}", SECRET, "HS256")
    with contextlib.suppress(InvalidToken):  # how deep is too deep depends on the interpreter
        tokens().verify_connection(deep)


@given(st.text() | st.text(string.ascii_letters + string.digits + "-_.=", max_size=200))
def test_any_text(token: str) -> None:
    with pytest.raises(InvalidToken):
        tokens().verify_connection(token)


@given(st.binary(max_size=100))
def test_any_claims(payload: bytes) -> None:
    token = jwt.PyJWS().encode(payload, SECRET, "HS256")
    try:
        tokens().verify_connection(token)
    except InvalidToken:
        pass
    else:
        assert isinstance(json.loads(payload), dict)
