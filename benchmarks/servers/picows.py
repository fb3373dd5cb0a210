"""picows, its own API: callbacks, one call per frame, and no awaiting of anything."""

import picows

from benchmarks.servers import harness

MESSAGES = (picows.WSMsgType.TEXT, picows.WSMsgType.BINARY)
clients: set[picows.WSTransport] = set()


class Echo(picows.WSListener):
    def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        if frame.msg_type in MESSAGES:
            transport.send(frame.msg_type, frame.get_payload_as_memoryview())
        elif frame.msg_type == picows.WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code(), frame.get_close_message())
            transport.disconnect()


class Broadcast(Echo):
    def on_ws_connected(self, transport: picows.WSTransport) -> None:
        clients.add(transport)

    def on_ws_disconnected(self, transport: picows.WSTransport) -> None:
        clients.discard(transport)

    def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        if frame.msg_type not in MESSAGES:
            super().on_ws_frame(transport, frame)
            return
        message = frame.get_payload_as_bytes()
        for client in clients:
            client.send(frame.msg_type, message)


async def start(options: harness.Options) -> object:
    listener = {"echo": Echo, "broadcast": Broadcast}[options.mode]
    server = await picows.ws_create_server(
        lambda request: listener(), sock=options.sock, ssl=options.tls, max_frame_size=harness.MAX_SIZE
    )
    await server.start_serving()
    return server


harness.main(start)
