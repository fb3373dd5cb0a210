import asyncio
import dataclasses
import functools
import inspect
from typing import Annotated, Any, TypedDict

import msgspec
import pytest

from trunkline.realtime import Client
from trunkline.realtime.codes import Refused
from trunkline.realtime.program.hooks import Hook, only_one, takes
from trunkline.realtime.wire.payloads import decoded, encode


class Point(msgspec.Struct):
    x: int
    y: int = 0


@dataclasses.dataclass
class Move:
    dx: float


class Say(TypedDict):
    text: Annotated[str, msgspec.Meta(max_length=3)]


class Model:
    """A class that looks like a model of pydantic."""

    def __init__(self, data: Any) -> None:
        self.data = data

    @classmethod
    def model_validate_json(cls, data: bytes) -> "Model":
        decoded = msgspec.json.decode(data)
        if not isinstance(decoded, int):
            raise ModelError("1 validation error for Model")
        return cls(decoded)

    def model_dump_json(self) -> str:
        return f'{{"data": {self.data}}}'


class ModelError(ValueError):
    def errors(self) -> list[dict[str, Any]]:
        return [{"msg": "Input should be a valid integer", "loc": ("data", 0)}]


def call(hook: Hook, data: bytes | None = None, **parameters: str) -> Any:
    return asyncio.run(hook("client", data, parameters))  # type: ignore[func-returns-value]


def test_arguments_go_by_name_and_position() -> None:
    def everything(client: str, data: Any, b: str, a: str) -> Any:
        return client, data, a, b

    def nothing(client: str) -> Any:
        return client

    async def some(client: str, b: str) -> Any:
        return client, b

    def keywords(client: str, **parameters: str) -> Any:
        return parameters

    names = ("a", "b")
    assert call(Hook(everything, names), b"[1]", a="1", b="2") == ("client", [1], "1", "2")
    assert call(Hook(nothing, names), b"[1]", a="1", b="2") == "client"
    assert call(Hook(some, names), a="1", b="2") == ("client", "2")
    assert call(Hook(keywords, names), a="1", b="2") == {"a": "1", "b": "2"}


def client_first(client: Any, data: dict[str, int], room: str, user: str) -> Any: ...
def data_last(client: Any, room: str, user: str, data: dict[str, int]) -> Any: ...
def data_between(client: Any, room: str, data: dict[str, int], user: str) -> Any: ...
def client_last(room: str, user: str, data: dict[str, int], client: Any) -> Any: ...
def client_after_data(data: dict[str, int], client: Any, room: str, user: str) -> Any: ...
def client_by_type(data: dict[str, int], connected: Client, room: str, user: str) -> Any: ...
def keywords_only(client: Any, data: dict[str, int], *, user: str, room: str) -> Any: ...
def positions_only(room: str, client: Any, user: str, data: dict[str, int], /) -> Any: ...
def some_positions_only(room: str, client: Any, /, data: dict[str, int], user: str) -> Any: ...
def with_defaults(client: Any, room: str = "", data: dict[str, int] = {}, user: str = "") -> Any: ...  # noqa: B006
def with_everything_else(client: Any, room: str, data: dict[str, int], *rest: Any, **more: Any) -> Any: ...


