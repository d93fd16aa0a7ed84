"""Calls and replies in OpenAI's responses format, from and to the other dialects; the official SDK's own types judge
what we write. https://platform.openai.com/docs/api-reference/responses"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any

import pytest

from agentgateway.errors import InvalidRequest, UpstreamError
from agentgateway.exchange import Usage
from agentgateway.llm.calls import (
    ChatReply,
    Dialect,
    LlmCall,
    ModelEntry,
    Refusal,
    Text,
    Thinking,
    ToolUse,
    Untranslatable,
)
from agentgateway.llm.documents import dump
from agentgateway.testing import DialectContract

Json = dict[str, Any]
Read = Callable[..., LlmCall]
Judge = Callable[[Json], None]
PIXEL = "data:image/png;base64,aGk="
WEATHER = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
CONVERSATION: list[Json] = [
    {"role": "developer", "content": "Be kind."},
    {
        "role": "user",
        "content": [
            {"type": "input_text", "text": "Weather here, and the time?"},
            {"type": "input_image", "image_url": PIXEL, "detail": "low"},
            {"type": "input_image", "image_url": "https://pictures.example/a.png", "detail": "auto"},
            {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,aGk="},
        ],
    },
    {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "Both."}]},
    {
        "type": "message",
        "id": "msg_1",
        "status": "completed",
        "role": "assistant",
        "content": [{"type": "output_text", "text": "I ask.", "annotations": [], "logprobs": []}],
    },
    {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "weather", "arguments": '{"city":"Oslo"}'},
    {"type": "function_call", "call_id": "c2", "name": "now", "arguments": ""},
    {"type": "function_call_output", "call_id": "c1", "output": "Snow."},
    {"type": "function_call_output", "call_id": "c2", "output": [{"type": "input_text", "text": "12:00"}]},
    {"role": "user", "content": "And now?"},
]
ASKED: Json = {
    "instructions": "Be brief.",
    "input": CONVERSATION,
    "tools": [
        {"type": "function", "name": "weather", "description": "Weather", "parameters": WEATHER, "strict": True},
        {"type": "function", "name": "now", "parameters": None, "strict": None},
    ],
    "tool_choice": "required",
    "parallel_tool_calls": False,
    "max_output_tokens": 200,
    "top_p": 0.9,
    "reasoning": {"effort": "low", "summary": "auto"},
    "include": ["reasoning.encrypted_content"],
    "text": {"format": {"type": "json_schema", "name": "w", "schema": WEATHER, "strict": True}, "verbosity": "low"},
    "metadata": {"a": "b"},
    "safety_identifier": "ada",
    "store": False,
    "truncation": "auto",
}
REPLY: Json = {
    "id": "resp_1",
    "object": "response",
    "created_at": 1741476777,
    "status": "completed",
    "error": None,
    "model": "gpt-5-2025-08-07",
    "output": [
        {
            "type": "reasoning",
            "id": "rs_1",
            "summary": [{"type": "summary_text", "text": "One."}, {"type": "summary_text", "text": "Two."}],
            "encrypted_content": "gAAA:B",
        },
        {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search", "query": "q"}},
        {
            "type": "message",
            "id": "msg_1",
            "status": "completed",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "hello Ada", "annotations": []}],
        },
        {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "f", "arguments": '{"q":"hello Ada"}'},
    ],
    "usage": {
        "input_tokens": 30,
        "input_tokens_details": {"cached_tokens": 10, "cache_write_tokens": 4},
        "output_tokens": 20,
        "output_tokens_details": {"reasoning_tokens": 12},
        "total_tokens": 50,
    },
    "service_tier": "default",
}


class TestResponsesContract(DialectContract):
    name = "responses"
    spoken = "hello Ada"
    call = {
        "model": "m",
        "instructions": "be brief",
        "input": [
            {"role": "user", "content": [{"type": "input_text", "text": "hello Ada"}]},
            {"type": "function_call", "call_id": "1", "name": "f", "arguments": '{"q":"hello Ada"}'},
            {"type": "function_call_output", "call_id": "1", "output": "hello Ada"},
        ],
        "tools": [{"type": "function", "name": "f", "parameters": WEATHER, "strict": False}],
        "tool_choice": {"type": "function", "name": "f"},
        "max_output_tokens": 20,
        "reasoning": {"effort": "high"},
        "text": {"format": {"type": "json_object"}},
    }
    reply = REPLY


# out of this dialect


def test_a_whole_conversation_for_completions(
    read: Read, completions: Dialect, accepts_call: Mapping[str, Judge]
) -> None:
    document = read("responses", **ASKED).translated(completions).document
    assert document["messages"] == [
        {"role": "system", "content": [{"type": "text", "text": "Be brief."}, {"type": "text", "text": "Be kind."}]},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "Weather here, and the time?"},
                {"type": "image_url", "image_url": {"url": PIXEL, "detail": "low"}},
                {"type": "image_url", "image_url": {"url": "https://pictures.example/a.png", "detail": "auto"}},
                {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,aGk="}},
            ],
        },
        {
            "role": "assistant",
            "content": "I ask.",
            "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Oslo"}'}},
                {"id": "c2", "type": "function", "function": {"name": "now", "arguments": "{}"}},
            ],
            "reasoning_content": "Both.",
        },
        {"role": "tool", "tool_call_id": "c1", "content": "Snow."},
        {"role": "tool", "tool_call_id": "c2", "content": "12:00"},
        {"role": "user", "content": "And now?"},
    ]
    del document["messages"]
    assert document == {
        "model": "m",
        "tools": [
            {
                "type": "function",
                "function": {"name": "weather", "description": "Weather", "parameters": WEATHER, "strict": True},
            },
            {"type": "function", "function": {"name": "now"}},
        ],
        "tool_choice": "required",
        "parallel_tool_calls": False,
        "max_tokens": 200,
        "top_p": 0.9,
        "reasoning_effort": "low",
        "response_format": {"type": "json_schema", "json_schema": {"name": "w", "schema": WEATHER, "strict": True}},
        "verbosity": "low",
        "metadata": {"a": "b"},
        "user": "ada",
    }
    accepts_call["completions"](document | {"messages": []})


def test_a_whole_conversation_for_messages(read: Read, messages: Dialect, accepts_call: Mapping[str, Judge]) -> None:
    document = read("responses", **ASKED).translated(messages).document
    accepts_call["messages"](document)
    assert [part["text"] for part in document["system"]] == ["Be brief.", "Be kind."]
    assert [message["role"] for message in document["messages"]] == ["user", "assistant", "user"]
    said, asked = document["messages"][1]["content"], document["messages"][2]["content"]
    assert [block["type"] for block in said] == ["text", "tool_use", "tool_use"]
    assert [block["type"] for block in asked] == ["tool_result", "tool_result", "text"]
    assert document["max_tokens"] == 200


def test_a_string_is_what_the_user_says(read: Read, messages: Dialect) -> None:
    document = read("responses", input="Hi").translated(messages).document
    assert document["messages"] == [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}]


def test_instructions_in_the_middle_stay_there(read: Read) -> None:
    said = [{"role": "user", "content": "a"}, {"role": "system", "content": "b"}]
    assert [message.role for message in read("responses", input=said).canonical().messages] == ["user", "system"]


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"prompt": {"id": "pmpt_1"}}, "prompt"),
        ({"background": True}, "background"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"include": ["message.output_text.logprobs"]}, "include"),
        ({"moderation": {"model": "omni"}}, "moderation"),
        ({"of_tomorrow": 1}, "of_tomorrow"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"tools": [{"type": "mcp", "server_label": "x"}]}, "tools[0].type"),
        ({"tools": [{"type": "custom", "name": "x"}]}, "tools[0].type"),
        ({"tools": [{"type": "function", "name": "f", "defer_loading": True}]}, "tools[0].defer_loading"),
        ({"tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": []}}, "tool_choice"),
        ({"tool_choice": {"type": "file_search"}}, "tool_choice"),
        ({"input": [{"type": "item_reference", "id": "msg_1"}]}, "input[0]"),
        ({"input": [{"type": "web_search_call", "id": "ws_1"}]}, "input[0]"),
        ({"input": [{"role": "critic", "content": "x"}]}, "input[0].role"),
        ({"input": [{"role": "user", "content": [{"type": "input_audio"}]}]}, "input[0].content[0]"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "f"}]}]},
            "input[0].content[0].file_id",
        ),
        ({"input": [{"role": "system", "content": [{"type": "refusal", "refusal": "x"}]}]}, "input[0].content"),
        ({"text": {"format": {"type": "grammar"}}}, "text.format.type"),
    ],
)
def test_what_no_other_dialect_has_words_for_is_refused_by_name(
    fields: Json, named: str, read: Read, completions: Dialect, messages: Dialect
) -> None:
    for other in (completions, messages):
        with pytest.raises(Untranslatable) as caught:
            read("responses", **fields).translated(other)
        assert caught.value.param == named


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"input": 7}, "input"),
        ({"input": ["x"]}, "input[0]"),
        ({"input": [{"content": "x"}]}, "input[0]"),
        ({"input": [{"role": "user", "content": {}}]}, "input[0].content"),
        ({"input": [{"role": "user", "content": ["x"]}]}, "input[0].content[0]"),
        ({"input": [{"role": "user", "Content": "x"}]}, "input[0].Content"),
        ({"input": [{"type": "function_call_output", "call_id": "c", "output": [7]}]}, "input[0].output[0]"),
        ({"instructions": [{"role": "user", "content": "x"}]}, "instructions"),
        ({"max_output_tokens": "many"}, "max_output_tokens"),
        ({"Input": "x"}, "Input"),
        ({"model": ""}, "model"),
    ],
)
def test_shapes_that_guards_rely_on_are_checked(fields: Json, named: str, read: Read) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read("responses", **fields)
    assert caught.value.param == named


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"input": [{"type": "function_call", "name": "f", "arguments": "{}"}]}, "input[0].call_id"),
        ({"input": [{"type": "function_call_output", "call_id": "c"}]}, "input[0].output"),
        ({"reasoning": {"effort": "huge"}}, "reasoning.effort"),
        ({"text": {"format": {"type": "json_schema", "name": "x"}}}, "text.format.schema"),
        ({"tools": [{"type": "function"}]}, "tools[0].name"),
        ({"include": "everything"}, "include"),
    ],
)
def test_what_is_wrong_is_named(fields: Json, named: str, read: Read, completions: Dialect) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read("responses", **fields).translated(completions)
    assert caught.value.param == named


def test_equal_dialects_pass_bytes_with_everything_that_nobody_else_knows(responses: Dialect) -> None:
    raw = (
        b'{ "model": "gpt-5", "input": [{"type":"item_reference","id":"x"}], "previous_response_id": "r", "new": 1.50 }'
    )
    call = LlmCall.read(responses, raw, "/v1/responses")
    assert call.outbound(responses).body() == raw
    assert call.outbound(responses, "gpt-6").document["model"] == "gpt-6"


# into this dialect


def test_a_messages_call(read: Read, responses: Dialect, accepts_call: Mapping[str, Judge]) -> None:
    call = read(
        "messages",
        system=[{"type": "text", "text": "Be brief."}, {"type": "text", "text": "Be kind."}],
        messages=[
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "Weather?", "cache_control": {"type": "ephemeral"}},
                    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}},
                    {"type": "document", "source": {"type": "url", "url": "https://files.example/a.pdf"}},
                    {"type": "document", "title": "T", "source": {"type": "text", "data": "words"}},
                ],
            },
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "Both.", "signature": "openai:rs_1:gAAA:B"},
                    {"type": "thinking", "thinking": "of another vendor", "signature": "EqQB"},
                    {"type": "text", "text": "I ask."},
                    {"type": "tool_use", "id": "c1", "name": "weather", "input": {"city": "Oslo"}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "c1", "content": "none", "is_error": True},
                    {"type": "text", "text": "And now?"},
                ],
            },
        ],
        tools=[{"name": "weather", "input_schema": WEATHER}, {"name": "now", "input_schema": {"type": "object"}}],
        tool_choice={"type": "tool", "name": "weather", "disable_parallel_tool_use": True},
        thinking={"type": "enabled", "budget_tokens": 2000},
        metadata={"user_id": "u" * 70},
        max_tokens=3000,
        stream=True,
    )
    document = call.translated(responses, "gpt-5").document
    accepts_call["responses"](document)
    assert document.pop("safety_identifier") != "u" * 70
    assert document == {
        "model": "gpt-5",
        "instructions": "Be brief.\n\nBe kind.",
        "input": [
            {
                "role": "user",
                "content": [
                    {"type": "input_text", "text": "Weather?"},
                    {"type": "input_image", "image_url": PIXEL, "detail": "auto"},
                    {"type": "input_file", "file_url": "https://files.example/a.pdf"},
                    {"type": "input_text", "text": "T\n\nwords"},
                ],
            },
            {
                "type": "reasoning",
                "id": "rs_1",
                "summary": [{"type": "summary_text", "text": "Both."}],
                "encrypted_content": "gAAA:B",
            },
            {"role": "assistant", "content": "I ask."},
            {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": '{"city":"Oslo"}'},
            {
                "type": "function_call_output",
                "call_id": "c1",
                "output": [{"type": "input_text", "text": "[error]"}, {"type": "input_text", "text": "none"}],
            },
            {"role": "user", "content": "And now?"},
        ],
        "store": False,
        "tools": [
            {"type": "function", "name": "weather", "parameters": WEATHER, "strict": False},
            {"type": "function", "name": "now", "parameters": {"type": "object"}, "strict": False},
        ],
        "tool_choice": {"type": "function", "name": "weather"},
        "parallel_tool_calls": False,
        "max_output_tokens": 3000,
        "reasoning": {"effort": "medium"},
        "include": ["reasoning.encrypted_content"],
        "stream": True,
    }


def test_a_completions_call(read: Read, responses: Dialect, accepts_call: Mapping[str, Judge]) -> None:
    schema = {"type": "json_schema", "json_schema": {"name": "w", "schema": WEATHER, "strict": True}}
    call = read(
        "completions",
        messages=[{"role": "system", "content": "s"}, {"role": "user", "content": "u"}],
        max_completion_tokens=100,
        temperature=0.5,
        response_format=schema,
        verbosity="high",
        tools=[{"type": "function", "function": {"name": "now", "strict": True}}],
        tool_choice="auto",
        seed=1,
        frequency_penalty=0.5,
        user="ada",
        service_tier="flex",
    )
    document = call.translated(responses).document
    accepts_call["responses"](document)
    assert document == {
        "model": "m",
        "instructions": "s",
        "input": [{"role": "user", "content": "u"}],
        "store": False,
        "tools": [
            {"type": "function", "name": "now", "parameters": {"type": "object", "properties": {}}, "strict": True}
        ],
        "tool_choice": "auto",
        "max_output_tokens": 100,
        "temperature": 0.5,
        "text": {
            "format": {"type": "json_schema", "name": "w", "schema": WEATHER, "strict": True},
            "verbosity": "high",
        },
        "safety_identifier": "ada",
        "service_tier": "flex",
    }


@pytest.mark.parametrize(("fields", "named"), [({"n": 2}, "n"), ({"stop": ["END"]}, "stop")])
def test_what_this_dialect_has_no_words_for_is_refused(
    fields: Json, named: str, read: Read, responses: Dialect
) -> None:
    with pytest.raises(Untranslatable) as caught:
        read("completions", **fields).translated(responses)
    assert caught.value.param == named


def test_citations_are_refused(read: Read, responses: Dialect) -> None:
    document = {"type": "document", "source": {"type": "text", "data": "x"}, "citations": {"enabled": True}}
    with pytest.raises(Untranslatable) as caught:
        read("messages", messages=[{"role": "user", "content": [document]}]).translated(responses)
    assert caught.value.param == "messages[0].content[0].citations"


# enrichment


def test_prompts_stand_around_the_input_and_never_in_the_instructions(read: Read) -> None:
    """The vendor repeats instructions in its reply."""
    call = read("responses", instructions="i", input="Hi")
    call.enrich([{"role": "system", "content": "before"}], [{"role": "user", "content": "after"}])
    assert call.document["instructions"] == "i"
    assert call.document["input"] == [
        {"role": "system", "content": "before"},
        {"role": "user", "content": "Hi"},
        {"role": "user", "content": "after"},
    ]


# replies


def test_a_reply_for_completions(responses: Dialect, completions: Dialect, accepts_completion: Judge) -> None:
    document = completions.encode_reply(responses.decode_reply(deepcopy(REPLY)))
    accepts_completion(document)
    (choice,) = document["choices"]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["content"] == "hello Ada"
    assert choice["message"]["reasoning_content"] == "One.\n\nTwo."
    assert choice["message"]["thinking_blocks"][0]["signature"] == "openai:rs_1:gAAA:B"
    assert choice["message"]["tool_calls"][0]["id"] == "c1"
    assert document["usage"]["prompt_tokens_details"] == {"cached_tokens": 10, "cache_write_tokens": 4}
    assert (document["id"], document["created"]) == ("resp_1", 1741476777)


def test_a_reply_for_messages(responses: Dialect, messages: Dialect, accepts_message: Judge) -> None:
    document = messages.encode_reply(responses.decode_reply(deepcopy(REPLY)))
    accepts_message(document)
    assert [block["type"] for block in document["content"]] == ["thinking", "text", "tool_use"]
    assert document["stop_reason"] == "tool_use"
    assert document["usage"]["input_tokens"] == 16


PARTS = (
    Thinking("hm", "sig"),
    Thinking(redacted="secret"),
    Text("a"),
    Refusal("no"),
    ToolUse("c", "f", "{}"),
    Text("b"),
)


def test_a_reply_of_another_vendor(responses: Dialect, accepts_response: Judge) -> None:
    reply = ChatReply("r", "m", PARTS, "tool_use", usage=Usage(9, 5, 3, 1, 2), created=7)
    document = responses.encode_reply(reply)
    accepts_response(document)
    assert [item["type"] for item in document["output"]] == [
        *("reasoning", "reasoning", "message", "function_call", "message")
    ]
    assert [part["type"] for part in document["output"][2]["content"]] == ["output_text", "refusal"]
    assert (document["status"], document["usage"]["total_tokens"]) == ("completed", 14)
    assert responses.decode_reply(document) == reply


@pytest.mark.parametrize(
    ("reason", "parts", "status", "why"),
    [
        ("stop", (Text("a"),), "completed", None),
        ("length", (Text("a"),), "incomplete", "max_output_tokens"),
        ("refusal", (), "incomplete", "content_filter"),
        ("refusal", (Refusal("no"),), "completed", None),
        ("pause", (Text("a"),), "completed", None),
        (None, (Text("a"),), "completed", None),
    ],
)
def test_how_it_ended(reason: Any, parts: Any, status: str, why: str | None, responses: Dialect) -> None:
    document = responses.encode_reply(ChatReply("r", "m", parts, reason))
    assert document["status"] == status
    assert (document["incomplete_details"] or {}).get("reason") == why
    if reason in ("length", "refusal"):
        assert responses.decode_reply(document).stop_reason == reason


def test_thoughts_come_back_to_their_vendor_as_it_wrote_them(read: Read, responses: Dialect, messages: Dialect) -> None:
    """What a client of this dialect keeps of another vendor's answer is what it sends back."""
    reply = ChatReply("r", "m", PARTS[:3], "stop")
    output = responses.encode_reply(reply)["output"]
    call = read("responses", input=[*output, {"role": "user", "content": "go on"}]).translated(messages)
    assert call.document["messages"][0]["content"] == [
        {"type": "thinking", "thinking": "hm", "signature": "sig"},
        {"type": "redacted_thinking", "data": "secret"},
        {"type": "text", "text": "a"},
    ]


