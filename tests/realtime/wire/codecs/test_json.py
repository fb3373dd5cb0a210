import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.realtime.publication import ClientInfo, Publication
from trunkline.realtime.wire.codecs.base import MOST_COMMANDS, Codec, InvalidFrame, InvalidPayload
from trunkline.realtime.wire.codecs.json import JSONCodec
from trunkline.realtime.wire.messages import (
    Command,
    ConnectRequest,
    ConnectResult,
    Garbled,
    HistoryRequest,
    Ping,
    PublishRequest,
    Reply,
    RPCRequest,
    StreamPosition,
    SubscribeRequest,
    SubscribeResult,
    UnsubscribeResult,
)

codec = JSONCodec()


def said(*replies: Reply) -> str:
    message = codec.encode(replies)
    assert message.opcode == 1
    return bytes(message.payload).decode()


def test_commands_of_a_frame() -> None:
    frame = '{"id":1,"subscribe":{"channel":"a","flag":3}}\n{}\n{"id":2,"publish":{"channel":"a","data":{"x": 1}}}'
    first, pong, second = codec.decode(frame)
    assert first == Command(1, subscribe=SubscribeRequest("a", flag=3))
    assert pong == Command()
    assert second == Command(2, publish=PublishRequest("a", msgspec.Raw(b'{"x": 1}')))
    assert codec.decode(b'{"id":1,"ping":{}}')[0].ping is not None
    assert codec.decode("") == codec.decode("\n") == []


def test_unknown_fields_mean_nothing() -> None:
    assert codec.decode('{"id":1,"map_publish":{},"x":[1]}') == [Command(1)]
    assert codec.decode('{"id":1,"subscribe":{"channel":"a","new":{"x":1}}}')[0].subscribe == SubscribeRequest("a")


@pytest.mark.parametrize(
    ("frame", "command"),
    [
        ('{"id":null}', Command()),
        ('{"id":1,"subscribe":{"channel":null,"offset": null }}', Command(1, subscribe=SubscribeRequest())),
        ('{"id":1,"connect":null,"ping":{}}', Command(1, ping=Ping())),
        ('{"id":1,"rpc":{"method":null,"data": null}}', Command(1, rpc=RPCRequest(msgspec.Raw(b"null")))),
        ('{"id":1,"rpc":{"method":null,"data":{"a":null}}}', Command(1, rpc=RPCRequest(msgspec.Raw(b'{"a":null}')))),
        (
            '{"id":1,"connect":{"token":null,"subs":{"a":{"epoch":null,"offset":5},"b":null},"headers":{"x":null,"y":"z"}}}',
            Command(1, connect=ConnectRequest(subs={"a": SubscribeRequest(offset=5)}, headers={"y": "z"})),
        ),
        (
            '{"id":1,"history":{"since":{"offset":null,"epoch":"x"}}}',
            Command(1, history=HistoryRequest(since=StreamPosition(epoch="x"))),
        ),
        ('{"id":1,"map_publish":null,"ping":{"x":null}}', Command(1, ping=Ping())),
    ],
)
def test_fields_that_are_null_are_absent_and_payloads_may_be_null(frame: str, command: Command) -> None:
    """As in the JSON form of Protobuf."""
    assert codec.decode(frame) == [command]
    assert codec.decode(f'{{"id":1,"ping":{{}}}}\n{frame}\n{{}}') == [Command(1, ping=Ping()), command, Command()]


