"""Rooms over real connections: the official SDK for Python, raw WebSocket clients, and the server's own calls."""

import asyncio
import contextlib
import itertools
import json
import zlib
from pathlib import Path
from typing import Any

import centrifuge
import msgspec
import pytest
from centrifuge.protocol import client_pb2 as centrifuge_pb2

from tests.support.loop import settled
from tests.support.raw import TEXT, RawPeer, encode_frame
from tests.support.sdk import Events, payload, play, sdk, serving, value
from trunkline import connect, serve
from trunkline.exceptions import ConnectionClosed
from trunkline.realtime import (
    Client,
    Disconnected,
    Limits,
    MemoryPresence,
    Realtime,
    Refused,
    StreamPosition,
    Timeouts,
    select_subprotocol,
)
from trunkline.realtime.limits import Rate
from trunkline.realtime.tokens import Key, Tokens
from trunkline.testing import memory


class Say(msgspec.Struct):
    text: str


@pytest.mark.parametrize("protobuf", [False, True], ids=["json", "protobuf"])
def test_the_official_sdk(protobuf: bool) -> None:
    async def scene() -> None:
        rt = Realtime()
        chat = rt.channel("chat:{room}", history=10, presence=True, publish="subscribers")
        chat.on_publish(lambda client, message, room: None)

        @rt.on_connect
        def who(client: Client, data: dict[str, str]) -> dict[str, str]:
            client.user, client.info = data["name"], {"name": data["name"]}
            return {"hello": client.user}

        @rt.rpc("add")
        async def add(client: Client, numbers: list[int]) -> int:
            return sum(numbers)

        async with serving(rt) as url:
            client = sdk(url, protobuf, data=payload({"name": "ada"}, protobuf))
            events = Events()
            room = client.new_subscription("chat:1", events)
            await client.connect()
            await room.subscribe()
            subscribed = await events.expect("subscribed")
            assert subscribed.recoverable
            await room.publish(payload({"text": "hi"}, protobuf))
            publication = (await events.expect("publication")).pub
            assert (value(publication.data), publication.offset) == ({"text": "hi"}, 1)
            assert (publication.info.user, value(publication.info.conn_info)) == ("ada", {"name": "ada"})
            assert [value(each.data) for each in (await room.history(limit=-1)).publications] == [{"text": "hi"}]
            [present] = (await room.presence()).clients.values()
            assert present.user == "ada"
            assert (await room.presence_stats()).num_users == 1
            assert value((await client.rpc("add", payload([1, 2], protobuf))).data) == 3
            with pytest.raises(centrifuge.ReplyError) as raised:
                await client.rpc("add", payload(["1"], protobuf))
            assert raised.value.code == 107
            assert await rt.publish("chat:1", Say("from the server")) == StreamPosition(
                2, subscribed.stream_position.epoch
            )
            assert value((await events.expect("publication")).pub.data) == {"text": "from the server"}
            await client.disconnect()

    play(scene)


@pytest.mark.parametrize("protobuf", [False, True], ids=["json", "protobuf"])
def test_who_is_kicked_comes_back_and_has_missed_nothing(protobuf: bool) -> None:
    async def scene() -> None:
        rt = Realtime()
        rt.channel("news", history=100)
        rt.on_connect(lambda client: setattr(client, "user", "ada"))
        async with serving(rt) as url:
            client = sdk(url, protobuf)
            events = Events()
            news = client.new_subscription("news", events)
            await client.connect()
            await news.subscribe()
            await events.expect("subscribed")
            await rt.publish("news", 1)
            await rt.disconnect(user="ada", code=3011)
            await rt.publish("news", 2)
            await rt.publish("news", 3)
            again = await events.expect("subscribed")
            assert (again.was_recovering, again.recovered) == (True, True)
            assert [value((await events.expect("publication")).pub.data) for _ in range(2)] == [2, 3]
            await rt.unsubscribe("news", user="ada")
            assert (await events.expect("unsubscribed")).code == 2000
            await client.disconnect()

    play(scene)


