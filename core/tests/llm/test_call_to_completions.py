"""What messages calls become in OpenAI's format: https://platform.openai.com/docs/api-reference/chat/create"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from agentgateway.errors import InvalidRequest
from agentgateway.llm.calls import Dialect, LlmCall, Untranslatable

Json = dict[str, Any]
Translate = Callable[..., Json]
MARK = {"type": "ephemeral"}
PNG = {"type": "base64", "media_type": "image/png", "data": "aGk="}


def user(*blocks: Json | str) -> list[Json]:
    return [{"role": "user", "content": blocks[0] if isinstance(blocks[0], str) else list(blocks)}]


def used(identity: str, name: str, **arguments: Any) -> Json:
    return {"type": "tool_use", "id": identity, "name": name, "input": arguments}


def result(identity: str, content: Any = None, **rest: Any) -> Json:
    block = {"type": "tool_result", "tool_use_id": identity, **rest}
    return block if content is None else block | {"content": content}


def text(words: str, **rest: Any) -> Json:
    return {"type": "text", "text": words, **rest}


def test_a_whole_conversation(to_completions: Translate, accepts_call: Mapping[str, Callable[[Json], None]]) -> None:
    document = to_completions(
        model="gpt",
        system=[text("Be brief."), text("Be kind.")],
        messages=[
            *user("Weather in Paris and Rome?"),
            {
                "role": "assistant",
                "content": [text("Let me look."), used("t1", "weather", city="Paris"), used("t2", "weather")],
            },
            *user(result("t1", "18 C"), result("t2", [text("24 C"), text("dry")]), text("And now?")),
        ],
        tools=[{"name": "weather", "description": "Weather", "input_schema": {"type": "object"}, "strict": True}],
        tool_choice={"type": "any", "disable_parallel_tool_use": True},
        max_tokens=200,
        temperature=0.5,
        top_p=0.9,
        stop_sequences=["END"],
        metadata={"user_id": "u-1"},
        service_tier="standard_only",
        stream=True,
    )
    assert document == {
        "model": "gpt",
        "messages": [
            {"role": "system", "content": [text("Be brief."), text("Be kind.")]},
            {"role": "user", "content": "Weather in Paris and Rome?"},
            {
                "role": "assistant",
                "content": "Let me look.",
                "tool_calls": [
                    {
                        "id": "t1",
                        "type": "function",
                        "function": {"name": "weather", "arguments": '{"city":"Paris"}'},
                    },
                    {"id": "t2", "type": "function", "function": {"name": "weather", "arguments": "{}"}},
                ],
            },
            {"role": "tool", "tool_call_id": "t1", "content": "18 C"},
            {"role": "tool", "tool_call_id": "t2", "content": [text("24 C"), text("dry")]},
            {"role": "user", "content": "And now?"},
        ],
        "tools": [
            {
                "type": "function",
                "function": {
                    "name": "weather",
                    "description": "Weather",
                    "parameters": {"type": "object"},
                    "strict": True,
                },
            }
        ],
        "tool_choice": "required",
        "parallel_tool_calls": False,
        "max_tokens": 200,
        "temperature": 0.5,
        "top_p": 0.9,
        "stop": ["END"],
        "user": "u-1",
        "service_tier": "default",
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    accepts_call["completions"](document)


def test_what_was_not_said_is_not_sent(to_completions: Translate) -> None:
    assert set(to_completions()) == {"model", "messages", "max_tokens"}
    assert to_completions(system="s")["messages"][0] == {"role": "system", "content": "s"}


def test_images_and_documents(to_completions: Translate) -> None:
    pdf = {"type": "base64", "media_type": "application/pdf", "data": "JVBERg=="}
    document = to_completions(
        messages=user(
            {"type": "image", "source": PNG},
            {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}},
            {"type": "document", "source": pdf, "title": "a.pdf"},
            {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "words"}, "title": "T"},
            {"type": "document", "source": {"type": "content", "content": [text("a"), text("b")]}, "context": "C"},
            {"type": "search_result", "source": "https://x.test", "title": "Found", "content": [text("it")]},
        )
    )
    assert document["messages"][0]["content"] == [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}},
        {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
        {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERg=="}},
        text("T\n\nwords"),
        text("C\n\na\nb"),
        text("Found\n\nhttps://x.test\n\nit"),
    ]


def test_a_tools_picture_follows_as_the_users(to_completions: Translate) -> None:
    """Tool messages hold text only."""
    document = to_completions(
        messages=[
            *user("Draw"),
            {"role": "assistant", "content": [used("t1", "draw"), used("t2", "draw")]},
            *user(result("t1", [text("done"), {"type": "image", "source": PNG}]), result("t2", "none")),
        ]
    )
    assert document["messages"][2:] == [
        {
            "role": "tool",
            "tool_call_id": "t1",
            "content": [text("done"), text("[content of t1 is in the next user message]")],
        },
        {"role": "tool", "tool_call_id": "t2", "content": "none"},
        {
            "role": "user",
            "content": [
                text("[content of tool result t1]"),
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}},
            ],
        },
    ]


def test_a_tools_failure_is_said_in_words(to_completions: Translate) -> None:
    messages = [*user("Hi"), {"role": "assistant", "content": [used("t1", "f")]}]
    failed = to_completions(messages=[*messages, *user(result("t1", "no such file", is_error=True))])
    assert failed["messages"][-1]["content"] == [text("[error]"), text("no such file")]
    silent = to_completions(messages=[*messages, *user(result("t1", is_error=True))])
    assert silent["messages"][-1]["content"] == "[error]"
    empty = to_completions(messages=[*messages, *user(result("t1"))])
    assert empty["messages"][-1]["content"] == ""


def test_cache_marks_reach_the_parts_they_were_on(to_completions: Translate) -> None:
    document = to_completions(
        system=[text("s", cache_control=MARK | {"ttl": "1h"})],
        messages=[
            *user(text("a", cache_control=MARK)),
            {"role": "assistant", "content": [text("b", cache_control=MARK), used("t1", "f")]},
            *user(result("t1", "ok", cache_control=MARK)),
        ],
        tools=[{"name": "f", "input_schema": {"type": "object"}, "cache_control": MARK}],
        cache_control=MARK,
    )
    system, first, assistant, tool = document["messages"]
    assert system["content"][0]["cache_control"] == {"type": "ephemeral", "ttl": "1h"}
    assert first["content"][0]["cache_control"] == MARK
    assert assistant["content"][0]["cache_control"] == MARK
    assert tool["cache_control"] == MARK
    assert document["tools"][0]["cache_control"] == MARK
    assert document["cache_control"] == MARK


def test_thinking_keeps_its_signature(
    to_completions: Translate, read: Callable[..., LlmCall], messages: Dialect
) -> None:
    blocks = [
        {"type": "thinking", "thinking": "hm", "signature": "sig"},
        {"type": "redacted_thinking", "data": "secret"},
    ]
    document = to_completions(messages=[*user("Hi"), {"role": "assistant", "content": [*blocks, text("Ho")]}])
    assistant = document["messages"][1]
    assert assistant == {"role": "assistant", "content": "Ho", "reasoning_content": "hm", "thinking_blocks": blocks}
    back = read("completions", **document).translated(messages)
    assert back.document["messages"][1]["content"] == [*blocks, text("Ho")]


@pytest.mark.parametrize(
    ("fields", "effort"),
    [
        ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, "low"),
        ({"thinking": {"type": "enabled", "budget_tokens": 2048, "display": "omitted"}}, "medium"),
        ({"thinking": {"type": "enabled", "budget_tokens": 31_999}}, "high"),
        ({"thinking": {"type": "adaptive"}}, "high"),
        ({"thinking": {"type": "adaptive"}, "output_config": {"effort": "max"}}, "max"),
        ({"output_config": {"effort": "low"}}, "low"),
        ({"thinking": {"type": "disabled"}}, None),
        ({}, None),
    ],
)
def test_a_budget_becomes_an_effort(to_completions: Translate, fields: Json, effort: str | None) -> None:
    assert to_completions(**fields).get("reasoning_effort") == effort


@pytest.mark.parametrize("where", ["output_config", "output_format"])
def test_structured_output(to_completions: Translate, where: str) -> None:
    closed = {
        "type": "object",
        "properties": {"a": {"type": "string"}},
        "required": ["a"],
        "additionalProperties": False,
    }
    loose = closed | {"required": []}
    for schema, strict in ((closed, {"strict": True}), (loose, {})):
        wanted: Json = {"type": "json_schema", "schema": schema}
        document = to_completions(**{where: {"format": wanted} if where == "output_config" else wanted})
        assert document["response_format"] == {
            "type": "json_schema",
            "json_schema": {"name": "response", "schema": schema, **strict},
        }


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ({"type": "auto"}, {"tool_choice": "auto"}),
        ({"type": "none"}, {"tool_choice": "none"}),
        ({"type": "any"}, {"tool_choice": "required"}),
        ({"type": "tool", "name": "f"}, {"tool_choice": {"type": "function", "function": {"name": "f"}}}),
        (
            {"type": "auto", "disable_parallel_tool_use": False},
            {"tool_choice": "auto", "parallel_tool_calls": True},
        ),
    ],
)
def test_tool_choice(to_completions: Translate, choice: Json, expected: Json) -> None:
    document = to_completions(tools=[{"name": "f", "input_schema": {"type": "object"}}], tool_choice=choice)
    assert {key: document[key] for key in ("tool_choice", "parallel_tool_calls") if key in document} == expected
    assert "tool_choice" not in to_completions(tool_choice=choice)


def test_a_long_user_keeps_its_identity(to_completions: Translate) -> None:
    names = [to_completions(metadata={"user_id": "user_" + "a" * 200 + end})["user"] for end in ("1", "1", "2")]
    assert names[0] == names[1] != names[2]
    assert len(names[0]) == 64


def test_instructions_in_the_middle_stay_there(to_completions: Translate) -> None:
    messages = [*user("Hi"), {"role": "system", "content": "Now French."}, *user("Go on")]
    assert [message["role"] for message in to_completions(messages=messages)["messages"]] == ["user", "system", "user"]


def test_plain_takes_out_what_the_vendor_does_not_publish(
    to_completions: Translate, completions: Dialect, accepts_call: Mapping[str, Callable[[Json], None]]
) -> None:
    document = to_completions(
        system=[text("s", cache_control=MARK)],
        messages=[
            *user(text("a", cache_control=MARK)),
            {"role": "assistant", "content": [{"type": "thinking", "thinking": "h", "signature": "s"}, used("t", "f")]},
            *user(result("t", "ok", cache_control=MARK)),
        ],
        tools=[{"name": "f", "input_schema": {"type": "object"}, "cache_control": MARK}],
        cache_control=MARK,
        top_k=5,
    )
    assert completions.plain(document)
    assert not completions.plain(document)
    written = repr(document)
    assert not any(word in written for word in ("cache_control", "top_k", "thinking", "reasoning_content"))
    accepts_call["completions"](document)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"container": "c-1"}, "container"),
        ({"inference_geo": "eu"}, "inference_geo"),
        ({"mcp_servers": [{"url": "x"}]}, "mcp_servers"),
        ({"user_profile_id": "p"}, "user_profile_id"),
        ({"unheard_of": 0}, "unheard_of"),
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "tools[0].type"),
        ({"tools": [{"name": "f", "input_schema": {}, "defer_loading": True}]}, "tools[0].defer_loading"),
        (
            {"tools": [{"name": "f", "input_schema": {}, "allowed_callers": ["code_execution_20250825"]}]},
            "tools[0].allowed_callers",
        ),
        ({"thinking": {"type": "between_tools"}}, "thinking.type"),
        ({"output_config": {"task_budget": 1}}, "output_config.task_budget"),
        ({"output_config": {"format": {"type": "regex"}}}, "output_config.format.type"),
        ({"metadata": {"x": 1}}, "metadata.x"),
        (
            {"messages": user({"type": "image", "source": {"type": "file", "file_id": "f"}})},
            "messages[0].content[0].source.file_id",
        ),
        (
            {"messages": user({"type": "document", "source": {"type": "url", "url": "https://x.test/a.pdf"}})},
            "messages[0].content[0].source",
        ),
        (
            {
                "messages": user(
                    {
                        "type": "document",
                        "source": {"type": "text", "media_type": "text/plain", "data": "x"},
                        "citations": {"enabled": True},
                    }
                )
            },
            "messages[0].content[0].citations",
        ),
        (
            {
                "messages": user(
                    {"type": "document", "source": {"type": "content", "content": [{"type": "image", "source": PNG}]}}
                )
            },
            "messages[0].content[0].source.content",
        ),
        ({"messages": user({"type": "container_upload", "file_id": "f"})}, "messages[0].content[0]"),
        (
            {
                "messages": [
                    {"role": "assistant", "content": [{"type": "server_tool_use", "id": "s", "name": "w", "input": {}}]}
                ]
            },
            "messages[0].content[0]",
        ),
        ({"messages": [{"role": "critic", "content": "x"}]}, "messages[0].role"),
        ({"system": [{"type": "image", "source": PNG}]}, "system"),
    ],
)
def test_what_cannot_be_said_is_refused_by_name(to_completions: Translate, fields: Json, param: str) -> None:
    with pytest.raises(Untranslatable) as caught:
        to_completions(**fields)
    assert (caught.value.code, caught.value.param) == ("unsupported_parameter", param)
    assert param in caught.value.message


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"stop_sequences": "END"}, "stop_sequences"),
        ({"thinking": {"type": "enabled"}}, "thinking.budget_tokens"),
        ({"tools": [{"name": "f"}]}, "tools[0].input_schema"),
        ({"tools": [{"input_schema": {}}]}, "tools[0].name"),
        ({"tool_choice": {"type": "some"}}, "tool_choice.type"),
        ({"tool_choice": {"type": "tool"}}, "tool_choice.name"),
        ({"messages": user({"type": "text"})}, "messages[0].content[0].text"),
        ({"messages": user({"text": "x"})}, "messages[0].content[0].type"),
        ({"messages": user(used("t", "f") | {"input": "x"})}, "messages[0].content[0].input"),
        ({"messages": user({"type": "image", "source": "x"})}, "messages[0].content[0].source"),
    ],
)
def test_a_wrong_type_is_refused_by_name(to_completions: Translate, fields: Json, param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        to_completions(**fields)
    assert caught.value.param == param


def test_neutral_values_and_documented_drops_pass(to_completions: Translate) -> None:
    document = to_completions(
        context_management={"edits": []},
        diagnostics={"previous_message_id": "m"},
        speed="fast",
        anthropic_beta=["x"],
        container=None,
        mcp_servers=[],
        tools=[
            {
                "type": "custom",
                "name": "f",
                "input_schema": {"type": "object"},
                "allowed_callers": ["direct"],
                "defer_loading": False,
                "eager_input_streaming": True,
                "input_examples": [{}],
            }
        ],
        messages=[
            *user("Hi"),
            {
                "role": "assistant",
                "content": [text("Ho", citations=[{"type": "x"}]), used("t", "f") | {"caller": {"type": "direct"}}],
            },
            *user(result("t", "ok")),
        ],
    )
    assert set(document) == {"model", "messages", "max_tokens", "tools"}
    assert document["tools"] == [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]


ROUND = {
    "system": [text("s1", cache_control=MARK), text("s2")],
    "messages": [
        *user(text("a"), {"type": "image", "source": PNG}, text("b", cache_control=MARK)),
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "hm", "signature": "sig"},
                text("Let me look."),
                used("t1", "f", a=[1, {"b": "é"}]),
                used("t2", "g"),
            ],
        },
        *user(result("t1", [text("x")]), result("t2", [text("y")]), text("And?")),
        {"role": "assistant", "content": [text("Done.")]},
        *user(text("Thanks")),
    ],
    "tools": [
        {"name": "f", "description": "d", "input_schema": {"type": "object"}, "strict": False, "cache_control": MARK},
        {"name": "g", "input_schema": {"type": "object", "properties": {}}},
    ],
    "tool_choice": {"type": "tool", "name": "f", "disable_parallel_tool_use": True},
    "max_tokens": 300,
    "temperature": 0.3,
    "top_p": 0.8,
    "top_k": 40,
    "stop_sequences": ["A", "B"],
    "metadata": {"user_id": "u"},
    "service_tier": "auto",
    "cache_control": MARK | {"ttl": "1h"},
    "stream": True,
}


def test_there_and_back_nothing_is_lost(
    read: Callable[..., LlmCall], to_completions: Translate, messages: Dialect
) -> None:
    there = to_completions(**ROUND)
    back = read("completions", **there).translated(messages)
    assert back.document == {"model": "m", **ROUND}
