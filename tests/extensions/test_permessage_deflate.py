"""extensions.permessage_deflate: negotiation (RFC 7692 section 7.1), and frames as an extension sees them (7.2)."""

from __future__ import annotations

import importlib
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.exceptions import (
    DuplicateParameter,
    InvalidParameterName,
    InvalidParameterValue,
    NegotiationError,
    PayloadTooBig,
    ProtocolError,
)
from trunkline.extensions.base import ClientExtensionFactory, Extension, ServerExtensionFactory
from trunkline.extensions.permessage_deflate import (
    ClientPerMessageDeflateFactory,
    PerMessageDeflate,
    ServerPerMessageDeflateFactory,
    enable_client_permessage_deflate,
    enable_server_permessage_deflate,
)
from trunkline.frames import Frame, Opcode
from trunkline.handshake.headers import build_extension, parse_extension

SERVER_BITS, CLIENT_BITS = "server_max_window_bits", "client_max_window_bits"
SERVER_FRESH, CLIENT_FRESH = "server_no_context_takeover", "client_no_context_takeover"
LONG = b"a message that is long enough to be compressed, and that repeats itself: " * 4


def agreed(extension: PerMessageDeflate) -> tuple[bool, bool, int, int]:
    return (
        extension.remote_no_context_takeover,
        extension.local_no_context_takeover,
        extension.remote_max_window_bits,
        extension.local_max_window_bits,
    )


def params(text: str) -> list[Any]:
    """Parameters as they stand in a header."""
    [(_, parameters)] = parse_extension(f"permessage-deflate; {text}" if text else "permessage-deflate")
    return parameters


def header(parameters: Any) -> str:
    """What `params` reads."""
    return (
        build_extension([("permessage-deflate", list(parameters))])
        .removeprefix("permessage-deflate")
        .removeprefix("; ")
    )  # type: ignore[list-item]


# Wrong parameters, sent by either side

INVALID = [
    *(
        (f"{name}={value}", InvalidParameterValue)
        for name in (SERVER_BITS, CLIENT_BITS)
        for value in ("7", "16", "99", "0", "-8", "08", "010", "1e1", "12.0", "x", "12345678901234567890")
    ),
    *((f"{name}=1", InvalidParameterValue) for name in (SERVER_FRESH, CLIENT_FRESH)),
    *(
        (f"{one}; {one}", DuplicateParameter)
        for one in (f"{SERVER_BITS}=10", f"{CLIENT_BITS}=10", CLIENT_BITS, SERVER_FRESH, CLIENT_FRESH)
    ),
    (f"{CLIENT_BITS}; {CLIENT_BITS}=10", DuplicateParameter),
    (SERVER_BITS, InvalidParameterValue),
    ("unknown", InvalidParameterName),
    ("unknown=1", InvalidParameterName),
    (f"{SERVER_BITS.upper()}=10", InvalidParameterName),
]


