"""A call and a reply on their way: bytes pass untouched until somebody edits; the head is checked before anything."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from agentgateway.errors import InvalidRequest, UpstreamError
from agentgateway.llm.calls import Dialect, LlmCall, LlmReply
from agentgateway.llm.documents import dump, parse

RAW = b'{ "model": "m", "x_new" : [1.0, null], "messages": [ {"role":"user","content":"Hi \\u00e9"} ] }'
Read = Callable[..., LlmCall]


@pytest.fixture(params=["completions", "messages"])
def spoken(request: pytest.FixtureRequest) -> Dialect:
    dialect: Dialect = request.getfixturevalue(request.param)
    return dialect


def test_bytes_pass_as_they_came(spoken: Dialect) -> None:
    call = LlmCall.read(spoken, RAW, spoken.paths[0])
    assert (call.model, call.requested_model, call.stream, call.operation) == ("m", "m", False, "chat")
    assert call.translated(type(spoken)()) is call
    assert [segment.text for segment in call.segments()] == ["Hi é"]
    assert not call.changed
    assert call.body() is RAW


def test_another_model_is_all_that_changes(spoken: Dialect) -> None:
    call = LlmCall.read(spoken, RAW)
    call.ask("m")
    assert not call.changed
    call.ask("other")
    assert call.changed
    assert (call.model, call.requested_model) == ("other", "m")
    assert parse(call.body()) == parse(RAW) | {"model": "other"}


def test_a_replaced_text_changes_the_body(spoken: Dialect) -> None:
    call = LlmCall.read(spoken, RAW)
    (segment,) = call.segments()
    segment.replace("Hi é")
    assert not call.changed
    segment.replace("Ho")
    assert call.changed
    assert parse(call.body())["messages"][0]["content"] == "Ho"
    assert parse(call.body())["x_new"] == [1.0, None]


def test_an_edit_is_seen_by_the_canonical_call(spoken: Dialect) -> None:
    call = LlmCall.read(spoken, b'{"model":"m","max_tokens":5,"messages":[]}')
    assert call.canonical().max_tokens == 5
    call.edit()["max_tokens"] = 7
    assert call.canonical().max_tokens == 7


def test_an_edit_is_checked_when_it_is_read_again(spoken: Dialect) -> None:
    call = LlmCall.read(spoken, RAW)
    call.edit().update(model="n", stream=True)
    call.reread()
    assert (call.model, call.stream) == ("n", True)
    call.edit()["messages"] = "all of them"
    with pytest.raises(InvalidRequest):
        call.reread()


@pytest.mark.parametrize(
    ("change", "field", "code"),
    [
        ({"model": None}, "model", "missing_model"),
        ({"model": ""}, "model", "missing_model"),
        ({"model": 5}, "model", "invalid_request_body"),
        ({"model": ["m"]}, "model", "invalid_request_body"),
        ({"model": "m" * 600}, "model", "invalid_request_body"),
        ({"stream": "yes"}, "stream", "invalid_request_body"),
        ({"stream": 1}, "stream", "invalid_request_body"),
        ({"max_tokens": -1}, "max_tokens", "invalid_request_body"),
        ({"max_tokens": 1.5}, "max_tokens", "invalid_request_body"),
        ({"max_tokens": True}, "max_tokens", "invalid_request_body"),
        ({"max_tokens": 10**30}, "max_tokens", "invalid_request_body"),
        ({"messages": None}, "messages", "invalid_request_body"),
        ({"messages": {"role": "user"}}, "messages", "invalid_request_body"),
        ({"messages": ["Hi"]}, "messages[0]", "invalid_request_body"),
        ({"messages": [{"content": "Hi"}]}, "messages[0]", "invalid_request_body"),
        ({"messages": [{"role": 1, "content": "Hi"}]}, "messages[0]", "invalid_request_body"),
        ({"messages": [{"role": "user", "content": {"text": "Hi"}}]}, "messages[0].content", "invalid_request_body"),
        ({"messages": [{"role": "user", "content": ["Hi"]}]}, "messages[0].content[0]", "invalid_request_body"),
    ],
)
def test_a_wrong_head_is_refused_by_name(spoken: Dialect, change: dict[str, Any], field: str, code: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        LlmCall.read(spoken, dump({"model": "m", "messages": []} | change))
    assert (caught.value.status, caught.value.code, caught.value.param) == (400, code, field)
    assert caught.value.message.startswith(field)


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ({"model": "allowed", "Model": "forbidden", "messages": []}, "Model"),
        ({"model": "m", "messages": [{"role": "user", "content": "Hi", "CONTENT": "evil"}]}, "messages[0].CONTENT"),
        (
            {"model": "m", "messages": [{"role": "user", "content": [{"type": "text", "text": "Hi", "Text": "evil"}]}]},
            "messages[0].content[0].Text",
        ),
    ],
)
def test_a_key_that_some_parsers_take_for_another_is_refused(
    spoken: Dialect, document: dict[str, Any], field: str
) -> None:
    """Go's encoding/json matches names without regard to case, and takes the last."""
    with pytest.raises(InvalidRequest) as caught:
        LlmCall.read(spoken, dump(document))
    assert caught.value.param == field


