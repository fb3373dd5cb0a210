"""Functions of the program some of whose parameters FastAPI resolves: `Depends`, `Cookie`, `Header` and the like.

A function with such parameters was written in a program that has FastAPI, so all others do without it. FastAPI itself
calls the function, as it calls an endpoint: a route of its own resolves the parameters, from the scope of the client.
"""

from __future__ import annotations

import functools
import inspect
import sys
import typing
from collections.abc import Callable, Sequence
from typing import Any, Final, NoReturn

from trunkline.realtime import codes
from trunkline.realtime.codes import Refused

__all__ = ["Dependent", "dependent"]

CALL: Final = "trunkline.call"
"""Key in the scope of a route under which it finds the function to call."""

HANDLERS: Final = "starlette.exception_handlers"
"""Key in the scope of the handlers of an application. They answer requests, and don't know what a hook is."""

CODES: Final = {401: codes.UNAUTHORIZED, 403: codes.PERMISSION_DENIED, 422: codes.BAD_REQUEST}
"""Codes of the protocol for statuses of HTTP."""


def dependent(function: Callable[..., Any], parameters: Sequence[inspect.Parameter]) -> Dependent | None:
    """The function as one that FastAPI calls; None if it has no parameters that FastAPI resolves.

    Args:
        function: the function.
        parameters: of it, with annotations that are types.
    """
    markers = _markers()
    resolved = [each for each in parameters if markers and _is_marked(each, markers)]
    return Dependent(function, parameters, resolved) if resolved else None


def _markers() -> tuple[type, ...]:
    """The classes with which a program asks FastAPI for a value; none if it doesn't use FastAPI."""
    params: Any = sys.modules.get("fastapi.params")
    return () if params is None else (params.Depends, params.Param)


def _is_marked(parameter: inspect.Parameter, markers: tuple[type, ...]) -> bool:
    metadata = getattr(parameter.annotation, "__metadata__", ())
    return isinstance(parameter.default, markers) or any(isinstance(each, markers) for each in metadata)


class Dependent:
    """A function whose dependencies FastAPI resolves before each call, and cleans up behind it.

    Args:
        function: sync or async.
        parameters: of it.
        resolved: those of them that FastAPI resolves.

    Attributes:
        parameters: the others, which the caller gives.
        signature: of these alone.
    """

    def __init__(
        self, function: Callable[..., Any], parameters: Sequence[inspect.Parameter], resolved: list[inspect.Parameter]
    ) -> None:
        self.parameters = [each for each in parameters if each not in resolved]
        self._function = function
        self.signature = inspect.Signature(self.parameters)
        self._resolved = [each.replace(kind=each.KEYWORD_ONLY) for each in resolved]
        self._route = functools.lru_cache(maxsize=8)(self._make_route)  # one for each application

    async def hook(self, scope: Any, *args: Any, **kwargs: Any) -> Any:
        """Call the function as a hook.

        Raises:
            Refused: if a dependency raises an `HTTPException`.
        """
        http_exception = _fastapi().HTTPException
        try:
            return await self(scope, *args, **kwargs)
        except http_exception as error:
            status = error.status_code
            raise Refused(CODES.get(status, status), str(error.detail), status >= 500) from error

    async def __call__(self, scope: Any, *args: Any, **kwargs: Any) -> Any:
        """Call the function.

        Args:
            scope: of ASGI, with which the client came; None if no ASGI server carries it.
            args, kwargs: the arguments that the caller gives.

        Raises:
            HTTPException: if a dependency does, or raises a `WebSocketException`, or the request lacks a value.
            RuntimeError: if there is no scope.
        """
        if scope is None:
            name = getattr(self._function, "__qualname__", repr(self._function))
            raise RuntimeError(f"{name} has parameters for FastAPI, so its clients must come through rt.asgi()")
        arguments = self._arguments(*args, **kwargs)
        results: list[Any] = []

        async def call(values: dict[str, Any]) -> None:
            result = self._function(**arguments, **values)
            results.append(await result if inspect.isawaitable(result) else result)

        inner = {name: value for name, value in scope.items() if name != HANDLERS} | {CALL: call}
        exceptions = _fastapi().exceptions
        try:
            await self._route(scope.get("app")).handle(inner, _out_of_reach, _out_of_reach)
        except exceptions.WebSocketException as error:
            raise exceptions.HTTPException(403, error.reason) from error
        except exceptions.WebSocketRequestValidationError as error:
            raise exceptions.HTTPException(422, _first_fault(error)) from error
        return results[0]

    def _arguments(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """All arguments by name: parameters that FastAPI resolves may stand before others."""
        arguments = self.signature.bind(*args, **kwargs).arguments
        for parameter in self.parameters:
            if parameter.kind is parameter.VAR_KEYWORD:
                arguments.update(arguments.pop(parameter.name, {}))
        return arguments

    def _make_route(self, app: Any) -> Any:
        """A route of FastAPI for WebSockets, whose endpoint has the parameters to resolve.

        Args:
            app: the application, whose `dependency_overrides` count.
        """
        fastapi = _fastapi()
        websocket = inspect.Parameter(
            "websocket_of_trunkline", inspect.Parameter.KEYWORD_ONLY, annotation=fastapi.WebSocket
        )

        async def endpoint(**values: Any) -> None:
            scope = values.pop(websocket.name).scope
            await scope[CALL](values)

        endpoint.__signature__ = inspect.Signature([websocket, *self._resolved])  # type: ignore[attr-defined]
        return fastapi.routing.APIWebSocketRoute("/", endpoint, dependency_overrides_provider=app)


def _fastapi() -> Any:
    import fastapi
    import fastapi.exceptions
    import fastapi.routing

    return fastapi


async def _out_of_reach(*args: Any) -> NoReturn:
    raise RuntimeError("a dependency of a hook can't receive from the client, or send to it")


def _first_fault(error: Any) -> str:
    """A validation error of FastAPI in a line."""
    [fault, *_] = typing.cast("Sequence[dict[str, Any]]", error.errors())
    return f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}"