@pytest.mark.parametrize(
    "frame",
    [
        "null",
        "[null]",
        '{"id":1,"subscribe":[null]}',
        '{"id":1,"subscribe":{"channel":null,"offset":"null"}}',
        '{"id":1,"connect":{"token":null,"subs":{"a":1}}}',
        '{"id":1,"rpc":{"method":null,"data":{]}}',
        "{",
        "x",
        "[]",
        "1",
        '{"id":-1}',
        '{"id":4294967296}',
        '{"id":1.5}',
        '{"id":"1"}',
        '{"id":1,"subscribe":{"channel":1}}',
        '{"id":1,"subscribe":{"offset":18446744073709551616}}',
        '{"id":1,"history":{"limit":2147483648}}',
        '{"id":1,"rpc":{"data":{]}}',
        '{"id":1,"rpc":{"data":' + "[" * 100_000,
        b'{"id":1,"rpc":{"data":"\xff"}}',
        b"\xff",
    ],
)
def test_what_is_no_frame(frame: str | bytes) -> None:
    with pytest.raises(InvalidFrame):
        codec.decode(frame)


@pytest.mark.parametrize(
    "text",
    [
        r"well done \ud83d",
        r"\uDE00",
        r"\ud83d\ud83d\ude00",
        r"\ud83d\n",
        r"\ud83d\u0041",
        r"\\\ud83d",
    ],
)
@pytest.mark.parametrize(
    ("request_", "garbled"),
    [
        ('{"id":2,"publish":{"channel":"a","data":{"text":"%s"}}}', Garbled(2)),
        ('{"id":2,"publish":{"channel":"%s","data":1}}', Garbled(2)),
        ('{"publish":{"channel":"a","data":"%s"}}', Garbled()),
        ('{"id":2,"connect":{"data":"%s","name":"js"}}', Garbled(2, Ping())),
        ('{"id":2,"rpc":{"data":{"%s":1}}}', Garbled(2)),
    ],
)
def test_half_an_emoji_is_a_fault_of_its_command_alone(text: str, request_: str, garbled: Garbled) -> None:
    others = '{"id":1,"publish":{"channel":"a","data":"\\ud83d\\ude00"}}', '{"id":3,"ping":{}}'
    first, second, last = codec.decode("\n".join([others[0], request_ % text, others[1]]))
    assert second == garbled
    assert [first, last] == codec.decode("\n".join(others))


@pytest.mark.parametrize(
    "frame",
    [
        r'{"id":"1","publish":{"data":"\ud83d"}}',
        r'{"id":1,"publish":{"data":"\ud83d"}',
        r'{"id":1,"publish":{"data":"\ud83"}}',
        r'{"id":1,"publish":{"data":NaN}}',
        r'["\ud83d"]',
        '{"id":1,"publish":{"data":"\\ud83d"}}\n{"id":',
        '{"id":1,"publish":{"data":"\\ud83d"}}' + '{"id":2,"ping":{}}',
        '{"id":1,"publish":{"data":' + "[" * 100_000 + r'"\ud83d"',
    ],
)
def test_half_an_emoji_in_what_is_no_frame(frame: str) -> None:
    with pytest.raises(InvalidFrame):
        codec.decode(frame)


def test_text_that_only_looks_like_half_an_emoji() -> None:
    [command] = codec.decode(r'{"id":1,"rpc":{"method":"\\ud83d"}}')
    assert isinstance(command, Command)
    assert command.rpc == RPCRequest(method=r"\ud83d")


def test_a_frame_has_so_many_commands() -> None:
    assert len(codec.decode("\n".join(["{}"] * MOST_COMMANDS))) == MOST_COMMANDS
    for frame in ("{}\n" * (MOST_COMMANDS + 1), b"\n" * (MOST_COMMANDS + 1)):
        with pytest.raises(InvalidFrame, match="commands in a frame"):
            codec.decode(frame)


def test_replies_leave_out_what_is_not_there() -> None:
    assert said(Reply(1, unsubscribe=UnsubscribeResult())) == '{"id":1,"unsubscribe":{}}'
    assert said(Reply(1, connect=ConnectResult("c", subs={"a": SubscribeResult(recovered=True)}))) == (
        '{"id":1,"connect":{"client":"c","subs":{"a":{"recovered":true}}}}'
    )
    assert said(Reply(), Reply(2)) == '{}\n{"id":2}'
    assert bytes(codec.ping.payload) == b"{}"


