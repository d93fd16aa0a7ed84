"""Whatever stands where something else should: a refusal that names the field, never a crash."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic_core import from_json

from agentgateway.errors import InvalidRequest, UpstreamError
from agentgateway.llm.calls import Dialect, LlmCall
from agentgateway.llm.chat import ErrorFacts
from agentgateway.llm.dialects.completions import Completions
from agentgateway.llm.dialects.messages import Messages
from agentgateway.llm.documents import dump
from agentgateway.llm.sse import Event, Parser
from agentgateway.llm.streams import Translator
from agentgateway.llm.usage import UsageMeter
from agentgateway.testing.hostile import spoil

Json = dict[str, Any]
GOLDEN = Path(__file__).parent / "golden"
COMPLETIONS, MESSAGES = Completions(), Messages()
OTHER: dict[str, Dialect] = {"completions": MESSAGES, "messages": COMPLETIONS}
DIALECTS: dict[str, Dialect] = {"completions": COMPLETIONS, "messages": MESSAGES}

CALLS: dict[str, Json] = {
    "completions": {
        "model": "m",
        "messages": [
            {"role": "system", "content": "s"},
            {
                "role": "user",
                "name": "n",
                "content": [
                    {"type": "text", "text": "a", "cache_control": {"type": "ephemeral", "ttl": "1h"}},
                    {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk=", "detail": "low"}},
                    {"type": "file", "file": {"file_data": "data:text/plain;base64,aGk=", "filename": "f"}},
                ],
            },
            {
                "role": "assistant",
                "content": None,
                "reasoning_content": "r",
                "thinking_blocks": [{"type": "thinking", "thinking": "t", "signature": "s"}],
                "tool_calls": [{"id": "i", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
            },
            {"role": "tool", "tool_call_id": "i", "content": [{"type": "text", "text": "t"}]},
        ],
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}, "strict": True}}],
        "tool_choice": {"type": "function", "function": {"name": "f"}},
        "parallel_tool_calls": True,
        "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}},
        "stop": ["a"],
        "stream_options": {"include_usage": True},
        "reasoning_effort": "low",
        "metadata": {"a": "b"},
        "max_tokens": 5000,
        "temperature": 0.5,
    },
    "messages": {
        "model": "m",
        "system": [{"type": "text", "text": "s", "cache_control": {"type": "ephemeral"}}],
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "a"},
                    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}},
                    {
                        "type": "document",
                        "source": {"type": "content", "content": [{"type": "text", "text": "x"}]},
                        "citations": {"enabled": False},
                    },
                ],
            },
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "t", "signature": "s"},
                    {"type": "tool_use", "id": "i", "name": "f", "input": {"a": [1]}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {
                        "type": "tool_result",
                        "tool_use_id": "i",
                        "content": [{"type": "text", "text": "t"}],
                        "is_error": True,
                    }
                ],
            },
        ],
        "tools": [{"name": "f", "input_schema": {"type": "object"}, "strict": True}],
        "tool_choice": {"type": "tool", "name": "f", "disable_parallel_tool_use": True},
        "thinking": {"type": "enabled", "budget_tokens": 2000},
        "output_config": {"effort": "low", "format": {"type": "json_schema", "schema": {"type": "object"}}},
        "metadata": {"user_id": "u"},
        "stop_sequences": ["a"],
        "max_tokens": 5000,
    },
}
REPLIES: dict[str, Json] = {
    "completions": {
        "id": "i",
        "created": 1,
        "model": "m",
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": [{"type": "text", "text": "a"}],
                    "reasoning_content": "r",
                    "tool_calls": [{"id": "i", "function": {"name": "f", "arguments": "{}"}}],
                },
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 1, "prompt_tokens_details": {"cached_tokens": 1}},
        "service_tier": "default",
    },
    "messages": {
        "id": "i",
        "model": "m",
        "content": [
            {"type": "text", "text": "a"},
            {"type": "tool_use", "id": "i", "name": "f", "input": {"a": 1}},
            {"type": "thinking", "thinking": "a", "signature": "s"},
        ],
        "stop_reason": "end_turn",
        "usage": {"input_tokens": 1, "output_tokens_details": {"thinking_tokens": 1}},
    },
}


def odd(document: Json, data: st.DataObject) -> Json:
    """A copy with something odd in one or two places."""
    return spoil(document, lambda count: data.draw(st.integers(0, count - 1)))


relaxed = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.mark.parametrize("name", DIALECTS)
@given(st.data())
@relaxed
def test_calls(name: str, data: st.DataObject) -> None:
    document = odd(CALLS[name], data)
    with suppress(InvalidRequest):
        call = LlmCall.read(DIALECTS[name], dump(document))
        for segment in call.segments():
            assert type(segment.text) is str
            segment.replace(segment.text + "!")
        assert from_json(call.body())
        UsageMeter(DIALECTS[name]).usage(call)
        assert from_json(call.translated(OTHER[name]).body())


@pytest.mark.parametrize("name", DIALECTS)
@given(st.data())
@relaxed
def test_replies(name: str, data: st.DataObject) -> None:
    document = odd(REPLIES[name], data)
    dialect = DIALECTS[name]
    for segment in dialect.reply_segments(document):
        assert type(segment.text) is str
        segment.replace(segment.text + "!")
    dialect.usage(document)
    dialect.reply_model(document)
    with suppress(UpstreamError):
        assert from_json(dump(OTHER[name].encode_reply(dialect.decode_reply(document))))


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.in.sse")), ids=lambda path: path.name)
@given(st.data())
@settings(relaxed, max_examples=60)
def test_streams(path: Path, data: st.DataObject) -> None:
    name = "messages" if path.name.startswith("anthropic") else "completions"
    dialect, other = DIALECTS[name], OTHER[name]
    call = LlmCall.read(other, dump({"model": "m", "messages": [], "max_tokens": 1, "stream": True}))
    translator, meter, out = Translator(dialect, other, call), UsageMeter(dialect), b""
    for event in Parser().feed(path.read_bytes()):
        if event.document is not None and data.draw(st.booleans()):
            event = Event.of(odd(event.document, data), event.name)
            event.mark_changed()
        for segment in dialect.event_segments(event):
            assert type(segment.text) is str
        dialect.ends(event)
        raw = event.encode()
        meter.see(raw)
        out += translator.feed(raw)
    out += translator.end()
    meter.usage(call)
    for event in Parser().feed(out):
        assert event.document is not None or other.ends(event)


@pytest.mark.parametrize("name", DIALECTS)
@given(st.data())
@relaxed
def test_errors(name: str, data: st.DataObject) -> None:
    body: Json = {"type": "error", "error": {"message": "m", "type": "t", "code": "c", "param": "p"}}
    facts = DIALECTS[name].decode_error(500, dump(odd(body, data)))
    assert isinstance(facts, ErrorFacts)
    assert facts.message
    assert from_json(dump(OTHER[name].encode_error(facts)))
