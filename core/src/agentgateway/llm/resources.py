"""Requests that name no model: for what a vendor keeps, by the path and method alone. Their bodies are never read."""

from __future__ import annotations

from functools import cache

from agentgateway.exchange import Body, Request
from agentgateway.llm.calls import Dialect, Head, Json, LlmCall
from agentgateway.llm.dialects import installed
from agentgateway.llm.dialects.resources import Resource


class ResourceCall(LlmCall):
    """Such a request: `model` is empty. `rest` is its path behind the resource's root, `query` what follows."""

    __slots__ = ("method", "query", "request", "rest")
    whole = False

    def __init__(self, dialect: Dialect, request: Request, rest: str) -> None:
        super().__init__(dialect, {}, Head("", False), raw=b"", path=request.path)
        self.request = request
        self.method, self.query, self.rest = request.method, request.query, rest

    def edit(self) -> Json:
        """Nobody has edits for it, and what they wrote would reach nobody."""
        return {}

    def unreadable(self) -> str:
        return "body"

    def outbound(self, to: Dialect, model: str | None = None) -> ResourceCall:
        return ResourceCall(to, self.request, self.rest)

    def copy(self) -> ResourceCall:
        return self

    def payload(self) -> bytes | Body:
        return self.request.body

    def framing(self) -> list[tuple[bytes, bytes]]:
        return [field for field in self.request.headers.raw if field[0] == b"content-type"]

    def below(self, path: str) -> str:
        """The vendor's path for it, where `path` is the vendor's for the resource."""
        root, _, own = path.partition("?")
        query = "&".join(filter(None, (own, self.query)))
        return f"{root}{self.rest}?{query}" if query else root + self.rest


@cache
def resources() -> tuple[Resource, ...]:
    """Those that are installed; of two at the same path first the one that a header tells."""
    found = [one for one in installed() if isinstance(one, Resource)]
    return tuple(sorted(found, key=lambda one: not one.needs))


def resource_call(request: Request) -> ResourceCall | None:
    """The request as one for a resource, if it is."""
    for one in resources():
        rest = request.path[len(one.root) :]
        told = not one.needs or one.needs in request.headers
        if told and request.path.startswith(one.root) and one.takes(request.method, rest):
            return ResourceCall(one, request, rest)
    return None