def test_the_official_sdk_refreshes_its_token() -> None:
    async def scene() -> None:
        tokens = Tokens(Key("HS256", "secret" * 8))
        rt = Realtime(tokens=tokens, timeouts=Timeouts(expired=0.5))
        refreshed = asyncio.Event()
        asked = 0

        async def get_token() -> str:
            nonlocal asked
            asked += 1
            if asked > 1:
                refreshed.set()
            return tokens.connection("ada", ttl=2)

        async with serving(rt) as url:
            client = sdk(url, get_token=get_token)
            await client.connect()
            await refreshed.wait()
            assert [client.user for client in rt.clients()] == ["ada"]
            await client.disconnect()

    play(scene)


class Ttls:
    """How long tokens are good, in seconds: little, until one that has expired comes as a refreshment, then long."""

    def __init__(self) -> None:
        self.before, self.after = 2, 600

    def next(self, *, refreshes: bool) -> int:
        if refreshes:
            self.before = self.after
            return -60
        return self.before


@pytest.mark.parametrize("protobuf", [False, True], ids=["json", "protobuf"])
def test_the_official_sdk_comes_back_after_a_token_that_expired_on_its_way(protobuf: bool) -> None:
    async def scene() -> None:
        tokens = Tokens(Key("HS256", "secret" * 8))
        rt = Realtime(tokens=tokens)
        rt.channel("private", subscribe="token")
        connecting: asyncio.Queue[int] = asyncio.Queue()
        ttls, ttls_of_room = Ttls(), Ttls()

        class Connection(centrifuge.ClientEventHandler):
            async def on_connecting(self, ctx: Any) -> None:
                connecting.put_nowait(ctx.code)

            async def on_disconnected(self, ctx: Any) -> None:
                connecting.put_nowait(-ctx.code)

        async def get_token() -> str:
            return tokens.connection("ada", ttl=ttls.next(refreshes=client.state is connected))

        async def get_token_of_room(channel: str) -> str:
            return tokens.subscription("ada", channel, ttl=ttls_of_room.next(refreshes=room.state is subscribed))

        connected, subscribed = centrifuge.ClientState.CONNECTED, centrifuge.SubscriptionState.SUBSCRIBED
        async with serving(rt) as url:
            client = sdk(url, protobuf, get_token=get_token, events=Connection())
            await client.connect()
            assert await connecting.get() == 0
            while (code := await connecting.get()) != 3005:
                assert code == 109
            await client.ready()
            events = Events()
            room = client.new_subscription("private", events, get_token=get_token_of_room)
            await room.subscribe()
            await events.expect("subscribed")
            assert (await events.expect("subscribing")).code == 2501
            await events.expect("subscribed")
            assert connecting.empty()
            await client.disconnect()

    play(scene)


def test_raw_clients_are_in_the_same_rooms() -> None:
    async def scene() -> None:
        rt = Realtime()
        chat = rt.channel("chat:{room}", publish="subscribers", presence=True)

        async def plain(websocket: Any) -> None:
            await rt.plain(websocket, "chat:lobby", user="raw")

        async with serving(rt) as url, serve(plain, "127.0.0.1", 0) as server:
            raw_url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            client = sdk(url)
            events = Events()
            room = client.new_subscription("chat:lobby", events)
            await client.connect()
            await room.subscribe()
            await events.expect("subscribed")
            async with connect(raw_url) as ada, connect(raw_url) as bob:
                await ada.send("hello")
                assert await bob.recv() == await ada.recv() == "hello"
                publication = (await events.expect("publication")).pub
                assert (publication.data, publication.info.user) == ("hello", "raw")
                await room.publish({"text": "hi"})
                assert await bob.recv() == '{"text": "hi"}'
                await ada.recv()
                await ada.send(b"\x00")
                assert await ada.recv() == "[trunkline] not sent: only text messages can be published here"
                assert (await rt.presence_stats("chat:lobby")).clients == 3

                @chat.to_plain
                def show(message: Say) -> str:
                    return f"> {message.text}"

                @chat.from_plain
                def say(message: str) -> Say:
                    return Say(message.upper())

            async with connect(raw_url) as ada:
                await ada.send("hello")
                assert await ada.recv() == "> HELLO"
                assert (await events.expect("publication")).pub.data == {"text": "hi"}
                assert (await events.expect("publication")).pub.data == {"text": "HELLO"}
            await client.disconnect()

    play(scene)