@pytest.mark.parametrize(("text", "error"), INVALID)
def test_invalid_offers_and_answers(text: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        ServerPerMessageDeflateFactory().process_request_params(params(text), [])
    with pytest.raises(error):
        ClientPerMessageDeflateFactory().process_response_params(params(text), [])


@pytest.mark.parametrize("name", [SERVER_BITS, CLIENT_BITS, SERVER_FRESH, CLIENT_FRESH])
def test_empty_values(name: str) -> None:
    """The grammar of the header knows none, but the caller of a factory may."""
    with pytest.raises(InvalidParameterValue, match=f"empty value for parameter {name}"):
        ServerPerMessageDeflateFactory().process_request_params([(name, "")], [])
    with pytest.raises(InvalidParameterValue, match=f"empty value for parameter {name}"):
        ClientPerMessageDeflateFactory().process_response_params([(name, "")], [])


def test_the_same_extension_twice() -> None:
    accepted = [PerMessageDeflate(False, False, 15, 15)]
    with pytest.raises(NegotiationError, match="skipped duplicate"):
        ServerPerMessageDeflateFactory().process_request_params([], accepted)
    with pytest.raises(NegotiationError, match="received duplicate"):
        ClientPerMessageDeflateFactory().process_response_params([], accepted)


# The server


@pytest.mark.parametrize(
    ("settings", "offer", "answer", "expected"),
    [
        ({}, "", "", (False, False, 15, 15)),
        ({}, CLIENT_BITS, "", (False, False, 15, 15)),
        ({}, f"{CLIENT_BITS}=10", f"{CLIENT_BITS}=10", (False, False, 10, 15)),
        ({}, f"{CLIENT_BITS}=8", f"{CLIENT_BITS}=8", (False, False, 8, 15)),
        ({}, f"{SERVER_BITS}=10", f"{SERVER_BITS}=10", (False, False, 15, 10)),
        ({}, SERVER_FRESH, SERVER_FRESH, (False, True, 15, 15)),
        ({}, CLIENT_FRESH, CLIENT_FRESH, (True, False, 15, 15)),
        ({SERVER_FRESH: True}, "", SERVER_FRESH, (False, True, 15, 15)),
        ({CLIENT_FRESH: True}, "", CLIENT_FRESH, (True, False, 15, 15)),
        ({SERVER_BITS: 12}, "", f"{SERVER_BITS}=12", (False, False, 15, 12)),
        ({SERVER_BITS: 12}, f"{SERVER_BITS}=10", f"{SERVER_BITS}=10", (False, False, 15, 10)),
        ({SERVER_BITS: 12}, f"{SERVER_BITS}=15", f"{SERVER_BITS}=12", (False, False, 15, 12)),
        ({CLIENT_BITS: 12}, "", "", (False, False, 15, 15)),
        ({CLIENT_BITS: 12}, CLIENT_BITS, f"{CLIENT_BITS}=12", (False, False, 12, 15)),
        ({CLIENT_BITS: 12}, f"{CLIENT_BITS}=10", f"{CLIENT_BITS}=10", (False, False, 10, 15)),
        ({CLIENT_BITS: 12}, f"{CLIENT_BITS}=15", f"{CLIENT_BITS}=12", (False, False, 12, 15)),
        (
            {CLIENT_BITS: 12, "require_client_max_window_bits": True},
            CLIENT_BITS,
            f"{CLIENT_BITS}=12",
            (False, False, 12, 15),
        ),
        (
            {SERVER_BITS: 12, CLIENT_BITS: 12},
            f"{SERVER_FRESH}; {CLIENT_FRESH}; {SERVER_BITS}=9; {CLIENT_BITS}=11",
            f"{SERVER_FRESH}; {CLIENT_FRESH}; {SERVER_BITS}=9; {CLIENT_BITS}=11",
            (True, True, 11, 9),
        ),
    ],
)
def test_answers_of_a_server(settings: Any, offer: str, answer: str, expected: tuple[bool, bool, int, int]) -> None:
    parameters, extension = ServerPerMessageDeflateFactory(**settings).process_request_params(params(offer), [])
    assert header(parameters) == answer
    assert agreed(extension) == expected


@pytest.mark.parametrize(
    ("settings", "offer"),
    [
        ({}, f"{SERVER_BITS}=8"),  # zlib has no compressor with so small a window
        ({CLIENT_BITS: 12, "require_client_max_window_bits": True}, ""),
        ({CLIENT_BITS: 12, "require_client_max_window_bits": True}, f"{SERVER_BITS}=12"),
    ],
)
def test_offers_that_a_server_declines(settings: Any, offer: str) -> None:
    with pytest.raises(NegotiationError):
        ServerPerMessageDeflateFactory(**settings).process_request_params(params(offer), [])


# The client


@pytest.mark.parametrize(
    ("settings", "offer"),
    [
        ({}, CLIENT_BITS),
        ({CLIENT_BITS: None}, ""),
        ({CLIENT_BITS: 12}, f"{CLIENT_BITS}=12"),
        ({SERVER_BITS: 8}, f"{SERVER_BITS}=8; {CLIENT_BITS}"),
        ({SERVER_FRESH: True, CLIENT_FRESH: True}, f"{SERVER_FRESH}; {CLIENT_FRESH}; {CLIENT_BITS}"),
    ],
)
def test_offers_of_a_client(settings: Any, offer: str) -> None:
    assert header(ClientPerMessageDeflateFactory(**settings).get_request_params()) == offer


@pytest.mark.parametrize(
    ("settings", "answer", "expected"),
    [
        ({}, "", (False, False, 15, 15)),
        ({}, f"{CLIENT_BITS}=10", (False, False, 15, 10)),
        ({}, f"{SERVER_BITS}=8", (False, False, 8, 15)),
        ({}, SERVER_FRESH, (True, False, 15, 15)),
        ({}, CLIENT_FRESH, (False, True, 15, 15)),
        ({CLIENT_FRESH: True}, "", (False, True, 15, 15)),
        ({SERVER_FRESH: True}, SERVER_FRESH, (True, False, 15, 15)),
        ({CLIENT_BITS: 12}, "", (False, False, 15, 12)),
        ({CLIENT_BITS: 12}, f"{CLIENT_BITS}=12", (False, False, 15, 12)),
        ({CLIENT_BITS: 12}, f"{CLIENT_BITS}=9", (False, False, 15, 9)),
        ({CLIENT_BITS: None}, "", (False, False, 15, 15)),
        ({SERVER_BITS: 12}, f"{SERVER_BITS}=12", (False, False, 12, 15)),
        ({SERVER_BITS: 12}, f"{SERVER_BITS}=10", (False, False, 10, 15)),
    ],
)
def test_answers_that_a_client_accepts(settings: Any, answer: str, expected: tuple[bool, bool, int, int]) -> None:
    extension = ClientPerMessageDeflateFactory(**settings).process_response_params(params(answer), [])
    assert agreed(extension) == expected


@pytest.mark.parametrize(
    ("settings", "answer"),
    [
        ({}, CLIENT_BITS),
        ({}, f"{CLIENT_BITS}=8"),  # zlib has no compressor with so small a window
        ({CLIENT_BITS: None}, f"{CLIENT_BITS}=10"),
        ({CLIENT_BITS: 12}, f"{CLIENT_BITS}=13"),
        ({SERVER_BITS: 12}, ""),
        ({SERVER_BITS: 12}, f"{SERVER_BITS}=13"),
        ({SERVER_FRESH: True}, ""),
    ],
)
def test_answers_that_a_client_refuses(settings: Any, answer: str) -> None:
    with pytest.raises(NegotiationError):
        ClientPerMessageDeflateFactory(**settings).process_response_params(params(answer), [])


client_settings = st.fixed_dictionaries(
    {
        SERVER_FRESH: st.booleans(),
        CLIENT_FRESH: st.booleans(),
        SERVER_BITS: st.none() | st.integers(9, 15),
        CLIENT_BITS: st.none() | st.just(True) | st.integers(9, 15),
    }
)
server_settings = st.fixed_dictionaries(
    {
        SERVER_FRESH: st.booleans(),
        CLIENT_FRESH: st.booleans(),
        SERVER_BITS: st.none() | st.integers(9, 15),
        CLIENT_BITS: st.none() | st.integers(9, 15),
    }
)


@given(client_settings, server_settings, st.lists(st.text(max_size=300), max_size=4))
def test_our_client_and_our_server_understand_each_other(for_client: Any, for_server: Any, texts: list[str]) -> None:
    client, server = ClientPerMessageDeflateFactory(**for_client), ServerPerMessageDeflateFactory(**for_server)
    answer, at_server = server.process_request_params(params(header(client.get_request_params())), [])
    at_client = client.process_response_params(params(header(answer)), [])
    for sender, receiver in ((at_client, at_server), (at_server, at_client)):
        # The receiver must expect at least what the sender does.
        assert receiver.remote_max_window_bits >= sender.local_max_window_bits
        assert receiver.remote_no_context_takeover <= sender.local_no_context_takeover
        for text in texts:
            frame = Frame(Opcode.TEXT, text.encode())
            assert receiver.decode(sender.encode(frame)) == frame


# Arguments


MISTAKES: list[dict[str, Any]] = [
    {SERVER_BITS: 7},
    {SERVER_BITS: 16},
    {CLIENT_BITS: 7},
    {CLIENT_BITS: 16},
    {SERVER_BITS: True},
    {"compress_settings": {"wbits": 12}},
]


@pytest.mark.parametrize("factory", [ClientPerMessageDeflateFactory, ServerPerMessageDeflateFactory])
@pytest.mark.parametrize(
    "settings",
    [
        *MISTAKES,
        {"compress_settings": {"zdict": b"abc"}},
        {"compress_settings": {"level": 10}},
        {"compress_settings": {"leve": 1}},
    ],
)
def test_arguments_that_make_no_sense(factory: Any, settings: dict[str, Any]) -> None:
    [name] = settings
    with pytest.raises(ValueError, match=name):
        factory(**settings)


def test_a_window_of_this_side_has_at_least_9_bits() -> None:
    with pytest.raises(ValueError, match="server_max_window_bits must be between 9 and 15"):
        ServerPerMessageDeflateFactory(server_max_window_bits=8)
    with pytest.raises(ValueError, match="client_max_window_bits must be between 9 and 15"):
        ClientPerMessageDeflateFactory(client_max_window_bits=8)
    with pytest.raises(ValueError, match="local_max_window_bits must be"):
        PerMessageDeflate(False, False, 15, 8)
    with pytest.raises(ValueError, match="remote_max_window_bits must be"):
        PerMessageDeflate(False, False, 7, 15)
    assert agreed(PerMessageDeflate(False, False, 8, 9)) == (False, False, 8, 9)


def refusal(call: Callable[[Any], Any], library: str) -> tuple[str, str]:
    """The exception of a call that gets the module of a library."""
    with pytest.raises(Exception) as caught:  # noqa: PT011  # the point is which one
        call(importlib.import_module(f"{library}.extensions.permessage_deflate"))
    return type(caught.value).__name__, str(caught.value)


@pytest.mark.parametrize("side", ["Client", "Server"])
@pytest.mark.parametrize("settings", MISTAKES)
def test_mistakes_are_named_as_websockets_names_them(side: str, settings: dict[str, Any]) -> None:
    def call(module: Any) -> None:
        getattr(module, f"{side}PerMessageDeflateFactory")(**settings)

    assert refusal(call, "trunkline") == refusal(call, "websockets")


def test_what_is_required_must_be_given() -> None:
    def call(module: Any) -> None:
        module.ServerPerMessageDeflateFactory(require_client_max_window_bits=True)

    assert refusal(call, "trunkline") == refusal(call, "websockets")


@pytest.mark.parametrize(
    ("settings", "answer"),
    [
        ({SERVER_FRESH: True}, ""),
        ({SERVER_BITS: 12}, ""),
        ({SERVER_BITS: 12}, f"{SERVER_BITS}=13"),
        ({SERVER_BITS: 12}, f"{SERVER_BITS}=16"),
        ({CLIENT_BITS: None}, f"{CLIENT_BITS}=10"),
        ({CLIENT_BITS: 12}, f"{CLIENT_BITS}=13"),
        ({CLIENT_BITS: True}, f"{CLIENT_BITS}=8"),
    ],
)
def test_why_an_answer_is_refused(settings: dict[str, Any], answer: str) -> None:
    def call(module: Any) -> None:
        module.ClientPerMessageDeflateFactory(**settings).process_response_params(params(answer), [])

    assert refusal(call, "trunkline") == refusal(call, "websockets")


# Defaults


def test_compression_is_enabled_with_small_windows() -> None:
    [client] = enable_client_permessage_deflate(None)
    assert header(client.get_request_params()) == CLIENT_BITS
    [server] = enable_server_permessage_deflate([])
    answer, extension = server.process_request_params(params(CLIENT_BITS), [])
    assert header(answer) == f"{SERVER_BITS}=12; {CLIENT_BITS}=12"
    assert repr(extension) == (
        "PerMessageDeflate(remote_no_context_takeover=False, local_no_context_takeover=False, "
        "remote_max_window_bits=12, local_max_window_bits=12)"
    )
    assert extension.compress_settings == {"memLevel": 5}


def test_compression_is_not_enabled_twice() -> None:
    client, server = [ClientPerMessageDeflateFactory()], [ServerPerMessageDeflateFactory()]
    assert enable_client_permessage_deflate(client) is client
    assert enable_server_permessage_deflate(server) is server


def test_compression_comes_behind_other_extensions() -> None:
    other_client, other_server = ClientExtensionFactory(), ServerExtensionFactory()
    other_client.name = other_server.name = "other"  # type: ignore[assignment]
    assert enable_client_permessage_deflate([other_client])[0] is other_client
    assert [factory.name for factory in enable_server_permessage_deflate([other_server])] == [
        "other",
        "permessage-deflate",
    ]


# Frames


def pair(takeover: bool = True) -> tuple[PerMessageDeflate, PerMessageDeflate]:
    return PerMessageDeflate(not takeover, not takeover, 15, 15), PerMessageDeflate(not takeover, not takeover, 15, 15)


def test_it_is_an_extension() -> None:
    assert isinstance(pair()[0], Extension)
    assert PerMessageDeflate.name == "permessage-deflate"


@pytest.mark.parametrize("takeover", [True, False])
def test_whole_messages(takeover: bool) -> None:
    sender, receiver = pair(takeover)
    for opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.TEXT):
        frame = Frame(opcode, LONG)
        sent = sender.encode(frame)
        assert (sent.rsv1, sent.fin, sent.opcode) == (True, True, opcode)
        assert len(sent.data) < len(LONG) / 2
        assert receiver.decode(sent) == frame