def test_a_translated_call_remembers_what_was_asked(read: Read, messages: Dialect) -> None:
    call = read("completions", stream=True)
    call.ask("claude")
    there = call.translated(messages)
    assert (there.model, there.requested_model, there.stream, there.raw) == ("claude", "m", True, None)
    assert there.document["model"] == "claude"
    assert there.changed
    assert parse(there.body()) == there.document


def test_enrichment_stands_around_what_was_said(read: Read) -> None:
    before = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "first"}]
    after = [{"role": "system", "content": "Be kind."}, {"role": "assistant", "content": "last"}]
    call = read("completions", messages=[{"role": "system", "content": "own"}, {"role": "user", "content": "Hi"}])
    call.enrich(before, after)
    assert [message["content"] for message in call.document["messages"]] == [
        "Be brief.",
        "first",
        "own",
        "Hi",
        "Be kind.",
        "last",
    ]
    for own in ("own", [{"type": "text", "text": "own", "cache_control": {"type": "ephemeral"}}]):
        call = read("messages", system=own)
        call.enrich(before, after)
        assert [block["text"] for block in call.document["system"]] == ["Be brief.", "own", "Be kind."]
        assert [message["content"] for message in call.document["messages"]] == ["first", "Hi", "last"]
        assert call.changed


def test_a_stream_is_asked_for_its_usage_unless_the_client_said_something(completions: Dialect) -> None:
    document: dict[str, Any] = {}
    assert not completions.prepare(document, False)
    assert completions.prepare(document, True)
    assert document == {"stream_options": {"include_usage": True}}
    document = {"stream_options": {"include_obfuscation": False}}
    assert completions.prepare(document, True)
    assert document == {"stream_options": {"include_obfuscation": False, "include_usage": True}}
    document = {"stream_options": {"include_usage": False}}
    assert not completions.prepare(document, True)


REPLIES = {
    "completions": b'{"id":"1","choices":[{"index":0,"message":{"role":"assistant","content":"a"}}],"usage": {}}',
    "messages": b'{"id":"1","content":[{"type":"text","text":"a"}],"usage": {}}',
}


def test_a_reply_passes_as_it_came_until_a_text_is_replaced(spoken: Dialect) -> None:
    raw = REPLIES[spoken.name]
    reply = LlmReply.read(spoken, raw)
    (segment,) = reply.segments()
    assert reply.translated(spoken) is reply
    assert (segment.role, segment.scope, segment.text) == ("assistant", "messages", "a")
    assert not reply.changed
    assert reply.body() is raw
    segment.replace("b")
    assert reply.changed
    assert parse(reply.body()) == parse(raw.replace(b'"a"', b'"b"'))


def test_a_reply_with_a_key_twice_is_made_anew_for_who_reads_its_texts(spoken: Dialect) -> None:
    reply = LlmReply.read(spoken, b'{"id":"1","id":"2"}')
    assert reply.body() == b'{"id":"1","id":"2"}'
    reply.segments()
    assert reply.body() == b'{"id":"2"}'


@pytest.mark.parametrize("raw", [b"", b"<html>", b"[]", b'{"a":'])
def test_a_reply_that_is_no_object_is_the_upstreams_fault(spoken: Dialect, raw: bytes) -> None:
    with pytest.raises(UpstreamError):
        LlmReply.read(spoken, raw)


@pytest.mark.parametrize(
    "raw", [b"{}", b'{"choices":[]}', b'{"choices":[{}],"content":5}', b'{"content":[{"type":"text"}]}']
)
def test_a_reply_that_is_none_cannot_be_translated(
    completions: Dialect, messages: Dialect, spoken: Dialect, raw: bytes
) -> None:
    other = messages if spoken.name == "completions" else completions
    with pytest.raises(UpstreamError):
        LlmReply.read(spoken, raw).translated(other)


def test_nothing_of_a_call_is_in_its_repr(read: Read) -> None:
    call = read("completions", messages=[{"role": "user", "content": "canary-4711"}], user="canary-4712")
    assert "canary" not in repr(call) + "".join(map(repr, call.segments()))
