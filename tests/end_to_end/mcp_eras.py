"""Servers of either era that ask their clients something, each in its own way."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from agentgateway.testing import Received
from agentgateway.testing.upstreams import LAST, chunk, stream_head

from .mcps import Json, Server, said

QUESTION = {
    "method": "elicitation/create",
    "params": {"message": "who?", "requestedSchema": {"type": "object", "properties": {}}},
}
ABLE = {"elicitation": {}, "roots": {}}
STATE = 'sealed "by" the server\u2003€'


@dataclass
class Asking(Server):
    """A server with sessions whose tool `ask` asks the client before it answers."""

    answered: list[Json] = field(default_factory=list)
    given: asyncio.Event = field(default_factory=asyncio.Event)

    def answer(self, request: Received) -> Any:
        message = request.json() if request.method == "POST" else {}
        if message.get("params", {}).get("name") == "ask":
            return self._asked(message["id"])
        if "result" in message:
            self.answered.append(message)
            self.given.set()
        return super().answer(request)

    async def _asked(self, wanted: Any) -> AsyncIterator[bytes]:
        self.given.clear()
        yield stream_head()
        yield chunk(event({"jsonrpc": "2.0", "id": "server-1", **QUESTION}))
        while not self.given.is_set():
            await asyncio.sleep(0.01)
            yield chunk(b": waiting\n\n")
        told = said(f"hello {self.answered[-1]['result']['content']['name']}")
        yield chunk(event({"jsonrpc": "2.0", "id": wanted, "result": told}))
        yield LAST


def event(message: Json) -> bytes:
    return b"data: " + json.dumps(message).encode() + b"\n\n"


def multi_round(params: Json) -> Json:
    """The same of a server without: it wants the state back, byte for byte."""
    if params.get("requestState") != STATE:
        asked = {"who": QUESTION} if params["name"] == "ask" else {}
        return {"resultType": "input_required", "inputRequests": asked, "requestState": STATE}
    name = params.get("inputResponses", {}).get("who", {}).get("content", {}).get("name", "nobody")
    return {"resultType": "complete", **said(f"hello {name}")}


@dataclass
class Telling(Server):
    """A server without sessions that tells each subscription of its resources, and says how it is to log."""

    def answer(self, request: Received) -> Any:
        message = request.json() if request.method == "POST" else {}
        if message.get("method") == "subscriptions/listen":
            return self._tells(message["id"], message["params"]["notifications"])
        return super().answer(request)

    async def _tells(self, wanted: Any, asked: Json) -> AsyncIterator[bytes]:
        yield stream_head()
        meta = {"_meta": {"io.modelcontextprotocol/subscriptionId": wanted}}
        begun = {"method": "notifications/subscriptions/acknowledged", "params": {"notifications": asked, **meta}}
        yield chunk(event({"jsonrpc": "2.0", **begun}))
        for uri in asked.get("resourceSubscriptions", ()):
            told = {"method": "notifications/resources/updated", "params": {"uri": uri, **meta}}
            yield chunk(event({"jsonrpc": "2.0", **told}))
        while True:
            await asyncio.sleep(0.05)
            yield chunk(b": waiting\n\n")
