"""The streams of several servers as one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from agentgateway_mcp.fan import WAITING, Merged
from agentgateway_mcp.replies import read_message
from agentgateway_mcp.servers import Answer, Said
from agentgateway_mcp.streamable import messages_in

from agentgateway.errors import UpstreamError


async def saying(*texts: bytes, fault: Exception | None = None) -> AsyncIterator[Said]:
    for text in texts:
        yield Said(text)
    if fault is not None:
        raise fault


async def told(merged: Merged) -> list[tuple[str, bytes]]:
    async with asyncio.timeout(5):
        return sorted([(name, said.data) async for name, said in merged])


async def test_any_fault_of_one_stream_is_its_end_alone(caplog: pytest.LogCaptureFixture) -> None:
    for fault in (UpstreamError("away"), OverflowError("too large"), TypeError("unhashable")):
        one, other = saying(b"one", fault=fault), saying(b"two")
        merged = Merged({"one": Answer(200, messages=one), "other": Answer(200, messages=other)})
        assert await told(merged) == [("one", b"one"), ("other", b"two")]
        await merged.aclose()
    assert [record.message for record in caplog.records] == ["a stream of one was given up"] * 2


async def test_who_leaves_a_full_stream_leaves_at_once() -> None:
    merged = Merged({"one": Answer(200, messages=saying(*([b"x"] * (2 * WAITING))))})
    await anext(merged)
    async with asyncio.timeout(5):
        await merged.aclose()


@pytest.mark.parametrize("digits", [10, 400, 5000])
async def test_a_pause_that_cannot_be_meant_is_none(digits: int) -> None:
    async def events() -> AsyncIterator[bytes]:
        yield b"retry: %b\ndata: one\n\n" % (b"9" * digits)
        yield b"retry: 999999999\ndata: two\n\n"

    merged = Merged({"one": Answer(200, messages=messages_in(events(), 1 << 20))})
    async with asyncio.timeout(5):
        assert [(said.data, said.retry) async for _, said in merged] == [(b"one", None), (b"two", 999_999_999)]
    await merged.aclose()


@pytest.mark.parametrize("method", [b"[]", b"{}", b"1", b"null"])
def test_a_method_is_a_text(method: bytes) -> None:
    with pytest.raises(UpstreamError, match="no message"):
        read_message(b'{"jsonrpc":"2.0","method":%b}' % method)
    assert read_message(b'{"jsonrpc":"2.0","method":"ping"}')["method"] == "ping"
