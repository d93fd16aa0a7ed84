"""Whole replies, errors, listings, usage, and texts for guards, in Google's format."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from google.genai import errors, types

from agentgateway.errors import UpstreamError
from agentgateway.exchange import Usage
from agentgateway.llm.calls import Dialect, LlmCall, LlmReply
from agentgateway.llm.chat import ErrorFacts, Refusal
from agentgateway.llm.dialect import ModelEntry
from agentgateway.llm.documents import dump
from agentgateway.llm.sse import Event
from agentgateway.llm.streams import EventRewriter

Json = dict[str, Any]


def replied(*parts: Json, reason: str | None = "STOP", **more: Any) -> Json:
    candidate: Json = {"content": {"parts": list(parts), "role": "model"}, "index": 0}
    return {"candidates": [candidate | ({} if reason is None else {"finishReason": reason})], **more}


# replies


def test_a_reply_for_the_other_dialects(
    gemini: Dialect,
    completions: Dialect,
    messages: Dialect,
    accepts_completion: Callable[[Json], None],
    accepts_message: Callable[[Json], None],
) -> None:
    call = {"functionCall": {"id": "c1", "name": "f", "args": {"a": 1}}, "thoughtSignature": "c2ln"}
    usage = {"promptTokenCount": 10, "candidatesTokenCount": 4, "thoughtsTokenCount": 6, "totalTokenCount": 20}
    more = {"usageMetadata": usage, "modelVersion": "gemini-2.5-flash", "responseId": "r1"}
    reply = LlmReply(gemini, replied({"text": "hm", "thought": True}, {"text": "Look:"}, call, **more))
    document = reply.translated(completions).document
    accepts_completion(document)
    choice = document["choices"][0]
    assert (document["id"], document["model"]) == ("r1", "gemini-2.5-flash")
    assert (choice["message"]["content"], choice["finish_reason"]) == ("Look:", "tool_calls")
    assert choice["message"]["reasoning_content"] == "hm"
    assert document["usage"]["completion_tokens"] == 10
    assert document["usage"]["completion_tokens_details"] == {"reasoning_tokens": 6}
    document = reply.translated(messages).document
    accepts_message(document)
    assert [block["type"] for block in document["content"]] == ["thinking", "text", "thinking", "tool_use"]
    assert document["content"][2]["signature"] == "c2ln"
    assert document["stop_reason"] == "tool_use"


@pytest.mark.parametrize(
    ("reason", "stop"),
    [
        ("STOP", "end_turn"),
        ("MAX_TOKENS", "max_tokens"),
        ("SAFETY", "refusal"),
        ("RECITATION", "refusal"),
        ("PROHIBITED_CONTENT", "refusal"),
        ("SPII", "refusal"),
        ("MODEL_ARMOR", "refusal"),
        ("OTHER", "end_turn"),
        ("MALFORMED_FUNCTION_CALL", "end_turn"),
        ("SOMETHING_NEW", "end_turn"),
        (None, "end_turn"),
    ],
)
def test_stop_reasons(gemini: Dialect, messages: Dialect, reason: str | None, stop: str) -> None:
    reply = LlmReply(gemini, replied({"text": "x"}, reason=reason))
    assert reply.translated(messages).document["stop_reason"] == stop


@pytest.mark.parametrize("reason", ["MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "MISSING_THOUGHT_SIGNATURE"])
def test_an_answer_that_went_wrong_is_no_answer(gemini: Dialect, reason: str) -> None:
    with pytest.raises(UpstreamError, match=reason):
        gemini.decode_reply(replied(reason=reason))


def test_a_prompt_that_was_blocked_is_a_refusal(gemini: Dialect) -> None:
    feedback = {"blockReason": "SAFETY", "blockReasonMessage": "No."}
    reply = gemini.decode_reply({"promptFeedback": feedback, "usageMetadata": {"promptTokenCount": 3}})
    assert (reply.parts, reply.stop_reason, reply.usage) == ((Refusal("No."),), "refusal", Usage(3, 0))


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"candidates": []},
        {"candidates": "x"},
        {"candidates": [{"content": {"parts": "x"}}]},
        {"candidates": [{"content": {"parts": [{"functionCall": {}}]}}]},
        {"candidates": [{"content": {"parts": [{"inlineData": {"mimeType": "image/png", "data": "aGk="}}]}}]},
    ],
)
def test_what_is_no_answer_is_the_upstreams_error(gemini: Dialect, document: Json) -> None:
    with pytest.raises(UpstreamError):
        gemini.decode_reply(document)


def test_what_ran_at_the_vendor_is_left_out(gemini: Dialect) -> None:
    hidden: list[Json] = [{"executableCode": {"code": "1"}}, {"codeExecutionResult": {"output": "1"}}]
    reply = gemini.decode_reply(replied(*hidden, {"text": "It is 1."}))
    assert [repr(part) for part in reply.parts] == ["Text(text='It is 1.', cache=None)"]


def test_a_reply_for_a_client_of_google(gemini: Dialect, messages: Dialect) -> None:
    message = {
        "id": "msg_1",
        "model": "claude",
        "content": [
            {"type": "thinking", "thinking": "hm", "signature": "EqQB"},
            {"type": "redacted_thinking", "data": "cipher"},
            {"type": "text", "text": "Hi"},
            {"type": "tool_use", "id": "t", "name": "f", "input": {"a": 1}},
        ],
        "stop_reason": "tool_use",
        "usage": {"input_tokens": 3, "cache_read_input_tokens": 4, "output_tokens": 9},
    }
    document = LlmReply(messages, message).translated(gemini).document
    shown = types.GenerateContentResponse.model_validate(document)
    assert shown.text == "Hi"
    assert shown.function_calls is not None
    assert (shown.function_calls[0].id, shown.function_calls[0].args) == ("t", {"a": 1})
    assert document["candidates"][0]["finishReason"] == "STOP"
    assert document["usageMetadata"] == {
        "promptTokenCount": 7,
        "candidatesTokenCount": 9,
        "totalTokenCount": 16,
        "cachedContentTokenCount": 4,
    }
    assert gemini.decode_reply(document) == messages.decode_reply(message)


# usage


@pytest.mark.parametrize(
    ("fields", "usage"),
    [
        ({"promptTokenCount": 5, "candidatesTokenCount": 3, "totalTokenCount": 8}, Usage(5, 3)),
        (
            {"promptTokenCount": 5, "candidatesTokenCount": 3, "thoughtsTokenCount": 4, "totalTokenCount": 12},
            Usage(5, 7, reasoning_tokens=4),
        ),
        (
            {"promptTokenCount": 5, "candidatesTokenCount": 7, "thoughtsTokenCount": 4, "totalTokenCount": 12},
            Usage(5, 7, reasoning_tokens=4),
        ),
        ({"promptTokenCount": 5, "thoughtsTokenCount": 4, "totalTokenCount": 9}, Usage(5, 4, reasoning_tokens=4)),
        ({"promptTokenCount": 5, "cachedContentTokenCount": 4}, Usage(5, 0, 4)),
        (
            {"promptTokenCount": 5, "toolUsePromptTokenCount": 6, "candidatesTokenCount": 1, "totalTokenCount": 12},
            Usage(11, 1),
        ),
        ({"promptTokenCount": "5", "candidatesTokenCount": None}, Usage(0, 0)),
    ],
)
def test_usage_by_the_vendors_convention(gemini: Dialect, fields: Json, usage: Usage) -> None:
    assert gemini.read_usage(fields) == usage


def test_thoughts_are_counted_apart_there(gemini: Dialect, completions: Dialect) -> None:
    usage = {"prompt_tokens": 5, "completion_tokens": 9, "completion_tokens_details": {"reasoning_tokens": 4}}
    reply = {"choices": [{"message": {"content": "x"}, "finish_reason": "stop"}], "usage": usage}
    told = LlmReply(completions, reply).translated(gemini).document["usageMetadata"]
    assert told == {
        "promptTokenCount": 5,
        "candidatesTokenCount": 5,
        "thoughtsTokenCount": 4,
        "totalTokenCount": 14,
    }
    assert gemini.read_usage(told) == Usage(5, 9, reasoning_tokens=4)


# errors and listings

STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    408: "DEADLINE_EXCEEDED",
    409: "ABORTED",
    413: "INVALID_ARGUMENT",
    422: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
    529: "UNAVAILABLE",
    599: "INTERNAL",
}


@pytest.mark.parametrize("status", STATUSES)
def test_the_status_says_the_word(gemini: Dialect, status: int) -> None:
    document = gemini.encode_error(ErrorFacts(status, "no", "another_vendors_word", code="some_code"))
    assert document == {"error": {"code": status, "message": "no", "status": STATUSES[status]}}
    shown = errors.APIError(status, document)
    assert (shown.status, shown.message) == (STATUSES[status], "no")


def test_googles_own_words_are_read_and_written(gemini: Dialect, completions: Dialect, messages: Dialect) -> None:
    violations = [{"field": "contents[0]", "description": "bad"}]
    detail = {"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": violations}
    body = {"error": {"code": 400, "message": "bad", "status": "FAILED_PRECONDITION", "details": [detail]}}
    for written in (body, [body]):
        facts = gemini.decode_error(400, dump(written))
        assert facts == ErrorFacts(400, "bad", "FAILED_PRECONDITION", param="contents[0]")
    assert gemini.encode_error(facts) == body
    assert completions.encode_error(facts)["error"]["type"] == "invalid_request_error"
    assert messages.encode_error(facts)["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize("details", [None, "x", [], ["x"], [{"fieldViolations": "x"}], [{"fieldViolations": ["x"]}]])
def test_other_details_are_none(gemini: Dialect, details: Any) -> None:
    facts = gemini.decode_error(400, dump({"error": {"message": "bad", "details": details}}))
    assert facts == ErrorFacts(400, "bad")


def test_models_for_a_client_of_google(gemini: Dialect) -> None:
    entries = [ModelEntry("gemini-2.5-flash"), ModelEntry("gpt-5", display_name="GPT 5")]
    listed = gemini.models(entries)
    assert [(one["name"], one["displayName"]) for one in listed["models"]] == [
        ("models/gemini-2.5-flash", "gemini-2.5-flash"),
        ("models/gpt-5", "GPT 5"),
    ]
    assert gemini.model(entries[0]) == listed["models"][0]
    assert listed["models"][0]["supportedGenerationMethods"] == ["generateContent", "streamGenerateContent"]


# texts for guards

PARTS: list[Json] = [
    {"text": "secret-1", "brandNew": {"deep": ["secret-2"]}},
    {"text": "secret-3", "thought": True, "thoughtSignature": "c2ln"},
    {"functionCall": {"name": "f", "args": {"q": ["secret-4"]}, "partialArgs": [{"stringValue": "secret-5"}]}},
    {
        "functionResponse": {
            "name": "f",
            "response": {"output": "secret-6", "data": {"x": "secret-7"}},
            "parts": [{"inlineData": {"data": "aGk=", "displayName": "secret-8"}}],
        }
    },
    {"executableCode": {"code": "secret-9"}},
    {"codeExecutionResult": {"output": "secret-10"}},
    {"inlineData": {"data": "aGk=", "mimeType": "text/plain", "displayName": "secret-11"}},
    {"fileData": {"fileUri": "https://a.example", "displayName": "secret-12"}},
    {"toolResponse": {"response": {"html": "secret-13"}}},
]


def numbered(segments: Any) -> dict[str, tuple[str, str]]:
    return {one.text.rpartition("secret-")[2].rstrip('"]}'): (one.role, one.scope) for one in segments}


@pytest.mark.parametrize("spelling", ["usual", "original"])
def test_every_text_of_a_call_is_seen_and_can_be_masked(gemini: Dialect, spelling: str) -> None:
    document: Json = {
        "systemInstruction": {"parts": [{"text": "secret-14"}]},
        "contents": [{"role": "user", "parts": PARTS}, {"role": "model", "parts": [{"text": "secret-15"}]}],
    }
    raw = dump(document)
    if spelling == "original":
        for name in ("functionCall", "functionResponse", "inlineData", "fileData", "displayName", "partialArgs"):
            raw = raw.replace(name.encode(), "".join(f"_{c.lower()}" if c.isupper() else c for c in name).encode())
        raw = raw.replace(b"systemInstruction", b"system_instruction").replace(b"executableCode", b"executable_code")
    call = LlmCall.read(gemini, raw, "/v1beta/models/m:generateContent")
    user, said = ("user", "messages"), ("assistant", "messages")
    told, answered = ("assistant", "toolInput"), ("tool", "toolOutput")
    order = [user, user, user, told, told, answered, answered, answered, user, user, user, user, user]
    order += [("system", "systemPrompt"), said]
    assert numbered(call.segments()) == {str(n): expected for n, expected in enumerate(order, 1)}
    for segment in call.segments():
        segment.replace(segment.text.replace("secret-", "public-"))
    assert b"secret-" not in call.body()
    assert call.body().count(b"public-") == 15


def test_every_text_of_a_reply_is_seen_and_what_repeats_a_masked_one_goes(gemini: Dialect) -> None:
    document = replied(*PARTS, promptFeedback={"blockReasonMessage": "secret-17"})
    candidate = document["candidates"][0]
    candidate |= {
        "finishMessage": "secret-14",
        "groundingMetadata": {
            "webSearchQueries": ["secret-15"],
            "groundingSupports": [{"segment": {"text": "secret-16"}}],
        },
        "logprobsResult": {"chosenCandidates": [{"token": "secret"}]},
    }
    reply = LlmReply.read(gemini, dump(document))
    found = numbered(reply.segments())
    assert set(found) == {str(n) for n in range(1, 18)}
    assert found["1"] == ("assistant", "messages")
    for segment in reply.segments():
        segment.replace(segment.text.replace("secret-", "public-"))
    assert b"secret" not in reply.body()
    assert b"logprobsResult" not in reply.body()


def streamed(*events: Json) -> bytes:
    return b"".join(b"data: %b\r\n\r\n" % dump(one) for one in events)


def test_pieces_of_a_stream_join_to_texts_by_channel(gemini: Dialect) -> None:
    call = {"functionCall": {"name": "f", "args": {"q": "x"}}}
    stream = streamed(
        replied({"text": "I th", "thought": True}, reason=None),
        replied({"text": "ink", "thought": True}, {"text": "Hel"}, reason=None),
        replied({"text": "lo"}, call, call, reason=None),
        replied(call, {"text": ""}),
    )
    channels: dict[str, str] = {}

    def look(event: Event) -> None:
        for segment in gemini.event_segments(event):
            channels[segment.path] = channels.get(segment.path, "") + segment.text

    EventRewriter(look).feed(stream)
    assert (channels.pop("candidates[0].content.thought"), channels.pop("candidates[0].content.text")) == (
        "I think",
        "Hello",
    )
    assert list(channels.values()) == ['{"q":"x"}'] * 3


def test_a_masked_piece_changes_its_event_and_no_other(gemini: Dialect) -> None:
    stream = streamed(
        replied({"text": "secret"}, reason=None), replied({"functionCall": {"args": {"q": "secret"}}}), replied()
    )

    def mask(event: Event) -> None:
        for segment in gemini.event_segments(event):
            segment.replace(segment.text.replace("secret", "****"))

    out = EventRewriter(mask).feed(stream)
    assert b"secret" not in out
    assert out.count(b"****") == 2
    assert out.endswith(stream.split(b"\r\n\r\n")[2] + b"\r\n\r\n")
