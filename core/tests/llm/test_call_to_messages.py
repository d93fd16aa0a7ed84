"""What chat completions calls become in Anthropic's format: https://docs.anthropic.com/en/api/messages"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from agentgateway.errors import InvalidRequest
from agentgateway.llm.calls import Untranslatable

Json = dict[str, Any]
Translate = Callable[..., Json]
PDF = b64encode(b"%PDF-1.7").decode()


def user(*parts: Json | str) -> list[Json]:
    content = parts[0] if len(parts) == 1 and isinstance(parts[0], str) else list(parts)
    return [{"role": "user", "content": content}]


def call(identity: str, name: str, arguments: str) -> Json:
    return {"id": identity, "type": "function", "function": {"name": name, "arguments": arguments}}


def function(name: str, **rest: Any) -> Json:
    return {"type": "function", "function": {"name": name, **rest}}


def test_a_whole_conversation(to_messages: Translate, accepts_call: Mapping[str, Callable[[Json], None]]) -> None:
    document = to_messages(
        model="claude",
        messages=[
            {"role": "system", "content": "Be brief."},
            {"role": "developer", "content": [{"type": "text", "text": "Be kind."}]},
            *user("Weather in Paris and Rome?"),
            {
                "role": "assistant",
                "content": "Let me look.",
                "tool_calls": [call("call_1", "weather", '{"city":"Paris"}'), call("call_2", "weather", "")],
            },
            {"role": "tool", "tool_call_id": "call_1", "content": "18 C"},
            {"role": "tool", "tool_call_id": "call_2", "content": [{"type": "text", "text": "24 C"}]},
            *user("And now?"),
        ],
        tools=[function("weather", description="Weather", parameters={"type": "object"}, strict=True), function("now")],
        tool_choice="required",
        parallel_tool_calls=False,
        max_completion_tokens=200,
        top_p=0.9,
        stop=["END", "STOP"],
        user="u-1",
        service_tier="default",
        stream=True,
    )
    assert document == {
        "model": "claude",
        "max_tokens": 200,
        "system": [{"type": "text", "text": "Be brief."}, {"type": "text", "text": "Be kind."}],
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "Weather in Paris and Rome?"}]},
            {
                "role": "assistant",
                "content": [
                    {"type": "text", "text": "Let me look."},
                    {"type": "tool_use", "id": "call_1", "name": "weather", "input": {"city": "Paris"}},
                    {"type": "tool_use", "id": "call_2", "name": "weather", "input": {}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "call_1", "content": [{"type": "text", "text": "18 C"}]},
                    {"type": "tool_result", "tool_use_id": "call_2", "content": [{"type": "text", "text": "24 C"}]},
                    {"type": "text", "text": "And now?"},
                ],
            },
        ],
        "tools": [
            {"name": "weather", "description": "Weather", "input_schema": {"type": "object"}, "strict": True},
            {"name": "now", "input_schema": {"type": "object", "properties": {}}},
        ],
        "tool_choice": {"type": "any", "disable_parallel_tool_use": True},
        "top_p": 0.9,
        "stop_sequences": ["END", "STOP"],
        "metadata": {"user_id": "u-1"},
        "service_tier": "standard_only",
        "stream": True,
    }
    accepts_call["messages"]({key: value for key, value in document.items() if key != "top_p"})


def test_what_was_not_said_is_not_sent(to_messages: Translate) -> None:
    assert set(to_messages()) == {"model", "max_tokens", "messages"}
    nulls = dict.fromkeys(("temperature", "top_p", "stop", "tools", "tool_choice", "user", "n", "response_format"))
    assert set(to_messages(**nulls)) == {"model", "max_tokens", "messages"}


def test_a_limit_is_sent_where_none_was_set(to_messages: Translate) -> None:
    assert to_messages()["max_tokens"] == 4096
    assert to_messages(max_tokens=7)["max_tokens"] == 7
    assert to_messages(max_tokens=7, max_completion_tokens=9)["max_tokens"] == 9


def test_images_and_files(to_messages: Translate) -> None:
    note = b64encode("été".encode()).decode()
    document = to_messages(
        messages=user(
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk=", "detail": "high"}},
            {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
            {"type": "file", "file": {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{PDF}"}},
            {"type": "file", "file": {"filename": "a.txt", "file_data": f"data:text/plain;base64,{note}"}},
            {"type": "text", "text": "What is this?"},
        )
    )
    assert document["messages"][0]["content"] == [
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}},
        {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}},
        {
            "type": "document",
            "source": {"type": "base64", "media_type": "application/pdf", "data": PDF},
            "title": "a.pdf",
        },
        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "été"}, "title": "a.txt"},
        {"type": "text", "text": "What is this?"},
    ]


def test_a_tools_picture_stays_in_its_result(to_messages: Translate) -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}}
    document = to_messages(
        messages=[
            *user("Draw"),
            {"role": "assistant", "tool_calls": [call("call_1", "draw", "{}")]},
            {"role": "tool", "tool_call_id": "call_1", "content": [picture]},
        ]
    )
    assert document["messages"][2]["content"] == [
        {
            "type": "tool_result",
            "tool_use_id": "call_1",
            "content": [{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}}],
        }
    ]


def test_instructions_from_the_middle_are_hoisted(to_messages: Translate) -> None:
    messages = [*user("Hi"), {"role": "assistant", "content": "Ho"}, {"role": "system", "content": "Now French."}]
    document = to_messages(messages=[*messages, *user("Go on")])
    assert document["system"] == [{"type": "text", "text": "Now French."}]
    assert [message["role"] for message in document["messages"]] == ["user", "assistant", "user"]


def test_cache_marks_reach_the_blocks_they_were_on(to_messages: Translate) -> None:
    """bifrost#1935: without them a coding agent pays its whole prefix again, every turn."""
    mark = {"type": "ephemeral"}
    document = to_messages(
        messages=[
            {"role": "system", "content": [{"type": "text", "text": "s", "cache_control": mark | {"ttl": "1h"}}]},
            *user(
                {"type": "text", "text": "a", "cache_control": mark},
                {"type": "text", "text": "b", "prompt_cache_breakpoint": {"mode": "explicit", "ttl": "12h"}},
            ),
            {"role": "user", "content": "c", "cache_control": mark},
        ],
        tools=[function("f") | {"cache_control": mark}],
        cache_control=mark,
    )
    assert document["system"][0]["cache_control"] == {"type": "ephemeral", "ttl": "1h"}
    assert document["messages"][0]["content"][0]["cache_control"] == mark
    assert document["messages"][0]["content"][1]["cache_control"] == {"type": "ephemeral", "ttl": "1h"}
    assert document["messages"][1]["content"][0]["cache_control"] == mark
    assert document["tools"][0]["cache_control"] == mark
    assert document["cache_control"] == mark


