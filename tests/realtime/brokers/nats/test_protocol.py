"""The protocol of NATS, byte by byte."""

import pytest

from trunkline.realtime.brokers.nats.protocol import (
    Error,
    Info,
    Message,
    Parser,
    Ping,
    Pong,
    ProtocolError,
    connect,
    publish,
    subscribe,
    unsubscribe,
)

HEADERS = b"NATS/1.0\r\nNats-Sequence: 7\r\nNats-Last-Sequence: 5\r\n\r\n"
STATUS = b"NATS/1.0 503\r\n\r\n"

SAID = [
    (b'INFO {"version":"2.11.0","max_payload":9}\r\n', Info({"version": "2.11.0", "max_payload": 9})),
    (b"PING\r\n", Ping()),
    (b"MSG a.b 2 5\r\nMSG\r\n\r\n", Message(b"a.b", 2, b"", b"", b"MSG\r\n")),
    (b"MSG a.b 2 _INBOX.x 0\r\n\r\n", Message(b"a.b", 2, b"_INBOX.x", b"", b"")),
    (b"+OK\r\n", None),
    (
        b"HMSG a 3 %d %d\r\n%bPING\r\n" % (len(HEADERS), len(HEADERS) + 4, HEADERS),
        Message(b"a", 3, b"", HEADERS, b"PING"),
    ),
    (b"HMSG a 3 r %d %d\r\n%b\r\n" % (len(STATUS), len(STATUS), STATUS), Message(b"a", 3, b"r", STATUS, b"")),
    (b"PONG\r\n", Pong()),
    (b"-ERR 'Authorization Violation'\r\n", Error("Authorization Violation")),
]
STREAM = b"".join(data for data, _ in SAID)
EVENTS = [event for _, event in SAID if event is not None]


@pytest.mark.parametrize("cut", range(len(STREAM)))
def test_frames_cut_anywhere(cut: int) -> None:
    parser = Parser()
    assert parser.feed(STREAM[:cut]) + parser.feed(STREAM[cut:]) == EVENTS


def test_frames_byte_by_byte() -> None:
    parser = Parser()
    assert [event for number in range(len(STREAM)) for event in parser.feed(STREAM[number : number + 1])] == EVENTS


def test_headers() -> None:
    message = Message(b"a", 3, b"", HEADERS, b"")
    assert message.header(b"Nats-Sequence") == b"7"
    assert message.header(b"Nats-Last-Sequence") == b"5"
    assert message.header(b"Sequence") == b""
    assert message.status == b""
    assert Message(b"a", 3, b"", STATUS, b"").status == b"503"


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 400 Bad Request\r\n",
        b"\r\n",
        b"MSG a 2 x\r\n",
        b"MSG a 2 -1\r\n",
        b"MSG 5\r\n",
        b"MSG a x 5\r\n",
        b"MSG a 2 99999999999\r\n",
        b"HMSG a 2 9 5\r\n",
        b"HMSG a 2 4 4\r\nabcd\r\n",
        b"MSG a 2 1\r\nabc",
        b"INFO {\r\n",
        b"INFO []\r\n",
        b"x" * (1 << 20 | 1),
    ],
)
def test_nonsense_is_told(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        Parser().feed(data)


def test_commands() -> None:
    assert connect({"verbose": False}) == b'CONNECT {"verbose":false}\r\n'
    assert subscribe(b"a.*", 7) == b"SUB a.* 7\r\n"
    assert unsubscribe(7) == b"UNSUB 7\r\n"
    assert publish(b"a", b"hi") == b"PUB a  2\r\nhi\r\n"
    assert publish(b"a", b"hi", b"r") == b"PUB a r 2\r\nhi\r\n"
    assert publish(b"a", b"hi", b"r", b"K: v\r\n") == b"HPUB a r 18 20\r\nNATS/1.0\r\nK: v\r\n\r\nhi\r\n"