@pytest.mark.parametrize("data", [b"", b"a", bytes(range(100))])
def test_messages_that_do_not_get_smaller(data: bytes) -> None:
    sender, receiver = pair()
    frame = Frame(Opcode.BINARY, data)
    for _ in range(2):
        sent = sender.encode(frame)
        assert sent.rsv1
        assert receiver.decode(sent) == frame
    assert receiver.decode(frame) == frame


@pytest.mark.parametrize("data", [b"a" * 30, LONG])
def test_frames_are_compressed_as_zlib_does_it_by_itself(data: bytes) -> None:
    sender, _ = pair()
    compressor = zlib.compressobj(wbits=-15)
    expected = compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH)
    assert sender.encode(Frame(Opcode.TEXT, data)).data == expected.removesuffix(b"\x00\x00\xff\xff")


def test_fragments() -> None:
    sender, receiver = pair()
    for _ in range(2):
        frames = [Frame(Opcode.TEXT, LONG, False), Frame(Opcode.CONT, LONG, False), Frame(Opcode.CONT, b"", True)]
        sent = [sender.encode(frame) for frame in frames]
        assert [frame.rsv1 for frame in sent] == [True, False, False]
        assert [receiver.decode(frame) for frame in sent] == frames
        plain = [Frame(Opcode.TEXT, b"not ", False), Frame(Opcode.CONT, b"compressed")]
        assert [receiver.decode(frame) for frame in plain] == plain