@pytest.mark.parametrize(
    "shape",
    [
        client_first, data_last, data_between, client_last, client_after_data, client_by_type, keywords_only,
        positions_only, some_positions_only, with_defaults, with_everything_else,
    ],
)  # fmt: skip
@pytest.mark.parametrize("is_async", [False, True])
def test_parameters_may_stand_in_any_order(shape: Any, is_async: bool) -> None:
    signature = inspect.signature(shape, eval_str=True)

    def function(*args: Any, **kwargs: Any) -> Any:
        bound = signature.bind(*args, **kwargs).arguments
        more = bound.pop("more", {})
        bound["client"] = bound.pop("connected", None) or bound["client"]
        return [(bound | more)[name] for name in ("client", "data", "room", "user")]

    async def coroutine(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    hook = coroutine if is_async else function
    hook.__signature__ = signature  # type: ignore[attr-defined]
    assert call(Hook(hook, ("room", "user")), b'{"x": 1}', room="lobby", user="ada") == (
        ["client", {"x": 1}, "lobby", "ada"]
    )


class Methods:
    def method(self, client: Any, room: str, data: int) -> Any:
        return client, room, data

    def __call__(self, client: Any, room: str, data: int) -> Any:
        return client, room, data


@pytest.mark.parametrize(
    "function", [Methods().method, Methods(), functools.partial(Methods.method, Methods()), Methods().__call__]
)
def test_whatever_can_be_called_may_be_a_hook(function: Any) -> None:
    assert call(Hook(function, ("room",)), b"1", room="lobby") == ("client", "lobby", 1)


@pytest.mark.parametrize("function", [lambda client, data: 1, lambda client, room, data: 1, lambda room: 1])
def test_a_hook_for_which_nothing_is_sent_takes_no_data(function: Any) -> None:
    with pytest.raises(TypeError, match="must take a client, and by name perhaps room"):
        Hook(function, ("room",), sent=False)
    assert call(Hook(lambda room, client: (client, room), ("room",), sent=False), room="x") == ("client", "x")


def test_a_function_whose_arguments_are_counted() -> None:
    takes(lambda client, token: 1, "a client", "a token")
    for wrong in (lambda client: 1, lambda: 1, lambda client, token, more: 1, lambda *, client, token: 1):
        with pytest.raises(TypeError, match="must take a client and a token"):
            takes(wrong, "a client", "a token")


def test_there_is_only_one() -> None:
    only_one("on_connect", None)
    for known in (client_first, Hook(client_first, ("room", "user"))):
        with pytest.raises(ValueError, match="on_connect is client_first already, and there can only be one"):
            only_one("on_connect", known)


@pytest.mark.parametrize(
    "function",
    [
        lambda: 1,
        lambda client, data, more: 1,
        lambda room: 1,
        lambda client, *, data: 1,
        lambda *, client: 1,
        functools.partial(lambda client: 1, "client"),
    ],
)
def test_functions_that_take_something_else(function: Any) -> None:
    with pytest.raises(TypeError, match="must take a client, perhaps what the client sent, and by name perhaps room"):
        Hook(function, ("room",))


def test_annotations_that_mean_nothing() -> None:
    def function(client: "Nobody") -> None:  # type: ignore[name-defined]  # noqa: F821
        pass

    with pytest.raises(TypeError, match="can't be looked up: name 'Nobody' is not defined"):
        Hook(function)


def typed_hook(type: Any) -> Hook:
    def function(client: str, data: Any) -> Any:
        return data

    function.__annotations__["data"] = type
    return Hook(function)


@pytest.mark.parametrize(
    ("type", "data", "value"),
    [
        (Any, b'{"a": 1}', {"a": 1}),
        (Any, None, None),
        (Point, b'{"x": 1}', Point(1)),
        (Move, b'{"dx": 1}', Move(1.0)),
        (Say, b'{"text": "hi!"}', {"text": "hi!"}),
        (Point | None, None, None),
        (bytes, b"\xff", b"\xff"),
        (bytes, None, b""),
        (str, b'"x"', "x"),
    ],
)
def test_what_clients_send_has_a_type(type: Any, data: bytes | None, value: Any) -> None:
    assert call(typed_hook(type), data) == value


@pytest.mark.parametrize(
    ("type", "data", "message"),
    [
        (Point, b'{"x": "1"}', "Expected `int`, got `str` - at `$.x`"),
        (Point, b"{}", "Object missing required field `x`"),
        (Point, None, "Expected `object`, got `null`"),
        (Say, b'{"text": "long"}', "Expected `str` of length <= 3 - at `$.text`"),
        (Model, b'"x"', "Input should be a valid integer - at `$.data.0`"),
    ],
)
def test_what_is_not_of_the_type_is_refused_with_where_and_why(type: Any, data: bytes | None, message: str) -> None:
    with pytest.raises(Refused) as raised:
        call(typed_hook(type), data)
    assert raised.value.code == 107
    assert message in raised.value.message


def test_models_of_pydantic() -> None:
    assert call(typed_hook(Model), b"5").data == 5


def test_what_programs_return_becomes_json_unless_it_is_bytes() -> None:
    assert encode(Point(1)) == b'{"x":1,"y":0}'
    assert encode(b"\x00") == b"\x00"
    assert encode(msgspec.Raw(b"[ 1 ]")) == b"[ 1 ]"
    assert encode(Model(3)) == b'{"data": 3}'
    with pytest.raises(TypeError):
        encode(object())


def test_what_was_encoded_is_an_object_again() -> None:
    assert decoded(None) is None
    assert decoded(encode({"name": "Ada"})) == {"name": "Ada"}
    for data in (b"\xff\xfe", b"", b"{"):
        assert decoded(data) == data