def test_raw_clients_go_where_they_may() -> None:
    async def scene() -> None:
        rt = Realtime()
        room = rt.channel("chat:{room}", publish="nobody")

        @room
        def enter(client: Client, room: str) -> None:
            if room == "closed":
                raise Refused()
            if room == "kick":
                raise Disconnected(4500, "out")

        async def plain(websocket: Any) -> None:
            await rt.plain(websocket, f"chat:{websocket.request.path[1:]}")

        async with rt, serve(plain, "127.0.0.1", 0) as server:
            url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            for path, code in (("closed", 1008), ("kick", 4500)):
                async with connect(f"{url}/{path}") as websocket:
                    with pytest.raises(ConnectionClosed) as raised:
                        await websocket.recv()
                    assert raised.value.rcvd is not None
                    assert raised.value.rcvd.code == code
            async with connect(f"{url}/open") as websocket:
                await websocket.send("x")
                assert await websocket.recv() == "[trunkline] permission denied"
                await rt.publish("chat:open", "from the server")
                assert await websocket.recv() == "from the server"

    play(scene)


def test_beside_plain_handlers_on_one_server() -> None:
    async def scene() -> None:
        rt = Realtime()
        rt.channel("a")

        async def handler(websocket: Any) -> None:
            if websocket.request.path.startswith("/rt"):
                await rt.handler(websocket)
            else:
                await websocket.send("plain")

        async with rt, serve(handler, "127.0.0.1", 0, select_subprotocol=select_subprotocol) as server:
            url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            async with connect(url) as websocket:
                assert await websocket.recv() == "plain"
            for query, subprotocols in (
                ("", ["centrifuge-protobuf"]),
                ("?format=protobuf", None),
                ("?cf_protocol=protobuf", None),
            ):
                async with connect(f"{url}/rt{query}", subprotocols=subprotocols) as websocket:
                    assert websocket.subprotocol == (subprotocols[0] if subprotocols else None)
                    await websocket.send(b"\x04\x08\x01\x22\x00")
                    assert isinstance(await websocket.recv(), bytes)
            async with connect(f"{url}/rt", subprotocols=["centrifuge-json"]) as websocket:
                await websocket.send('{"id":1,"connect":{}}')
                assert json.loads(await websocket.recv())["connect"]["client"]

    play(scene)


def test_each_frame_can_be_compressed() -> None:
    """As clients on libwebsockets need it: answers, pushes, and pings of the protocol."""

    async def scene() -> None:
        rt = Realtime(timeouts=Timeouts(ping=1))
        rt.channel("a")
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        async with serving(rt, compression="deflate-all") as url:
            port = int(url.split(":")[2].partition("/")[0])
            extension = "Sec-WebSocket-Extensions: permessage-deflate"
            async with await RawPeer.open(port, extension, path="/connection/websocket") as peer:
                await peer.send(encode_frame(TEXT, b'{"id":1,"connect":{}}\n{"id":2,"subscribe":{"channel":"a"}}'))
                for expected in ('"connect"', '"subscribe"', '"pub"', "{}"):
                    if expected == '"pub"':
                        await rt.publish("a", 1)
                    frame = await peer.read_frame()
                    assert frame.rsv
                    assert expected in inflater.decompress(frame.payload + b"\x00\x00\xff\xff").decode()

    play(scene)


