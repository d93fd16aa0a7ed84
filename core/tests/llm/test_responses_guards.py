"""Streams of OpenAI's responses say everything more than once: what a guard masks or blocks holds in every telling."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from math import inf
from pathlib import Path
from typing import Any

import pytest
from pydantic_core import from_json

from agentgateway.errors import GuardRejected
from agentgateway.guarded import guarded
from agentgateway.interfaces import Segment
from agentgateway.llm.calls import Dialect
from agentgateway.llm.documents import dump
from agentgateway.llm.sse import Event, Parser, encode

FOLDER = Path(__file__).parent / "golden" / "responses"
ALL = frozenset({"messages", "toolInput", "toolOutput", "systemPrompt"})


async def pieces(stream: bytes, size: int) -> AsyncIterator[bytes]:
    for at in range(0, len(stream), size):
        yield stream[at : at + size]


async def screened(stream: bytes, dialect: Dialect, check: Any, window: float, size: int = 1) -> bytes:
    told: list[Any] = []
    out = guarded(
        pieces(stream, size),
        dialect,
        check,
        lambda error, left: told.append(error),
        scopes=ALL,
        window=window,
        limit=1 << 20,
    )
    return b"".join([chunk async for chunk in out])


def masking(pattern: str) -> Any:
    async def check(segments: Sequence[Segment]) -> list[str]:
        return [re.sub(pattern, "<masked>", segment.text) for segment in segments]

    return check


def tellings(stream: bytes) -> dict[str, list[str]]:
    """What was told of each place: its pieces put together, and each whole telling."""
    told: dict[str, list[str]] = {}
    deltas: dict[str, str] = {}
    for event in Parser().feed(stream):
        document = from_json(event.data or b"")
        place = f"{document.get('output_index')} {document.get('content_index')} {document.get('summary_index')}"
        if "delta" in document:
            deltas[place] = deltas.get(place, "") + document["delta"]
        for key in ("text", "arguments", "refusal"):
            if key in document:
                told.setdefault(place, []).append(document[key])
        items = document["response"]["output"] if "response" in document else ()
        for index, item in enumerate(items):
            for kind, parts in (("content", item.get("content")), ("summary", item.get("summary"))):
                for i, part in enumerate(parts or ()):
                    at = f"{index} {i} None" if kind == "content" else f"{index} None {i}"
                    told.setdefault(at, []).append(part.get("text") or part.get("refusal"))
            if "arguments" in item:
                told.setdefault(f"{index} None None", []).append(item["arguments"])
    return {place: [text, *told.get(place, ())] for place, text in deltas.items()}


@pytest.mark.parametrize("name", ["text", "reasoning", "tools"])
async def test_a_guard_that_holds_all_is_asked_about_a_text_once(name: str, responses: Dialect) -> None:
    asked: list[str] = []

    async def check(segments: Sequence[Segment]) -> list[str]:
        texts = [segment.text for segment in segments]
        asked.extend(texts)
        return [text.upper() for text in texts]

    out = await screened((FOLDER / f"{name}.in.sse").read_bytes(), responses, check, inf)
    assert asked and len(asked) == len(set(asked))
    assert all(len(set(texts)) == 1 and texts[0] == texts[0].upper() for texts in tellings(out).values())


@pytest.mark.parametrize(
    ("name", "secret"),
    [("text", "there!"), ("reasoning", "2\\+2"), ("refusal", "can't help"), ("tools", "Paris"), ("tools", "look")],
)
@pytest.mark.parametrize("window", [16, 256, inf])
async def test_a_mask_holds_in_every_telling(name: str, secret: str, window: float, responses: Dialect) -> None:
    stream = (FOLDER / f"{name}.in.sse").read_bytes()
    assert re.search(secret.encode(), stream)
    out = await screened(stream, responses, masking(secret), window)
    assert not re.search(secret.encode(), out)
    told = tellings(out)
    assert any("<masked>" in texts[0] for texts in told.values())
    for texts in told.values():
        assert len(texts) >= 3
        assert len(set(texts)) == 1
    assert [event.name for event in Parser().feed(out)] == [event.name for event in Parser().feed(stream)]


@pytest.mark.parametrize("name", ["text", "tools", "reasoning", "searched", "refusal", "length"])
@pytest.mark.parametrize("window", [16, inf])
async def test_a_stream_without_anything_to_mask_is_the_same_to_the_byte(
    name: str, window: float, responses: Dialect
) -> None:
    stream = (FOLDER / f"{name}.in.sse").read_bytes()
    assert await screened(stream, responses, masking("nothing of the kind"), window) == stream


@pytest.mark.parametrize("window", [4, inf])
async def test_a_block_ends_the_stream_with_an_error_and_nothing_of_the_text(window: float, responses: Dialect) -> None:
    async def check(segments: Sequence[Segment]) -> list[str]:
        if any("there" in segment.text for segment in segments):
            raise GuardRejected("blocked")
        return [segment.text for segment in segments]

    stream = (FOLDER / "text.in.sse").read_bytes()
    out = await screened(stream, responses, check, window)
    assert b"there" not in out
    assert [event.name for event in Parser().feed(out)][-2:] == ["error", "response.failed"]


async def test_a_server_that_writes_done_after_the_end_is_guarded_too(responses: Dialect) -> None:
    stream = (FOLDER / "text.in.sse").read_bytes() + b"data: [DONE]\n\n"
    out = await screened(stream, responses, masking("there!"), 16)
    assert b"there!" not in out
    assert out.endswith(b"data: [DONE]\n\n")


TOOLS: list[Any] = [
    {"type": "response.custom_tool_call_input.delta", "delta": "secret"},
    {"type": "response.custom_tool_call_input.done", "input": "secret"},
    {"type": "response.mcp_call_arguments.delta", "delta": '{"q":"secret"}'},
    {"type": "response.mcp_call_arguments.done", "arguments": '{"q":"secret"}'},
    {"type": "response.code_interpreter_call_code.delta", "delta": "secret"},
    {"type": "response.code_interpreter_call_code.done", "code": "secret"},
    {"type": "response.shell_call_command.delta", "delta": "secret"},
    {"type": "response.shell_call_command.done", "command": "secret"},
    {"type": "response.output_item.done", "item": {"type": "mcp_call", "arguments": "{}", "output": "secret"}},
    {"type": "response.output_item.done", "item": {"type": "custom_tool_call", "input": "secret"}},
]
SAID: list[Any] = [
    {"type": "response.reasoning_text.delta", "delta": "secret"},
    {"type": "response.reasoning_text.done", "text": "secret"},
    {"type": "response.audio.transcript.delta", "delta": "secret"},
    {"type": "response.shell_call_output_content.delta", "delta": {"stdout": "secret", "stderr": ""}},
    {"type": "response.output_text.annotation.added", "annotation": {"type": "url_citation", "title": "secret"}},
    {"type": "response.output_text.delta", "delta": "secret", "logprobs": [{"token": "secret"}]},
    {
        "type": "response.content_part.done",
        "part": {"type": "output_text", "text": "secret", "logprobs": [{"token": "secret"}]},
    },
]


@pytest.mark.parametrize("document", [*TOOLS, *SAID], ids=lambda one: str(one["type"]))
def test_every_text_of_every_event_is_seen_and_can_be_masked(document: Any, responses: Dialect) -> None:
    (event,) = Parser().feed(encode(dump(document), document["type"]))
    found = responses.event_segments(event)
    assert [segment for segment in found if "secret" in segment.text]
    assert all(("Input" in one.scope or "Output" in one.scope) for one in found) or document in SAID
    for segment in found:
        segment.replace(segment.text.replace("secret", "***"))
    assert b"secret" not in event.encode()


def test_sound_is_no_text(responses: Dialect) -> None:
    event = Event.of({"type": "response.audio.delta", "delta": "aGk="})
    assert responses.event_segments(event) == []
