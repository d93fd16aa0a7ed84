"""Transcripts in the vendors' published formats: what stands in `golden/` is what goes on the wire, event by event.

Each folder holds a request and the answers to it, whole and streamed. Formats:
https://platform.openai.com/docs/api-reference/chat/object, …/chat-streaming,
https://docs.anthropic.com/en/api/messages, https://docs.anthropic.com/en/docs/build-with-claude/streaming
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agentgateway.exchange import Headers, Outgoing, Reply
from agentgateway.llm.calls import LlmCall
from agentgateway.llm.dialects import dialect
from agentgateway.testing import make

GOLDEN = Path(__file__).parent / "golden"
FOLDERS = sorted(folder.relative_to(GOLDEN) for folder in GOLDEN.glob("*/*"))


async def played(folder: Path, *, stream: bool) -> bytes:
    """The answer to the folder's request; ids come from the request as it stands in the file."""
    raw = (GOLDEN / folder / "request.json").read_bytes()
    asked = json.loads(raw)
    if stream:
        asked |= {
            "stream": True,
            **({"stream_options": {"include_usage": True}} if "completions" in str(folder) else {}),
        }
    call = LlmCall.read(dialect(folder.parts[0]), json.dumps(asked).encode())
    simulator = make("agentgateway.providers", "simulator", {"dialects": ["completions", "messages"]})
    return await content(await simulator.answer(call, Outgoing("POST", "simulator:", "/", Headers(), raw)))


async def content(reply: Reply) -> bytes:
    if isinstance(reply.body, bytes):
        return reply.body
    assert isinstance(reply.body, AsyncIterator)
    return b"".join([chunk async for chunk in reply.body])


@pytest.mark.parametrize("folder", FOLDERS, ids=str)
async def test_a_whole_reply_is_the_one_on_file(folder: Path) -> None:
    assert json.loads(await played(folder, stream=False)) == json.loads((GOLDEN / folder / "reply.json").read_bytes())


@pytest.mark.parametrize("folder", FOLDERS, ids=str)
async def test_a_stream_is_the_one_on_file(folder: Path) -> None:
    assert events(await played(folder, stream=True)) == events((GOLDEN / folder / "stream.txt").read_bytes())


def events(data: bytes) -> list[tuple[str, object]]:
    """Name and document of each event; the order of a document's keys means nothing."""
    found: list[tuple[str, object]] = []
    for block in data.decode().strip().split("\n\n"):
        name, _, text = block.rpartition("data: ")
        found.append((name, text if text == "[DONE]" else json.loads(text)))
    return found