def test_a_slow_reader_is_disconnected_by_the_bytes_and_others_notice_nothing() -> None:
    async def scene() -> None:
        rt = Realtime(limits=Limits(queue=100_000))
        rt.channel("a", history=1000)
        async with serving(rt, compression=None) as url:  # noqa: SIM117
            async with connect(url) as fast, connect(url, max_queue=1) as slow:
                for websocket in (fast, slow):
                    await websocket.send('{"id":1,"connect":{}}\n{"id":2,"subscribe":{"channel":"a"}}')
                    await websocket.recv()
                    await websocket.recv()
                slow.transport.pause_reading()
                count = 0
                while not rt.stats().channels["a"].slow:
                    await rt.publish("a", "x" * 10_000)
                    count += 1
                    assert json.loads(await fast.recv())["push"]["pub"]["offset"] == count
                assert rt.stats().channels["a"].subscribers == 1
                slow.transport.resume_reading()
                with contextlib.suppress(ConnectionClosed):
                    while True:
                        await slow.recv()
                assert (slow.close_code, slow.close_reason) == (3008, "slow")

    play(scene)


@pytest.mark.parametrize("ends", ["realtime", "server", "server with another code"])
def test_the_end_is_told_to_clients_with_a_code_that_lets_them_come_back(ends: str) -> None:
    async def scene() -> None:
        rt = Realtime()
        async with rt, rt.serve("127.0.0.1", 0) as server:
            url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            async with connect(url) as websocket:
                await websocket.send('{"id":1,"connect":{}}')
                await websocket.recv()
                if ends == "realtime":
                    await rt.close()
                elif ends == "server":
                    server.close()
                else:
                    server.close(code=4000, reason="a deploy")
                with pytest.raises(ConnectionClosed) as raised:
                    await websocket.recv()
                rcvd = raised.value.rcvd
                assert rcvd is not None
                wanted = (4000, "a deploy") if ends == "server with another code" else (3001, "shutdown")
                assert (rcvd.code, rcvd.reason) == wanted

    play(scene)


@pytest.mark.parametrize("protobuf", [False, True], ids=["json", "protobuf"])
def test_the_official_sdk_comes_back_after_a_restart(protobuf: bool, tmp_path: Path) -> None:
    async def scene() -> None:
        port, events, heard = 0, Events(), []

        class Connection(centrifuge.ClientEventHandler):
            async def on_connecting(self, ctx: Any) -> None:
                heard.append(ctx.code)

            async def on_disconnected(self, ctx: Any) -> None:
                heard.append(ctx.code)

        client = None
        for run in range(2):
            rt = Realtime(f"sqlite:///{tmp_path / 'store.db'}")
            rt.channel("a", history=10)
            async with rt, rt.serve("127.0.0.1", port) as server:
                port = server.sockets[0].getsockname()[1]
                if client is None:
                    client = sdk(f"ws://127.0.0.1:{port}/", protobuf, events=Connection())
                    await client.connect()
                    await client.new_subscription("a", events).subscribe()
                else:
                    await rt.publish("a", run)
                await events.expect("subscribed")
                if run:
                    assert value((await events.expect("publication")).pub.data) == 1
                    await client.disconnect()
        assert heard == [0, 3001, 0]  # of our own accord, the server's, and of our own accord

    play(scene)


def test_messages_to_a_user_and_to_a_client() -> None:
    """The SDK for Python knows no messages; that for JavaScript gets one in tests/interop/test_realtime_sdk.py."""

    async def scene() -> None:
        rt = Realtime()

        @rt.on_connect
        def who(client: Client, data: dict[str, str]) -> None:
            client.user = data["name"]

        async with serving(rt) as url, contextlib.AsyncExitStack() as stack:
            ada, phone, bob = [await stack.enter_async_context(connect(url)) for _ in range(3)]
            for websocket, name in ((ada, "ada"), (phone, "ada"), (bob, "bob")):
                await websocket.send(json.dumps({"id": 1, "connect": {"data": {"name": name}}}))
                await websocket.recv()

            async def messages(*websockets: Any) -> list[Any]:
                return [json.loads(await each.recv())["push"]["message"]["data"] for each in websockets]

            assert await rt.send({"for": "ada"}, user="ada") == 2
            assert await rt.send(b'"for bob"', user="bob") == 1
            assert await messages(ada, phone, bob) == [{"for": "ada"}, {"for": "ada"}, "for bob"]
            [client] = [each for each in rt.clients() if each.user == "bob"]
            assert await rt.send([1], client=client.id) == await rt.send(None, client=client.id, user="bob") == 1
            assert await messages(bob, bob) == [[1], None]
            assert await rt.send(1, user="nobody") == await rt.send(1, user="ada", client=client.id) == 0
            with pytest.raises(TypeError, match="say who"):
                await rt.send(1)
            with pytest.raises(TypeError):
                await rt.send(object(), user="ada")
            with pytest.raises(ValueError, match="must be JSON"):
                await rt.send(b"not JSON", user="ada")
            await rt.send("last", user="ada")
            assert await messages(ada, phone) == ["last", "last"]

    play(scene)


