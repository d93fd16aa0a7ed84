"""Chunks of a model's stream that go from one socket to the other without waking whoever waits for the end."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from agentgateway._host.edge.pushing import Pushing
from agentgateway._host.edge.sending import Sending
from agentgateway._host.traffic import Traffic
from agentgateway._host.upstream_response import UpstreamResponse
from agentgateway.errors import UpstreamError
from agentgateway.exchange import Body, ClientGone, Exchange, Headers, Request
from agentgateway.llm.calls import LlmCall
from agentgateway.llm.dialects import dialect
from agentgateway.llm.replies import LlmStream
from agentgateway.llm.usage import UsageMeter

EVENT = b'data: {"model":"m","choices":[{"delta":{"content":"word"}}]}\n\n'
CALL = b'{"model":"m","stream":true,"messages":[{"role":"user","content":"hi"}]}'


class Upstream:
    """The connection of a response: what it was told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def pause(self) -> None:
        self.told.append("pause")

    def resume(self) -> None:
        self.told.append("resume")

    def fail(self, error: Exception) -> None:
        self.told.append("fail")


class Client:
    """The transport to a client."""

    def __init__(self) -> None:
        self.got = b""
        self.closing = False

    def write(self, data: bytes) -> None:
        self.got += data

    def is_closing(self) -> bool:
        return self.closing


class Streaming:
    """A stream on its way, and everybody who has to do with it."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.upstream, client = Upstream(), Client()
        self.client: Any = client
        self.response = UpstreamResponse(loop, self.upstream, 0)
        self.response.status = 200
        self.exchange = Exchange(Request("POST", "/", Headers(), Body()))
        spoken = dialect("completions")
        self.stream = LlmStream(self.exchange, self.response, spoken, spoken, LlmCall.read(spoken, CALL))
        self.sending = Sending(loop, self.client, Traffic())
        self.over = asyncio.ensure_future(Pushing(loop, self.sending, self.exchange, self.stream).over())


@pytest.fixture
async def streaming() -> Streaming:
    made = Streaming()
    await asyncio.sleep(0)
    return made


async def test_chunks_are_written_in_the_callback_that_brings_them_and_the_end_is_told_last(streaming):
    streaming.response.arrived(EVENT)
    assert streaming.client.got == b"%x\r\n%b\r\n" % (len(EVENT), EVENT)
    assert not streaming.over.done()
    streaming.response.finished(b"data: [DONE]\n\n")
    await streaming.over
    assert [chunk async for chunk in streaming.stream] == []
    assert streaming.exchange.finished
    assert streaming.exchange.sent_bytes == len(EVENT) + 14
    assert streaming.exchange.first_token_at is not None


async def test_what_came_before_is_pushed_too():
    made = Streaming()
    made.response.arrived(EVENT)
    made.response.finished(b"data: [DONE]\n\n")
    await made.over
    assert made.client.got.endswith(b"data: [DONE]\n\n\r\n")


async def test_a_client_that_reads_too_slowly_pauses_the_upstream_until_it_has_read(streaming):
    streaming.sending.congest()
    streaming.response.arrived(EVENT)
    assert streaming.upstream.told == ["pause"]
    await asyncio.sleep(0)
    streaming.sending.relieve()
    await asyncio.sleep(0)
    assert streaming.upstream.told == ["pause", "resume"]
    streaming.response.arrived(EVENT)
    assert streaming.client.got.count(EVENT) == 2
    streaming.response.finished(b"")
    await streaming.over


async def test_a_client_that_has_left_ends_it_and_not_the_callback_of_the_upstream(streaming):
    streaming.client.closing = True
    streaming.response.arrived(EVENT)
    streaming.response.arrived(EVENT)
    with pytest.raises(ClientGone):
        await streaming.over
    await streaming.stream.aclose()
    assert streaming.upstream.told == ["fail"]


async def test_an_upstream_that_dies_is_told_behind_the_last_chunk(streaming):
    streaming.response.arrived(EVENT)
    streaming.response.failed(UpstreamError("reset"))
    await streaming.over
    assert b"reset" in b"".join([chunk async for chunk in streaming.stream])
    assert streaming.exchange.error is not None


async def test_a_fault_in_a_chunk_ends_the_stream_as_it_does_when_nobody_pushes(streaming):
    class Refusing(UsageMeter):
        def see(self, chunk: bytes) -> bool:
            raise UpstreamError("too long an event")

    streaming.stream._meter = Refusing(dialect("completions"))
    streaming.response.arrived(EVENT)
    streaming.response.arrived(EVENT)
    await streaming.over
    assert b"too long an event" in await anext(streaming.stream)
    assert streaming.client.got == b""
