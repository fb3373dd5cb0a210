"""Terms that both sides agree on, with headers alone: no request line, no Upgrade, no key."""

import pytest

from trunkline.datastructures import Headers
from trunkline.exceptions import InvalidOrigin, InvalidUpgrade, NegotiationError
from trunkline.extensions.permessage_deflate import ClientPerMessageDeflateFactory, ServerPerMessageDeflateFactory
from trunkline.handshake.negotiation import ClientNegotiation, Refusal, ServerNegotiation
from trunkline.typing import Origin, Subprotocol

CHAT, STOMP = Subprotocol("chat"), Subprotocol("stomp")


def agree(client: ClientNegotiation, server: ServerNegotiation) -> Headers:
    request, answer = Headers(), Headers()
    client.offer(request)
    server.negotiate(request, answer)
    client.settle(answer)
    return answer


def test_both_sides_agree_without_http11() -> None:
    client = ClientNegotiation(extensions=[ClientPerMessageDeflateFactory()], subprotocols=[STOMP, CHAT])
    server = ServerNegotiation(extensions=[ServerPerMessageDeflateFactory()], subprotocols=[CHAT])
    answer = agree(client, server)
    assert client.subprotocol == server.subprotocol == CHAT
    assert [extension.name for extension in client.extensions] == ["permessage-deflate"]
    assert [extension.name for extension in server.extensions] == ["permessage-deflate"]
    assert set(answer) == {"sec-websocket-extensions", "sec-websocket-protocol"}


def test_nothing_offered_means_nothing_agreed() -> None:
    answer = agree(ClientNegotiation(), ServerNegotiation(extensions=[ServerPerMessageDeflateFactory()]))
    assert not answer


def test_an_origin_that_is_not_admitted() -> None:
    server = ServerNegotiation(origins=[Origin("https://example.com")])
    with pytest.raises(InvalidOrigin) as caught:
        server.negotiate(Headers({"Origin": "https://example.org"}), Headers())
    refusal = Refusal.of(caught.value)
    assert refusal.status == 403
    assert "https://example.org" in refusal.text


def test_a_subprotocol_that_was_not_offered() -> None:
    client = ClientNegotiation(subprotocols=[CHAT])
    with pytest.raises(NegotiationError, match="unsupported subprotocol: stomp"):
        client.settle(Headers({"Sec-WebSocket-Protocol": "stomp"}))


def test_a_refusal_says_which_headers_its_status_asks_for() -> None:
    refusal = Refusal.of(InvalidUpgrade("Upgrade"))
    assert refusal.status == 426
    assert refusal.headers == {"Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
    assert "browser" in refusal.text
