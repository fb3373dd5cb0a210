"""Functions of the program, called for what clients do: which arguments they take, and of which types."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from trunkline import json
from trunkline.realtime import codes

__all__ = ["Hook", "call", "decoded", "encode", "parameters_of", "type_of", "typed"]


class Hook:
    """A function, sync or async, that takes a client, perhaps what it sent, and the parameters of a channel by name.

    Args:
        function: its annotations say which type what the client sent must have: any that msgspec knows, such as a
            Struct, a dataclass or a TypedDict, or a model of pydantic. `bytes` gets it as it came.
        names: of the parameters of the channel.

    Raises:
        TypeError: if it takes other arguments, or an annotation means nothing where the function is.
    """

    def __init__(self, function: Callable[..., Any], names: Sequence[str] = ()) -> None:
        self.function = function
        parameters = parameters_of(function)
        positional = [each for each in parameters if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)]
        own = [each for each in positional if each.name not in names]
        if not 1 <= len(own) <= 2:
            raise TypeError(
                f"{function.__qualname__} must take a client, perhaps what the client sent, and by name perhaps "
                f"{', '.join(names) or 'nothing'}; it takes {', '.join(each.name for each in parameters) or 'nothing'}"
            )
        takes_all = any(each.kind is each.VAR_KEYWORD for each in parameters)
        taken = {each.name for each in parameters}
        self.names = tuple(name for name in names if takes_all or name in taken)
        self.takes_data = len(own) == 2
        self.type = type_of(own[1]) if self.takes_data else Any

    async def __call__(self, client: object, data: bytes | None, parameters: dict[str, str]) -> Any:
        """Call the function.

        Raises:
            Refused: if `data` isn't of the type that it wants, or it refuses.
        """
        arguments = (client, typed(data, self.type)) if self.takes_data else (client,)
        result = self.function(*arguments, **{name: parameters[name] for name in self.names})
        return await result if inspect.isawaitable(result) else result


async def call(hook: Hook | None, client: object, data: bytes | None, parameters: dict[str, str]) -> bytes | None:
    """What a hook returns, as a payload; None if there is no hook, or it returns None."""
    result = None if hook is None else await hook(client, data, parameters)
    return None if result is None else encode(result)


def parameters_of(function: Callable[..., Any]) -> list[inspect.Parameter]:
    """The parameters of a function, with annotations that are types.

    Raises:
        TypeError: if an annotation can't be looked up.
    """
    try:
        return list(inspect.signature(function, eval_str=True).parameters.values())
    except NameError as error:
        raise TypeError(
            f"an annotation of {function.__qualname__} can't be looked up: {error}; define it at the top of a module"
        ) from None


def type_of(parameter: inspect.Parameter) -> Any:
    """The type that a parameter wants."""
    return Any if parameter.annotation is parameter.empty else parameter.annotation


def typed(data: bytes | None, type: Any) -> Any:
    """A payload as a value of a type.

    Args:
        data: the payload; None, there is none, is as good as null.
        type: any that msgspec knows, or a model of pydantic; `bytes` gets it as it came.

    Raises:
        Refused: if it isn't of that type.
    """
    if type is bytes:
        return data or b""
    try:
        if hasattr(type, "model_validate_json"):  # pydantic
            return type.model_validate_json(data or b"null")
        return json.decode(data or b"null", type)
    except json.InvalidJSON as error:
        raise codes.Refused(codes.BAD_REQUEST, str(error)) from None
    except ValueError as error:  # pydantic.ValidationError is one
        raise codes.Refused(codes.BAD_REQUEST, _first_fault(error)) from None


def encode(value: Any) -> bytes:
    """What a program publishes or returns, as a payload: `bytes` as they are, all else as JSON.

    Raises:
        TypeError: if it can't be JSON.
    """
    if isinstance(value, bytes):
        return value
    if hasattr(value, "model_dump_json"):  # pydantic
        return str(value.model_dump_json()).encode()
    return bytes(value) if isinstance(value, msgspec.Raw) else json.encode(value)


def decoded(data: bytes | None) -> Any:
    """A payload as an object, or as it is if it isn't JSON: what `encode` makes the payload of."""
    try:
        return None if data is None else json.decode(data)
    except json.InvalidJSON:
        return data


def _first_fault(error: ValueError) -> str:
    """A validation error of pydantic in a line: what, and where."""
    faults = error.errors() if hasattr(error, "errors") else []
    if not faults:
        return str(error)
    return f"{faults[0]['msg']} - at `$.{'.'.join(map(str, faults[0]['loc']))}`".replace("`$.`", "`$`")
