"""Replies in the other vendor's words."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from agentgateway.errors import UpstreamError
from agentgateway.exchange import Usage
from agentgateway.llm.calls import Dialect
from agentgateway.llm.chat import ChatReply, Refusal, Text, ToolUse

Json = dict[str, Any]
Judge = Callable[[Json], None]

MESSAGE: Json = {
    "id": "msg_013Zva2CMHLNnXjNJJKqJ2EF",
    "type": "message",
    "role": "assistant",
    "model": "claude-opus-4-5",
    "content": [
        {"type": "thinking", "thinking": "hm", "signature": "sig"},
        {"type": "redacted_thinking", "data": "secret"},
        {"type": "text", "text": "Let me ", "citations": None},
        {"type": "text", "text": "look."},
        {"type": "server_tool_use", "id": "srv", "name": "web_search", "input": {"query": "x"}},
        {
            "type": "tool_use",
            "id": "toolu_1",
            "name": "weather",
            "input": {"city": "Paris"},
            "caller": {"type": "direct"},
        },
        {"type": "tool_use", "id": "toolu_2", "name": "now", "input": {}},
    ],
    "stop_reason": "tool_use",
    "stop_sequence": None,
    "usage": {
        "input_tokens": 50,
        "cache_read_input_tokens": 1000,
        "cache_creation_input_tokens": 200,
        "output_tokens": 30,
        "output_tokens_details": {"thinking_tokens": 20},
        "service_tier": "standard",
    },
}
COMPLETION: Json = {
    "id": "chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT",
    "object": "chat.completion",
    "created": 1741569952,
    "model": "gpt-4.1-2025-04-14",
    "choices": [
        {
            "index": 0,
            "message": {
                "role": "assistant",
                "content": "Let me look.",
                "refusal": None,
                "annotations": [],
                "tool_calls": [
                    {
                        "id": "call_1",
                        "type": "function",
                        "function": {"name": "weather", "arguments": '{"city": "Paris"}'},
                    },
                    {"id": "call_2", "type": "function", "function": {"name": "now", "arguments": ""}},
                ],
            },
            "logprobs": None,
            "finish_reason": "tool_calls",
        }
    ],
    "usage": {
        "prompt_tokens": 19,
        "completion_tokens": 10,
        "total_tokens": 29,
        "prompt_tokens_details": {"cached_tokens": 5, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 4, "audio_tokens": 0},
    },
    "service_tier": "default",
    "system_fingerprint": "fp_1",
}


def test_a_message_for_a_client_of_openai(completions: Dialect, messages: Dialect, accepts_completion: Judge) -> None:
    document = completions.encode_reply(messages.decode_reply(MESSAGE))
    assert document.pop("created") > 1_700_000_000
    assert document == {
        "id": "msg_013Zva2CMHLNnXjNJJKqJ2EF",
        "object": "chat.completion",
        "model": "claude-opus-4-5",
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": "Let me look.",
                    "refusal": None,
                    "reasoning_content": "hm",
                    "thinking_blocks": MESSAGE["content"][:2],
                    "tool_calls": [
                        {
                            "id": "toolu_1",
                            "type": "function",
                            "function": {"name": "weather", "arguments": '{"city":"Paris"}'},
                        },
                        {"id": "toolu_2", "type": "function", "function": {"name": "now", "arguments": "{}"}},
                    ],
                },
                "logprobs": None,
                "finish_reason": "tool_calls",
            }
        ],
        "usage": {
            "prompt_tokens": 1250,
            "completion_tokens": 30,
            "total_tokens": 1280,
            "prompt_tokens_details": {"cached_tokens": 1000, "cache_write_tokens": 200},
            "completion_tokens_details": {"reasoning_tokens": 20},
        },
        "service_tier": "default",
    }
    accepts_completion(document | {"created": 1})


def test_a_completion_for_a_client_of_anthropic(
    completions: Dialect, messages: Dialect, accepts_message: Judge
) -> None:
    document = messages.encode_reply(completions.decode_reply(COMPLETION))
    assert document == {
        "id": "chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT",
        "type": "message",
        "role": "assistant",
        "model": "gpt-4.1-2025-04-14",
        "content": [
            {"type": "text", "text": "Let me look."},
            {"type": "tool_use", "id": "call_1", "name": "weather", "input": {"city": "Paris"}},
            {"type": "tool_use", "id": "call_2", "name": "now", "input": {}},
        ],
        "stop_reason": "tool_use",
        "stop_sequence": None,
        "usage": {
            "input_tokens": 14,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 5,
            "output_tokens": 10,
            "output_tokens_details": {"thinking_tokens": 4},
            "service_tier": "standard",
        },
    }
    accepts_message(document)


STOPS = [
    ("end_turn", "stop"),
    ("max_tokens", "length"),
    ("model_context_window_exceeded", "length"),
    ("stop_sequence", "stop"),
    ("tool_use", "tool_calls"),
    ("pause_turn", "stop"),
    ("refusal", "content_filter"),
    ("something_new", "stop"),
    (None, "stop"),
]


@pytest.mark.parametrize(("theirs", "ours"), STOPS)
def test_stop_reasons_for_clients_of_openai(
    completions: Dialect, messages: Dialect, accepts_completion: Judge, theirs: str | None, ours: str
) -> None:
    document = completions.encode_reply(messages.decode_reply(MESSAGE | {"stop_reason": theirs, "content": []}))
    assert document["choices"][0]["finish_reason"] == ours
    assert document["choices"][0]["message"]["content"] == ""
    accepts_completion(document)


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("stop", "end_turn"),
        ("length", "max_tokens"),
        ("tool_calls", "tool_use"),
        ("function_call", "tool_use"),
        ("content_filter", "refusal"),
        ("eos", "end_turn"),
        (7, "end_turn"),
        (None, "end_turn"),
    ],
)
def test_stop_reasons_for_clients_of_anthropic(
    completions: Dialect, messages: Dialect, accepts_message: Judge, theirs: Any, ours: str
) -> None:
    choice = {"index": 0, "message": {"role": "assistant", "content": "x"}, "finish_reason": theirs}
    document = messages.encode_reply(completions.decode_reply(COMPLETION | {"choices": [choice]}))
    assert document["stop_reason"] == ours
    accepts_message(document)


def test_a_forced_tool_that_ends_with_stop_is_a_tool_call_still(completions: Dialect, messages: Dialect) -> None:
    """Agents loop on the reason, and the vendor says `stop` after a tool it was told to call."""
    choice = COMPLETION["choices"][0] | {"finish_reason": "stop"}
    document = messages.encode_reply(completions.decode_reply(COMPLETION | {"choices": [choice]}))
    assert document["stop_reason"] == "tool_use"


def test_a_refusal(completions: Dialect, messages: Dialect, accepts_completion: Judge, accepts_message: Judge) -> None:
    message = {"role": "assistant", "content": None, "refusal": "No."}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    reply = completions.decode_reply(COMPLETION | {"choices": [choice]})
    assert (reply.parts, reply.stop_reason) == ((Refusal("No."),), "refusal")
    document = messages.encode_reply(reply)
    assert (document["content"], document["stop_reason"]) == ([{"type": "text", "text": "No."}], "refusal")
    accepts_message(document)
    document = completions.encode_reply(reply)
    assert document["choices"][0]["message"]["refusal"] == "No."
    accepts_completion(document)


def test_a_stop_sequence_is_named(messages: Dialect, accepts_message: Judge) -> None:
    reply = messages.decode_reply(MESSAGE | {"stop_reason": "stop_sequence", "stop_sequence": "END"})
    assert (reply.stop_reason, reply.stop_sequence) == ("stop_sequence", "END")
    document = messages.encode_reply(reply)
    assert (document["stop_reason"], document["stop_sequence"]) == ("stop_sequence", "END")
    accepts_message(document)


def test_arguments_that_are_no_json_are_wrapped(
    completions: Dialect, messages: Dialect, accepts_message: Judge
) -> None:
    called = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a": "cut of'}}
    choice = {"index": 0, "message": {"role": "assistant", "tool_calls": [called]}, "finish_reason": "length"}
    document = messages.encode_reply(completions.decode_reply(COMPLETION | {"choices": [choice]}))
    assert document["content"][0]["input"] == {"INVALID_JSON": '{"a": "cut of'}
    accepts_message(document)


def test_compatible_vendors_leave_things_out(completions: Dialect, messages: Dialect, accepts_message: Judge) -> None:
    message = {
        "content": [
            {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
            {"type": "text", "text": "a"},
            {"type": "text", "text": "b"},
        ],
        "tool_calls": [{"function": {"name": "f", "arguments": {"x": 1}}}, {"id": "", "function": {"name": "g"}}],
    }
    reply = completions.decode_reply({"choices": [{"message": message}]})
    assert (reply.id, reply.model, reply.created, reply.usage) == ("", "", None, None)
    document = messages.encode_reply(reply)
    assert re.fullmatch("msg_[0-9a-f]{24}", document["id"])
    first, second = document["content"][2:]
    assert document["content"][:2] == [
        {"type": "thinking", "thinking": "hm", "signature": ""},
        {"type": "text", "text": "ab"},
    ]
    assert (first["input"], second["input"]) == ({"x": 1}, {})
    assert first["id"].startswith("call_") and first["id"] != second["id"]
    accepts_message(document)


def test_a_reply_of_ones_own_making_gets_what_the_format_wants(
    completions: Dialect, messages: Dialect, accepts_completion: Judge, accepts_message: Judge
) -> None:
    reply = ChatReply("", "m", (Text("Hi"), ToolUse("t", "f", "{}")), "tool_use", usage=Usage(3, 2, 7))
    document = completions.encode_reply(reply)
    assert document["id"].startswith("chatcmpl-")
    accepts_completion(document)
    document = messages.encode_reply(reply)
    assert document["usage"]["input_tokens"] == 0
    accepts_message(document)


@pytest.mark.parametrize("broken", [{}, {"choices": []}, {"choices": [{"message": "x"}]}, {"choices": {"a": 1}}])
def test_what_is_no_completion_is_the_upstreams_fault(completions: Dialect, broken: Json) -> None:
    with pytest.raises(UpstreamError):
        completions.decode_reply(broken)


@pytest.mark.parametrize("broken", [{}, {"content": "x"}, {"content": [{"type": "tool_use", "id": "x"}]}])
def test_what_is_no_message_is_the_upstreams_fault(messages: Dialect, broken: Json) -> None:
    with pytest.raises(UpstreamError):
        messages.decode_reply(broken)
