"""Processors of results: which messages they are shown, and what is withheld."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from agentgateway_mcp.edits import Prompts, Resources, Seen, Tools
from agentgateway_mcp.messages import McpCall
from agentgateway_mcp.naming import Names
from agentgateway_mcp.processors import Processor, seen

from agentgateway.exchange import Reply
from agentgateway.testing.exchanges import http

NAMES = Names({"a": Seen(Tools(), Prompts(), Resources())}, prefixed=False)
NOTE = {"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": "x"}}
CALL = {"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {"name": "echo"}}


class Masks(Processor):
    def __init__(self, *methods: str) -> None:
        self.methods = methods

    def awaits_results(self, method: str | None) -> bool:
        return method is None or method in self.methods

    async def after(self, exchange: Any, targets: Any, result: Any) -> Any:
        assert list(targets) == ["a"]
        return {"masked": True}


async def pieces(*messages: Any, size: int) -> AsyncIterator[bytes]:
    text = b"".join(b"id: 1\ndata: " + json.dumps(one).encode() + b"\n\n" for one in messages)
    for start in range(0, len(text), size):
        yield text[start : start + size]


async def shown(call: McpCall, body: Any, *processors: Processor, status: int = 200) -> Any:
    """The messages of the reply that a client gets."""
    call.processors.extend(processors)
    reply = await seen(http("POST", "/mcp"), call, Reply(status, None, body), NAMES, 1000)
    if isinstance(reply.body, bytes):
        return [json.loads(reply.body)] if reply.body else []
    text = b"".join([piece async for piece in reply.body])
    return [json.loads(line[6:]) for line in text.splitlines() if line.startswith(b"data: ")]


def answered(wanted: Any = 7) -> Any:
    return {"jsonrpc": "2.0", "id": wanted, "result": {"resultType": "complete", "content": []}}


MASKED = {"jsonrpc": "2.0", "id": 7, "result": {"masked": True, "resultType": "complete"}}


@pytest.mark.parametrize("size", [1, 7, 1000])
async def test_the_result_of_a_stream_is_shown_and_the_rest_passes(size: int) -> None:
    told = await shown(McpCall("send", b"", CALL), pieces(NOTE, answered(), size=size), Masks("tools/call"))
    assert told == [NOTE, MASKED]


async def test_a_whole_result_is_shown_whatever_its_id() -> None:
    """Clients may take "7" for 7."""
    for wanted in (7, "7", None):
        (told,) = await shown(McpCall("send", b"", CALL), json.dumps(answered(wanted)).encode(), Masks("tools/call"))
        assert told == {**MASKED, "id": wanted}


async def test_what_nobody_wants_to_see_stays_as_it_is() -> None:
    error = {"jsonrpc": "2.0", "id": 7, "error": {"code": 1, "message": "no"}}
    for body, processor, status in (
        (answered(), Masks("tools/list"), 200),
        (error, Masks("tools/call"), 200),
        (error, Masks("tools/call"), 404),
    ):
        raw = json.dumps(body, indent=1).encode()
        call = McpCall("send", b"", CALL)
        call.processors.append(processor)
        reply = await seen(http("POST", "/mcp"), call, Reply(status, None, raw), NAMES, 1000)
        assert reply.body == raw
    assert await shown(McpCall("send", b"", CALL), b"", Masks("tools/call")) == []


async def test_a_result_that_comes_late_is_withheld() -> None:
    note, told = await shown(McpCall("listen"), pieces(NOTE, answered(), size=9), Masks("tools/call"))
    assert note == NOTE
    assert (told["id"], told["error"]["code"]) == (7, -32603) and "result" not in told


async def test_an_event_above_the_limit_is_an_error() -> None:
    long = {**answered(), "result": {"text": "x" * 2000}}
    (told,) = await shown(McpCall("send", b"", CALL), pieces(long, size=500), Masks("tools/call"))
    assert told["error"]["code"] == -32603
