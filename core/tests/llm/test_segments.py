"""Every text that a guard must see, in calls, replies and streams of both dialects; and that a replaced one is gone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agentgateway.llm.calls import Dialect, LlmCall, LlmReply
from agentgateway.llm.documents import dump
from agentgateway.llm.sse import Event
from agentgateway.llm.streams import EventRewriter

Json = dict[str, Any]
Read = Callable[..., LlmCall]
GOLDEN = Path(__file__).parent / "golden"

COMPLETIONS_CALL: Json = {
    "messages": [
        {"role": "system", "content": "secret-1"},
        {"role": "developer", "content": [{"type": "text", "text": "secret-2"}]},
        {"role": "user", "content": [{"type": "text", "text": "secret-3"}, {"type": "input_text", "text": "secret-4"}]},
        {
            "role": "assistant",
            "content": "secret-5",
            "reasoning_content": "secret-6",
            "thinking_blocks": [{"type": "thinking", "thinking": "secret-7"}],
            "refusal": "secret-8",
            "tool_calls": [
                {"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"q":"secret-9"}'}},
                {"id": "b", "type": "custom", "custom": {"name": "g", "input": "secret-10"}},
            ],
            "function_call": {"name": "h", "arguments": "secret-11"},
        },
        {"role": "tool", "tool_call_id": "a", "content": "secret-12"},
        {"role": "tool", "tool_call_id": "b", "content": [{"type": "text", "text": "secret-13"}]},
        {"role": "function", "name": "h", "content": "secret-14"},
        {"role": "user", "content": "secret-15", "name": "n"},
    ],
    "prediction": {"type": "content", "content": [{"type": "text", "text": "secret-16"}]},
}
MESSAGES_CALL: Json = {
    "system": [{"type": "text", "text": "secret-1"}],
    "messages": [
        {"role": "user", "content": "secret-2"},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "secret-3"},
                {
                    "type": "document",
                    "title": "secret-4",
                    "context": "secret-5",
                    "source": {"type": "text", "media_type": "text/plain", "data": "secret-6"},
                },
                {"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": "secret-7"}]}},
                {"type": "document", "source": {"type": "content", "content": "secret-8"}},
                {
                    "type": "search_result",
                    "source": "s",
                    "title": "secret-9",
                    "content": [{"type": "text", "text": "secret-10"}],
                },
            ],
        },
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "secret-11", "signature": "s"},
                {"type": "text", "text": "secret-12"},
                {"type": "tool_use", "id": "t", "name": "f", "input": {"q": ["secret-13"]}},
                {"type": "server_tool_use", "id": "u", "name": "w", "input": {"query": "secret-14"}},
                {
                    "type": "web_search_tool_result",
                    "tool_use_id": "u",
                    "content": [{"type": "web_search_result", "title": "secret-15"}],
                },
                {
                    "type": "code_execution_tool_result",
                    "tool_use_id": "u",
                    "content": {"type": "x", "stdout": "secret-16"},
                },
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "t", "content": "secret-17"},
                {
                    "type": "tool_result",
                    "tool_use_id": "t",
                    "content": [
                        {"type": "text", "text": "secret-18"},
                        {
                            "type": "document",
                            "source": {"type": "text", "media_type": "text/plain", "data": "secret-19"},
                        },
                    ],
                },
            ],
        },
        {"role": "system", "content": "secret-20"},
    ],
}
CALLS = [("completions", COMPLETIONS_CALL, 16), ("messages", MESSAGES_CALL, 20)]


@pytest.mark.parametrize(("name", "fields", "count"), CALLS)
def test_every_text_of_a_call_is_seen(name: str, fields: Json, count: int, read: Read) -> None:
    seen = "\n".join(segment.text for segment in read(name, **fields).segments())
    assert [n for n in range(1, count + 1) if f"secret-{n}" not in seen] == []


@pytest.mark.parametrize(("name", "fields", "count"), CALLS)
def test_a_masked_text_is_gone_and_the_rest_is_as_it_was(name: str, fields: Json, count: int, read: Read) -> None:
    call = read(name, **fields)
    before = dump(call.document)
    for segment in call.segments():
        segment.replace(segment.text.replace("secret-", "public-"))
    assert call.body() == before.replace(b"secret-", b"public-")


@pytest.mark.parametrize(("name", "fields", "count"), CALLS)
def test_paths_lead_to_the_texts(name: str, fields: Json, count: int, read: Read) -> None:
    call = read(name, **fields)
    for segment in call.segments():
        found = eval("document." + segment.path, {"document": Dotted(call.document)})  # noqa: S307
        assert segment.text in (found, dump(found.value).decode() if isinstance(found, Dotted) else None), segment.path


class Dotted:
    """A document whose keys are attributes."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __getattr__(self, name: str) -> Any:
        return wrapped(self.value[name])

    def __getitem__(self, index: int) -> Any:
        return wrapped(self.value[index])