@pytest.mark.parametrize(
    ("effort", "limit", "thinking"),
    [
        ("minimal", 20_000, 1024),
        ("low", 20_000, 1024),
        ("medium", 20_000, 2048),
        ("high", 20_000, 4096),
        ("xhigh", 20_000, 8192),
        ("max", 20_000, 16_384),
        ("max", 2000, 1999),
        ("high", 1025, 1024),
        ("high", 1024, None),
        ("high", 10, None),
        ("medium", None, 2048),
        ("high", None, 4095),
    ],
)
def test_effort_becomes_a_budget(to_messages: Translate, effort: str, limit: int | None, thinking: int | None) -> None:
    document = to_messages(reasoning_effort=effort, max_tokens=limit)
    expected = None if thinking is None else {"type": "enabled", "budget_tokens": thinking}
    assert document.get("thinking") == expected


def test_no_effort_is_no_thinking_and_a_budget_is_a_budget(to_messages: Translate) -> None:
    assert to_messages(reasoning_effort="none")["thinking"] == {"type": "disabled"}
    document = to_messages(thinking_budget_tokens=3000, reasoning_effort="low", max_tokens=9000)
    assert document["thinking"] == {"type": "enabled", "budget_tokens": 3000}


def test_sampling_stays_inside_what_the_vendor_takes(to_messages: Translate) -> None:
    document = to_messages(temperature=1.7, top_k=5, top_p=0.5)
    assert (document["temperature"], document["top_k"], document["top_p"]) == (1, 5, 0.5)
    document = to_messages(temperature=0.2, top_k=5, top_p=0.5, reasoning_effort="low")
    assert not {"temperature", "top_k", "top_p"} & set(document)
    assert to_messages(top_p=0.97, reasoning_effort="low")["top_p"] == 0.97


