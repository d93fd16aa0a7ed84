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
from agentgateway.llm.chat import ErrorFacts
from agentgateway.llm.dialects.completions import Completions
from agentgateway.llm.dialects.gemini import Gemini
from agentgateway.llm.dialects.messages import Messages
from agentgateway.llm.documents import dump
from agentgateway.llm.sse import Event, Parser
from agentgateway.llm.streams import Translator
from agentgateway.llm.usage import UsageMeter
from agentgateway.testing.hostile import ODD, spoil

Json = dict[str, Any]
GEMINI = Gemini()
OTHERS = [Completions(), Messages()]
PATH = "/v1beta/models/gemini-3-pro:generateContent"
STREAMS = sorted((Path(__file__).parent / "golden" / "gemini").glob("*.in.sse"))
CALL: Json = {
    "systemInstruction": {"parts": [{"text": "s"}]},
    "contents": [
        {
            "role": "user",
            "parts": [
                {"text": "a"},
                {"inlineData": {"mimeType": "image/png", "data": "aGk="}},
                {"fileData": {"mimeType": "application/pdf", "fileUri": "https://a.example/x.pdf"}},
            ],
        },
        {
            "role": "model",
            "parts": [
                {"text": "t", "thought": True},
                {"functionCall": {"name": "f", "args": {"a": [1]}}, "thoughtSignature": "c2ln"},
            ],
        },
        {
            "role": "user",
            "parts": [
                {
                    "functionResponse": {
                        "name": "f",
                        "response": {"output": "x"},
                        "parts": [{"inlineData": {"mimeType": "image/png", "data": "aGk="}}],
                    }
                }
            ],
        },
    ],
    "tools": [
        {
            "functionDeclarations": [
                {
                    "name": "f",
                    "parameters": {
                        "type": "OBJECT",
                        "properties": {"a": {"type": "ARRAY", "items": {"type": "STRING"}, "nullable": True}},
                        "anyOf": [{"type": "STRING"}],
                    },
                }
            ]
        }
    ],
    "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["f"]}},
    "generationConfig": {
        "maxOutputTokens": 5000,
        "stopSequences": ["a"],
        "responseMimeType": "application/json",
        "responseSchema": {"type": "OBJECT"},
        "thinkingConfig": {"thinkingBudget": 2000},
        "topK": 4.0,
    },
    "safetySettings": [{"category": "C", "threshold": "OFF"}],
}
REPLY: Json = {
    "candidates": [
        {
            "content": {
                "parts": [
                    {"text": "a", "thought": True, "thoughtSignature": "c2ln"},
                    {"text": "b"},
                    {"functionCall": {"id": "i", "name": "f", "args": {"a": 1}}},
                ],
                "role": "model",
            },
            "finishReason": "STOP",
            "groundingMetadata": {"webSearchQueries": ["q"]},
        }
    ],
    "promptFeedback": {"blockReason": None},
    "usageMetadata": {"promptTokenCount": 1, "candidatesTokenCount": 2, "totalTokenCount": 3},
    "modelVersion": "m",
    "responseId": "r",
}
STRANGE = (*ODD, "STOP")
relaxed = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def odd(document: Json, data: st.DataObject) -> Json:
    """A copy with something odd in one or two places."""
    return spoil(document, lambda count: data.draw(st.integers(0, count - 1)), STRANGE)


@pytest.mark.parametrize("other", OTHERS, ids=lambda one: one.name)
@given(st.data())
@relaxed
def test_calls(other: Any, data: st.DataObject) -> None:
    with suppress(InvalidRequest):
        call = LlmCall.read(GEMINI, dump(odd(CALL, data)), PATH)
        for segment in call.segments():
            assert type(segment.text) is str
            segment.replace(segment.text + "!")
        assert from_json(call.body())
        UsageMeter(GEMINI).usage(call)
        translated = call.translated(other)
        assert from_json(translated.body())
        assert from_json(translated.translated(GEMINI).body())


@pytest.mark.parametrize("other", OTHERS, ids=lambda one: one.name)
@given(st.data())
@relaxed
def test_replies(other: Any, data: st.DataObject) -> None:
    document = odd(REPLY, data)
    for segment in GEMINI.reply_segments(document):
        assert type(segment.text) is str
        segment.replace(segment.text + "!")
    GEMINI.usage(document)
    GEMINI.reply_model(document)
    with suppress(UpstreamError):
        assert from_json(dump(other.encode_reply(GEMINI.decode_reply(document))))


@pytest.mark.parametrize("other", OTHERS, ids=lambda one: one.name)
@pytest.mark.parametrize("path", STREAMS, ids=lambda path: path.name)
@given(st.data())
@settings(relaxed, max_examples=60)
def test_streams(path: Path, other: Any, data: st.DataObject) -> None:
    call = LlmCall.read(other, dump({"model": "m", "messages": [], "max_tokens": 1, "stream": True}))
    translator, meter, out = Translator(GEMINI, other, call), UsageMeter(GEMINI), b""
    for event in Parser().feed(path.read_bytes()):
        if event.document is not None and data.draw(st.booleans()):
            event = Event.of(odd(event.document, data))
            event.mark_changed()
        for segment in GEMINI.event_segments(event):
            assert type(segment.text) is str
        GEMINI.ends(event)
        raw = event.encode()
        meter.see(raw)
        out += translator.feed(raw)
    out += translator.end()
    meter.usage(call)
    for event in Parser().feed(out):
        assert event.document is not None or other.ends(event)


@given(st.data())
@relaxed
def test_errors(data: st.DataObject) -> None:
    details = [{"fieldViolations": [{"field": "f"}]}]
    body: Json = {"error": {"message": "m", "status": "s", "code": 1, "details": details}}
    facts = GEMINI.decode_error(500, dump(odd(body, data)))
    assert isinstance(facts, ErrorFacts)
    assert facts.message
    for one in (*OTHERS, GEMINI):
        assert from_json(dump(one.encode_error(facts)))
    decoder = GEMINI.decoder()
    for _ in range(2):
        decoder.feed(Event(dump(odd(body, data))))