def wrapped(value: Any) -> Any:
    return Dotted(value) if isinstance(value, dict | list) else value


def scopes(call: LlmCall) -> dict[str, tuple[str, str]]:
    return {
        segment.text.rpartition("secret-")[2].rstrip('"]}'): (segment.role, segment.scope)
        for segment in call.segments()
    }


def test_scopes_and_roles_of_completions(read: Read) -> None:
    found = scopes(read("completions", **COMPLETIONS_CALL))
    system, user, said = ("system", "systemPrompt"), ("user", "messages"), ("assistant", "messages")
    told, answered = ("assistant", "toolInput"), ("tool", "toolOutput")
    order = [system, system, user, user, said, said, said, said, told, told, told, *[answered] * 3, user, said]
    assert found == {str(n): expected for n, expected in enumerate(order, 1)}


def test_scopes_and_roles_of_messages(read: Read) -> None:
    found = scopes(read("messages", **MESSAGES_CALL))
    system, user, said = ("system", "systemPrompt"), ("user", "messages"), ("assistant", "messages")
    told, answered = ("assistant", "toolInput"), ("tool", "toolOutput")
    order = [system, *[user] * 9, said, said, told, told, answered, answered, answered, answered, answered, system]
    assert found == {str(n): expected for n, expected in enumerate(order, 1)}


def test_a_masked_input_that_is_no_json_any_more_does_not_leak(read: Read) -> None:
    call = read(
        "messages",
        messages=[
            {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "f", "input": {"q": "secret"}}]}
        ],
    )
    (segment,) = call.segments()
    segment.replace("<masked>")
    assert call.document["messages"][0]["content"][0]["input"] == {"INVALID_JSON": "<masked>"}


REPLIES: list[tuple[str, Json, list[tuple[str, str]]]] = [
    (
        "completions",
        {
            "choices": [
                {
                    "index": 0,
                    "message": {
                        "role": "assistant",
                        "content": "secret-1",
                        "reasoning_content": "secret-2",
                        "tool_calls": [{"id": "a", "function": {"name": "f", "arguments": '{"q":"secret-3"}'}}],
                    },
                },
                {
                    "index": 1,
                    "message": {"role": "assistant", "refusal": "secret-4", "audio": {"transcript": "secret-5"}},
                },
            ]
        },
        [
            ("choices[0].message.content", "messages"),
            ("choices[0].message.reasoning_content", "messages"),
            ("choices[0].message.tool_calls[0].function.arguments", "toolInput"),
            ("choices[1].message.refusal", "messages"),
            ("choices[1].message.audio.transcript", "messages"),
        ],
    ),
    (
        "messages",
        {
            "content": [
                {"type": "thinking", "thinking": "secret-1", "signature": "s"},
                {"type": "text", "text": "secret-2"},
                {"type": "tool_use", "id": "t", "name": "f", "input": {"q": "secret-3"}},
                {"type": "bash_code_execution_tool_result", "content": {"stdout": "secret-4", "stderr": "secret-5"}},
            ]
        },
        [
            ("content[0].thinking", "messages"),
            ("content[1].text", "messages"),
            ("content[2].input", "toolInput"),
            ("content[3].content.stdout", "toolOutput"),
            ("content[3].content.stderr", "toolOutput"),
        ],
    ),
]


