"""Replies, streams and errors, between Converse and the other dialects."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from agentgateway_bedrock.converse import Converse
from agentgateway_bedrock.frames import FrameParser, event

from agentgateway.errors import UpstreamError
from agentgateway.exchange import Usage
from agentgateway.llm.calls import Dialect, LlmCall, LlmReply
from agentgateway.llm.chat import ErrorFacts, PartStarted, Started, TextDelta
from agentgateway.llm.dialects.completions import Completions
from agentgateway.llm.dialects.messages import Messages
from agentgateway.llm.framed import FramedMeter, meter
from agentgateway.llm.sse import Parser
from agentgateway.llm.streams import Translator
from agentgateway.testing import chat

Golden = Callable[[str], Any]
Framed = Callable[[Any], bytes]


def call(**fields: Any) -> LlmCall:
    made = chat(model="smart", stream=True, **fields).call
    assert isinstance(made, LlmCall)
    return made


def translated(document: Any, to: Dialect, **fields: Any) -> Any:
    return LlmReply(Converse(), document).translated(to, call(**fields).canonical()).document


def test_a_reply_becomes_one_of_messages(golden: Golden, messages: Messages) -> None:
    document = translated(golden("tools.reply"), messages)
    assert document["content"] == [
        {"type": "text", "text": "Let me see."},
        {"type": "tool_use", "id": "tooluse_hbTgdi0CSLq_hM4P8csZJA", "name": "top_song", "input": {"sign": "WZPZ"}},
    ]
    assert (document["model"], document["stop_reason"]) == ("smart", "tool_use")
    assert document["usage"] == {
        "input_tokens": 434,
        "output_tokens": 43,
        "cache_read_input_tokens": 150,
        "cache_creation_input_tokens": 50,
    }


def test_a_reply_becomes_one_of_completions(golden: Golden, completions: Completions) -> None:
    document = translated(golden("reasoning.reply"), completions)
    message = document["choices"][0]["message"]
    assert message["content"] == "Multiply them and add one."
    assert message["reasoning_content"] == "Suppose there are finitely many."
    assert message["thinking_blocks"][1] == {"type": "redacted_thinking", "data": "c2VjcmV0"}
    assert document["choices"][0]["finish_reason"] == "stop"
    assert document["usage"]["total_tokens"] == 340


def test_the_vendors_count_leaves_cached_tokens_out(golden: Golden) -> None:
    assert Converse().usage(golden("tools.reply")) == Usage(634, 43, 150, 50)
    assert Converse().encode_reply(Converse().decode_reply(golden("tools.reply")))["usage"] == {
        "inputTokens": 434,
        "outputTokens": 43,
        "totalTokens": 677,
        "cacheReadInputTokens": 150,
        "cacheWriteInputTokens": 50,
    }


@pytest.mark.parametrize(
    ("reason", "canonical"),
    [
        ("end_turn", "stop"),
        ("tool_use", "tool_use"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("stop_sequence", "stop_sequence"),
        ("guardrail_intervened", "refusal"),
        ("content_filtered", "refusal"),
        ("malformed_model_output", "stop"),
        ("something_new", "stop"),
    ],
)
def test_reasons_to_stop(golden: Golden, reason: str, canonical: str) -> None:
    assert Converse().decode_reply(golden("text.reply") | {"stopReason": reason}).stop_reason == canonical


def test_names_of_tools_come_back_as_the_client_wrote_them(golden: Golden, completions: Completions) -> None:
    name = "files.read/all"
    tools = [{"type": "function", "function": {"name": name, "parameters": {"type": "object"}}}]
    renamed = call(tools=tools).translated(Converse()).document["toolConfig"]["tools"][0]["toolSpec"]["name"]
    assert renamed != name
    reply = json.loads(json.dumps(golden("tools.reply")).replace("top_song", renamed))
    message = translated(reply, completions, tools=tools)["choices"][0]["message"]
    assert message["tool_calls"][0]["function"]["name"] == name
    stream = [json.loads(json.dumps(one).replace("top_song", renamed)) for one in golden("tools.stream")]
    translator = Translator(Converse(), completions, call(tools=tools))
    out = translator.feed(b"".join(event(*next(iter(one.items()))) for one in stream)) + translator.end()
    assert name.encode() in out
    assert renamed.encode() not in out


def test_the_model_a_router_chose_is_told(golden: Golden, messages: Messages) -> None:
    chosen = "arn:aws:bedrock:us-east-1::foundation-model/x"
    reply = golden("text.reply") | {"trace": {"promptRouter": {"invokedModelId": chosen}}}
    assert Converse().reply_model(reply) == chosen
    assert translated(reply, messages)["model"] == chosen


def test_what_the_vendor_adds_to_its_blocks_is_left_out(messages: Messages) -> None:
    content = [
        {"text": "a", "somethingNew": 1},
        {"toolUse": {"toolUseId": "i", "name": "n", "input": {}, "somethingNew": 1}},
        {"toolUse": {"toolUseId": "j", "name": "web", "input": {}, "type": "server_tool_use"}},
        {"toolResult": {"toolUseId": "j", "content": []}},
        {"reasoningContent": {"reasoningText": {"text": "t", "signature": "s", "somethingNew": 1}}},
        {"citationsContent": {"content": [{"text": "b"}, {"text": "c"}], "citations": [{"title": "t"}]}},
        {"somethingNew": {}},
    ]
    document = {"output": {"message": {"role": "assistant", "content": content}}, "stopReason": "end_turn"}
    assert translated(document, messages)["content"] == [
        {"type": "text", "text": "a"},
        {"type": "tool_use", "id": "i", "name": "n", "input": {}},
        {"type": "thinking", "thinking": "t", "signature": "s"},
        {"type": "text", "text": "bc"},
    ]


@pytest.mark.parametrize("document", [{}, {"output": 1}, {"output": {"message": {"content": [{"toolUse": 1}]}}}])
def test_what_is_no_reply_is_the_upstreams_fault(document: Any) -> None:
    with pytest.raises(UpstreamError):
        Converse().decode_reply(document)


# streams


def spoken(translator: Translator, chunks: list[bytes]) -> bytes:
    return b"".join(map(translator.feed, chunks)) + translator.end()


def sse(data: bytes) -> list[Any]:
    return [event.document for event in Parser().feed(data) if event.document is not None]


@pytest.mark.parametrize("name", ["text", "tools", "reasoning"])
def test_a_stream_cut_at_any_byte_is_translated_alike(
    golden: Golden, framed: Framed, messages: Messages, name: str
) -> None:
    stream = framed(golden(f"{name}.stream"))

    def without_id(data: bytes) -> list[Any]:
        events = sse(data)
        events[0]["message"]["id"] = ""
        return events

    whole = without_id(spoken(Translator(Converse(), messages, call()), [stream]))
    for cut in range(1, len(stream)):
        cut_up = spoken(Translator(Converse(), messages, call()), [stream[:cut], stream[cut:]])
        assert without_id(cut_up) == whole


def test_a_stream_in_words_of_messages(golden: Golden, framed: Framed, messages: Messages) -> None:
    events = sse(spoken(Translator(Converse(), messages, call()), [framed(golden("reasoning.stream"))]))
    assert events[0]["message"]["model"] == "smart"
    assert [one.get("content_block", {}).get("type") for one in events if one["type"] == "content_block_start"] == [
        "thinking",
        "redacted_thinking",
        "text",
    ]
    deltas = [one["delta"] for one in events if one["type"] == "content_block_delta"]
    assert deltas == [
        {"type": "thinking_delta", "thinking": "Suppose there are "},
        {"type": "thinking_delta", "thinking": "finitely many."},
        {"type": "signature_delta", "signature": "EqQBCkgIARAC"},
        {"type": "text_delta", "text": "Multiply them and add one."},
    ]
    assert events[-2]["delta"]["stop_reason"] == "end_turn"
    assert events[-2]["usage"]["output_tokens"] == 300


def shown(data: bytes) -> list[Any]:
    """Frames as boto3 shows them."""
    return [{event.name: event.document} for event in FrameParser().feed(data)]


@pytest.mark.parametrize("name", ["text", "tools", "reasoning"])
def test_a_stream_survives_being_written_again(golden: Golden, framed: Framed, name: str) -> None:
    decoder, encoder = Converse().decoder(), Converse().encoder()
    out = b""
    for one in FrameParser().feed(framed(golden(f"{name}.stream"))):
        out += b"".join(map(encoder.feed, decoder.feed(one)))
    expected = golden(f"{name}.stream")
    expected[-1]["metadata"]["metrics"] = {"latencyMs": 0}
    expected[-1]["metadata"]["usage"] = {"cacheReadInputTokens": 0, "cacheWriteInputTokens": 0} | expected[-1][
        "metadata"
    ]["usage"]
    assert shown(out) == expected


def test_parts_that_interleave_are_told_one_after_the_other() -> None:
    encoder = Converse().encoder()
    out = encoder.feed(Started("", "m"))
    out += encoder.feed(PartStarted(0, "text")) + encoder.feed(PartStarted(1, "text"))
    out += encoder.feed(TextDelta(1, "b")) + encoder.feed(TextDelta(0, "a"))
    assert shown(out) == [
        {"messageStart": {"role": "assistant"}},
        {"contentBlockDelta": {"delta": {"text": "a"}, "contentBlockIndex": 0}},
    ]


def test_an_exception_in_a_stream_is_told_in_the_clients_words(
    golden: Golden, framed: Framed, completions: Completions
) -> None:
    translator = Translator(Converse(), completions, call())
    events = sse(spoken(translator, [framed(golden("throttled.stream"))]))
    assert events[-1]["error"]["message"] == "Too many tokens, please wait before trying again."
    assert translator.failed == ErrorFacts(
        429, "Too many tokens, please wait before trying again.", "throttlingException"
    )


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "validationException"),
        (403, "validationException"),
        (424, "modelStreamErrorException"),
        (429, "throttlingException"),
        (500, "internalServerException"),
        (502, "internalServerException"),
        (503, "serviceUnavailableException"),
        (529, "serviceUnavailableException"),
    ],
)
def test_an_error_ends_a_stream_with_one_of_the_five_exceptions(status: int, kind: str) -> None:
    encoder = Converse().encoder()
    (one,) = FrameParser().feed(encoder.fail(ErrorFacts(status, "so it is")))
    assert (one.name, one.document) == (kind, {"message": "so it is"})
    assert encoder.feed(TextDelta(0, "more")) == encoder.fail(ErrorFacts(500, "again")) == b""


def test_a_stream_that_stops_early_says_so(golden: Golden, framed: Framed, messages: Messages) -> None:
    events = golden("text.stream")
    for length, broken in ((1, True), (3, True), (5, False), (6, False)):
        translator = Translator(Converse(), messages, call())
        spoken(translator, [framed(events[:length])])
        assert (translator.failed is not None) == broken


def test_pieces_that_do_not_fit_break_the_stream(framed: Framed, messages: Messages) -> None:
    stream = framed(
        [
            {"contentBlockStart": {"start": {"toolUse": {"toolUseId": "i", "name": "n"}}, "contentBlockIndex": 0}},
            {"contentBlockDelta": {"delta": {"text": "x"}, "contentBlockIndex": 0}},
        ]
    )
    translator = Translator(Converse(), messages, call())
    translator.feed(stream)
    assert translator.failed is not None


# usage


def test_a_stream_is_metered_by_its_events(golden: Golden, framed: Framed) -> None:
    stream = framed(golden("tools.stream"))
    for size in (1, 7, len(stream)):
        counter = meter(Converse())
        assert isinstance(counter, FramedMeter)
        told = [counter.see(stream[i : i + size]) for i in range(0, len(stream), size)]
        assert (told.count(True), counter.ended, counter.spoke) == (1, True, True)
        assert counter.usage() == Usage(634, 43, 150, 50)


def test_a_stream_that_was_left_is_estimated(golden: Golden, framed: Framed) -> None:
    counter = meter(Converse())
    counter.see(framed(golden("text.stream")[:3]))
    usage = counter.usage(call())
    assert (usage.estimated, usage.output_tokens, counter.ended, counter.complete) == (True, 7, False, False)
    assert counter.failure is None
    assert usage.input_tokens == 2


def test_a_stream_without_its_usage_is_complete_and_one_with_an_exception_says_why(
    golden: Golden, framed: Framed
) -> None:
    counter = meter(Converse())
    counter.see(framed(golden("text.stream")[:5]))
    assert (counter.complete, counter.ended) == (True, False)
    counter = meter(Converse())
    counter.see(framed(golden("throttled.stream")))
    assert counter.failure == ErrorFacts(
        429, "Too many tokens, please wait before trying again.", "throttlingException"
    )


def test_what_cannot_be_read_is_counted_no_further_and_told_to_who_reads(golden: Golden, framed: Framed) -> None:
    stream = bytearray(framed(golden("text.stream")))
    stream[70] ^= 1
    counter = meter(Converse())
    counter.see(bytes(stream))
    assert counter.parsed is not None
    with pytest.raises(UpstreamError):
        counter.parsed.feed(bytes(stream))
    assert counter.parsed.waiting > 0
    assert not counter.see(b"more")
    assert not counter.ended


# errors


@pytest.mark.parametrize(
    ("body", "message", "kind"),
    [
        (b'{"message":"Malformed input request"}', "Malformed input request", None),
        (b'{"Message":"not authorized"}', "not authorized", None),
        (b'{"__type":"com.amazon.coral.service#AccessDeniedException","message":"no"}', "no", "AccessDeniedException"),
        (b"<html>", "the upstream answered with status 403", None),
    ],
)
def test_errors_are_read(body: bytes, message: str, kind: str | None) -> None:
    assert Converse().decode_error(403, body) == ErrorFacts(403, message, kind)


@pytest.mark.parametrize(
    ("facts", "kind"),
    [
        (ErrorFacts(400, "m"), "ValidationException"),
        (ErrorFacts(401, "m", "authentication_error"), "AccessDeniedException"),
        (ErrorFacts(404, "m"), "ResourceNotFoundException"),
        (ErrorFacts(429, "m"), "ThrottlingException"),
        (ErrorFacts(400, "m", "ServiceQuotaExceededException"), "ServiceQuotaExceededException"),
        (ErrorFacts(500, "m"), "InternalServerException"),
        (ErrorFacts(502, "m"), "InternalServerException"),
        (ErrorFacts(529, "m"), "ServiceUnavailableException"),
    ],
)
def test_errors_are_written(facts: ErrorFacts, kind: str) -> None:
    assert Converse().encode_error(facts) == {"__type": kind, "message": "m"}
