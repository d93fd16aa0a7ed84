"""Messages for another worker, and what comes back: in frames, over a link."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from agentgateway_mcp.elsewhere import Way, handed_over, taken
from agentgateway_mcp.servers import Answer, Ask, Said

from agentgateway.errors import GatewayError, InvalidRequest, NoEndpoint, UpstreamError, UpstreamTimeout
from agentgateway.exchange import Headers, Outgoing
from agentgateway.interfaces import Link
from agentgateway.peers import LocalPeers

RESPONSE = b'{"jsonrpc":"2.0","id":1,"result":{}}'


async def asked(take: Any, ask: Ask | None = None, outgoing: Outgoing | None = None) -> Answer:
    """What comes of handing a message over to `take`."""
    peers = LocalPeers()

    async def answer(link: Link) -> None:
        await taken(link, take)

    return await handed_over(await peers.call(peers.open(answer)), ask or Ask("send", RESPONSE), outgoing)


async def each(*messages: bytes) -> Any:
    for message in messages:
        yield Said(message)


async def test_a_message_and_its_way_arrive_as_they_were() -> None:
    got: list[Any] = []

    async def take(ask: Ask, way: Way | None) -> Answer:
        got.append((ask, way))
        return Answer(202)

    headers = Headers([(b"x-one", b"\xe4"), (b"x-one", b"2")])
    outgoing = Outgoing("POST", "http://h", "/m?s=1", headers, authority="a", head_timeout=2.5)
    ask = Ask("send", b'{"id":1,"method":"m"}', {"id": 1, "method": "m"}, "2025-11-25", "session", "event 7")
    answer = await asked(take, ask, outgoing)
    assert (answer.status, answer.whole, answer.messages) == (202, None, None)
    ((there, way),) = got
    assert (there.purpose, there.message, there.document) == ("send", ask.message, ask.document)
    assert (there.version, there.resume_from) == ("2025-11-25", "event 7")
    assert way.target == "/m?s=1" and [tuple(pair) for pair in way.headers] == [("x-one", "ä"), ("x-one", "2")]
    assert (way.authority, way.head_timeout) == ("a", 2.5)


async def test_an_answer_comes_back_whole_or_message_by_message() -> None:
    async def whole(ask: Ask, way: Way | None) -> Answer:
        return Answer(401, whole=b"no", headers=Headers([(b"www-authenticate", b"Bearer")]))

    answer = await asked(whole)
    assert (answer.status, answer.whole, answer.headers.get("www-authenticate")) == (401, b"no", "Bearer")

    async def streamed(ask: Ask, way: Way | None) -> Answer:
        return Answer(200, messages=each(b"{}", RESPONSE))

    answer = await asked(streamed)
    assert answer.messages is not None
    assert [said.data async for said in answer.messages] == [b"{}", RESPONSE]


ERRORS = [
    NoEndpoint("too many", detail="secret detail", headers=[("retry-after", "3")]),
    InvalidRequest("under way"),
    UpstreamTimeout("slow"),
    UpstreamError("broken", status=502),
    GatewayError("whatever", status=418),
]


@pytest.mark.parametrize("error", ERRORS)
async def test_an_error_is_raised_where_the_message_came_from(error: GatewayError) -> None:
    async def fail(ask: Ask, way: Way | None) -> Answer:
        raise error

    with pytest.raises(GatewayError) as raised:
        await asked(fail)
    told = raised.value
    assert (told.message, told.detail, told.status, told.headers) == (
        *(error.message, error.detail, error.status),
        error.headers,
    )
    assert isinstance(told, type(error) if type(error) is not GatewayError else UpstreamError)
    assert type(told).sent == type(error).sent if isinstance(error, UpstreamError) else True


@pytest.mark.parametrize(("said", "fails"), [([], True), ([b'{"method":"m","id":1}'], True), ([RESPONSE], False)])
async def test_a_worker_that_ends_is_an_error_until_all_was_said(said: list[bytes], fails: bool) -> None:
    async def breaks(link: Link) -> None:
        await link.receive()
        await link.receive()
        await link.send(b'{"status": 200, "headers": [], "whole": false, "streams": true}')
        for message in said:
            await link.send(message)
        link.abort()

    peers = LocalPeers()
    answer = await handed_over(await peers.call(peers.open(breaks)), Ask("send", RESPONSE), None)
    assert answer.messages is not None
    got: list[bytes] = []
    try:
        async for one in answer.messages:
            got.append(one.data)
    except UpstreamError as error:
        assert fails and error.message == "the server has ended"
    else:
        assert not fails
    assert got == said


async def test_who_lets_go_of_an_answer_ends_it_there() -> None:
    let_go = asyncio.Event()

    class Endless:
        def __aiter__(self) -> Endless:
            return self

        async def __anext__(self) -> Said:
            await asyncio.sleep(60)
            raise AssertionError

        async def aclose(self) -> None:
            let_go.set()

    async def streamed(ask: Ask, way: Way | None) -> Answer:
        return Answer(200, messages=Endless())

    answer = await asked(streamed)
    await answer.close()
    async with asyncio.timeout(10):
        await let_go.wait()