@pytest.mark.parametrize(("name", "document", "expected"), REPLIES)
def test_every_text_of_a_reply_is_seen_and_can_be_masked(
    name: str, document: Json, expected: list[tuple[str, str]], request: pytest.FixtureRequest
) -> None:
    raw = dump(document)
    reply = LlmReply.read(request.getfixturevalue(name), raw)
    segments = reply.segments()
    assert [(segment.path, segment.scope) for segment in segments] == expected
    assert not reply.changed
    for segment in segments:
        segment.replace(segment.text.replace("secret", "public"))
    assert reply.body() == raw.replace(b"secret", b"public")


CHANNELS = {
    "openai_text": {"choices[0].delta.content": "Hello été"},
    "openai_interleaved_tools": {
        "choices[0].delta.content": "Let me look.",
        "choices[0].delta.tool_calls[0].function.arguments": '{"city":"Paris"}',
        "choices[0].delta.tool_calls[1].function.arguments": '{"city":"Rome"}',
    },
    "openai_reasoning": {"choices[0].delta.reasoning_content": "We must add.", "choices[0].delta.content": "4"},
    "openai_refusal": {"choices[0].delta.refusal": "I'm sorry, I cannot assist with that."},
    "anthropic_text": {"content[0].text": 'Hello "été"!'},
    "anthropic_tools": {
        "content[0].text": "Okay, let's check.",
        "content[1].input": '{"location": "San Francisco, CA"}',
    },
    "anthropic_thinking": {
        "content[0].thinking": "I need to find the GCD of 1071 and 462.",
        "content[2].text": "The GCD is 21.",
    },
}


@pytest.mark.parametrize("name", CHANNELS)
def test_pieces_of_a_stream_join_to_texts_by_channel(name: str, completions: Dialect, messages: Dialect) -> None:
    spoken = messages if name.startswith("anthropic") else completions
    channels: dict[str, str] = {}
    scopes: dict[str, str] = {}
    ends: list[bool] = []

    def look(event: Event) -> None:
        for segment in spoken.event_segments(event):
            channels[segment.path] = channels.get(segment.path, "") + segment.text
            scopes[segment.path] = segment.scope
        ends.append(spoken.ends(event))

    EventRewriter(look).feed((GOLDEN / f"{name}.in.sse").read_bytes())
    assert {path: text for path, text in channels.items() if text} == CHANNELS[name]
    assert all(
        scope == ("toolInput" if "arguments" in path or "input" in path else "messages")
        for path, scope in scopes.items()
    )
    assert ends == [False] * (len(ends) - 1) + [True]


@pytest.mark.parametrize("name", CHANNELS)
def test_a_masked_piece_changes_its_event_and_no_other(name: str, completions: Dialect, messages: Dialect) -> None:
    spoken = messages if name.startswith("anthropic") else completions
    stream = (GOLDEN / f"{name}.in.sse").read_bytes()
    target = next(text for text in CHANNELS[name].values())[:4]

    def mask(event: Event) -> None:
        for segment in spoken.event_segments(event):
            segment.replace(segment.text.replace(target, "****"))

    out = EventRewriter(mask).feed(stream)
    before, after = stream.split(b"\n\n"), out.split(b"\n\n")
    assert target not in out.decode()
    assert b"****" in out
    assert len(before) == len(after)
    assert [a for a, b in zip(before, after, strict=True) if a != b] == [a for a in before if target.encode() in a]


def test_whole_blocks_in_a_stream_are_seen(messages: Dialect) -> None:
    block = {"type": "tool_use", "id": "t", "name": "f", "input": {"q": "secret"}}
    event = Event(dump({"type": "content_block_start", "index": 3, "content_block": block}))
    (segment,) = messages.event_segments(event)
    assert (segment.path, segment.scope, segment.text) == ("content[3].input", "toolInput", '{"q":"secret"}')
    segment.replace('{"q":"public"}')
    assert b'"input":{"q":"public"}' in event.encode()
