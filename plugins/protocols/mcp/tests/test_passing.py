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
from agentgateway_mcp.sifting import SiftedStream
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


class Source:
    """What an upstream's answer comes from: pushed, or read."""

    def __init__(self) -> None:
        self.paused = False
        self.left: list[bytes | Exception] = []
        self.tell: Any = None
        self.end: Any = None

    def push(self, on_chunk: Any, on_end: Any) -> None:
        self.tell, self.end = on_chunk, on_end

    def pull(self) -> None:
        self.tell = self.end = None
        self.resume()

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False

    def arrived(self, chunk: bytes) -> None:
        if self.tell is not None:
            self.tell(chunk)
        else:
            self.left.append(chunk)

    def failed(self, error: Exception) -> None:
        self.left.append(error)
        self.end(error)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if not self.left:
            raise StopAsyncIteration
        if isinstance(found := self.left.pop(0), Exception):
            raise found
        return found


class Pushed:
    """A stream that is pushed, with one filter for pins and one for names, as the edge reads it."""

    def __init__(self, *targets: str) -> None:
        self.upstream = Source()
        self.chunks: list[bytes] = []
        self.ends: list[Exception | None] = []
        view = outward(*targets)

        async def sift(data: bytes) -> bytes:
            return data.replace(b"bad", b"good")

        pinned = SiftedStream(self.upstream, sift, lambda data: b"bad" not in data, 10_000)
        self.body = Passing(view._exchange, view._call, Answer(200, messages=Events(pinned, 10_000)), view)
        assert self.body.push(self.chunks.append, self.ends.append)

    async def rest(self) -> bytes:
        return b"".join([chunk async for chunk in self.body])


@pytest.mark.parametrize("targets", [("a",), ("a", "b")], ids=["one", "two"])
async def test_what_stays_is_pushed_until_something_has_to_be_read(targets: tuple[str, ...]) -> None:
    tells, text = (event(Said(json.dumps(one).encode())) for one in (TELLS, TEXT))
    stream = Pushed(*targets)
    stream.upstream.arrived(tells)
    stream.upstream.arrived(text)
    assert stream.chunks == [tells, text] and not stream.ends
    stream.body.pause()
    assert stream.upstream.paused
    stream.upstream.arrived(text[:9])
    assert stream.ends == [None] and not stream.upstream.paused
    stream.upstream.arrived(text[9:] + b'data: {"x": "bad"}\n\n')
    stream.upstream.arrived(tells)
    rest = [json.loads(said.data) async for said in messages_in(stream.body, 10_000)]
    assert rest == [TEXT, {"x": "good"}, TELLS]
    assert len(stream.chunks) == 2 and stream.ends == [None]


async def test_the_end_and_the_failure_of_what_is_pushed_are_told_once() -> None:
    tells = event(Said(json.dumps(TELLS).encode()))
    ended, broken = Pushed("a"), Pushed("a")
    ended.upstream.arrived(tells)
    ended.upstream.end(None)
    assert (ended.chunks, ended.ends, await ended.rest()) == ([tells], [None], b"")
    broken.upstream.arrived(tells)
    broken.body.pause()
    broken.body.resume()
    broken.upstream.failed(UpstreamError("gone"))
    assert len(broken.ends) == 1 and b'"error"' in await broken.rest()


async def test_a_stream_that_guards_look_at_is_not_pushed() -> None:
    view = outward("a")
    body = passing(view, cut(b"", 1))
    assert not body.push([].append, [].append)

    async def judge(_: Any) -> None: ...

    view._call.attend(judge)
    assert not passing(view, Source()).push([].append, [].append)