def test_a_thought_of_openai_goes_to_no_other_vendor_as_a_signature(read: Read, completions: Dialect) -> None:
    thought = {"type": "reasoning", "id": "rs_1", "encrypted_content": "gAAA", "summary": []}
    said = {"role": "assistant", "content": "a"}
    call = read("responses", input=[thought, said]).translated(completions)
    assert b"gAAA" not in call.body()


@pytest.mark.parametrize("status", ["failed", "cancelled"])
def test_a_response_that_failed_is_an_error(status: str, responses: Dialect) -> None:
    error = {"code": "rate_limit_exceeded", "message": "slow down"}
    with pytest.raises(UpstreamError) as caught:
        responses.decode_reply({"status": status, "error": error, "output": []})
    assert (caught.value.status, caught.value.message) == (429, "slow down")


@pytest.mark.parametrize("document", [{}, {"output": 7}, {"output": ["x"]}])
def test_what_is_no_response_is_an_error(document: Json, responses: Dialect) -> None:
    with pytest.raises(UpstreamError):
        responses.decode_reply(document)


def test_usage_of_a_reply_and_of_an_event(responses: Dialect) -> None:
    usage = Usage(30, 20, 10, 4, 12)
    assert responses.usage(REPLY) == usage
    assert responses.usage({"type": "response.completed", "response": REPLY}) == usage
    assert responses.usage({"type": "response.created", "response": {"usage": None}}) is None
    assert responses.reply_model({"response": REPLY}) == responses.reply_model(REPLY) == "gpt-5-2025-08-07"


