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
from agentgateway.llm.calls import LlmCall
from agentgateway.llm.dialects.completions import Completions
from agentgateway.llm.dialects.messages import Messages
from agentgateway.llm.dialects.responses import Responses
from agentgateway.llm.documents import dump
from agentgateway.llm.sse import Event, Parser
from agentgateway.llm.streams import Translator
from agentgateway.llm.usage import UsageMeter
from agentgateway.testing.hostile import ODD, spoil

Json = dict[str, Any]
RESPONSES = Responses()
OTHERS = [Completions(), Messages()]
GOLDEN = Path(__file__).parent / "golden"
STREAMS = sorted((GOLDEN / "responses").glob("*.in.sse"))
FOREIGN = sorted(GOLDEN.glob("*.in.sse"))
CALL: Json = {
    "model": "m",
    "instructions": "s",
    "input": [
        {"role": "developer", "content": "d"},
        {
            "role": "user",
            "content": [
                {"type": "input_text", "text": "a", "prompt_cache_breakpoint": {"mode": "explicit", "ttl": "30m"}},
                {"type": "input_image", "image_url": "data:image/png;base64,aGk=", "detail": "low"},
                {"type": "input_file", "file_data": "data:application/pdf;base64,aGk=", "filename": "f"},
                {"type": "input_file", "file_url": "https://a.example/x.pdf"},
            ],
        },
        {"type": "reasoning", "id": "r", "summary": [{"type": "summary_text", "text": "t"}], "encrypted_content": "x"},
        {"type": "reasoning", "encrypted_content": "agentgateway:withheld:x", "content": [{"text": "t"}]},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "a"}]},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": [{"type": "input_text", "text": "x"}]},
        {"type": "custom_tool_call", "call_id": "c", "input": "x", "action": {"commands": ["x"]}},
    ],
    "prompt": None,
    "tools": [{"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": True}],
    "tool_choice": {"type": "function", "name": "f"},
    "parallel_tool_calls": True,
    "text": {"format": {"type": "json_schema", "name": "n", "schema": {"type": "object"}}, "verbosity": "low"},
    "reasoning": {"effort": "low"},
    "include": ["reasoning.encrypted_content"],
    "stream_options": {"include_obfuscation": False},
    "metadata": {"a": "b"},
    "max_output_tokens": 5000,
}
REPLY: Json = {
    "id": "i",
    "created_at": 1.5,
    "status": "incomplete",
    "incomplete_details": {"reason": "content_filter"},
    "error": None,
    "model": "m",
    "output": [
        {"type": "reasoning", "id": "r", "summary": [{"text": "t"}], "encrypted_content": "x"},
        {"type": "message", "content": [{"type": "output_text", "text": "a", "logprobs": [{"token": "a"}]}]},
        {"type": "message", "content": [{"type": "refusal", "refusal": "a"}]},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": {"a": 1}},
        {"type": "web_search_call", "action": {"query": "q"}},
    ],
    "usage": {"input_tokens": 1, "input_tokens_details": {"cached_tokens": 1}, "output_tokens": 3},
    "service_tier": "default",
}
STRANGE = (*ODD, "message", "reasoning", "agentgateway:text:", {"text": 1})
relaxed = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
either = pytest.mark.parametrize("other", OTHERS, ids=lambda one: one.name)


def odd(document: Json, data: st.DataObject) -> Json:
    """A copy with something odd in one or two places."""
    return spoil(document, lambda count: data.draw(st.integers(0, count - 1)), STRANGE)


@either
@given(st.data())
@relaxed
def test_calls(other: Any, data: st.DataObject) -> None:
    document = odd(CALL, data)
    with suppress(InvalidRequest):
        call = LlmCall.read(RESPONSES, dump(document))
        for segment in call.segments():
            assert type(segment.text) is str
            segment.replace(segment.text + "!")
        assert from_json(call.body())
        UsageMeter(RESPONSES).usage(call)
    document["input"] = [item for item in CALL["input"] if "custom" not in item.get("type", "")]
    with suppress(InvalidRequest):
        translated = LlmCall.read(RESPONSES, dump(document)).translated(other)
        assert from_json(translated.body())
        assert from_json(translated.translated(RESPONSES).body())


@either
@given(st.data())
@relaxed
def test_items(other: Any, data: st.DataObject) -> None:
    document = {"model": "m"} | odd({"input": CALL["input"][:-1]}, data)
    with suppress(InvalidRequest):
        assert from_json(LlmCall.read(RESPONSES, dump(document)).translated(other).body())


@either
@given(st.data())
@relaxed
def test_replies(other: Any, data: st.DataObject) -> None:
    document = odd(REPLY, data)
    for segment in RESPONSES.reply_segments(document):
        assert type(segment.text) is str
        segment.replace(segment.text + "!")
    RESPONSES.usage(document)
    RESPONSES.reply_model(document)
    with suppress(UpstreamError):
        assert from_json(dump(other.encode_reply(RESPONSES.decode_reply(document))))


@either
@pytest.mark.parametrize("path", STREAMS, ids=lambda path: path.name)
@given(st.data())
@settings(relaxed, max_examples=60)
def test_streams(path: Path, other: Any, data: st.DataObject) -> None:
    call = LlmCall.read(other, dump({"model": "m", "messages": [], "max_tokens": 1, "stream": True}))
    translator, meter, out = Translator(RESPONSES, other, call), UsageMeter(RESPONSES), b""
    for event in Parser().feed(path.read_bytes()):
        if event.document is not None and data.draw(st.booleans()):
            event = Event.of(odd(event.document, data), event.name)
            event.mark_changed()
        for segment in RESPONSES.event_segments(event):
            assert type(segment.text) is str
        RESPONSES.ends(event)
        raw = event.encode()
        meter.see(raw)
        out += translator.feed(raw)
    out += translator.end()
    meter.usage(call)
    for event in Parser().feed(out):
        assert event.document is not None or other.ends(event)


@pytest.mark.parametrize("path", FOREIGN, ids=lambda path: path.name)
@given(st.data())
@settings(relaxed, max_examples=60)
def test_other_vendors_streams(path: Path, data: st.DataObject) -> None:
    source = OTHERS[1] if path.name.startswith("anthropic") else OTHERS[0]
    call = LlmCall.read(RESPONSES, dump({"model": "m", "input": "x", "stream": True}))
    translator, out = Translator(source, RESPONSES, call), b""
    for event in Parser().feed(path.read_bytes()):
        if event.document is not None and data.draw(st.booleans()):
            event = Event.of(odd(event.document, data), event.name)
            event.mark_changed()
        out += translator.feed(event.encode())
    out += translator.end()
    for event in Parser().feed(out):
        assert event.document is not None
    assert event.name in ("response.completed", "response.incomplete", "response.failed")
