"""Arguments of tools that have to stand in headers, too: what a tool's schema marks with `x-mcp-header` is mirrored in
`Mcp-Param-…` (specification 2026-07-28, "Custom headers from tool parameters")."""

from __future__ import annotations

import asyncio
import re
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Iterator
from contextlib import suppress
from decimal import Decimal, InvalidOperation
from typing import Any

from pydantic_core import from_json

from agentgateway.errors import GatewayError
from agentgateway.exchange import Headers
from agentgateway_mcp.envelope import Json, member
from agentgateway_mcp.eras import unwrapped, wrapped

MARK = "x-mcp-header"
PREFIX = "mcp-param-"
Path = tuple[str, ...]
REMEMBERED = 4096
"""Tools whose headers are remembered."""
DEEPEST = 16
PAUSE, FAILED = 1.0, 5.0
"""Seconds from a server's answer, or failure, until it is asked again for its tools because of these headers."""
NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
"""Numbers of JSON (RFC 8259, section 6)."""


class ParamHeaders:
    """What a server's lists have said of its tools."""

    def __init__(self) -> None:
        self._tools: OrderedDict[str, dict[Path, str]] = OrderedDict()
        self.marked = False
        self._asking = asyncio.Lock()
        self._asked = 0
        self._due = 0.0

    def see(self, raw: bytes) -> None:
        """A response to `tools/list`, which is read where it may say something new."""
        if self.marked or MARK.encode() in raw:
            with suppress(ValueError):
                self.learn(member(from_json(raw), "result"))

    async def renew(self, ask: Callable[[], Awaitable[object]]) -> None:
        """Ask the server for its tools, unless it has just been asked. Who waits for somebody else's question does not
        ask again, also where that fails; only where who asked has left before the answer."""
        before = self._asked
        async with self._asking:
            if self._asked != before or time.monotonic() < self._due:
                return
            pause = FAILED
            with suppress(GatewayError):
                await ask()
                pause = PAUSE
            self._asked += 1
            self._due = time.monotonic() + pause

    def knows(self, tool: str) -> bool:
        return tool in self._tools

    def fields(self, tool: str) -> frozenset[bytes]:
        """The headers that a tool may have."""
        return frozenset(field_of(name).encode() for name in self._tools.get(tool, {}).values())

    def learn(self, result: Json) -> None:
        """From a result of `tools/list`."""
        tools = result.get("tools")
        for tool in tools if isinstance(tools, list) else ():
            if isinstance(tool, dict) and isinstance(tool.get("name"), str):
                self._tools[tool["name"]] = dict(marked(member(tool, "inputSchema"), ()))
        while len(self._tools) > REMEMBERED:
            self._tools.popitem(last=False)
        self.marked = any(self._tools.values())

    def of(self, document: Json) -> tuple[tuple[str, str], ...]:
        """The headers of a request."""
        params = member(document, "params")
        if document.get("method") != "tools/call" or not isinstance(params.get("name"), str):
            return ()
        found = []
        for path, name in self._tools.get(params["name"], {}).items():
            text = rendered(value_at(member(params, "arguments"), path))
            if text is not None:
                found.append((field_of(name), wrapped(text)))
        return tuple(found)

    def disagree(self, tool: str, arguments: Any, headers: Headers, unseen: Collection[str]) -> str | None:
        """The header of a call that does not say what the argument says. Of arguments that are `unseen` clients do not
        know."""
        for path, name in self._tools.get(tool, {}).items():
            if path[0] in unseen:
                continue
            field, value = field_of(name), value_at(arguments, path)
            given = headers.all(field)
            if len(given) != (rendered(value) is not None) or (given and not says(unwrapped(given[0]), value)):
                return field
        return None


def field_of(name: str) -> str:
    """The header for what a schema marks with that name."""
    return PREFIX + name.lower()


def says(text: str | None, value: Any) -> bool:
    """Whether a header's text stands for a value. Numbers can be written in more than one way; only those that are
    fractions in the body were rounded there."""
    if text is None or text == rendered(value):
        return text is not None
    if isinstance(value, bool) or not isinstance(value, int | float) or NUMBER.fullmatch(text) is None:
        return False
    if isinstance(value, float):
        return float(text) == value
    with suppress(InvalidOperation):  # of an exponent without measure
        return Decimal(text) == value
    return False


def marked(schema: Json, path: Path) -> Iterator[tuple[Path, str]]:
    """The properties that have a header, by where they stand."""
    if len(path) > DEEPEST:
        return
    for name, one in member(schema, "properties").items():
        if isinstance(one, dict):
            if isinstance(one.get(MARK), str) and is_token(one[MARK]):
                yield (*path, name), one[MARK]
            yield from marked(one, (*path, name))


def is_token(name: str) -> bool:
    """Whether it can be part of a header's name (RFC 9110 section 5.6.2)."""
    return bool(name) and name.isascii() and all(char.isalnum() or char in "!#$%&'*+-.^_`|~" for char in name)


def value_at(arguments: Any, path: Path) -> Any:
    for name in path:
        arguments = arguments.get(name) if isinstance(arguments, dict) else None
    return arguments


def rendered(value: Any) -> str | None:
    """A value as it stands in a header; None for what does not stand in any."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, str | int | float) else None
