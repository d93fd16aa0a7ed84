"""Operations of a document as tools, and calls of them as requests."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import quote

from agentgateway_mcp_openapi.bodies import BodyForm
from agentgateway_mcp_openapi.document import DocumentError
from agentgateway_mcp_openapi.parameters import (
    ArgumentError,
    Parameter,
    in_cookie,
    in_header,
    in_path,
    in_query,
)
from agentgateway_mcp_openapi.urls import Base, UnsafeUrl

VARIABLE = re.compile(r"\{([^{}]+)\}")


class Check(Protocol):
    """What is wrong with arguments or an answer, a line each; empty when nothing is. `beside` the event loop, in a
    thread, it may take longer."""

    def __call__(self, instance: Any, beside: bool = False) -> str: ...


@dataclass(frozen=True, slots=True)
class Request:
    """A call, ready to be sent: path and query are proven to stay below the operation's base."""

    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation. `template` are the pieces of its path, texts already encoded; `check` is of its arguments, `fits`
    of its structured results, where the tool has a schema of them."""

    name: str
    method: str
    base: Base
    template: tuple[str | Parameter, ...]
    parameters: tuple[Parameter, ...]
    body: BodyForm | None
    check: Check
    fits: Check | None = None

    def request(self, arguments: dict[str, Any]) -> Request:
        """Raises `ArgumentError`, whose message is for whoever called."""
        wrong = self.check(arguments)
        if wrong:
            raise ArgumentError(f"Invalid arguments for {self.name}:\n{wrong}")
        target = self._target(arguments)
        try:
            self.base.prove(target)
        except UnsafeUrl as error:
            raise ArgumentError(f"Invalid arguments for {self.name}: {error}") from None
        headers = [*self._headers(arguments.get("header") or {})]
        if cookies := "; ".join(self._each("cookie", arguments, in_cookie)):
            headers.append(("cookie", cookies))
        body = b""
        if self.body is not None and "body" in arguments:
            kind, body = self.body.encode(arguments["body"])
            headers.append(("content-type", kind))
        return Request(target, tuple(headers), body)

    def _target(self, arguments: dict[str, Any]) -> str:
        values = arguments.get("path") or {}
        pieces = [one if isinstance(one, str) else in_path(one, values.get(one.name)) for one in self.template]
        query = "&".join(self._each("query", arguments, in_query))
        return f"{self.base.path}{''.join(pieces)}{f'?{query}' if query else ''}"

    def _headers(self, values: dict[str, Any]) -> Iterator[tuple[str, str]]:
        for one in self.parameters:
            if one.location == "header" and values.get(one.name) is not None:
                yield one.name.lower(), in_header(one, values[one.name])

    def _each(self, location: str, arguments: dict[str, Any], write: Any) -> Iterator[str]:
        values = arguments.get(location) or {}
        for one in self.parameters:
            if one.location == location and one.name in values:
                yield from write(one, values[one.name])


def template_of(path: str, parameters: Sequence[Parameter], where: str) -> tuple[str | Parameter, ...]:
    """The pieces of a path. Raises `DocumentError` for a variable that no parameter describes."""
    named = {one.name: one for one in parameters if one.location == "path"}
    pieces: list[str | Parameter] = []
    for index, text in enumerate(VARIABLE.split(path)):
        if index % 2 == 0:
            pieces.append(quote(text, safe="/:@!$&'()*+,;=-._~%"))
        elif text in named:
            pieces.append(named[text])
        else:
            raise DocumentError(f"{where}: no parameter describes {{{text[:80]}}} of the path")
    return tuple(pieces)