def test_thinking_gives_way_to_a_forced_tool(to_messages: Translate) -> None:
    tools = [function("f")]
    for choice in ("required", function("f")):
        assert "thinking" not in to_messages(tools=tools, tool_choice=choice, reasoning_effort="high")
    assert "thinking" in to_messages(tools=tools, tool_choice="auto", reasoning_effort="high")


def history(**assistant: Any) -> list[Json]:
    return [
        *user("Hi"),
        {"role": "assistant", "tool_calls": [call("call_1", "f", "{}")], **assistant},
        {"role": "tool", "tool_call_id": "call_1", "content": "ok"},
    ]


def test_thinking_goes_on_only_where_it_was_kept(to_messages: Translate) -> None:
    """Within a tool loop the vendor wants the turn to begin with the thinking it signed."""
    assert "thinking" not in to_messages(messages=history(), reasoning_effort="high")
    kept = [
        {"type": "thinking", "thinking": "hm", "signature": "sig"},
        {"type": "redacted_thinking", "data": "secret"},
    ]
    document = to_messages(messages=history(thinking_blocks=kept), reasoning_effort="high")
    assert document["thinking"] == {"type": "enabled", "budget_tokens": 4095}
    assert document["messages"][1]["content"][:2] == kept


def test_a_client_that_glued_a_stream_together_keeps_its_signature(to_messages: Translate) -> None:
    glued = {
        "reasoning_content": "all of it",
        "thinking_blocks": [{"type": "thinking", "thinking": "", "signature": "s"}],
    }
    block = to_messages(messages=history(**glued))["messages"][1]["content"][0]
    assert block == {"type": "thinking", "thinking": "all of it", "signature": "s"}


def test_thinking_that_nobody_signed_stays_here(to_messages: Translate) -> None:
    document = to_messages(messages=history(reasoning_content="of another vendor"))
    assert [block["type"] for block in document["messages"][1]["content"]] == ["tool_use"]


def test_tools_of_the_past_are_declared_and_forbidden(to_messages: Translate) -> None:
    document = to_messages(messages=[*history(), *user("Thanks")])
    assert document["tools"] == [{"name": "f", "input_schema": {"type": "object", "properties": {}}}]
    assert document["tool_choice"] == {"type": "none"}


def test_ids_and_arguments_of_other_vendors(to_messages: Translate) -> None:
    document = to_messages(
        messages=[
            *user("Hi"),
            {"role": "assistant", "content": "", "tool_calls": [call("functions.f:0", "f", '{"a": [1,')]},
            {"role": "tool", "tool_call_id": "functions.f:0", "content": "ok"},
        ]
    )
    (used,) = document["messages"][1]["content"]
    assert used == {"type": "tool_use", "id": "functions_f_0", "name": "f", "input": {"INVALID_JSON": '{"a": [1,'}}
    assert document["messages"][2]["content"][0]["tool_use_id"] == "functions_f_0"


def test_structured_output(to_messages: Translate) -> None:
    schema = {
        "type": "object",
        "properties": {"a": {"type": "string"}},
        "required": ["a"],
        "additionalProperties": False,
    }
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "description": "y", "schema": schema, "strict": True}}
    assert to_messages(response_format=wanted)["output_config"] == {"format": {"type": "json_schema", "schema": schema}}
    assert "output_config" not in to_messages(response_format={"type": "text"})
    asked = to_messages(
        response_format={"type": "json_object"}, messages=[{"role": "system", "content": "s"}, *user("Hi")]
    )
    assert [block["text"] for block in asked["system"]] == ["s", "Respond with one JSON object and nothing else."]