def test_a_message_in_protobuf() -> None:
    async def scene() -> None:
        rt = Realtime()
        async with serving(rt) as url:  # noqa: SIM117
            async with connect(url, subprotocols=["centrifuge-protobuf"]) as websocket:
                await websocket.send(b"\x04\x08\x01\x22\x00")
                await websocket.recv()
                await rt.send("x", user="")
                reply = centrifuge_pb2.Reply.FromString((await websocket.recv())[1:])
                assert reply.push.message.data == b'"x"'

    play(scene)


def test_messages_go_to_those_only_who_are_connected_and_know_them() -> None:
    async def scene() -> None:
        rt = Realtime()
        rt.channel("a", publish="subscribers")
        counts: list[int] = []

        async def handler(websocket: Any) -> None:
            await (rt.plain(websocket, "a") if websocket.request.path == "/plain" else rt.handler(websocket))

        @rt.on_connect
        async def early(client: Client) -> None:
            counts.append(await rt.send("too early", client=client.id))

        async with rt, serve(handler, "127.0.0.1", 0) as server:
            url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            async with connect(url) as websocket, connect(f"{url}/plain") as plain:
                await websocket.send('{"id":1,"connect":{}}')
                assert "connect" in json.loads(await websocket.recv())
                await plain.send("x")
                assert await plain.recv() == "x"
                counts.append(await rt.send("hello", user=""))
                assert json.loads(await websocket.recv()) == {"push": {"message": {"data": "hello"}}}
                await rt.publish("a", "y")
                assert await plain.recv() == "y"
        assert counts == [0, 1]

    play(scene)


def test_a_subscription_that_expires_ends_with_a_code_on_which_clients_come_again() -> None:
    async def scene() -> None:
        tokens = Tokens(Key("HS256", "secret" * 8))
        rt = Realtime(tokens=tokens, timeouts=Timeouts(ping=None, expired=0.1))
        rt.channel("a", subscribe="token")
        async with serving(rt) as url:  # noqa: SIM117
            async with connect(url) as websocket:
                await websocket.send(json.dumps({"id": 1, "connect": {"token": tokens.connection("ada")}}))
                await websocket.recv()
                subscribe = {"channel": "a", "token": tokens.subscription("ada", "a", ttl=1)}
                await websocket.send(json.dumps({"id": 2, "subscribe": subscribe}))
                assert json.loads(await websocket.recv())["subscribe"]["expires"] is True
                push = json.loads(await websocket.recv())["push"]
                assert (push["channel"], push["unsubscribe"]["code"]) == ("a", 2501)
                await websocket.send(json.dumps({"id": 3, "ping": {}}))
                assert json.loads(await websocket.recv()) == {"id": 3, "ping": {}}, "still connected"

    play(scene)


