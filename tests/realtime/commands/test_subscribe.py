"""A subscribe command that is refused leaves nothing behind, however it is refused."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.rooms import Node, Talker
from trunkline.realtime import Limits, MemoryBroker, Refused
from trunkline.realtime.brokers import BrokerError, History
from trunkline.realtime.program.hooks import Hook
from trunkline.realtime.tokens import Key, Tokens

BOTH = pytest.mark.parametrize("codec", ["json", "protobuf"])


class Broker(MemoryBroker):
    """Fails when the test wants."""

    broken = False

    async def history(self, *args: Any, **kwargs: Any) -> History:
        if self.broken:
            raise BrokerError("out of order")
        return await super().history(*args, **kwargs)


class Scene:
    """A client in one room, which then asks for another and is refused."""

    def __init__(self, codec: str) -> None:
        self.broker = Broker()
        self.node = Node(broker=self.broker, limits=Limits(channels=2))
        self.node.channel("here", presence=True, history=1)
        self.channel = self.node.channel("there", presence=True, history=1, join_leave=True, subscribe="token")
        self.tokens = self.node.auth.tokens = Tokens(Key("HS256", "secret" * 8), clock=self.node.clock)
        self.codec = codec

    async def talker(self) -> Talker:
        talker = self.node.talker(self.codec)
        await talker.connect(token=self.tokens.connection("ada"))
        await talker.subscribe("here")
        return talker

    def token(self, channel: str = "there", **claims: Any) -> str:
        return self.tokens.subscription("ada", channel, **{"ttl": 60, "info": {"role": "x"}} | claims)

    async def assert_nothing_stays(self, talker: Talker, before: Any) -> None:
        node = self.node
        assert self.state(talker) == before
        assert list(talker.client.subscriptions) == list(node.hub.rooms) == ["here"]
        assert await node.presence.get("there") == {}
        assert set(await node.presence.get("here")) == {talker.client.id}
        assert self.broker._subscribed == {"here"}
        assert node.hub.by_user == {"ada": {talker.client}}

    def state(self, talker: Talker) -> Any:
        client = talker.client
        return client.deadline(), client.next_end, client.ends_at, client.user, client.info, client.shown, client.state


def play(codec: str, refused: Callable[[Scene, Talker], Any]) -> None:
    async def main() -> None:
        scene = Scene(codec)
        async with scene.node:
            talker = await scene.talker()
            before = scene.state(talker)
            await refused(scene, talker)
            await scene.assert_nothing_stays(talker, before)
            scene.broker.broken, scene.channel.subscribe_hook = False, None
            reply, *_ = await talker.say(subscribe={"channel": "there", "token": scene.token()})
            assert reply["subscribe"]["ttl"] == 60

    asyncio.run(main())


@BOTH
@pytest.mark.parametrize(
    ("claims", "code"), [({"exp": 999}, 109), ({"expire_at": 999}, 109), ({"sub": "bob"}, 103), ({"channel": "x"}, 103)]
)
def test_by_its_token(codec: str, claims: dict[str, Any], code: int) -> None:
    async def refused(scene: Scene, talker: Talker) -> None:
        [reply] = await talker.say(subscribe={"channel": "there", "token": scene.token(**claims)})
        assert reply["error"]["code"] == code

    play(codec, refused)


def raised(error: BaseException) -> Any:
    def hook(client: Any) -> None:
        raise error

    return hook


async def waits_for_what_is_cancelled(client: Any) -> None:
    future = asyncio.get_running_loop().create_future()
    future.cancel()
    await future


async def dawdles(client: Any) -> None:
    async with asyncio.timeout(0):
        await asyncio.Event().wait()


@BOTH
@pytest.mark.parametrize(
    ("hook", "code"),
    [
        (raised(Refused(1000)), 1000),
        (raised(RuntimeError("a bug")), 100),
        (waits_for_what_is_cancelled, 100),
        (dawdles, 100),
        (lambda client: object(), 100),
    ],
)
def test_by_the_hook(codec: str, hook: Any, code: int) -> None:
    async def refused(scene: Scene, talker: Talker) -> None:
        scene.channel(hook)
        [reply] = await talker.say(subscribe={"channel": "there", "token": scene.token()})
        assert reply["error"]["code"] == code

    play(codec, refused)


def test_by_an_answer_that_cannot_be_said() -> None:
    async def refused(scene: Scene, talker: Talker) -> None:
        scene.channel(lambda client: b"\xff")
        [reply] = await talker.say(subscribe={"channel": "there", "token": scene.token()})
        assert reply["error"]["code"] == 100

    play("json", refused)


@BOTH
def test_by_the_store(codec: str) -> None:
    async def refused(scene: Scene, talker: Talker) -> None:
        scene.broker.broken = True
        [reply] = await talker.say(subscribe={"channel": "there", "token": scene.token()})
        assert reply["error"]["code"] == 100

    play(codec, refused)


@BOTH
def test_by_being_cancelled(codec: str) -> None:
    async def refused(scene: Scene, talker: Talker) -> None:
        entered = asyncio.Event()

        async def hook(client: Any) -> None:
            entered.set()
            await asyncio.Event().wait()

        scene.channel(hook)
        subscribing = asyncio.create_task(talker.say(subscribe={"channel": "there", "token": scene.token()}))
        await entered.wait()
        subscribing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await subscribing

    play(codec, refused)


@BOTH
def test_a_join_that_cannot_be_told_is_no_second_answer(codec: str, caplog: pytest.LogCaptureFixture) -> None:
    class Mute(MemoryBroker):
        async def publish_join(self, channel: str, info: Any) -> None:
            raise BrokerError("out of order")

    async def main() -> None:
        async with Node(broker=Mute()) as node:
            node.channel("a", join_leave=True)
            node.functions.connect = Hook(lambda client: setattr(client, "channels", ["a"]))
            talker = node.talker(codec)
            assert (await talker.connect())["subs"].keys() == {"a"}
            node.functions.connect = None
            other = await node.connected(codec=codec)
            assert await other.subscribe("a") == {}
            assert caplog.text.count("joined a unannounced") == 2

    asyncio.run(main())