def test_a_listing(responses: Dialect) -> None:
    (model,) = responses.models([ModelEntry("m", 3)])["data"]
    assert model == {"id": "m", "object": "model", "created": 3, "owned_by": "agentgateway"}


# guards


SECRETS: Json = {
    "instructions": "secret-1",
    "input": [
        {"role": "developer", "content": "secret-2"},
        {"role": "user", "content": [{"type": "input_text", "text": "secret-3"}]},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "secret-4"}]},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "secret-5"}]},
        {
            "type": "reasoning",
            "id": "r",
            "summary": [{"type": "summary_text", "text": "secret-6"}],
            "content": [{"type": "reasoning_text", "text": "secret-7"}],
        },
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": '{"q":"secret-8"}'},
        {"type": "function_call_output", "call_id": "c", "output": "secret-9"},
        {"type": "function_call_output", "call_id": "c", "output": [{"type": "input_text", "text": "secret-10"}]},
        {"type": "custom_tool_call", "call_id": "c", "name": "f", "input": "secret-11"},
        {"type": "mcp_call", "id": "m", "arguments": '{"q":"secret-12"}', "output": "secret-13"},
        {"type": "web_search_call", "id": "w", "action": {"type": "search", "query": "secret-14"}},
        {"type": "file_search_call", "id": "w", "queries": ["secret-15"], "results": [{"text": "secret-16"}]},
        {"type": "code_interpreter_call", "code": "secret-17", "outputs": [{"type": "logs", "logs": "secret-18"}]},
        {"type": "shell_call", "action": {"commands": ["secret-19"]}},
        {"type": "shell_call_output", "output": [{"stdout": "secret-20", "stderr": "secret-21"}]},
        {"type": "apply_patch_call", "operation": {"type": "update_file", "diff": "secret-22"}},
        {"type": "image_generation_call", "revised_prompt": "secret-23", "result": "aGk="},
        {"type": "of_tomorrow", "content": [{"type": "new", "text": "secret-24"}]},
    ],
    "prompt": {"id": "p", "variables": {"name": "secret-25", "more": {"type": "input_text", "text": "secret-26"}}},
}