@pytest.mark.parametrize(
    ("choice", "parallel", "expected"),
    [
        ("auto", None, {"type": "auto"}),
        ("none", False, {"type": "none"}),
        ("required", None, {"type": "any"}),
        (function("f"), True, {"type": "tool", "name": "f", "disable_parallel_tool_use": False}),
        (None, False, {"type": "auto", "disable_parallel_tool_use": True}),
        (None, None, None),
    ],
)
def test_tool_choice(to_messages: Translate, choice: Any, parallel: bool | None, expected: Json | None) -> None:
    document = to_messages(tools=[function("f")], tool_choice=choice, parallel_tool_calls=parallel)
    assert document.get("tool_choice") == expected


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"n": 2}, "n"),
        ({"logprobs": True}, "logprobs"),
        ({"top_logprobs": 3}, "top_logprobs"),
        ({"logit_bias": {"5": -100}}, "logit_bias"),
        ({"audio": {"voice": "alloy", "format": "mp3"}}, "audio"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"functions": [{"name": "f"}]}, "functions"),
        ({"function_call": "auto"}, "function_call"),
        ({"web_search_options": {"search_context_size": "low"}}, "web_search_options"),
        ({"moderation": {"model": "omni"}}, "moderation"),
        ({"min_p": 0.1}, "min_p"),
        ({"enable_thinking": False}, "enable_thinking"),
        ({"stop": [" \n"]}, "stop"),
        ({"stream_options": {"x": 1}}, "stream_options.x"),
        ({"tools": [{"type": "custom", "custom": {"name": "c"}}]}, "tools[0].custom"),
        ({"tools": [{"type": "function", "function": {"name": "f", "x": 1}}]}, "tools[0].function.x"),
        (
            {"tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": []}}},
            "tool_choice",
        ),
        ({"response_format": {"type": "grammar"}}, "response_format.type"),
        (
            {"messages": user({"type": "text", "text": "a"}, {"type": "input_audio", "input_audio": {"data": "x"}})},
            "messages[0].content[1].input_audio",
        ),
        ({"messages": user({"type": "video_url"})}, "messages[0].content[0]"),
        ({"messages": user({"type": "file", "file": {"file_id": "f-1"}})}, "messages[0].content[0].file.file_id"),
        (
            {"messages": user({"type": "file", "file": {"file_data": "data:application/zip;base64,eA=="}})},
            "messages[0].content[0].file",
        ),
        ({"messages": [{"role": "function", "name": "f", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": "x", "mood": "sad"}]}, "messages[0].mood"),
        (
            {"messages": [{"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}}]},
            "messages[0].function_call",
        ),
        (
            {
                "messages": [
                    {"role": "assistant", "tool_calls": [{"id": "1", "type": "custom", "custom": {"name": "c"}}]}
                ]
            },
            "messages[0].tool_calls[0].custom",
        ),
    ],
)
def test_what_cannot_be_said_is_refused_by_name(to_messages: Translate, fields: Json, param: str) -> None:
    with pytest.raises(Untranslatable) as caught:
        to_messages(**fields)
    assert (caught.value.status, caught.value.code, caught.value.param) == (400, "unsupported_parameter", param)
    assert param in caught.value.message


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"temperature": "hot"}, "temperature"),
        ({"stop": [1]}, "stop"),
        ({"stop": {"a": 1}}, "stop"),
        ({"tools": {"f": 1}}, "tools"),
        ({"tools": ["f"]}, "tools[0]"),
        ({"tools": [{"type": "function"}]}, "tools[0].function"),
        ({"reasoning_effort": "enormous"}, "reasoning_effort"),
        ({"seed": "x"}, "seed"),
        ({"messages": user({"type": "text"})}, "messages[0].content[0].text"),
        ({"messages": user({"type": "image_url", "image_url": "x"})}, "messages[0].content[0].image_url"),
        (
            {"messages": user({"type": "image_url", "image_url": {"url": "data:image/png,x"}})},
            "messages[0].content[0].image_url.url",
        ),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].tool_call_id"),
        ({"messages": [{"role": "assistant", "tool_calls": [{}]}]}, "messages[0].tool_calls[0].function"),
    ],
)
def test_a_wrong_type_is_refused_by_name(to_messages: Translate, fields: Json, param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        to_messages(**fields)
    assert caught.value.param == param


def test_neutral_values_of_refused_fields_and_documented_drops_pass(to_messages: Translate) -> None:
    document = to_messages(
        n=1,
        logprobs=False,
        top_logprobs=0,
        logit_bias={},
        modalities=["text"],
        functions=[],
        audio=None,
        unheard_of=None,
        seed=7,
        frequency_penalty=0.5,
        presence_penalty=0.5,
        metadata={"a": "b"},
        verbosity="low",
        store=True,
        prompt_cache_key="k",
        prediction={"type": "content", "content": "x"},
        messages=[
            {"role": "user", "content": "Hi", "name": "Ann"},
            {"role": "assistant", "content": "Ho", "refusal": None, "annotations": [], "audio": None},
        ],
    )
    assert set(document) == {"model", "max_tokens", "messages"}
