"""picows, which hands over frames: joining fragments is up to the program."""

from __future__ import annotations

from typing import Any

import picows
from dialogue import FRAGMENTS, MAX_SIZE, SUBPROTOCOL, parse, run_async
from picows import WSCloseCode, WSFrame, WSListener, WSMsgType, WSTransport


class Talk(WSListener):
    def on_ws_connected(self, transport: WSTransport) -> None:
        self.parts: list[bytes] = []
        self.kind = WSMsgType.TEXT

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        match frame.msg_type:
            case WSMsgType.CLOSE:
                transport.send_close(frame.get_close_code(), frame.get_close_message())
                transport.disconnect()
            case WSMsgType.PONG:
                transport.send(WSMsgType.TEXT, b"!pong")
            case WSMsgType.PING:
                pass  # answered by picows
            case _:
                self.on_data(transport, frame)

    def on_data(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type is not WSMsgType.CONTINUATION:
            self.kind = frame.msg_type
        self.parts.append(frame.get_payload_as_bytes())
        if frame.fin:
            message = b"".join(self.parts)
            self.parts.clear()
            self.obey(transport, message)

    def obey(self, transport: WSTransport, message: bytes) -> None:
        match parse(message.decode()) if self.kind is WSMsgType.TEXT else None:
            case None:
                transport.send(self.kind, message)
            case ("close", code, reason):
                transport.send_close(WSCloseCode(code) if code in list(WSCloseCode) else code, reason.encode())
            case ("ping", _, _):
                transport.send_ping(b"ping")
            case ("fragments", _, _):
                for n, fragment in enumerate(FRAGMENTS):
                    kind = WSMsgType.CONTINUATION if n else WSMsgType.TEXT
                    transport.send(kind, fragment.encode(), fin=n == len(FRAGMENTS) - 1)
            case ("subprotocol", _, _):
                transport.send(WSMsgType.TEXT, str(transport.response.headers.get("Sec-WebSocket-Protocol")).encode())
            case ("abort", _, _):
                transport.disconnect(graceful=False)


def accept(request: Any) -> Any:
    headers = {"Sec-WebSocket-Protocol": SUBPROTOCOL} if "Sec-WebSocket-Protocol" in request.headers else {}
    response = picows.WSUpgradeResponse.create_101_response(extra_headers=headers)
    return picows.WSUpgradeResponseWithListener(response, Talk())


async def listen() -> int:
    server = await picows.ws_create_server(accept, "127.0.0.1", 0, max_frame_size=MAX_SIZE)
    await server.start_serving()
    port: int = server.sockets[0].getsockname()[1]
    return port


async def connect(uri: str) -> None:
    headers = {"Sec-WebSocket-Protocol": SUBPROTOCOL}
    transport, _ = await picows.ws_connect(Talk, uri, extra_headers=headers, max_frame_size=MAX_SIZE)
    await transport.wait_disconnected()


if __name__ == "__main__":
    run_async(listen, connect)