def test_a_masked_text_is_gone_and_the_rest_is_as_it_was(read: Read) -> None:
    call = read("responses", **SECRETS)
    before = dump(call.document)
    for segment in call.segments():
        segment.replace(segment.text.replace("secret-", "public-"))
    assert call.body() == before.replace(b"secret-", b"public-")


def test_every_text_is_seen_with_its_scope_and_role(read: Read) -> None:
    found = {
        segment.text.rpartition("secret-")[2].rstrip('"}'): (segment.role, segment.scope)
        for segment in read("responses", **SECRETS).segments()
    }
    system, user, said = ("system", "systemPrompt"), ("user", "messages"), ("assistant", "messages")
    told, answered = ("assistant", "toolInput"), ("tool", "toolOutput")
    order = [
        *(system, system, user, said, said, said, said, told, answered, answered, told, told, answered, told),
        *(told, answered, told, answered, told, answered, answered, told, said, said, user, user),
    ]
    assert found == {str(n): expected for n, expected in enumerate(order, 1)}


def test_a_plain_input_is_what_the_user_says(read: Read) -> None:
    call = read("responses", input="secret")
    (segment,) = call.segments()
    segment.replace("***")
    assert (segment.role, segment.scope, call.document["input"]) == ("user", "messages", "***")


def test_a_masked_answer_takes_its_log_probabilities_along(responses: Dialect) -> None:
    part = {"type": "output_text", "text": "secret", "logprobs": [{"token": "secret"}], "annotations": []}
    document: Json = {"output": [{"type": "message", "role": "assistant", "content": [part]}]}
    for segment in responses.reply_segments(document):
        segment.replace("***")
    assert "secret" not in str(document)
