"""What the clients written in Python have in common: an order on standard input, what came of it on standard output."""

import asyncio
import json
import sys
import warnings
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

warnings.simplefilter("ignore")  # SDKs deprecate what the older era needs

VALUES = {"string": "said", "integer": 7, "number": 7.5, "boolean": True}
WAIT = 20
"""Seconds after which a change that nobody has heard of is a failure."""


class Session(Protocol):
    """One connection, and what it has heard since the step began."""

    heard: list[Any]

    def __init__(self, url: str, mode: str) -> None: ...

    def opened(self) -> AbstractAsyncContextManager[Any]: ...

    def about(self) -> tuple[str, Any]: ...

    async def step(self, name: str, *given: Any) -> Any: ...


def filled(schema: dict[str, Any]) -> dict[str, Any]:
    """What the user of a form says."""
    fields = {name: one for name, one in schema["properties"].items() if not {"enum", "default"} & one.keys()}
    return {name: VALUES.get(one["type"], ["one"]) for name, one in fields.items()}


async def pages(member: str, fetch: Callable[[str | None], Awaitable[Any]]) -> list[Any]:
    """Every page of a list."""
    found: list[Any] = []
    cursor: str | None = None
    while True:
        page = await fetch(cursor)
        found += getattr(page, member)
        cursor = getattr(page, "next_cursor", None) or getattr(page, "nextCursor", None)
        if cursor is None:
            return found


async def heard(changed: set[str], method: str, make: Callable[[], Awaitable[Any]]) -> str:
    """Make the server say that something has changed, until it is heard: the stream for it may only be opening."""
    async with asyncio.timeout(WAIT):
        while method not in changed:
            await make()
            await asyncio.sleep(0.1)
    return method


def wire(value: Any) -> Any:
    if isinstance(value, list):
        return [wire(one) for one in value]
    return value.model_dump(by_alias=True, mode="json", exclude_none=True) if hasattr(value, "model_dump") else value


async def follow(kind: type[Session], errors: type[Exception], url: str, mode: str, steps: list[list[Any]]) -> Any:
    session = kind(url, mode)
    async with session.opened():
        version, capabilities = session.about()
        done: list[Any] = [[version, wire(capabilities), []]]
        for name, *given in steps:
            session.heard = []
            try:
                result = wire(await session.step(name, *given))
            except errors as error:
                told = error.error  # type: ignore[attr-defined]
                result = {"code": told.code, "message": told.message}
            done.append([name, result, session.heard])
    return done


def run(kind: type[Session], errors: type[Exception]) -> None:
    """Follow the order; `errors` is what the SDK raises for a JSON-RPC error."""
    order = json.load(sys.stdin)

    async def everywhere() -> list[Any]:
        return [await follow(kind, errors, url, order["mode"], steps) for url, steps in order["visits"]]

    print(json.dumps(asyncio.run(everywhere())))