def test_bad_clients_on_a_real_server_harm_nobody_else() -> None:
    """Floods, garbage in both encodings, and huge numbers, while another client must get every publication."""

    async def scene() -> None:
        rt = Realtime(limits=Limits(rate=Rate(100, 100)))
        rt.channel("a", history=100)
        bad: list[tuple[list[str], list[str | bytes], int]] = [
            ([], ["not JSON"], 3501),
            ([], ['{"id":1,"connect":{}}', '{"id":4294967296,"ping":{}}'], 3501),
            ([], ['{"id":1,"connect":{}}', '{"id":2,"subscribe":{"channel":"a","offset":1e400}}'], 3501),
            ([], ['{"id":1,"subscribe":{"channel":"a"}}'], 3501),
            ([], ['{"id":1,"connect":{}}', "\n".join(['{"id":1,"ping":{}}'] * 5000)], 3013),
            ([], ['{"id":1,"connect":{}}', "{}\n" * 300_000], 3501),
            ([], [b"\xff\xfe" * 1000], 3501),
            (["centrifuge-protobuf"], [b"\xff" * 100], 3501),
            (["centrifuge-protobuf"], [b"\x04\x08\x01\x22\x00", b"\x00" * 1_000_000], 3501),
            (["centrifuge-protobuf"], ["text"], 3501),
            ([], ['{"id":1,"connect":{}}', "x" * (1 << 20) + "x"], 1009),
        ]

        async def misbehave(url: str, subprotocols: list[str], frames: list[str | bytes]) -> int | None:
            async with connect(url, subprotocols=subprotocols or None, compression=None) as websocket:
                with contextlib.suppress(ConnectionClosed):
                    for frame in frames:
                        await websocket.send(frame)
                    while True:
                        await websocket.recv()
                return websocket.close_code

        async with serving(rt) as url, connect(url) as good:
            await good.send('{"id":1,"connect":{}}\n{"id":2,"subscribe":{"channel":"a"}}')
            await good.recv()
            await good.recv()
            wreaking = asyncio.gather(*(misbehave(url, subprotocols, frames) for subprotocols, frames, _ in bad))
            for number in range(1, 51):
                await rt.publish("a", number)
                assert json.loads(await good.recv())["push"]["pub"]["offset"] == number
            assert await wreaking == [code for *_, code in bad]
            await settled(lambda: len(rt.clients()) == 1)
            assert len(rt.clients()) == 1

    play(scene)


def test_presence_that_expires_is_renewed() -> None:
    async def scene() -> None:
        rt = Realtime(presence=MemoryPresence(ttl=0.3))
        rt.channel("a", presence=True)
        async with serving(rt) as url:  # noqa: SIM117
            async with connect(url) as websocket:
                await websocket.send('{"id":1,"connect":{}}\n{"id":2,"subscribe":{"channel":"a"}}')
                await websocket.recv()
                await websocket.recv()
                added = 0
                add = rt.presence_store.add
                renewed = asyncio.Event()

                async def counted(*arguments: Any) -> None:
                    nonlocal added
                    added += 1
                    await add(*arguments)
                    if added == 5:
                        renewed.set()

                rt.presence_store.add = counted  # type: ignore[method-assign]
                await renewed.wait()
                assert len(await rt.presence("a")) == 1

    play(scene)


def test_calls_that_make_no_sense() -> None:
    async def scene() -> None:
        rt = Realtime()
        rt.channel("a")
        async with rt:
            with pytest.raises(LookupError, match="no channel is declared whose pattern matches 'b'"):
                await rt.publish("b", 1)
            with pytest.raises(TypeError):
                await rt.publish("a", object())
            with pytest.raises(ValueError, match="data must be JSON"):
                await rt.publish("a", b"\xff")
            with pytest.raises(ValueError, match="needs history"):
                await rt.publish("a", 1, id="x")
            with pytest.raises(TypeError, match="give user or client"):
                await rt.disconnect()
            with pytest.raises(ValueError, match="code is 5000: it must be one of DISCONNECTS"):
                await rt.disconnect(user="nobody", code=5000)
            with pytest.raises(TypeError):
                rt.channel("c", hitsory=1)

    play(scene)


def test_pings_follow_the_time_of_a_program_in_memory() -> None:
    async def scene() -> list[float]:
        rt = Realtime(timeouts=Timeouts(ping=20, pong=5))
        loop = asyncio.get_running_loop()
        times = []
        async with rt, rt.serve("127.0.0.1", 8765), connect("ws://127.0.0.1:8765/") as websocket:
            await websocket.send('{"id":1,"connect":{}}')
            await websocket.recv()
            for _ in range(4):
                assert await websocket.recv() == "{}"
                times.append(loop.time())
                await websocket.send("{}")
        return times

    times = memory.run(scene())
    assert [later - earlier for earlier, later in itertools.pairwise(times)] == [pytest.approx(20, abs=1)] * 3