@pytest.mark.parametrize("opcode", [Opcode.PING, Opcode.PONG, Opcode.CLOSE])
def test_control_frames_are_left_alone(opcode: Opcode) -> None:
    sender, receiver = pair()
    assert sender.encode(Frame(opcode, LONG[:125])) == Frame(opcode, LONG[:125])
    receiver.decode(Frame(Opcode.TEXT, b"\x00", False, rsv1=True))
    assert receiver.decode(Frame(opcode, b"\x00", rsv1=True)) == Frame(opcode, b"\x00", rsv1=True)


def test_a_continuation_with_rsv1_is_refused() -> None:
    receiver = pair()[1]
    receiver.decode(Frame(Opcode.TEXT, b"\x00", False, rsv1=True))
    with pytest.raises(ProtocolError, match="RSV1 bit set in continuation frame"):
        receiver.decode(Frame(Opcode.CONT, b"\x00", rsv1=True))


def test_a_continuation_with_rsv1_of_a_message_that_is_not_compressed_is_left_to_others() -> None:
    receiver = pair()[1]
    receiver.decode(Frame(Opcode.TEXT, b"a", False))
    frame = Frame(Opcode.CONT, b"b", rsv1=True)
    assert receiver.decode(frame) is frame


def test_what_cannot_be_decompressed() -> None:
    with pytest.raises(ProtocolError, match="decompression failed") as caught:
        pair()[1].decode(Frame(Opcode.TEXT, b"\xff\xff", rsv1=True))
    assert isinstance(caught.value.__cause__, zlib.error)


def test_limits() -> None:
    sender, receiver = pair()
    sent = sender.encode(Frame(Opcode.TEXT, LONG))
    assert receiver.decode(sent, max_size=len(LONG)).data == LONG
    with pytest.raises(PayloadTooBig, match=f"frame exceeds limit of {len(LONG) - 1} bytes"):
        pair()[1].decode(sent, max_size=len(LONG) - 1)
