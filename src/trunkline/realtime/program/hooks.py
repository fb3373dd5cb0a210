"""Functions of the program that are called when clients do something: which arguments they take, of which types."""

from __future__ import annotations

import functools
import inspect
import itertools
from collections.abc import Callable, Sequence
from typing import Any, Final

from trunkline.realtime.program.dependencies import dependent
from trunkline.realtime.program.identity import Identity
from trunkline.realtime.program.steps import Paused, begin, result_of
from trunkline.realtime.wire.payloads import encode, typed

__all__ = ["Hook", "call", "name_of", "only_one", "parameters_of", "resolving", "takes", "type_of"]

_POSITIONAL: Final = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


class Hook:
    """A function, sync or async, that takes a client, perhaps what it sent, and the parameters of a channel by name, in
    any order. It may have parameters besides that FastAPI resolves.

    Args:
        function: its annotations say of which type the client's data must be. It may be any that msgspec knows, such as
            a Struct, a dataclass or a TypedDict, or a model of pydantic. `bytes` gets the data as they came.
        names: of the parameters of the channel.
        sent: whether the client sends something.

    Raises:
        TypeError: if it takes other arguments, or an annotation means nothing where the function is.
    """

    def __init__(self, function: Callable[..., Any], names: Sequence[str] = (), *, sent: bool = True) -> None:
        self.function = function
        self.proofs = 0  # calls in a row that were quick, see `Pace`
        parameters = parameters_of(function)
        self._dependent = dependent(function, parameters)
        self.is_async = inspect.iscoroutinefunction(function) or self._dependent is not None
        if self._dependent is not None:
            parameters = self._dependent.parameters
        own = [each for each in parameters if each.kind in _POSITIONAL and each.name not in names]
        demanded = [
            each for each in parameters
            if each.kind is each.KEYWORD_ONLY and each.default is each.empty and each.name not in names
        ]  # fmt: skip
        if demanded or not 1 <= len(own) <= 1 + sent:
            what = "a client, perhaps what the client sent," if sent else "a client,"
            raise TypeError(
                f"{name_of(function)} must take {what} and by name perhaps {', '.join(names) or 'nothing'}; "
                f"it takes {', '.join(each.name for each in parameters) or 'nothing'}"
            )
        if len(own) == 2 and _is_client(own[1]):
            own.reverse()
        takes_all = any(each.kind is each.VAR_KEYWORD for each in parameters)
        taken = {each.name for each in parameters}
        first = list(itertools.takewhile(lambda each: each in own or each.kind is each.POSITIONAL_ONLY, parameters))
        self._client = own[0].name
        self._data = own[1].name if len(own) == 2 else None
        self._first = [each.name for each in first]
        self._names = [name for name in names if takes_all or name in taken]
        self.type = Any if self._data is None else type_of(own[1])

    async def __call__(self, client: Any, data: bytes | None, parameters: dict[str, str]) -> Any:
        """Call the function, and wait for its result.

        Raises:
            Refused: as `start`.
        """
        result = self.start(client, data, parameters)
        return await result if isinstance(result, Paused) else result

    def start(self, client: Any, data: bytes | None, parameters: dict[str, str]) -> Any:
        """Call the function.

        Returns:
            Its result, or a `Paused` if the function waits for something.

        Raises:
            Refused: if `data` isn't of the type that it wants, or it refuses.
        """
        arguments: dict[str, Any] = {name: parameters[name] for name in self._names}
        arguments[self._client] = client
        if self._data is not None:
            arguments[self._data] = typed(data, self.type)
        first = [arguments.pop(name) for name in self._first]
        if self._dependent is not None:
            return begin(self._dependent.hook(client.scope, *first, **arguments))
        return result_of(self.function(*first, **arguments))


def _is_client(parameter: inspect.Parameter) -> bool:
    kind = parameter.annotation
    return parameter.name == "client" or (isinstance(kind, type) and issubclass(kind, Identity))


def takes(function: Callable[..., Any] | inspect.Signature, *names: str) -> None:
    """Check that a function, or one of this signature, can be called with so many arguments.

    Raises:
        TypeError: if it can't.
    """
    try:
        signature = function if isinstance(function, inspect.Signature) else inspect.signature(function)
        signature.bind(*names)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name_of(function)} must take {' and '.join(names)}: {error}") from None


def resolving(function: Callable[..., Any], *names: str) -> Callable[..., Any]:
    """A function of a client and something else, which may have parameters besides that FastAPI resolves.

    Raises:
        TypeError: if it can't be called with so many arguments.
    """
    known = dependent(function, parameters_of(function))
    takes(function if known is None else known.signature, *names)
    if known is None:
        return function

    @functools.wraps(function)
    async def call(client: Any, *others: Any) -> Any:
        return await known.hook(client.scope, client, *others)

    return call


def only_one(what: str, declared: object) -> None:
    """Check that a function isn't declared yet.

    Raises:
        ValueError: if it is. The later one would take the place of the earlier, without a word.
    """
    if declared is not None:
        known = name_of(declared.function if isinstance(declared, Hook) else declared)
        raise ValueError(f"{what} is {known} already, and there can only be one")


def name_of(function: object) -> str:
    """The name of a function in errors."""
    return getattr(function, "__qualname__", None) or repr(function)


async def call(hook: Hook | None, client: Any, data: bytes | None, parameters: dict[str, str]) -> bytes | None:
    """The payload that a hook returns; None if there is no hook, or it returns None."""
    result = None if hook is None else client.hub.pace.start(hook, client, data, parameters)
    if isinstance(result, Paused):
        result = await result
    return None if result is None else encode(result)


def parameters_of(function: Callable[..., Any]) -> list[inspect.Parameter]:
    """The parameters of a function, with annotations that are types.

    Raises:
        TypeError: if it has no signature, or an annotation can't be looked up.
    """
    try:
        return list(inspect.signature(function, eval_str=True).parameters.values())
    except NameError as error:
        raise TypeError(
            f"an annotation of {name_of(function)} can't be looked up: {error}; define it at the top of a module"
        ) from None
    except ValueError as error:  # of builtins
        raise TypeError(f"{name_of(function)} doesn't say what it takes: {error}") from None


def type_of(parameter: inspect.Parameter) -> Any:
    """The type that a parameter wants."""
    return Any if parameter.annotation is parameter.empty else parameter.annotation
