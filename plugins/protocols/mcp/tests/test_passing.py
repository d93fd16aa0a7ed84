"""Streams of servers on their way to a client that knows their things by other names."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from agentgateway_mcp.edits import Prompts, Resources, Seen, Tools
from agentgateway_mcp.messages import McpCall
from agentgateway_mcp.naming import Names
from agentgateway_mcp.passing import Passing, passed
from agentgateway_mcp.replies import Outward
from agentgateway_mcp.resumption import read
from agentgateway_mcp.servers import Answer, Said
from agentgateway_mcp.streamable import Events, event, messages_in

from agentgateway.errors import UpstreamError
from agentgateway.testing.exchanges import http

TEXT = {"jsonrpc": "2.0", "id": 1, "result": {"content": [{"type": "text", "text": "plain"}], "isError": False}}
LINK = {"jsonrpc": "2.0", "id": 1, "result": {"content": [{"type": "resource_link", "uri": "note://1", "name": "n"}]}}
LINKED = {**LINK, "result": {"content": [{"type": "resource_link", "uri": "a+note://1", "name": "n"}]}}
TASK = {"jsonrpc": "2.0", "id": 1, "result": {"task": {"taskId": "t"}}}
ASKS = {"jsonrpc": "2.0", "id": 7, "method": "elicitation/create", "params": {"message": "?"}}
TELLS = {"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": 1, "progress": 0.5}}
FAILS = {"jsonrpc": "2.0", "id": 1, "error": {"code": -32005, "message": "no"}}


def spelt(document: Any) -> bytes:
    """With a name that no search for it finds."""
    return json.dumps(document).replace('"uri"', '"\\u0075ri"').encode()


def outward(*targets: str, method: str = "tools/call") -> Outward:
    document = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {"name": "t"}}
    exchange = http("POST", "/mcp")
    exchange.call = call = McpCall("send", b"", document)
    names = Names({target: Seen(Tools(), Prompts(), Resources()) for target in targets}, prefixed=len(targets) > 1)
    return Outward(exchange, call, names, targets[0])


def passing(view: Outward, pieces: AsyncIterator[bytes]) -> Passing:
    assert isinstance(view._exchange.call, McpCall)
    return Passing(view._exchange, view._call, Answer(200, messages=Events(pieces, 10_000)), view)


async def cut(data: bytes, size: int) -> AsyncIterator[bytes]:
    for at in range(0, len(data), size):
        yield data[at : at + size]


@pytest.mark.parametrize("size", [1, 7, 1000], ids=["bytes", "pieces", "whole"])
@pytest.mark.parametrize("ends", ["lf", "crlf"])
async def test_a_stream_has_the_names_that_clients_know_however_it_is_cut(size: int, ends: str) -> None:
    sent = [json.dumps(one).encode() for one in (TELLS, ASKS, TEXT, TASK, LINK)] + [spelt(LINK)]
    data = b": hello\n\n" + b"".join(event(Said(one, str(place))) for place, one in enumerate(sent))
    body = passing(outward("a", "b"), cut(data if ends == "lf" else data.replace(b"\n", b"\r\n"), size))
    got = [said async for said in messages_in(body, 10_000)]
    asks, task = {**ASKS, "id": "agw_a_n_7"}, {**TASK, "result": {"task": {"taskId": "a+t"}}}
    assert [json.loads(said.data) for said in got] == [TELLS, asks, TEXT, task, LINKED, LINKED]
    assert [said.event and read(said.event, ["a", "b"]) for said in got] == [("a", str(place)) for place in range(6)]
    await body.aclose()


@pytest.mark.parametrize("document", [TELLS, TEXT])
async def test_what_has_no_other_name_for_clients_passes_to_the_byte(document: Any) -> None:
    view = outward("a", "b")
    data = b"event:message\r\ndata: " + json.dumps(document, indent=1).replace("\n", "").encode() + b"\r\n\r\n"
    assert b"".join([piece async for piece in passing(view, cut(data, 1000))]) == data
    whole = json.dumps(document, indent=1).encode()
    assert passed(view._exchange, view._call, Answer(200, whole=whole), view).body == whole


async def test_an_error_of_a_server_is_noted() -> None:
    for answer in ("whole", "stream"):
        view = outward("a", "b")
        said = json.dumps(FAILS).encode()
        if answer == "whole":
            passed(view._exchange, view._call, Answer(200, whole=said), view)
        else:
            body = passing(view, cut(event(Said(said)), 1000))
            assert [json.loads(one.data) async for one in messages_in(body, 10_000)] == [FAILS]
        assert view._call.error_code == -32005


@pytest.mark.parametrize("targets", [("a",), ("a", "b")], ids=["one", "two"])
@pytest.mark.parametrize(("place", "answered"), [("1", False), (None, True)], ids=["with ids", "without"])
async def test_a_stream_that_breaks_off_is_answered_unless_its_client_can_come_back(
    targets: tuple[str, ...], place: str | None, answered: bool
) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield event(Said(json.dumps(TELLS).encode(), place))
        raise UpstreamError("gone")

    body = passing(outward(*targets), broken())
    await anext(body)
    if answered:
        assert b'"error"' in await anext(body)
    else:
        with pytest.raises(UpstreamError):
            await anext(body)