def test_publications() -> None:
    info = ClientInfo("ada", "c1", b'{"name":"Ada"}', b"1")
    message = codec.push("a", Publication(b'{"x":1}', 5, 1700, info, {"t": "v"}, "key"))
    assert message is not None
    assert json.loads(message.payload) == {
        "push": {
            "channel": "a",
            "pub": {
                "data": {"x": 1},
                "offset": 5,
                "time": 1700,
                "tags": {"t": "v"},
                "info": {"user": "ada", "client": "c1", "conn_info": {"name": "Ada"}, "chan_info": 1},
            },
        }
    }


def test_a_payload_never_breaks_a_frame() -> None:
    """Clients take frames apart at line feeds, and read what is between them as JSON."""
    message = codec.push("a", Publication(b'{\n  "text": "two\\nlines"\n}'))
    assert message is not None
    assert b"\n" not in message.payload
    assert json.loads(message.payload)["push"]["pub"]["data"] == {"text": "two\nlines"}


@pytest.mark.parametrize("data", [b"\xff", b"{", b"hello", b'"\xff"', b"1 2", b"[" * 100_000, b'"a\nb"'])
def test_payloads_that_are_no_json(data: bytes) -> None:
    with pytest.raises(InvalidPayload):
        codec.push("a", Publication(data))


@given(st.binary() | st.text(alphabet='0123456789.eE+-"\\u[]{},:truefalsn \n\t\x01', max_size=12).map(str.encode))
def test_a_payload_is_json_to_us_only_if_it_is_to_others(data: bytes) -> None:
    try:
        payload = codec.payload(data)
    except InvalidPayload:
        return
    if payload is not msgspec.UNSET:
        json.loads(bytes(payload))


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda more: st.lists(more), max_leaves=5))
def test_payloads_pass_through(value: Any) -> None:
    data = json.dumps(value, ensure_ascii=False).encode(errors="surrogatepass")
    frame = b'{"id":1,"publish":{"channel":"a","data":' + data + b"}}"
    try:
        frame.decode()
    except UnicodeDecodeError:
        return  # no WebSocket message
    [command] = codec.decode(frame.decode())
    assert command.publish is not None
    assert bytes(command.publish.data) == data  # type: ignore[arg-type]


@given(st.text() | st.binary())
def test_anything_else_is_refused(frame: str | bytes) -> None:
    try:
        commands = codec.decode(frame)
    except InvalidFrame:
        return
    assert all(isinstance(command, Command) for command in commands)


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
payloads = st.recursive(st.none() | st.booleans() | st.integers(-5, 5) | texts, st.lists).map(msgspec.json.encode)
infos = st.builds(ClientInfo, texts, texts, st.none() | payloads, st.none() | payloads)


@given(
    st.text(min_size=1).filter(lambda text: text.isprintable()),
    st.builds(
        Publication,
        payloads | st.just(b"") | st.just(b'{\n "a": 1}'),
        st.integers(0, 2**63 - 1),
        st.integers(-5, 2**63 - 1),
        st.none() | infos,
        st.none() | st.dictionaries(texts, texts, max_size=3),
    ),
)
def test_a_publication_is_laid_out_as_its_message_would_be(channel: str, publication: Publication) -> None:
    laid_out, by_messages = codec.push(channel, publication), Codec.push(codec, channel, publication)
    assert laid_out is not None
    assert by_messages is not None
    assert (laid_out.opcode, bytes(laid_out.payload)) == (by_messages.opcode, bytes(by_messages.payload))


@pytest.mark.parametrize("id", [1, 2**32 - 1])
def test_the_answer_to_a_publication_is_laid_out_as_its_message_would_be(id: int) -> None:
    assert bytes(codec.published(id).payload) == bytes(Codec.published(codec, id).payload)
